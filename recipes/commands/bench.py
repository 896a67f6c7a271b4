"""``audiomix-recipes bench``: rows x labels x folds x seeds, several runs side by side, and the table of all.

``--recompute FOLDER`` makes the table again from ``predictions.npz`` alone. ``bench mixers`` is another table, of what
mixing gains; see `recipes.commands._bench_mixers`.
"""

import inspect
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from audiomix import check
from audiomix.datasets.dataset import Dataset
from audiomix.offline.parallel import usable_cores
from audiomix.offline.progress import ErrorLimit
from audiomix.terminal import Exit, Summary, show

from .. import algorithms
from ..benchmark import tables
from ..benchmark.equal_compute import EqualRows, Resolved, has_equal_steps, make_equal_rows, with_steps
from ..benchmark.plan import (
    PlannedRun,
    Refusals,
    Trainer,
    check_earlier_runs,
    describe_refusals,
    plan_runs,
)
from ..benchmark.record import RECORD, ArchivedRecord, BenchmarkRecord, BenchmarkTable, build_table
from ..benchmark.rows import RowSpec, parse_rows, slug
from ..benchmark.summary import check_folders, describe
from ..console import print_unreadable, say
from ..data.copies import add_unlabelled
from ..data.loader import prepare, rate_and_seconds
from ..data.protocol import read_dataset, take_out_classes
from ..data.shared import decode_stores
from ..semi_supervised.train import resolve
from ..training.config import PRESETS, Config, preset as preset_values
from ..training.dataset_settings import settings_for
from ..training.distributed import fabric_for
from ..training.run_folder import RunResult, check_folder, lock_folder, read_run, write_json
from ._bench_mixers import SETTINGS as _OF_MIXERS, bench_mixers, holds_probabilities, recompute as recompute_mixing
from ._choices import show_choices
from ._config_file import given_values, read_config_file, write_arguments
from ._config_options import PRESET, SEVERAL, config_options, preset_in, with_options

__all__ = ["bench", "command"]

_FILES = "results.html, results.md, table.csv, results.csv"
_CONFIGURATION = Group("Configuration of all rows (a row may have other defaults)")
_ALL_ROWS = Group("Configuration of all rows")


def command(argv: list[str]) -> Callable[..., Summary]:
    """Return `bench` with the defaults of the preset on the command line.

    Parameters
    ----------
    argv : list of str
        The command line.
    """
    if argv[argv.index("bench") + 1 :][:1] == ["mixers"] if "bench" in argv else False:
        file = read_config_file(argv, "bench", bench_mixers)
        kind = config_options(preset_values(PRESET, **_OF_MIXERS | file.config), without=("labelled",))
        return with_options(bench_mixers, argv, file, config=Annotated[kind, Parameter(name="*", group=_ALL_ROWS)])
    file = read_config_file(argv, "bench", bench)
    chosen = preset_in(argv, file.arguments.get("preset", PRESET))
    values = preset_values(chosen if chosen in PRESETS else PRESET, **file.config)  # a wrong one is refused later
    kind = config_options(values, without=("labelled",))
    return with_options(bench, argv, file, config=Annotated[kind, Parameter(name="*", group=_CONFIGURATION)])


