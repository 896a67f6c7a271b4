"""What a row of a benchmark guessed on the unlabelled clips at the end of its runs."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..training.run_folder import RunResult

__all__ = ["Guesses", "guesses"]


class Guesses(NamedTuple):
    """Means over runs of the last row of ``metrics.csv``, in percent; None where it does not tell.

    Parameters
    ----------
    right : float or None
        Guesses that are right, of all of known class.
    believed : float or None
        Guesses that are believed, of all.
    believed_right : float or None
        Those that are right, of the believed ones of known class.
    uneven : float or None
        Guesses that would have to be of another class for all classes to be guessed equally often; of the believed ones
        where not all are believed.
    """

    right: float | None
    believed: float | None
    believed_right: float | None
    uneven: float | None


def guesses(runs: Sequence[RunResult]) -> Guesses:
    """Return what the runs guessed.

    >>> last = {"guess_accuracy": 0.75, "count_cat": 3.0, "count_dog": 1.0}
    >>> guesses([RunResult("mixmatch", "1", 0, 20.0, 20.0, 20.0, 20.0, 9.0, 8.0, "runs", [last])])
    Guesses(right=75.0, believed=None, believed_right=None, uneven=25.0)
    """
    rows = [run.history[-1] for run in runs if run.history]
    named = ("guess_accuracy", "mask", "believed_accuracy")
    right, believed, believed_right = (_mean([row.get(name) for row in rows]) for name in named)
    return Guesses(right, believed, believed_right, _mean([_uneven(row) for row in rows]))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [100 * value for value in values if value is not None and not math.isnan(value)]
    return statistics.fmean(known) if known else None


def _uneven(row: Mapping[str, Any]) -> float | None:
    counts = [value for name, value in row.items() if name.startswith("count_")]
    if not (total := sum(counts)):
        return None
    return sum(max(0.0, count / total - 1 / len(counts)) for count in counts)
