"""The runs of a benchmark: rows x labels x folds x seeds, which of them are refused, and their training."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audiomix import check
from audiomix.datasets.dataset import Dataset
from audiomix.offline.parallel import WorkerDied, run_tasks

from ..data.loader import Data, check_folds, make_split, rate_and_seconds
from ..data.shared import SharedData, front_end
from ..semi_supervised.run_spec import unlabelled_needed_by
from ..semi_supervised.train import settings, train
from ..training import run_folder
from ..training.config import Config, check_seed, parse_amount
from ..training.run_folder import RunResult
from .rows import RowSpec, slug

__all__ = ["PlannedRun", "Refusals", "Trainer", "check_earlier_runs", "describe_refusals", "plan_runs"]


@dataclass(frozen=True)
class PlannedRun:
    """One training of a benchmark."""

    row: RowSpec  # the row it belongs to
    config: Config  # the row's configuration with the labels kept
    fold: str  # what is held out
    seed: int  # of labels, first weights, batches and views
    out: Path  # the run's folder
    test: bool = False  # whether it measures on the test clips too where it has validation clips

    @property
    def name(self) -> str:
        """Name of the run in messages."""
        return f"{self.row.title}, {self.config.labelled}, fold {self.fold}, seed {self.seed}"

    def settings(self, data: Data) -> dict[str, Any]:
        """Return what identifies the run on the decoded data; see `recipes.semi_supervised.train.settings`."""
        row = self.row
        named: dict[str, Any] = {"fold": self.fold, "seed": self.seed, "options": row.options, "mixer": row.mixer}
        return settings(self.config, data, row.method, **named, test=self.test)


Refusals = list[tuple[PlannedRun, str]]  # with the reason


def plan_runs(
    dataset: Dataset,
    rows: Sequence[RowSpec],
    labels: Sequence[str],
    folds: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    *,
    test: bool = False,
) -> tuple[list[PlannedRun], Refusals]:
    """Return the runs in the order in which they are trained, and those that are refused, each with the reason.

    Seed by seed, so that a table of all rows is there early; rows with the same front end follow one another.

    Parameters
    ----------
    dataset : Dataset
        The clips.
    rows : sequence of RowSpec
        The rows of the table.
    labels : sequence of str
        Labels kept: shares or numbers of clips of each class; as many tables.
    folds : sequence of str
        Folds to hold out, or ``all``.
    seeds : sequence of int
        Seeds to run each fold with.
    out : Path
        Folder of the results.
    test : bool
        Whether runs with validation clips measure on the test clips too.

    Raises
    ------
    ValueError
        A fold, a seed or an amount of labels that there cannot be, rows with other validation clips than the rest, or
        every run is refused: the first reason.
    """
    if len(parts := list(dict.fromkeys(row.config.validation for row in rows))) > 1:
        slip = "all rows are measured on the same clips: --validation"
        check.fail("the validation of the rows", "one", " and ".join(map(str, parts)), slip)
    folds = check_folds(dataset, () if tuple(folds) == ("all",) else folds)
    seeds = list(dict.fromkeys(check_seed(seed) for seed in seeds))
    labels = list(dict.fromkeys(labels))
    for name, values in {"seed": seeds, "labelled": labels}.items():
        if not values:
            check.fail(name, "at least one", "none")
    runs: list[PlannedRun] = []
    refused: Refusals = []
    for seed in seeds:
        for label in labels:
            parse_amount(label)
            for row in rows:
                config = replace(row.config, labelled=label)
                needed_by = unlabelled_needed_by(row.method, config)
                for fold in folds:
                    folder = out / slug(label) / row.folder / f"fold{fold}-seed{seed}"
                    run = PlannedRun(row, config, fold, seed, folder, test)
                    try:
                        make_split(config, dataset, fold, seed, needed_by=needed_by)
                        runs.append(run)
                    except ValueError as error:
                        refused.append((run, str(error)))
    if not runs:
        check.fail("the runs", "some that can be done", "none", f"{refused[0][0].name}: {refused[0][1]}")
    order = list(dict.fromkeys(front_end(run.config) for run in runs))
    return sorted(runs, key=lambda run: order.index(front_end(run.config))), refused


def describe_refusals(runs: Sequence[PlannedRun], refused: Refusals) -> list[str]:
    """Return a line for each row and number of labels of which runs are refused, with the reason, beside those that
    can be.
    """
    by_row: dict[tuple[str, str], Refusals] = {}
    for run, reason in refused:
        by_row.setdefault((run.row.folder, run.config.labelled), []).append((run, reason))
    lines = []
    for (row, label), found in by_row.items():
        first, reason = found[0]
        left = sum((run.row.folder, run.config.labelled) == (row, label) for run in runs)
        all_alike = not left and len({why for _, why in found}) == 1
        some = f", {len(found)} of {len(found) + left} runs, the first fold {first.fold}, seed {first.seed}"
        lines.append(f"{first.row.title}, {label}{'' if all_alike else some}: {reason}")
    return lines


def check_earlier_runs(stores: Mapping[tuple[int, float], Data], runs: Sequence[PlannedRun]) -> None:
    """Raise ValueError if the folder of a run holds one of an earlier command with other settings, which are named.

    `stores` has the decoded data, by rate in Hz and length in seconds.
    """
    source = next(iter(stores.values())).source
    for run in runs:
        if not (run.out / "config.json").is_file():
            continue
        data = stores[rate_and_seconds(run.config, source)]
        if changed := run_folder.differences(run.out, run.settings(data)):
            check.fail("the runs to resume", f"those in {run.out}", "; ".join(changed), "choose another --out")


class Trainer:
    """Trains runs on `dataset` one after another in this process; those with the same front end share prepared data.

    `stores` is the folder of the decoded audio.
    """

    def __init__(self, dataset: Dataset, stores: Path) -> None:
        self.shared = SharedData(dataset, stores)

    @classmethod
    def train_all(
        cls, dataset: Dataset, stores: Path, runs: Sequence[PlannedRun], jobs: int
    ) -> Iterator[tuple[PlannedRun, Any]]:
        """Yield each run with its result, or with the reason why there is none, as they end.

        They are begun in their order, `jobs` side by side: each in a process that keeps its data for the next, a single
        one in this process. Each has its own number of threads. A run that fails stops nothing, nor does a process.
        """
        results = run_tasks(
            cls, (dataset, stores), runs, workers=jobs, on_death="report", threads=None, name=lambda run: run.name
        )
        with closing(results):
            for result in results:
                run, outcome = result.task, result.value if result.error is None else _reason(result.error)
                del result  # an error holds all that its training had in memory
                yield run, outcome

    def __call__(self, run: PlannedRun) -> RunResult:
        """Train a run, or continue one that was interrupted."""
        row = run.row
        return train(
            run.config,
            self.shared.get(run.config),
            row.method,
            out=run.out,
            fold=run.fold,
            seed=run.seed,
            options=row.options,
            mixer=row.mixer,
            resume=True,
            quiet=True,
            test=run.test,
        )


def _reason(error: Exception) -> str:
    """Return why a training came to nothing, in a sentence where the error has one."""
    if isinstance(error, WorkerDied):
        return f"its process ended ({error.how}): fewer --jobs?"
    return str(error) if isinstance(error, (ValueError, FloatingPointError, OSError)) else repr(error)