def bench(
    dataset: str | None = None,
    root: Path | None = None,
    *,
    methods: Annotated[tuple[str, ...], SEVERAL, Parameter(show_default=lambda _: "all")] = (),
    preset: str = PRESET,
    labelled: Annotated[tuple[str, ...], SEVERAL] = ("10%",),
    fold: Annotated[tuple[str, ...], SEVERAL] = ("all",),
    seed: Annotated[tuple[int, ...], SEVERAL] = (0,),
    mixer: Annotated[str | None, Parameter(name=("--mixer", "--mixing"))] = None,
    baseline: str | None = None,
    headline: str | None = None,
    equal_compute: bool = True,
    test: Annotated[bool, Parameter(negative=())] = False,
    jobs: int = 1,
    unlabelled: Path | None = None,
    outlier_classes: Annotated[tuple[str, ...], SEVERAL, Parameter(show_default=lambda _: "none")] = (),
    out: Path | None = None,
    store: Path | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    strict: Annotated[bool, Parameter(negative=())] = False,
    max_errors: int | None = None,
    recompute: Annotated[tuple[Path, ...], SEVERAL] = (),
    config: Any = None,
    command: str = "",
) -> Summary:
    """Train methods x labels x folds x seeds and write the table: CSV, Markdown and HTML, after every run.

    Parameters
    ----------
    dataset : str
        A data set, such as esc10, folder or demo; audiomix-recipes list shows all. Or a function of one's own that
        lists the clips below ROOT, as mine.py:my_data_set.
    root : Path
        Folder of the data; the bundled demo needs none.
    methods : tuple
        Rows of the table, by default one for each method: METHOD[:key=value,...][+MIXER[:key=value,...]], where a key
        is an option of the method or of the configuration, as in fixmatch:threshold=0.9,steps=1200+mixup:alpha=0.3.
        Method and mixer may be one's own: mine.py:MyMethod:steps=1200+mine.py:RollMix. Values between bars are a row
        each, several such options a row for each combination; in quotes, or the shell takes the bar for a pipe:
        "fixmatch:threshold=0.8|0.9|0.95". supervised:steps=equal+mixup is trained for as many steps as cost what the
        costliest semi-supervised row costs.
    preset : str
        small (CPU), study (the founding study's settings), original (each method as in its own paper), strong (a
        GPU) or demo.
    labelled : tuple
        Labels kept: shares of each class (10%) or numbers of clips of each class (3); as many tables.
    fold : tuple
        Folds to hold out in turn: names, or all.
    seed : tuple
        Seeds to run each fold with.
    mixer : str
        Mix batches of all rows that name no mixer: a name, with options as in mixup:alpha=0.75; none for no mixing.
    baseline : str
        Row that the others are compared with, by default the one of an earlier command with the same OUT, else that of
        equal compute, else the first of the method supervised.
    headline : str
        Network whose error comes first: raw (as trained; the method's own choice, e.g. a teacher) or ema (its average);
        by default that of an earlier command with the same OUT, else raw.
    equal_compute : bool
        Add a supervised row that costs as much as the costliest semi-supervised one and is mixed as that is, or by
        mixup.
    test : bool
        With --validation, measure on the test clips too; without it nothing is known of them. Without --validation
        the test clips alone are measured on.
    jobs : int
        Runs side by side; each has its own --threads, and they share a GPU.
    unlabelled : Path
        Folder of more clips without labels, to be trained on besides those of the data set; copies of its files are
        left out.
    outlier_classes : tuple
        Classes that are not to be told apart, their training clips being unlabelled ones of no class of the task: an
        open set. Or one number: so many, drawn by their names.
    out : Path
        Folder of the results; by default runs/bench-DATASET-PRESET.
    store : Path
        Folder of the decoded audio; by default stores beside OUT.
    resume : bool
        Go on where an interrupted command stopped; finished runs are kept, also those of rows not named now.
    strict : bool
        Train nothing if any file cannot be read, and end with exit code 3.
    max_errors : int
        Train nothing if more files than this cannot be read, and end with exit code 3; by default any number may.
    recompute : tuple
        Train nothing: show the table of this folder, made from its predictions.npz alone, or from the
        probabilities.npz of a table of mixing (bench mixers). Of several folders the runs
        are put together: those of other seeds, folds or rows, trained on other machines. The table is written where
        --out says so, with one predictions.npz; --baseline and --headline may be others.
    config : Config
        Fields of the configuration of all rows.
    command : str
        The command line, for the record.
    """
    arguments, given = dict(locals()), given_values(config)
    if headline is not None:
        check.choice("headline", headline, ["raw", "ema"])
    if recompute:
        kept = ("dataset", "root", "methods", "recompute", "out", "baseline", "headline", "config", "command")
        defaults = {name: option.default for name, option in inspect.signature(bench).parameters.items()}
        extra = [name for name, value in arguments.items() if name not in kept and value != defaults[name]]
        if words := [str(word) for word in (dataset, root, *methods, *given, *extra) if word is not None]:
            check.fail("recompute", "given without data and rows, which its file holds", f"beside {words[0]}")
        if any(map(holds_probabilities, recompute)):
            return recompute_mixing(recompute, out, baseline=baseline, headline=headline)
        return _recompute(recompute, out, baseline, headline)
    if dataset is None:
        check.fail("dataset", "a data set, such as esc10, folder or demo", "none", "audiomix-recipes list shows all")
    check.integer("jobs", jobs, 1)
    limit = ErrorLimit(max_errors, strict=strict, then="Nothing was trained")
    found = read_dataset(dataset, root)
    if unlabelled is not None:
        found = add_unlabelled(found, unlabelled)
    if outlier_classes:
        found = take_out_classes(found, outlier_classes)

    def parse(texts: list[str]) -> list[RowSpec]:
        """Return the rows of some texts."""
        rows = parse_rows(texts, preset, mixer=mixer, overrides=given, of_data=settings_for(found.name))
        return [replace(row, changed=True) for row in rows] if unlabelled is not None or outlier_classes else rows

    named = [*methods, *(text for text in (baseline,) if text is not None and has_equal_steps(text))]
    equal, others = (list(dict.fromkeys(t for t in named if has_equal_steps(t) == wanted)) for wanted in (True, False))
    rows = parse(others) if others or equal != list(methods) or not equal else []
    _check_equal(equal, rows, parse)
    arguments["methods"] = (*(row.text for row in rows), *equal)
    if baseline is not None:
        check.choice("baseline", baseline, [*(row.text for row in rows), *equal])
    folder = out or Path("runs") / f"bench-{slug(dataset)}-{preset}"
    stores = store or folder.parent / "stores"
    check_folders(folder, stores)
    if not resume and (folder / RECORD).exists():
        raise FileExistsError(f"{folder} holds results already: go on with --resume, or choose another --out")
    runs, refused = plan_runs(found, rows, labelled, fold, seed, folder, test=test)
    impossible = describe_refusals(runs, refused)
    for line in impossible:
        say(f"cannot be done: {line}", style="yellow")
    decoded = decode_stores(found, [run.config for run in runs], stores)
    errors = {**dict(found.skipped), **next(iter(decoded.values())).errors}
    print_unreadable(errors)
    for name, reason in errors.items():
        limit.add(name, reason)
    for at, data in decoded.items():
        of_store = [run for run in runs if rate_and_seconds(run.config, found) == at]
        where = f"for clips at {at[0]} Hz of {at[1]:g} s" if len(decoded) > 1 else ""
        show_choices([(run.config, run.row.method, run.row.options) for run in of_store], data, where)

    def resolve_row(row: RowSpec, config: Config) -> Resolved:
        """Return a row with nothing left open, as its runs are trained."""
        data = decoded[rate_and_seconds(config, found)]
        config, options, _ = resolve(config, data, row.method, row.options)
        inputs = None if config.embedding is None else prepare(config, found, stores, quiet=True).kept.shape[1]
        return Resolved(replace(row, options=options), config, inputs)

    record = BenchmarkRecord(folder)
    made = EqualRows([], {}, None)
    if equal or equal_compute:
        recorded = record.content.get("equal")
        made = make_equal_rows(equal or None, rows, runs, found, lambda text: parse([text])[0], recorded, resolve_row)
    if made.record is not None:
        say(made.record["note"])
        rows = _insert(rows, made.rows)
        baseline = dict(zip(equal, (row.text for row in made.rows))).get(baseline or "", baseline)
        runs, refused = plan_runs(found, rows, labelled, fold, seed, folder, test=test)
        decoded = decode_stores(found, [run.config for run in runs], stores)
    check_earlier_runs(decoded, runs)
    with lock_folder(folder):
        costs = {text: cost.run for text, cost in made.operations.items()}
        more: dict[str, Any] = {"test": test, "compute": costs, "equal": made.record}
        write_arguments(folder, "bench", arguments)
        record.add_command(rows, labelled, preset, decoded, command, baseline, headline, **more)
        _warn_of_threads(jobs, runs[0].config)
        table, failed = _train(record, runs, refused, found, stores, jobs)
    return _end(folder, table, [*impossible, *failed], errors)


