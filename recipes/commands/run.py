"""``audiomix-recipes run``: one method on one data set, with all options of method and configuration."""

from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from audiomix import check
from audiomix.datasets.dataset import Dataset
from audiomix.offline.progress import ErrorLimit
from audiomix.options import literal_converter
from audiomix.registry import is_path
from audiomix.terminal import Exit, Summary, show

from .. import algorithms
from ..benchmark.summary import check_folders, check_runs, run_all, terminal_table
from ..console import print_unread, say
from ..data.copies import add_unlabelled
from ..data.loader import prepare
from ..data.protocol import read_dataset
from ..semi_supervised.run_spec import configure
from ..training.config import PRESETS, Config, preset as preset_values
from ..training.dataset_settings import settings_for
from ..training.metrics_log import check_tensorboard
from ..training.run_folder import write_json
from ._choices import show_choices
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
    name = _method_in(argv)
    chosen = preset_in(argv)
    chosen = chosen if chosen in PRESETS else PRESET  # a wrong one is refused later
    method_options = _method_options(name, chosen) if name else make_options("Options", [], None)
    values = configure(chosen, algorithms.get(name), {})[0] if name else preset_values(chosen)
    title = f"Options of {name}" if name else "Options of the method: audiomix-recipes run METHOD --help"
    return with_options(
        run,
        argv,
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
    mixer: str | None = None,
    unlabelled: Path | None = None,
    out: Path | None = None,
    store: Path | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    track: Annotated[bool, Parameter(negative=())] = False,
    strict: Annotated[bool, Parameter(negative=())] = False,
    max_errors: int | None = None,
    options: Any = None,
    config: Any = None,
    command: str = "",
) -> Summary:
    """Train a method on a data set and report its error on held-out clips.

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
        Folds to hold out in turn: names, or all.
    seed : tuple
        Seeds to run each fold with.
    mixer : str
        Mix batches: a mixer's name, with options as in mixup:alpha=0.75,keep_larger=true, or one's own, as
        mine.py:RollMix; none for no mixing.
    unlabelled : Path
        Folder of more clips without labels, to be trained on besides those of the data set; copies of its files are
        left out.
    out : Path
        Folder of the results; by default runs/DATASET-PRESET-METHOD.
    store : Path
        Folder of the decoded audio; by default stores beside OUT.
    resume : bool
        Go on where an interrupted command stopped; finished runs are kept.
    track : bool
        Write learning curves for TensorBoard too.
    strict : bool
        Train nothing if any file cannot be read, and end with exit code 3.
    max_errors : int
        Train nothing if more files than this cannot be read, and end with exit code 3; by default any number may.
    options : dataclass
        Options of the method.
    config : dataclass
        Fields of the configuration; None is the preset's value.
    command : str
        The command line, for the record.
    """
    limit = ErrorLimit(max_errors, strict=strict, then="Nothing was trained")
    kind, given = algorithms.get(method), _drop_unset(options)
    check.choice("preset", preset, PRESETS)
    found = read_dataset(dataset, root)
    configured, chosen = configure(preset, kind, given, of_data=settings_for(found.name), **_drop_unset(config))
    if unlabelled is not None:
        found = add_unlabelled(found, unlabelled)
    folder = out or Path("runs") / _folder_name(dataset, preset, method, given, mixer)
    mixing = algorithms.mixer_for(mixer, kind, preset)
    kind.check_mixer(mixing)
    if mixing is not None:
        algorithms.make_mixer(mixing, kind)  # a wrong one is refused before anything is decoded
    arguments = {"options": chosen, "mixer": mixing, "resume": resume, "track": track}
    return _train(configured, found, method, folder, fold, seed, store, command, arguments, limit)


def _train(
    config: Config,
    dataset: Dataset,
    method: str,
    out: Path,
    folds: tuple[str, ...],
    seeds: tuple[int, ...],
    store: Path | None,
    command: str,
    arguments: dict[str, Any],
    limit: ErrorLimit,
) -> Summary:
    stores = store or out.parent / "stores"
    check_folders(out, stores)
    if arguments["track"]:
        check_tensorboard()
    chosen = () if folds == ("all",) else folds
    names, numbers = check_runs(config, dataset, method, chosen, seeds, arguments["options"])
    data = prepare(config, dataset, stores)
    show_choices([(config, method, arguments["options"])], data)
    errors = {**dict(dataset.skipped), **data.errors}
    print_unread(errors)
    for name, reason in errors.items():
        limit.add(name, reason)
    results = run_all(config, data, method, out=out, folds=names, seeds=numbers, command=command, **arguments)
    show(terminal_table(results))
    say(f"results in {out}")
    fields = ("method", "fold", "seed", "error_last", "error_last_ema", "seconds", "folder")
    runs = [{name: getattr(run, name) for name in fields} for run in results]
    facts = {"out": out, "runs": runs, "errors": errors}
    if not errors:
        return Summary(Exit.DONE, facts)
    write_json(path := out / "errors.json", errors)
    say(f"{len(errors)} files could not be read: {path}", style="red")
    return Summary(Exit.SOME, facts)


def _method_in(argv: list[str]) -> str | None:
    """Return the method on the command line, so that its options can be read; None for another command or none.

    It is the first word that is the name of a method, or a path that is not the value of another option.
    """
    names = algorithms.available()
    words = (
        [(before, word) for before, word in pairwise(argv) if not word.startswith("-")] if argv[:1] == ["run"] else []
    )
    for before, word in words:
        if word in names or (is_path(word) and (before == "--method" or not before.startswith("--"))):
            return word
    if words:
        check.choice("method", words[0][1], names)
    return None


def _folder_name(dataset: str, preset: str, method: str, options: dict[str, Any], mixer: str | None) -> str:
    parts = [dataset, preset, method, *(k if v is True else f"{k}={v}" for k, v in options.items())]
    return "-".join([*parts, *([mixer] if mixer else [])]).replace(":", "_").replace("/", "_")


def _drop_unset(options: Any) -> dict[str, Any]:
    """Return the values that the user gave, defaults included."""
    return {} if options is None else {k: v for k, v in asdict(options).items() if v is not None}


def _method_options(method: str, preset: str) -> Any:
    """Return the options of a method as the type of an argument; an option of None is unset.

    The help shows the values of an unset option at this preset.
    """
    kind = algorithms.get(method)
    own = kind.presets.get(preset, {})
    entries: list[tuple[str, Any, Any]] = []
    for name, option in algorithms.options(kind).items():
        default = show_value(own.get(name, option.default))
        given = Parameter(show_default=default, converter=literal_converter(option.kind))
        entries.append((name, Annotated[option.kind | None, given], None))
    return make_options("Options", entries, kind.__doc__)
