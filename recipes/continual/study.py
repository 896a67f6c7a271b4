"""All methods, folds and seeds on one data set, and their table."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from audiomix import check
from audiomix.report.page import Page

from ..console import say
from ..data.loader import Data, check_folds
from ..training.config import Config, check_seed
from ..training.run_folder import differences, lock_folder, read_result, write_csv, write_text
from .methods import METHODS, read_method
from .settings import ContinualSettings
from .train import ContinualResult, run_identity, train

__all__ = ["run_all", "table", "write_results"]

_HEADINGS = [
    "method", "accuracy after the last task", "forgetting", "mean over the tasks", "less plain", "runs", "CPU s",
]  # fmt: skip

_OTHER_OUT = "choose another --out"


def run_all(
    config: Config,
    settings: ContinualSettings,
    data: Data,
    *,
    methods: Sequence[str],
    folds: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    resume: bool = False,
    quiet: bool = False,
    command: str = "",
) -> list[ContinualResult]:
    """Train every method with every seed on every fold; write ``results.csv``, ``.md`` and ``.html`` after each.

    When a command goes on in a folder, the finished trainings that are there stay in its tables, those of methods,
    folds and seeds that this command does not name too.

    Parameters
    ----------
    config, settings, data
        See `recipes.continual.train.train`.
    methods, folds, seeds : sequence
        What to train; no fold means all.
    out : Path
        Holds a folder for each training.
    resume, quiet : bool
        Go on with what is in `out`, keeping trainings that are finished; show no progress.
    command : str
        The command line, for the record: ``commands.txt`` has those of all commands that wrote into `out`.

    Returns
    -------
    list of ContinualResult
        All that the tables show, by seed, fold and method, in whatever order they were trained.

    Raises
    ------
    FileExistsError
        `out` holds results, and they are not to be resumed.
    ValueError
        An argument that is refused; trainings in `out` that have other settings, which no table can hold beside these;
        or another command writes into `out`.
    """
    for method in methods:
        read_method(method)
    if not methods or not seeds:
        check.fail("method and seed", "one of each at least", "none")
    folds, seeds = check_folds(data.dataset, folds), list(dict.fromkeys(check_seed(seed) for seed in seeds))
    if not resume and (out / "results.csv").exists():
        raise FileExistsError(f"{out} holds results already: go on with --resume, or choose another --out")
    with lock_folder(out):
        results = _read_finished(config, settings, data, out) if resume else []
        commands = _add_command(out, command, resume=resume)
        for seed in seeds:
            for fold in folds:
                for method in dict.fromkeys(methods):
                    folder = out / f"{method}-fold{fold}-seed{seed}"
                    how: dict[str, Any] = {"fold": fold, "seed": seed, "resume": resume, "quiet": quiet}
                    found = train(config, settings, data, method, out=folder, **how)
                    results = _sort_results([*(r for r in results if _key(r) != _key(found)), found], data)
                    write_results(out, results, settings, commands)
                    if not quiet:
                        shown = f"{found.average_accuracy:.1f} % after the last task, forgetting {found.forgetting:.1f}"
                        say(f"{method}, fold {fold}, seed {seed}: {shown}, {found.seconds:.0f} s")
    return results


def _key(result: ContinualResult) -> tuple[str, str, int]:
    return result.method, result.fold, result.seed


def _sort_results(results: Sequence[ContinualResult], data: Data) -> list[ContinualResult]:
    folds, methods = list(data.dataset.folds), list(METHODS)
    return sorted(results, key=lambda r: (r.seed, folds.index(r.fold), methods.index(r.method)))


def _read_finished(config: Config, settings: ContinualSettings, data: Data, out: Path) -> list[ContinualResult]:
    """Return the results of the finished trainings in a folder; those of other settings are refused."""
    found = []
    for path in sorted(out.glob("*-fold*-seed*/result.json")):
        result = read_result(path.parent, ContinualResult)
        assert result is not None
        method, fold, seed = _key(result)
        own = run_identity(config, settings, data, method=method, fold=fold, seed=seed)
        if changed := differences(path.parent, own):
            check.fail("the results to resume", f"of one kind with {path.parent}", "; ".join(changed), _OTHER_OUT)
        found.append(result)
    return _sort_results(found, data)


def _add_command(out: Path, command: str, *, resume: bool) -> str:
    """Return the lines of ``commands.txt``, with this command behind those before it; write it."""
    path = out / "commands.txt"
    before = path.read_text(encoding="utf-8").splitlines() if resume and path.is_file() else []
    lines = list(dict.fromkeys([*before, *([command] if command else [])]))
    if lines:
        write_text(path, "\n".join(lines) + "\n")
    return "\n".join(lines)


def table(results: Sequence[ContinualResult], settings: ContinualSettings) -> Table:
    """Return the results as a table for the terminal."""
    shown = Table(caption=_caption(results, settings), caption_justify="left")
    for i, heading in enumerate(_HEADINGS):
        shown.add_column(heading, justify="left" if i == 0 else "right")
    for row in _rows(results):
        shown.add_row(*row)
    return shown


def write_results(
    out: Path, results: Sequence[ContinualResult], settings: ContinualSettings, command: str = ""
) -> None:
    """Write ``results.csv``, a row a training, and the table as ``results.md`` and ``results.html``.

    `command` has the command lines that trained them, below each other.
    """
    columns = ["method", "fold", "seed", "average_accuracy", "forgetting", "seconds", "cpu_seconds"]
    rows = [{name: value for name, value in asdict(r).items() if name in columns} for r in results]
    for row, r in zip(rows, results):
        row |= {f"accuracy_{k + 1}": accuracy for k, accuracy in enumerate(r.accuracy[-1])}
        row |= {f"seen_{k + 1}": accuracy for k, accuracy in enumerate(r.seen_accuracy)}
    write_csv(out / "results.csv", rows, [*columns, *(name for name in rows[0] if name not in columns)])
    page = Page("Classes that come task by task")
    page.table(_HEADINGS, _rows(results))
    page.text(_caption(results, settings))
    if command:
        page.code(command)
    write_text(out / "results.md", page.markdown())
    write_text(out / "results.html", page.html())


def _rows(results: Sequence[ContinualResult]) -> list[list[str]]:
    plain = {(r.fold, r.seed): r.average_accuracy for r in results if r.method == "plain"}
    rows = []
    for method in dict.fromkeys(r.method for r in results):
        runs = [r for r in results if r.method == method]
        gains = [r.average_accuracy - plain[r.fold, r.seed] for r in runs if (r.fold, r.seed) in plain]
        against = "" if method == "plain" or not gains else f"{statistics.fmean(gains):+.1f}{_error(gains)}"
        cells = [_spread([r.average_accuracy for r in runs]), _spread([r.forgetting for r in runs])]
        cells += [_spread([statistics.fmean(r.seen_accuracy) for r in runs]), against, str(len(runs))]
        rows.append([method, *cells, f"{statistics.fmean(r.cpu_seconds for r in runs):.0f}"])
    return rows


def _spread(values: list[float]) -> str:
    sd = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{sd}"


def _error(values: list[float]) -> str:
    return f" ± {statistics.stdev(values) / math.sqrt(len(values)):.1f}" if len(values) > 1 else ""


def _caption(results: Sequence[ContinualResult], settings: ContinualSettings) -> str:
    classes = "; ".join(" and ".join(task) for task in results[0].classes)
    folds, seeds = len({r.fold for r in results}), len({r.seed for r in results})
    return (
        f"In percent. {settings.tasks} tasks ({classes} with seed {results[0].seed}), {settings.steps} steps each of "
        f"{settings.batch} clips of the task and {settings.replay} of a memory of {settings.memory} clips a class: the "
        "same clips in the same views for all methods, not the same work. Accuracy after the last task is the mean "
        "over the tasks, among all classes; forgetting is how much better it was at its best, for the earlier tasks; "
        "the mean over the tasks is of the accuracy on all classes so far. ± is the standard deviation over folds and "
        f"seeds ({folds} and {seeds}), of 'less plain' the standard error of the paired differences: folds share "
        "training clips, so that it is too small."
    )
