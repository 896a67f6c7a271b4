"""``audiomix-recipes bench``: rows x labels x folds x seeds, several runs side by side, and the table they end in."""

import os
import shlex
import sys
import time
from dataclasses import asdict, dataclass, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from cyclopts import Group, Parameter

from audiomix import check

from .. import datasets
from ..benchmark.rows import Row, read_rows, slug
from ..console import console, tell_unread
from ..data.split import amount
from ..training.config import Config, checked_seed

__all__ = ["Task", "bench", "plan", "refusals"]


_Several = Parameter(consume_multiple=True, negative=())


def _overrides() -> type:
    """Return the fields of `Config`, but for those that are gone through, as a dataclass; None: the preset's."""
    hints = get_type_hints(Config) | {"model_options": Annotated[tuple[str, ...], _Several]}
    entries = [(f.name, hints[f.name] | None, None) for f in fields(Config) if f.name != "labelled"]
    made = make_dataclass("Overrides", entries, namespace={"__module__": __name__})
    made.__doc__ = Config.__doc__
    return made


_CONFIGURATION = Group("Configuration of all rows (defaults: the preset's)")


def _all(_: Any) -> str:
    return "all"


def bench(
    dataset: str,
    root: Path | None = None,
    *,
    methods: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=(), show_default=_all)] = (),
    preset: str = "small",
    labelled: Annotated[tuple[str, ...], _Several] = ("10%",),
    fold: Annotated[tuple[str, ...], _Several] = ("all",),
    seed: Annotated[tuple[int, ...], _Several] = (0,),
    mixer: str | None = None,
    baseline: str | None = None,
    headline: str | None = None,
    jobs: int = 1,
    unlabelled: Path | None = None,
    out: Path | None = None,
    store: Path | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    config: Any = None,
) -> int:
    """Train methods x labels x folds x seeds and write the table: CSV, Markdown and HTML, after every run.

    Parameters
    ----------
    dataset : str
        A data set, such as esc10, folder or demo; audiomix-recipes list shows all.
    root : Path
        Folder of the data; the bundled demo needs none.
    methods : tuple
        Rows of the table, by default one for each method: METHOD[:key=value,...][+MIXER[:key=value,...]], where a key
        is an option of the method or of the configuration, as in fixmatch:threshold=0.9,steps=1200+mixup:alpha=0.3.
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
        Row that the others are compared with, by default the one of an earlier command with the same OUT, else the
        first of the method supervised.
    headline : str
        Network whose error comes first: raw (as trained; the method's own choice, e.g. a teacher) or ema (its average);
        by default that of an earlier command with the same OUT, else raw.
    jobs : int
        Runs side by side; each has its own --threads, and they share a GPU.
    unlabelled : Path
        Folder of more clips without labels, to be trained on besides those of the data set; copies of its files are
        left out.
    out : Path
        Folder of the results; by default runs/bench-DATASET-PRESET.
    store : Path
        Folder of the decoded audio; by default stores beside OUT.
    resume : bool
        Go on where an interrupted command stopped; finished runs are kept, also those of rows not named now.
    """
    check.integer("jobs", jobs, 1)
    if headline is not None:
        check.choice("headline", headline, ["raw", "ema"])
    found = datasets.get(dataset)(root)
    if unlabelled is not None:
        found = datasets.with_unlabelled(found, unlabelled)
    given = {} if config is None else {k: v for k, v in asdict(config).items() if v is not None}
    rows = read_rows(methods, preset, mixer=mixer, overrides=given, of_data=found.configs)
    if unlabelled is not None:
        rows = [replace(row, changed=True) for row in rows]
    if baseline is not None:
        check.choice("baseline", baseline, [row.text for row in rows])
    folder = out or Path("runs") / f"bench-{slug(dataset)}-{preset}"
    asked = Asked(found, rows, labelled, fold, seed, folder, store or folder.parent / "stores", preset, jobs, resume)
    command = shlex.join(["audiomix-recipes", *sys.argv[1:]])
    try:
        return _run(asked, baseline, headline, command)
    except KeyboardInterrupt:
        console.print("stopped; the same command with --resume goes on")
        return 130


_OVERRIDES = Parameter(name="*", group=_CONFIGURATION, show_default=False)
bench.__annotations__["config"] = Annotated[_overrides(), _OVERRIDES]


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    dataset: datasets.Dataset
    rows: list[Row]
    labels: tuple[str, ...]
    folds: tuple[str, ...]
    seeds: tuple[int, ...]
    out: Path
    stores: Path
    preset: str
    jobs: int
    resume: bool


@dataclass(frozen=True)
class Task:
    """One training."""

    row: Row
    config: Config
    fold: str
    seed: int
    out: Path

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.row.title}, {self.config.labelled}, fold {self.fold}, seed {self.seed}"


