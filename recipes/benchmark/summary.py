"""Several folds and seeds of one method: their training, their mean error, and its table."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from audiomix import check
from audiomix.datasets.dataset import Dataset, natural
from audiomix.report.page import Page

from .. import algorithms
from ..console import say
from ..data.loader import Data, check_folds, make_split
from ..semi_supervised.run_spec import unlabelled_needed_by
from ..semi_supervised.train import settings, train
from ..training import run_folder
from ..training.config import Config, check_seed
from ..training.run_folder import RunResult, check_folder, csv_text, lock_folder, write_text

__all__ = [
    "Summary",
    "add_table",
    "by_head",
    "check_folders",
    "check_runs",
    "describe",
    "error_name",
    "measured_text",
    "run_all",
    "summarise",
    "terminal_table",
    "write_results",
]

# Columns of results.csv with their titles; the first is the headline. What a run has not measured is not shown.
SCORES = {
    "error_last": "error, last step",
    "error_last_ema": "error, last step, EMA",
    "error_best": "error, best step",
    "error_best_ema": "error, best step, EMA",
    "macro_f1": "macro F1, last step",
    "macro_f1_ema": "macro F1, last step, EMA",
    "balanced_accuracy": "balanced accuracy, last step",
    "balanced_accuracy_ema": "balanced accuracy, last step, EMA",
    "test_error_last": "test error, last step",
    "test_error_last_ema": "test error, last step, EMA",
    "test_error_at_best": "test error, best validation step",
    "test_error_at_best_ema": "test error, best validation step, EMA",
    "test_macro_f1": "test macro F1, last step",
    "test_macro_f1_ema": "test macro F1, last step, EMA",
    "test_balanced_accuracy": "test balanced accuracy, last step",
    "test_balanced_accuracy_ema": "test balanced accuracy, last step, EMA",
}
_HEADINGS = ["%", "mean", "sd over folds", "sd over seeds"]


@dataclass(frozen=True)
class Summary:
    """One error, or another score, over several folds and seeds, in percent."""

    mean: float  # over all runs
    over_folds: float | None  # standard deviation of the folds' means over seeds; None with one fold
    over_seeds: float | None  # standard deviation of the seeds' means over folds; None with one seed


def check_folders(out: Path, store: Path) -> None:
    """Raise before any work where the folder of the results or of the decoded audio cannot be made."""
    for name, folder in {"out": out, "store": store}.items():
        check_folder(folder, name)


def check_runs(
    config: Config,
    dataset: Dataset,
    method: str,
    folds: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    options: dict[str, Any] | None = None,
) -> tuple[list[str], list[int]]:
    """Return folds (by default all) and seeds without repetitions, after all checks that need no decoding.

    Raises
    ------
    ValueError
        A fold, a seed, an option, or an amount of labels that this data set does not have.
    """
    folds, seeds = check_folds(dataset, folds), list(dict.fromkeys(check_seed(seed) for seed in seeds))
    if not seeds:
        check.fail("seed", "at least one", "none")
    algorithms.get(method)(len(dataset.class_names), **(options or {}))
    for fold in folds:
        make_split(config, dataset, fold, seeds[0], needed_by=unlabelled_needed_by(method, config))
    return folds, seeds


def run_all(
    config: Config,
    data: Data,
    method: str,
    *,
    out: Path,
    folds: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    command: str = "",
    **arguments: Any,
) -> list[RunResult]:
    """Train every fold with every seed, one after another, and write ``results.csv`` and ``results.md`` after each.

    With ``resume=True`` the finished runs of other folds and seeds in `out` are reported too.

    Parameters
    ----------
    config, data, method
        See `recipes.semi_supervised.train.train`.
    out : Path
        Holds a folder for each run.
    folds : sequence of str
        Folds to hold out; by default all of the data set's.
    seeds : sequence of int
        Seeds to run each fold with.
    command : str
        The command line, for the record.
    **arguments
        Further arguments of `recipes.semi_supervised.train.train`.

    Raises
    ------
    FileExistsError
        `out` holds results, and they are not to be resumed.
    ValueError
        See `check_runs`; a run in `out` that is to be resumed has other settings, or another command writes there.
    """
    named = {name: arguments.get(name) for name in ("options", "mixer")}
    folds, seeds = check_runs(config, data.dataset, method, folds, seeds, named["options"])
    if not arguments.get("resume") and (out / "results.csv").exists():
        raise FileExistsError(f"{out} holds results already: go on with --resume, or choose another --out")
    with lock_folder(out):
        test = arguments.get("test", False)
        runs = _read_finished_runs(out, settings(config, data, method, **named, test=test))
        for seed in seeds:
            for fold in folds:
                folder = out / f"fold{fold}-seed{seed}"
                result = train(config, data, method, out=folder, fold=fold, seed=seed, **arguments)
                runs[fold, seed] = result
                write_results(out, _in_order(runs), command)
                if not arguments.get("quiet"):
                    say(f"fold {fold}, seed {seed}: {describe(result)}")
    return _in_order(runs)


def _read_finished_runs(out: Path, now: dict[str, Any]) -> dict[tuple[str, int], RunResult]:
    """Return the finished runs in `out` by fold and seed, if their settings are those of `now`."""
    found = {}
    for folder in sorted(out.glob("fold*-seed*")):
        if (done := run_folder.read_run(folder)) is None:
            continue
        if changed := run_folder.differences(folder, now, but=("fold", "seed")):
            check.fail("the runs to resume", f"those in {out}", "; ".join(changed), "choose another --out")
        found[done.fold, done.seed] = done
    return found


def _in_order(runs: dict[tuple[str, int], RunResult]) -> list[RunResult]:
    return [runs[key] for key in sorted(runs, key=lambda key: (key[1], natural(key[0])))]


def describe(result: RunResult) -> str:
    """Return the errors of a run, with what they are measured on, and its time, in a line.

    >>> describe(RunResult("mixmatch", "1", 0, 20.0, 20.0, 19.0, 19.0, 9.0, 8.0, "runs", measured_on="validation"))
    'validation error 20.00 % (EMA 19.00 %), 9.0 s'
    """
    name, test = error_name(result.measured_on), result.test
    errors = f"{name} {result.error_last:.2f} % (EMA {result.error_last_ema:.2f} %)"
    tested = f", test error {test['error_last']:.2f} % (EMA {test['error_last_ema']:.2f} %)" if test else ""
    return f"{errors}{tested}, {result.seconds:.1f} s"


def error_name(measured_on: str) -> str:
    """Return what an error on ``test`` or ``validation`` clips is called: the latter is never called just error.

    >>> error_name("test"), error_name("validation")
    ('error', 'validation error')
    """
    return "error" if measured_on == "test" else "validation error"


def summarise(results: Iterable[RunResult], score: str) -> Summary:
    """Return mean and standard deviations of a score of runs, such as ``error_last``; see `RunResult.scores`."""
    runs = [(r.fold, r.seed, value) for r in results if (value := r.scores[score]) is not None]
    return Summary(
        mean=statistics.fmean(e for *_, e in runs),
        over_folds=_spread({fold: [e for f, _, e in runs if f == fold] for fold, *_ in runs}),
        over_seeds=_spread({seed: [e for _, s, e in runs if s == seed] for _, seed, _ in runs}),
    )


def _spread(groups: dict[Any, list[float]]) -> float | None:
    means = [statistics.fmean(values) for values in groups.values()]
    return statistics.stdev(means) if len(means) > 1 else None


def _rows(results: Sequence[RunResult]) -> list[list[str]]:
    rows = []
    on = "validation " * (results[0].measured_on == "validation")
    for name, title in SCORES.items():
        if any(r.scores.get(name) is None for r in results):
            continue
        s = summarise(results, name)
        numbers = ("-" if value is None else f"{value:.2f}" for value in (s.mean, s.over_folds, s.over_seeds))
        rows.append([title if name.startswith("test_") else f"{on}{title}", *numbers])
    return rows


def _caption(results: Sequence[RunResult]) -> str:
    folds, seeds = len({r.fold for r in results}), len({r.seed for r in results})
    seconds = statistics.fmean(r.seconds for r in results)
    partly = "" if len(results) == folds * seeds else f", {len(results)} runs"
    return (
        f"{folds} fold{'s' * (folds > 1)}, {seeds} seed{'s' * (seeds > 1)}{partly}; {seconds:.1f} s a fold. "
        f"The last step is the headline; the best is chosen on the clips it is measured on. {measured_text(results)}"
    )


def measured_text(results: Sequence[RunResult]) -> str:
    """Return a sentence that tells which clips the errors of runs are of; all runs measure on the same parts."""
    if results[0].measured_on == "test":
        return "Errors are of the test clips."
    rest = "Those of the test clips are named so." if results[0].test else "The test clips were not measured on."
    return f"Errors are of the validation clips. {rest}"


def by_head(results: Sequence[RunResult]) -> list[list[RunResult]]:
    """Return the results of the networks as trained, then those with each head that all runs have besides."""
    heads = [head for head in results[0].heads if all(head in result.heads for result in results)]
    return [[result.with_head(head) for result in results] for head in ("none", *heads)]


def add_table(page: Page, results: Sequence[RunResult]) -> None:
    """Add the table of some runs to a page."""
    page.table(_HEADINGS, _rows(results), best=[(0, column) for column in range(len(_HEADINGS))])


def terminal_table(results: Sequence[RunResult]) -> Table:
    """Return the table of some runs for the terminal."""
    table = Table(title=results[0].method, caption=_caption(results), caption_justify="left")
    for i, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="left" if i == 0 else "right")
    for i, row in enumerate(_rows(results)):
        table.add_row(*row, style="bold" if i == 0 else "")
    return table


def write_results(out: Path, results: Sequence[RunResult], command: str) -> None:
    """Write ``results.csv``, a row a run, and ``results.md``: the table, and the command line that made it if known.

    Heads that were fitted after the training have rows and a table of their own.
    """
    scores = [name for name in SCORES if all(name in r.scores for r in results)]
    page = Page(results[0].method)
    for group in (groups := by_head(results)):
        if len(groups) > 1:
            page.heading(group[0].method)
        add_table(page, group)
        page.text(_caption(group))
    if command:
        page.code(command)
    every = [result for group in groups for result in group]
    rows = [[r.method, r.fold, r.seed, r.measured_on, *map(r.scores.get, scores), r.seconds] for r in every]
    table = csv_text([["method", "fold", "seed", "measured_on", *scores, "seconds"], *rows])
    write_text(out / "results.csv", table)
    write_text(out / "results.md", page.markdown())
