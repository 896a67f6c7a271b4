"""Training of the runs of the table of mixing, several in one process, and what a step of each row costs.

A run is a `SemiSupervised` of the method supervised on the one training loop; what it leaves is the probability of each
class of each clip that it is measured on, in one small file. Its folder goes once it is finished.
"""

import json
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from audiomix.audio import io
from audiomix.datasets.dataset import Dataset
from audiomix.offline.parallel import run_tasks

from ...data.loader import Data
from ...data.rows import Selected
from ...data.shared import SharedData
from ...semi_supervised.evaluate import predict_logits
from ...semi_supervised.run_spec import RunSpec
from ...semi_supervised.train import SemiSupervised, resolve
from ...training import engine
from ...training.config import Config
from ...training.distributed import autocast, fabric_for, threads
from ...training.metrics_log import MetricsRow
from ...training.run_folder import fail_damaged
from ..rows import parse_row
from .codes import decode, encode
from .plan import CHOICE_SEED, Measured, MixingRun, split_of
from .rows import BASE, GRID, MixingRow, choose_rows

__all__ = [
    "NETWORK", "Cost", "Predicted", "Trainer", "measure_choice", "read_predicted", "seconds_per_step", "time_rows",
    "write_predicted",
]  # fmt: skip

NETWORK = "ema"  # the average of the weights: of short trainings its error varies less than that of the last step


class Predicted(NamedTuple):
    """What a run leaves."""

    clips: np.ndarray  # positions of the clips in the data set, int64 (N,)
    codes: np.ndarray  # probabilities as `recipes.benchmark.mixing.codes` has them, uint8 (N, K)
    facts: dict[str, Any]  # strength, CPU seconds


class _TableRun(SemiSupervised):
    """A training that is measured once, at its end; not at all where it is `timed`."""

    predicted: Predicted
    timed = False

    def evaluate(self) -> dict[str, float]:
        """Return nothing: only the end counts."""
        return {}

    def finish(self, history: Sequence[MetricsRow]) -> None:
        """Keep the probabilities of the clips that are held out."""
        test = self.split.test[:1] if self.timed else self.split.test
        with autocast(self.fabric), torch.no_grad():
            logits = predict_logits(self.networks[NETWORK], self.data.views, Selected(self.data.kept, test))
        codes = encode(logits.double().softmax(-1).cpu())
        facts = {"cpu_seconds": history[-1]["cpu_seconds"]}
        if self.timed:
            spent = np.diff([0.0, *(row["cpu_seconds"] for row in history)])
            learned = getattr(self.algorithm, "learned", None)
            period = 1 if learned is None else learned.cost_period(self.spec.config.batch_labelled)
            facts["step_seconds"] = seconds_per_step(spent.tolist(), period)
        self.predicted = Predicted(test.numpy(), codes, facts)


