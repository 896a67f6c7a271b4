"""The gain of a row of a benchmark over another on the same clips, with both intervals and the verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch

from audiomix import check
from audiomix.draw import generator_for

from ..training.run_folder import RunResult
from .intervals import FEW_RUNS, Interval, adjust_for_rows, crossed_bootstrap, paired_t, wider

__all__ = ["NETWORKS", "Gain", "RunPredictions", "adjust_gains", "compare_runs", "pair_runs"]

NETWORKS = {"raw": "", "ema": "_ema"}  # with the suffix of their fields of `RunResult`
_LEVEL = 0.05  # of all verdicts of a table together
_Key = TypeVar("_Key")


class _Run(Protocol):
    @property
    def fold(self) -> str: ...
    @property
    def seed(self) -> int: ...


_AnyRun = TypeVar("_AnyRun", bound=_Run)


def pair_runs(base: Sequence[_AnyRun], other: Sequence[_AnyRun]) -> list[tuple[_AnyRun, _AnyRun]]:
    """Return the runs of two rows that have fold and seed in common, in the order of `other`.

    Parameters
    ----------
    base, other : sequence of runs
        Each with a `fold` and a `seed`, of which no two of a row have the same.
    """
    bases = {(run.fold, run.seed): run for run in base}
    return [(bases[run.fold, run.seed], run) for run in other if (run.fold, run.seed) in bases]


class RunPredictions(NamedTuple):
    """The predictions of a run on the clips that it measures on; int64 arrays (N,), clip by clip."""

    clips: np.ndarray  # positions of the clips in the record's list
    true: np.ndarray  # their classes
    raw: np.ndarray  # classes that the network predicts
    ema: np.ndarray  # classes that its average predicts


@dataclass(frozen=True)
class Gain:
    """By how many points the error of a row is lower than that of the baseline."""

    runs: int  # pairs of runs of the same fold and seed
    bootstrap: Interval | None  # over recordings, folds and seeds; None where there is nothing to draw
    t: Interval | None  # over runs; None for a single one
    p: float | None = None  # of the interval that is used, corrected for the rows of the table; see `adjust_gains`

    @property
    def used(self) -> Interval | None:
        """The interval of the verdict: the bootstrap's; with fewer than 10 pairs of runs the wider one of the two."""
        if self.runs >= FEW_RUNS and self.bootstrap is not None:
            return self.bootstrap
        return wider(self.bootstrap, self.t)

    @property
    def name(self) -> str:
        """Which interval is used: ``bootstrap`` or ``t``; empty without one."""
        return "" if self.used is None else "bootstrap" if self.used is self.bootstrap else "t"

    @property
    def verdict(self) -> str:
        """Whether the corrected p value shows a gain: ``gain``, ``worse`` or ``no gain shown``; empty without one."""
        if self.used is None or self.p is None:
            return ""
        if self.p >= _LEVEL:
            return "no gain shown"
        return "gain" if self.used.mean > 0 else "worse"


def compare_runs(
    base: Sequence[RunResult],
    other: Sequence[RunResult],
    predictions: Mapping[tuple[str, str], RunPredictions],
    groups: Sequence[str],
    network: str,
) -> Gain | None:
    """Return the gain of the runs of a row over those of another, on the folds and seeds of both.

    Parameters
    ----------
    base, other : sequence of RunResult
        The runs of both rows.
    predictions : mapping of (str, str) to RunPredictions
        The predictions of each run, by its folder and what it is reported as.
    groups : sequence of str
        Recording or speaker of each clip.
    network : str
        ``raw`` or ``ema``.

    Returns
    -------
    Gain or None
        None if no fold and seed is common, or nothing can be said beyond the runs' own clips. The bootstrap has always
        the same seed. The p value is not corrected yet.

    Raises
    ------
    ValueError
        Two runs of the same fold and seed are measured on other clips.
    """
    pairs = pair_runs(base, other)
    if not pairs:
        return None
    differences, clips, means = [], [], []
    for a, b in pairs:
        own, theirs = predictions[a.folder, a.method], predictions[b.folder, b.method]
        if not np.array_equal(own.clips, theirs.clips) or a.measured_on != b.measured_on:
            check.fail(f"the clips that {b.folder} is measured on", f"those of {a.folder}", "others")
        wrong = [(getattr(one, network) != one.true).astype(np.int64) for one in (own, theirs)]
        differences.append(wrong[0] - wrong[1])
        clips.append(own.clips)
        means.append(100 * float(differences[-1].mean()))
    sizes = [len(some) for some in clips]
    folds = [run.fold for (_, run), size in zip(pairs, sizes) for _ in range(size)]
    seeds = [run.seed for (_, run), size in zip(pairs, sizes) for _ in range(size)]
    recordings = [groups[i] for some in clips for i in some.tolist()]
    d = torch.from_numpy(np.concatenate(differences))
    bootstrap = crossed_bootstrap(d, recordings, folds, seeds, generator=generator_for(0, "bootstrap"))
    t = paired_t(means)
    return None if bootstrap is None and t is None else Gain(len(pairs), bootstrap, t)


def adjust_gains(gains: Mapping[_Key, Gain | None]) -> dict[_Key, Gain | None]:
    """Return the gains of the rows of one table with p values that hold for all of them together (Holm)."""
    known = {key: gain for key, gain in gains.items() if gain is not None and gain.used is not None}
    p = adjust_for_rows([gain.used.p for gain in known.values() if gain.used is not None])
    return dict(gains) | {key: replace(gain, p=value) for (key, gain), value in zip(known.items(), p)}
