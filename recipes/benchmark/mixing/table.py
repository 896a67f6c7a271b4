"""The lines of the table of mixing: error, calibration error and likelihood of each row, its gains over plain training.

All that is computed here is computed from a `MixingRecord`: from probabilities as they are committed.
"""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from audiomix import check
from audiomix.datasets.dataset import natural
from audiomix.draw import generator_for

from ..gains import Gain, adjust_gains, pair_runs
from ..intervals import crossed_means, interval_of, paired_t
from .codes import decode
from .record import MixingRecord, RunProbabilities
from .rows import BASE, ROWS

__all__ = ["BINS", "MEASURES", "MixingLine", "MixingTable", "RowGains", "compare", "measure", "run_measures"]

BINS = 15  # of the confidence, of equal width
MEASURES = ("error", "ece", "nll")  # in percent, percent and nats


@dataclass(frozen=True)
class RowGains:
    """By how much a row is better than plain training on the same folds and seeds; above 0 is better."""

    error: Gain | None  # in points
    ece: Gain | None  # in points
    nll: Gain | None  # in nats


@dataclass(frozen=True)
class MixingLine:
    """A row at one number of labels."""

    row: str
    kind: str
    label: str
    runs: int
    values: dict[str, float]  # by `MEASURES`
    over_seeds: float | None  # standard deviation of the seeds' mean errors; None with one seed
    cost: float | None  # seconds of an epoch, relative to plain; None where it was not measured
    strengths: dict[str, int]  # how many held-out folds each strength was chosen for
    gains: RowGains | None  # None of plain training itself, and without a plain run to compare with