def _check_equal(equal: list[str], rows: list[RowSpec], parse: Callable[[list[str]], list[RowSpec]]) -> None:
    """Raise ValueError where a row with ``steps=equal`` is wrong, or there is no semi-supervised one beside it."""
    if equal:
        parse([with_steps(text, 1) for text in equal])
    if equal and not any(algorithms.get(row.method).needs_unlabelled for row in rows):
        check.fail("methods", f"with a semi-supervised row beside {equal[0]}, whose cost it has", "none")


def _insert(rows: list[RowSpec], equal: list[RowSpec]) -> list[RowSpec]:
    """Return the rows with those of equal compute in front of the first semi-supervised one, each once."""
    texts = [row.text for row in equal]
    rest = [row for row in rows if row.text not in texts]
    first = next((i for i, row in enumerate(rest) if algorithms.get(row.method).needs_unlabelled), len(rest))
    return [*rest[:first], *equal, *rest[first:]]


def _recompute(folders: tuple[Path, ...], out: Path | None, baseline: str | None, headline: str | None) -> Summary:
    """Show the table of some folders, made from their predictions alone, and write it where `out` says so."""
    record = ArchivedRecord(*folders)
    table = build_table(record, baseline, headline)
    show(tables.for_terminal(table))
    if out is not None:
        check_folder(out)
        out.mkdir(parents=True, exist_ok=True)
        tables.write_tables(table, out)
        record.copy_archive(out)
        say(f"written in {out}: {_FILES}, predictions.npz")
    facts = {"folder": folders[0] if len(folders) == 1 else folders, "out": out, "headline": table.headline}
    return Summary(Exit.DONE, facts | {"rows": _facts(table)})