def seconds_per_step(spent: Sequence[float], period: int) -> float:
    """Return the mean seconds of a step in a long training from those of its first steps.

    Parameters
    ----------
    spent : sequence of float
        Seconds of the first steps, at least two where `period` is above 1.
    period : int
        After how many steps their cost comes again. Whole periods are counted; of a longer one the first step alone
        costs more, once in a period.

    Examples
    --------
    >>> seconds_per_step([3.0, 1.0, 1.0, 3.0, 1.0], 3), seconds_per_step([11.0, 1.0, 1.0], 100)
    (1.6666666666666667, 1.1)
    """
    if period <= len(spent):
        return float(np.mean(spent[: len(spent) // period * period]))
    usual = float(np.mean(spent[1:]))
    return usual + (spent[0] - usual) / period


def _configure(run: MixingRun, given: dict[str, Any], data: Data) -> tuple[Config, dict[str, Any], str | None]:
    row = parse_row(run.row.at(run.strength), "small", overrides=given)
    config, options, _ = resolve(replace(row.config, labelled=run.label), data, row.method, row.options)
    assert config.steps is not None
    return replace(config, every=config.steps), options, row.mixer


class Trainer:
    """Trains runs one after another in this process; they share the decoded clips and their spectrograms.

    Parameters
    ----------
    dataset : Dataset
        The clips.
    stores : Path
        Folder of the decoded audio.
    given : dict
        Fields of `Config` of all rows.
    out : Path
        Folder of the table.
    """

    def __init__(self, dataset: Dataset, stores: Path, given: dict[str, Any], out: Path) -> None:
        self.shared, self.given, self.out = SharedData(dataset, stores), given, out

    @classmethod
    def train_all(
        cls, dataset: Dataset, stores: Path, given: dict[str, Any], out: Path, runs: Sequence[MixingRun], jobs: int
    ) -> Iterator[MixingRun]:
        """Yield each run once its file is written; `jobs` are trained side by side, each in a process of its own.

        Raises
        ------
        ValueError, FloatingPointError
            What a training raises: a table without a row would be another one.
        """
        results = run_tasks(cls, (dataset, stores, given, out), runs, workers=jobs, name=lambda run: run.name)
        with closing(results):
            for result in results:
                if isinstance(result.error, (ValueError, FloatingPointError)):
                    raise type(result.error)(f"{result.task.name}: {result.error}") from result.error
                result.get()
                yield result.task

    def data(self, run: MixingRun) -> Data:
        """Return the data for a run, with views of its own."""
        row = parse_row(run.row.at(run.strength), "small", overrides=self.given)
        return self.shared.get(replace(row.config, labelled=run.label))

    def __call__(self, run: MixingRun) -> None:
        """Train a run and write its file."""
        write_predicted(self.out / run.file, self._train(run, self.given))

    def time(self, run: MixingRun, steps: int) -> float:
        """Return the CPU seconds of a step of a long training, from one of so many steps; see `seconds_per_step`."""
        return self._train(run, {**self.given, "steps": steps}, timed=True).facts["step_seconds"]

    def _train(self, run: MixingRun, given: dict[str, Any], *, timed: bool = False) -> Predicted:
        data = self.data(run)
        config, options, mixer = _configure(run, given, data)
        split, names = split_of(run, config, data.dataset), len(data.dataset.class_names)
        with tempfile.TemporaryDirectory() as folder, threads(config.threads):
            data.views.fit(data.kept, split.train)
            spec = RunSpec(config, "supervised", options, mixer, run.fold, run.seed, Path(folder), True, False, names)
            recipe = _TableRun(fabric_for(config), spec, data, split)
            recipe.timed = timed
            if timed:
                recipe.log_every = 1
            engine.run(recipe.fabric, recipe, Path(folder), quiet=True)
        place = {"row": run.row.name, "strength": run.strength, "label": run.label, "fold": run.fold, "seed": run.seed}
        return recipe.predicted._replace(facts={**recipe.predicted.facts, **place})


def write_predicted(path: Path, predicted: Predicted) -> None:
    """Write what a run leaves, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(predicted.facts)
    with io.atomic_file(path) as file:
        np.savez_compressed(file, clips=predicted.clips, codes=predicted.codes,
                            facts=np.frombuffer(text.encode(), np.uint8))  # fmt: skip


def read_predicted(path: Path) -> Predicted | None:
    """Return what a run left; None where it is not finished.

    Raises
    ------
    ValueError
        The file is damaged.
    """
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            return Predicted(file["clips"], file["codes"], json.loads(file["facts"].tobytes()))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        fail_damaged(path, "the predictions of a run", f"something else ({error})", "remove it: --resume trains it")


def measure_choice(run: MixingRun, predicted: Predicted, dataset: Dataset) -> dict[str, Measured]:
    """Return what an inner training comes to, by the fold of the table that it decides for.

    Parameters
    ----------
    run : MixingRun
        One with a holdout.
    predicted : Predicted
        What it left.
    dataset : Dataset
        The clips; only classes of those that it is measured on are read.
    """
    assert run.holdout is not None
    logs = decode(predicted.codes)
    found: dict[str, Measured] = {}
    for place, i in enumerate(predicted.clips.tolist()):
        fold = run.holdout.decides(dataset.items[i].fold or "")
        label = dataset.labels[i]
        one = (1, int(int(logs[place].argmax()) != label), -float(logs[place, label]))
        before = found.get(fold, Measured(0, 0, 0.0))
        found[fold] = Measured(before.clips + one[0], before.wrong + one[1], before.nll + one[2])
    return found


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a step of a row, beside those of a plain step in between."""

    row: float
    plain: float

    @property
    def ratio(self) -> float:
        """How many times as long as a plain step it takes: an epoch has as many steps in all rows."""
        return self.row / self.plain


def time_rows(
    trainer: Trainer, rows: Sequence[MixingRow], label: str, fold: str, *, rounds: int = 2, steps: int = 8
) -> dict[str, Cost]:
    """Return what a step of each row costs, plain steps being timed between its own in this process.

    So the ratio holds on a machine that others use too. CPU seconds are counted, and the median of the rounds taken.

    Parameters
    ----------
    trainer : Trainer
        Has the data.
    rows : sequence of MixingRow
        The rows, at their strong setting.
    label, fold : str
        Labels kept and held-out fold of what is trained here.
    rounds, steps : int
        How often trainings of the two alternate, behind a first one of each that is not counted where there are several
        rounds; and steps of a training.
    """
    found: dict[str, Cost] = {}
    for row in rows:
        both = [MixingRun(one, GRID - 1, label, fold, CHOICE_SEED) for one in (row, *choose_rows([BASE]))]
        if not found and rounds == 1:  # what only a first training costs is no row's
            trainer.time(both[1], 2)
        seconds = [[trainer.time(run, steps) for run in both] for _ in range(rounds + (rounds > 1))]
        seconds = seconds[rounds > 1 :]
        found[row.name] = Cost(*(float(np.median(column)) for column in zip(*seconds)))
    return found