def predictions(runs: Sequence[RunProbabilities], labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logarithms of the probabilities (N, K) of runs, one behind the other, and the classes (N,)."""
    logs = torch.cat([decode(run.codes) for run in runs])
    return logs, torch.cat([labels[torch.from_numpy(run.clips)] for run in runs])


def columns(logs: Tensor, true: Tensor) -> Tensor:
    """Return what the measures are means of, float64 (N, 2 + BINS): wrong or not, nats, confidence less right by bin.

    Parameters
    ----------
    logs : Tensor, shape (N, K)
        Logarithms of the probabilities.
    true : Tensor, shape (N,)
        Classes.
    """
    log_confidence, predicted = logs.max(1)
    confidence, wrong = log_confidence.exp(), (predicted != true).double()
    place = (confidence * BINS).ceil().long().clamp(1, BINS) - 1  # as in audiomix.measures.calibration
    gap = torch.zeros(len(true), BINS, dtype=torch.float64).scatter(
        1, place[:, None], (confidence - (1 - wrong))[:, None]
    )
    nats = -logs.gather(1, true[:, None])
    return torch.cat([wrong[:, None], nats, gap], 1)


def measures_of(means: Tensor) -> Tensor:
    """Return error in percent, expected calibration error in percent and nats, (..., 3), of means (..., 2 + BINS).

    The calibration error is of all predictions together, in bins of equal width: of 80 clips alone it would be noise.
    """
    ece = means[..., 2:].abs().sum(-1)
    return torch.stack([100 * means[..., 0], 100 * ece, means[..., 1]], -1)


def measure(runs: Sequence[RunProbabilities], labels: Tensor) -> dict[str, float]:
    """Return the measures of the predictions of runs together, by `MEASURES`; every run counts alike."""
    means = torch.stack([columns(*predictions([run], labels)).mean(0) for run in runs]).mean(0)
    return dict(zip(MEASURES, measures_of(means).tolist()))


def run_measures(run: RunProbabilities, labels: Tensor) -> dict[str, float]:
    """Return the measures of one run, by `MEASURES`."""
    return measure([run], labels)


def compare(
    base: Sequence[RunProbabilities], other: Sequence[RunProbabilities], groups: Sequence[str], labels: Tensor
) -> RowGains | None:
    """Return by how much the runs `other` are better than those of `base` with the same fold and seed.

    Error and likelihood are means over predictions. The calibration error is none, but a function of the means by bin:
    it is computed anew for every draw of folds, seeds and recordings.

    Parameters
    ----------
    base, other : sequence of RunProbabilities
        Of both rows.
    groups : sequence of str
        Recording or speaker of each clip.
    labels : Tensor, shape (N,), int64
        Classes of the clips.

    Returns
    -------
    RowGains or None
        None if no fold and seed is common, or there is nothing to draw. The bootstrap has always the same seed. The p
        values are not corrected yet.

    Raises
    ------
    ValueError
        Two runs of the same fold and seed are measured on other clips.
    """
    pairs = pair_runs(base, other)
    if not pairs:
        return None
    values, units, per_run = [], [], []
    for a, b in pairs:
        if a.clips.tolist() != b.clips.tolist():
            check.fail(f"the clips of {b.row}, fold {b.fold}, seed {b.seed}", f"those of {a.row}", "others")
        both = [columns(*predictions([run], labels)) for run in (a, b)]
        values.append(torch.cat(both, 1))
        units += [(groups[i], b.fold, b.seed) for i in a.clips.tolist()]
        per_run.append(measures_of(both[0].mean(0)) - measures_of(both[1].mean(0)))
    drawn = crossed_means(torch.cat(values), *zip(*units), generator=generator_for(0, "bootstrap"))
    if drawn is None:
        return None
    width = 2 + BINS
    mean, found = (measures_of(x[..., :width]) - measures_of(x[..., width:]) for x in drawn)
    gains: dict[str, Gain] = {}
    for i, name in enumerate(MEASURES):
        t = paired_t([float(one[i]) for one in per_run])
        gains[name] = Gain(len(pairs), interval_of(float(mean[i]), found[:, i]), t)
    return RowGains(**gains)


class MixingTable:
    """The table of one data set.

    Parameters
    ----------
    record : MixingRecord
        Its runs.
    """

    def __init__(self, record: MixingRecord) -> None:
        self.record = record

    @cached_property
    def lines(self) -> list[MixingLine]:
        """The lines, in the order of `ROWS`, by number of labels; p values hold for all rows of a number of labels."""
        known = [row.name for row in ROWS]
        names = sorted(self.record.content["rows"], key=lambda name: known.index(name) if name in known else len(known))
        found: list[MixingLine] = []
        for label in self.label_names:
            runs = {name: self._runs(name, label) for name in names}
            base = runs.get(BASE, [])
            gains = {
                name: None if name == BASE else compare(base, some, self.record.groups, self._labels)
                for name, some in runs.items()
                if some
            }
            for name, gain in _adjust(gains).items():
                found.append(self._line(name, label, runs[name], gain))
        return found

    @property
    def label_names(self) -> list[str]:
        """Numbers of labels: shares and numbers of clips, from many to few."""
        return sorted({run.label for run in self.record.runs}, key=natural, reverse=True)

    @cached_property
    def _labels(self) -> Tensor:
        return torch.tensor(self.record.labels, dtype=torch.int64)

    def _runs(self, row: str, label: str) -> list[RunProbabilities]:
        found = [run for run in self.record.runs if (run.row, run.label) == (row, label)]
        return sorted(found, key=lambda run: (run.seed, natural(run.fold)))

    def _line(self, row: str, label: str, runs: list[RunProbabilities], gains: RowGains | None) -> MixingLine:
        content = self.record.content
        by_seed: dict[int, list[float]] = {}
        for run in runs:
            by_seed.setdefault(run.seed, []).append(run_measures(run, self._labels)["error"])
        means = [statistics.fmean(errors) for errors in by_seed.values()]
        cost = content["costs"].get(row)
        own = content["rows"][row]
        chosen = Counter(own["strengths"][strength] for _, strength in {(run.fold, run.strength) for run in runs})
        return MixingLine(
            row=row,
            kind=own["kind"],
            label=label,
            runs=len(runs),
            values=measure(runs, self._labels),
            over_seeds=statistics.stdev(means) if len(means) > 1 else None,
            cost=None if cost is None else cost[0] / cost[1],
            strengths={value: chosen[value] for value in own["strengths"] if chosen[value]},
            gains=gains,
        )


def _adjust(gains: dict[str, RowGains | None]) -> dict[str, RowGains | None]:
    """Return the gains with p values that hold for all rows together (Holm), each measure by itself."""
    found = dict(gains)
    for name in MEASURES:
        adjusted = adjust_gains({row: None if gain is None else getattr(gain, name) for row, gain in gains.items()})
        for row, gain in adjusted.items():
            own = found[row]
            if own is not None:
                found[row] = replace(own, **{name: gain})
    return found