def _train(
    record: BenchmarkRecord, runs: list[PlannedRun], refused: Refusals, dataset: Dataset, stores: Path, jobs: int
) -> tuple[BenchmarkTable, list[str]]:
    """Train what is not finished, write the tables after every run, and return names and reasons of what failed."""
    failed: dict[Path, str] = {}
    left = [run for run in runs if read_run(run.out) is None]
    clock = _Countdown(len(left))

    def write() -> BenchmarkTable:
        """Write the tables of what is finished."""
        record.unfinished = [run.name for run in runs if run.out not in failed and read_run(run.out) is None]
        record.failed = [*(f"{run.name}: {reason}" for run, reason in refused), *failed.values()]
        record.write_archive()
        table = build_table(record)
        tables.write_tables(table, record.out)
        return table

    table = write()
    for run, outcome in Trainer.train_all(dataset, stores, left, jobs):
        if not isinstance(outcome, RunResult):
            failed[run.out] = f"{run.name}: {outcome}"
        _report(clock.line(), run, outcome)
        table = write()
    show(tables.for_terminal(table))
    return table, [*failed.values()]


def _end(out: Path, table: BenchmarkTable, failed: list[str], errors: dict[str, str]) -> Summary:
    say(f"results in {out}: {_FILES}, predictions.npz")
    for reason in failed:
        say(f"not done: {reason}", style="red")
    if errors:
        write_json(path := out / "errors.json", errors)
        say(f"{len(errors)} files could not be read: {path}", style="red")
    facts = {"out": out, "headline": table.headline, "rows": _facts(table), "not_done": failed, "errors": errors}
    return Summary(Exit.SOME if failed or errors else Exit.DONE, facts)


def _facts(table: BenchmarkTable) -> list[dict[str, Any]]:
    """Return what is known of each line, for JSON."""
    network = table.headline
    return [
        {"row": line.text, "head": line.head, "labelled": line.label, "measured_on": table.measured_on,
         "error_last": line.last[network].mean, "verdict": line.verdict(network), "runs": len(line.runs)}
        for line in table.lines
    ]  # fmt: skip


class _Countdown:
    """Counts the runs that are done, and estimates how long the rest takes."""

    def __init__(self, count: int) -> None:
        self.count, self.done, self.start = count, 0, time.monotonic()

    def line(self) -> str:
        self.done += 1
        rest = (time.monotonic() - self.start) / self.done * (self.count - self.done)
        return f"[{self.done}/{self.count}, {rest / 60:.0f} min left]"


def _report(counted: str, run: PlannedRun, outcome: RunResult | str) -> None:
    if isinstance(outcome, str):
        line, style = f"{counted} {run.name}: {outcome}", "red"
    else:
        line, style = f"{counted} {run.name}: {describe(outcome)}", ""
    say(line, style=style)


def _warn_of_threads(jobs: int, config: Config) -> None:
    cores = usable_cores()
    if fabric_for(config).device.type == "cpu" and jobs > 1 and jobs * config.threads > cores:
        line = f"{jobs} jobs of {config.threads} threads share {cores} cores: --threads {max(1, cores // jobs)}?"
        say(line, style="yellow")
