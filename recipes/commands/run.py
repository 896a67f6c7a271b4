"""``audiomix-recipes run``: one method on one data set, with all options of method and configuration."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from audiomix import check
from audiomix.datasets.dataset import Dataset
from audiomix.offline.progress import ErrorLimit
from audiomix.options import literal_converter
from audiomix.registry import is_path, load
from audiomix.terminal import Exit, Summary, show

from .. import algorithms
from ..benchmark.summary import by_head, check_folders, check_runs, run_all, terminal_table
from ..console import print_unreadable, say
from ..data.copies import add_unlabelled
from ..data.loader import prepare
from ..data.protocol import read_dataset, take_out_classes
from ..semi_supervised.run_spec import configure
from ..training.config import PRESETS, preset as preset_values
from ..training.dataset_settings import settings_for
from ..training.metrics_log import MetricsRow, check_tensorboard
from ..training.run_folder import RunResult, write_json
from ._choices import show_choices
from ._config_file import given_values, read_config_file, write_arguments
from ._config_options import PRESET, SEVERAL, config_options, make_options, preset_in, show_value, with_options

__all__ = ["command", "run"]

_CONFIGURATION = Group("Configuration (a data set may have other defaults)")


def command(argv: list[str]) -> Callable[..., Summary]:
    """Return `run` with the options of the method on the command line.

    Parameters
    ----------
    argv : list of str
        The command line.
    """
    file = read_config_file(argv, "run", run)
    name = _method_in(argv, file.arguments.get("method"))
    chosen = preset_in(argv, file.arguments.get("preset", PRESET))
    chosen = chosen if chosen in PRESETS else PRESET  # a wrong one is refused later
    given = file.read_options(algorithms.options(algorithms.get(name)), name) if name else {}
    method_options = _method_options(name, chosen, given) if name else make_options("Options", [], None)
    values = configure(chosen, algorithms.get(name), {}, **file.config)[0] if name else preset_values(chosen)
    title = f"Options of {name}" if name else "Options of the method: audiomix-recipes run METHOD --help"
    return with_options(
        run,
        argv,
        file,
        given,
        options=Annotated[method_options, Parameter(name="*", group=Group(title))],
        config=Annotated[config_options(values), Parameter(name="*", group=_CONFIGURATION)],
    )


def run(
    method: str,
    dataset: str,
    root: Path | None = None,
    *,
    preset: str = PRESET,
    fold: Annotated[tuple[str, ...], SEVERAL] = ("all",),
    seed: Annotated[tuple[int, ...], SEVERAL] = (0,),
    mixer: Annotated[str | None, Parameter(name=("--mixer", "--mixing"))] = None,
    unlabelled: Path | None = None,
    outlier_classes: Annotated[tuple[str, ...], SEVERAL, Parameter(show_default=lambda _: "none")] = (),
    out: Path | None = None,
    store: Path | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    track: Annotated[bool, Parameter(negative=())] = False,
    test: Annotated[bool, Parameter(negative=())] = False,
    log: str | None = None,
    strict: Annotated[bool, Parameter(negative=())] = False,
    max_errors: int | None = None,
    options: Any = None,
    config: Any = None,
    command: str = "",
    quiet: bool = False,
    on_row: Callable[[MetricsRow], None] | None = None,
) -> Summary:
    """Train a method on a data set and report its error on held-out clips.

    With --validation these are the clips for validation; nothing is measured on the test clips without --test.

    Parameters
    ----------
    method : str
        A method, such as supervised or fixmatch; audiomix-recipes list shows all. Or one's own, as mine.py:MyMethod.
    dataset : str
        A data set, such as esc10, folder or demo; audiomix-recipes list shows all. Or a function of one's own that
        lists the clips below ROOT, as mine.py:my_data_set.
    root : Path
        Folder of the data; the bundled demo needs none.
    preset : str
        small (CPU), study (the founding study's settings), original (each method as in its own paper), strong (a
        GPU) or demo.
    fold : tuple
        Folds to hold out in turn: their names, all, or first.
    seed : tuple
        Seeds to run each fold with.
    mixer : str
        Mix batches: a mixer's name, with options as in mixup:alpha=0.75,keep_larger=true, or one's own, as
        mine.py:RollMix; none for no mixing. The method supervised also takes a transform (spec_augment) or a learned
        mixing (adamixup); audiomix-recipes list shows all.
    unlabelled : Path
        Folder of more clips without labels, to be trained on besides those of the data set; copies of its files are
        left out.
    outlier_classes : tuple
        Classes that are not to be told apart, their training clips being unlabelled ones of no class of the task: an
        open set. Or one number: so many, drawn by their names.
    out : Path
        Folder of the results; by default runs/DATASET-PRESET-METHOD.
    store : Path
        Folder of the decoded audio; by default stores beside OUT.
    resume : bool
        Go on where an interrupted command stopped; finished runs are kept.
    track : bool
        Write learning curves for TensorBoard too.
    test : bool
        With --validation, measure on the test clips too; without it nothing is known of them. Without --validation
        the test clips alone are measured on.
    log : str
        A function of one's own that gets every row of metrics.csv, as mine.py:log or package.module:log. It is called
        with the step, the row (values by name) and the run's arguments (as in its run.yaml, and its folder).
    strict : bool
        Train nothing if any file cannot be read, and end with exit code 3.
    max_errors : int
        Train nothing if more files than this cannot be read, and end with exit code 3; by default any number may.
    options : dataclass or dict
        Options of the method.
    config : dataclass or dict
        Fields of the configuration; None in a dataclass is the preset's value.
    command : str
        The command line, for the record.
    quiet : bool
        Print no progress and no table.
    on_row : callable
        Called with each row of metrics.csv.
    """
    arguments = dict(locals())
    limit = ErrorLimit(max_errors, strict=strict, then="Nothing was trained")
    kind, given = algorithms.get(method), given_values(options)
    check.choice("preset", preset, PRESETS)
    found = read_dataset(dataset, root)
    configured, chosen = configure(preset, kind, given, of_data=settings_for(found.name), **given_values(config))
    if unlabelled is not None:
        found = add_unlabelled(found, unlabelled)
    if outlier_classes:
        found = take_out_classes(found, outlier_classes)
    mixing = algorithms.mixer_for(mixer, kind, preset)
    kind.check_mixer(mixing)
    if mixing is not None:
        algorithms.make_mixer(mixing, kind)  # a wrong one is refused before anything is decoded
    if log is not None:
        load(log, "log")
    if track:
        check_tensorboard()
    folder = out or Path("runs") / _folder_name(dataset, preset, method, given, mixer)
    stores = store or folder.parent / "stores"
    check_folders(folder, stores)
    names, numbers = check_runs(configured, found, method, _folds(found, fold), seed, chosen)
    data = prepare(configured, found, stores, quiet=quiet)
    show_choices([(configured, method, chosen)], data)
    errors = {**dict(found.skipped), **data.errors}
    print_unreadable(errors)
    for name, reason in errors.items():
        limit.add(name, reason)
    how: dict[str, Any] = {"resume": resume, "track": track, "test": test, "log": log, "quiet": quiet, "on_row": on_row}
    how |= {"options": chosen, "mixer": mixing}
    results = run_all(configured, data, method, out=folder, folds=names, seeds=numbers, command=command, **how)
    write_arguments(folder, "run", arguments)
    return _end(folder, results, errors, quiet=quiet)


def _folds(dataset: Dataset, fold: tuple[str, ...]) -> tuple[str, ...]:
    """Return the folds that are asked for; none for all."""
    if fold == ("first",) and "first" not in dataset.folds:
        return dataset.folds[:1]
    return () if fold == ("all",) else fold


def _end(out: Path, results: list[RunResult], errors: dict[str, str], *, quiet: bool) -> Summary:
    if not quiet:
        for group in by_head(results):
            show(terminal_table(group))
        say(f"results in {out}")
    fields = ("method", "fold", "seed", "measured_on", "error_last", "error_last_ema", "seconds", "folder")
    runs = [{name: getattr(run, name) for name in fields} | _test_errors(run) for run in results]
    facts = {"out": out, "runs": runs, "errors": errors}
    if not errors:
        return Summary(Exit.DONE, facts)
    write_json(path := out / "errors.json", errors)
    say(f"{len(errors)} files could not be read: {path}", style="red")
    return Summary(Exit.SOME, facts)


def _test_errors(run: RunResult) -> dict[str, float]:
    """Return the test errors of a run that measures on validation clips first, where it has them."""
    return {f"test_{name}": run.test[name] for name in ("error_last", "error_last_ema") if run.test}


def _method_in(argv: list[str], of_file: str | None = None) -> str | None:
    """Return the method, so that its options can be read; None for another command or none.

    It is the first word that is the name of a method, or a path that is not the value of another option; else that of
    the file on the command line.
    """
    names = algorithms.available()
    words = (
        [(before, word) for before, word in pairwise(argv) if not word.startswith("-")] if argv[:1] == ["run"] else []
    )
    for before, word in words:
        if word in names or (is_path(word) and (before == "--method" or not before.startswith("--"))):
            return word
    if words and of_file is None:
        before, word = words[0]
        check.choice("method", word if before != "--config" else "none", names)
    return of_file


def _folder_name(dataset: str, preset: str, method: str, options: dict[str, Any], mixer: str | None) -> str:
    parts = [dataset, preset, method, *(k if v is True else f"{k}={v}" for k, v in options.items())]
    return "-".join([*parts, *([mixer] if mixer else [])]).replace(":", "_").replace("/", "_")


def _method_options(method: str, preset: str, given: dict[str, Any]) -> Any:
    """Return the options of a method as the type of an argument; an option of None is unset.

    The help shows the values of an unset option at this preset, or those that a file has given.
    """
    kind = algorithms.get(method)
    own = kind.presets.get(preset, {}) | given
    entries: list[tuple[str, Any, Any]] = []
    for name, option in algorithms.options(kind).items():
        default = show_value(own.get(name, option.default))
        shown = Parameter(show_default=default, converter=literal_converter(option.kind))
        entries.append((name, Annotated[option.kind | None, shown], None))
    return make_options("Options", entries, kind.__doc__)