def plan(asked: Asked) -> tuple[list[Task], list[tuple[Task, str]]]:
    """Return the trainings in the order in which they are done, and those that are refused, each with the reason.

    Seed by seed, so that a table of all rows is there early; rows whose front end is the same follow one another.

    Raises
    ------
    ValueError
        A fold, a seed or an amount of labels that there cannot be, or every training is refused: the first reason.
    """
    from .. import algorithms
    from ..data.loader import check_folds, make_split
    from ..data.shared import front_end

    folds = check_folds(asked.dataset, () if asked.folds == ("all",) else asked.folds)
    seeds = list(dict.fromkeys(checked_seed(seed) for seed in asked.seeds))
    labels = list(dict.fromkeys(asked.labels))
    for name, values in {"seed": seeds, "labelled": labels}.items():
        if not values:
            check.fail(name, "at least one", "none")
    tasks, refused = [], []
    for seed in seeds:
        for label in labels:
            amount(label)
            for row in asked.rows:
                kind, config = algorithms.get(row.method), replace(row.config, labelled=label)
                for fold in folds:
                    out = asked.out / slug(label) / row.folder / f"fold{fold}-seed{seed}"
                    task = Task(row, config, fold, seed, out)
                    try:
                        make_split(config, asked.dataset, fold, seed, needed_by=row.method * kind.needs_unlabelled)
                        tasks.append(task)
                    except ValueError as error:
                        refused.append((task, str(error)))
    if not tasks:
        check.fail("the runs", "some that can be done", "none", f"{refused[0][0].name}: {refused[0][1]}")
    order = list(dict.fromkeys(front_end(task.config) for task in tasks))
    return sorted(tasks, key=lambda task: order.index(front_end(task.config))), refused


def refusals(tasks: list[Task], refused: list[tuple[Task, str]]) -> list[str]:
    """Return what is refused, with the reason: one line for each row and number of labels."""
    by_row: dict[tuple[str, str], list[tuple[Task, str]]] = {}
    for task, reason in refused:
        by_row.setdefault((task.row.folder, task.config.labelled), []).append((task, reason))
    lines = []
    for (row, label), found in by_row.items():
        first, reason = found[0]
        left = sum((task.row.folder, task.config.labelled) == (row, label) for task in tasks)
        alike = not left and len({why for _, why in found}) == 1
        some = f", {len(found)} of {len(found) + left} runs, the first fold {first.fold}, seed {first.seed}"
        lines.append(f"{first.row.title}, {label}{'' if alike else some}: {reason}")
    return lines


def _run(asked: Asked, baseline: str | None, headline: str | None, command: str) -> int:
    # torch and Lightning Fabric are loaded only now: --help and a slip of the pen are answered at once
    from rich.console import Console

    from ..benchmark import record as results
    from ..benchmark import tables
    from ..data.shared import Trainer, check_earlier, decode
    from ..training import run_folder as runfolder
    from ..training.run_folder import alone
    from ..training.summary import check_folders

    check_folders(asked.out, asked.stores)
    if not asked.resume and (asked.out / results.RECORD).exists():
        raise FileExistsError(f"{asked.out} holds results already: go on with --resume, or choose another --out")
    tasks, refused = plan(asked)
    failed: dict[Path, str] = {}
    impossible = refusals(tasks, refused)
    for line in impossible:
        console.print(f"cannot be done: {line}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    stores = decode(asked.dataset, [task.config for task in tasks], asked.stores)
    check_earlier(stores, tasks)
    with alone(asked.out):
        book = results.Book(asked.out).note(asked.rows, asked.labels, asked.preset, stores, command, baseline, headline)
        tell_unread(next(iter(stores.values())).errors)
        left = [task for task in tasks if runfolder.finished(task.out) is None]
        clock = _Clock(len(left))
        _warn_of_threads(asked.jobs, tasks[0].config)

        run_by_run = [f"{task.name}: {reason}" for task, reason in refused]

        def write() -> results.Shown:
            shown = results.summarise(book, baseline, headline)
            open_ = [t.name for t in tasks if t.out not in failed and runfolder.finished(t.out) is None]
            tables.write(shown, unfinished=open_, failed=[*run_by_run, *failed.values()])
            return shown

        shown = write()
        for task, outcome in Trainer.all(asked.dataset, asked.stores, left, asked.jobs):
            if not isinstance(outcome, runfolder.RunResult):
                failed[task.out] = f"{task.name}: {outcome}"
            _say(clock.line(), task, outcome)
            shown = write()
    Console().print(tables.for_terminal(shown))
    return _end(asked.out, [*impossible, *failed.values()], next(iter(stores.values())).errors)


def _end(out: Path, failed: list[str], errors: dict[str, str]) -> int:
    console.print(f"results in {out}: results.html, results.md, table.csv, results.csv", highlight=False)
    for reason in failed:
        console.print(f"not done: {reason}", style="red", highlight=False, markup=False, soft_wrap=True)
    if errors:
        from ..benchmark.record import write_errors

        path = write_errors(out, errors)
        console.print(f"{len(errors)} files could not be read: {path}", style="red", highlight=False)
    return 3 if failed or errors else 0


class _Clock:
    """How many runs are done, and how long the rest may take."""

    def __init__(self, count: int) -> None:
        self.count, self.done, self.start = count, 0, time.monotonic()

    def line(self) -> str:
        self.done += 1
        rest = (time.monotonic() - self.start) / self.done * (self.count - self.done)
        return f"[{self.done}/{self.count}, {rest / 60:.0f} min left]"


def _say(place: str, task: Task, outcome: Any) -> None:
    if isinstance(outcome, str):
        line, style = f"{place} {task.name}: {outcome}", "red"
    else:
        errors = f"error {outcome.error_last:.2f} % (EMA {outcome.error_last_ema:.2f} %), {outcome.seconds:.1f} s"
        line, style = f"{place} {task.name}: {errors}", ""
    console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)


def _warn_of_threads(jobs: int, config: Config) -> None:
    from ..training.hardware import fabric_for

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if fabric_for(config).device.type == "cpu" and jobs > 1 and jobs * config.threads > cores:
        told = f"{jobs} jobs of {config.threads} threads share {cores} cores: --threads {max(1, cores // jobs)}?"
        console.print(told, style="yellow", highlight=False)
