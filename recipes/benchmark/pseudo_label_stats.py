"""Statistics of the pseudo-labels on the unlabelled clips at the end of the runs of a row."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..training.run_folder import RunResult

__all__ = ["COLUMNS", "PseudoLabelStats", "pseudo_label_stats"]


# Columns of metrics.csv; besides them those of the classes, ``count_CLASS``, are read.
COLUMNS = ("guess_accuracy", "mask", "believed_accuracy", "outlier_mask")


class PseudoLabelStats(NamedTuple):
    """Means over runs of the last row of ``metrics.csv``, in percent; None where it has no such column."""

    correct: float | None  # correct pseudo-labels, of all whose true class is known
    accepted: float | None  # pseudo-labels that are accepted, of all
    accepted_correct: float | None  # correct pseudo-labels, of the accepted ones whose true class is known
    # pseudo-labels that would have to be of another class for all classes to be equally frequent; of the accepted ones
    # where not all are accepted
    imbalance: float | None
    outliers: float | None  # pseudo-labels that are accepted, of those on clips of classes that the task does not have


def pseudo_label_stats(runs: Sequence[RunResult]) -> PseudoLabelStats:
    """Return the statistics of the runs of one row.

    >>> last = {"guess_accuracy": 0.75, "count_cat": 3.0, "count_dog": 1.0}
    >>> pseudo_label_stats([RunResult("mixmatch", "1", 0, 20.0, 20.0, 20.0, 20.0, 9.0, 8.0, "runs", [last])])
    PseudoLabelStats(correct=75.0, accepted=None, accepted_correct=None, imbalance=25.0, outliers=None)
    """
    rows = [run.history[-1] for run in runs if run.history]
    correct, accepted, accepted_correct, outliers = (_mean([row.get(name) for row in rows]) for name in COLUMNS)
    imbalance = _mean([_imbalance(row) for row in rows])
    return PseudoLabelStats(correct, accepted, accepted_correct, imbalance, outliers)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [100 * value for value in values if value is not None and not math.isnan(value)]
    return statistics.fmean(known) if known else None


def _imbalance(row: Mapping[str, Any]) -> float | None:
    counts = [value for name, value in row.items() if name.startswith("count_")]
    if not (total := sum(counts)):
        return None
    return sum(max(0.0, count / total - 1 / len(counts)) for count in counts)
