"""What a run's predictions come to: error, calibration, confusion, and whether one method beats another.

Errors and calibration errors are in percent.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from audiomix import check, draw

__all__ = [
    "Interval",
    "class_errors",
    "confusion",
    "error_rate",
    "expected_calibration_error",
    "paired_bootstrap",
    "summary",
]

_CHUNK = 500  # draws at a time: bounds the memory to 500 numbers a group


def error_rate(predicted: Tensor, labels: Tensor) -> float:
    """Return the share of wrong predictions, in percent.

    >>> error_rate(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 2]))
    33.333333333333336
    """
    check.batch("predicted", predicted, len(labels), ndim=1)
    return 100 * int((predicted != labels).sum()) / len(labels)


def expected_calibration_error(probabilities: Tensor, labels: Tensor, *, bins: int = 15) -> float:
    r"""Return how far confidence is from accuracy, in percent.

    .. math:: \mathrm{ECE} = 100 \sum_b \frac{n_b}{N} \, | \mathrm{acc}_b - \mathrm{conf}_b |

    Bin b holds the n_b clips whose largest probability is in (b / bins, (b + 1) / bins]; Guo et al., "On Calibration
    of Modern Neural Networks", ICML 2017, equation 3.

    Parameters
    ----------
    probabilities : Tensor, shape (N, K)
    labels : Tensor, shape (N,), int64
    bins : int

    Raises
    ------
    ValueError
        A row that is no distribution: logits, say.

    Examples
    --------
    Three clips with 0.8, of which two are right:

    >>> round(expected_calibration_error(torch.tensor([[0.8, 0.2]] * 3), torch.tensor([0, 0, 1])), 2)
    13.33
    """
    check.batch("probabilities", probabilities, len(labels))
    check.integer("bins", bins, 1)
    p = check.finite("probabilities", probabilities.double())
    if bool((p < 0).any()) or bool(((p.sum(-1) - 1).abs() > 0.02).any()):
        check.fail("probabilities", "rows that add up to 1", "others", "logits? take their softmax")
    confidence, predicted = p.max(-1)
    right = (predicted == labels).double()
    where = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gap = torch.zeros(bins, dtype=torch.float64, device=p.device).index_add_(0, where, right - confidence)
    return 100 * float(gap.abs().sum()) / len(labels)


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return how many clips of each class (row) were taken for each class (column); int64, (classes, classes).

    >>> confusion(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 2)
    tensor([[1, 1],
            [0, 1]])
    """
    check.batch("predicted", predicted, len(labels), ndim=1)
    return (labels * classes + predicted).bincount(minlength=classes * classes).view(classes, classes)


def class_errors(matrix: Tensor) -> list[float | None]:
    """Return the error of each class in percent, from a confusion matrix; None for a class without clips.

    >>> class_errors(torch.tensor([[1, 1], [0, 0]]))
    [50.0, None]
    """
    right, all_of = matrix.diagonal().tolist(), matrix.sum(1).tolist()
    return [100 * (n - r) / n if n else None for r, n in zip(right, all_of)]


def summary(probabilities: Tensor, predicted: Tensor, labels: Tensor) -> dict[str, Any]:
    """Return calibration error, errors by class and confusion of one network, for JSON."""
    matrix = confusion(predicted, labels, probabilities.shape[-1])
    ece = expected_calibration_error(probabilities, labels)
    return {"ece": ece, "class_errors": class_errors(matrix), "confusion": matrix.tolist()}


class Interval(NamedTuple):
    """A mean and the bounds between which it lies in 95 % of the draws, in percent."""

    mean: float
    low: float
    high: float


def paired_bootstrap(
    errors_a: Tensor,
    errors_b: Tensor,
    groups: Sequence[Any],
    *,
    draws: int = 10000,
    generator: draw.Generator = None,
) -> Interval:
    r"""Return by how much A errs more than B on the same clips, with its 95 % interval.

    .. math:: 100 \, \frac{\sum_{g \in G^*} \sum_{i \in g} (a_i - b_i)}{\sum_{g \in G^*} n_g}

    G* are as many groups as there are, drawn with replacement: the clips of one recording or speaker are not
    independent of one another, and neither is one clip in the runs of several seeds. B beats A if the lower bound is
    above 0. Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3 (percentile interval).

    Parameters
    ----------
    errors_a, errors_b : Tensor, shape (N,)
        1 where a prediction is wrong, else 0: of the same clips, folds and seeds in the same order.
    groups : sequence of N
        The recording each prediction belongs to.
    draws : int
    generator : torch.Generator, optional

    Raises
    ------
    ValueError
        Other clips in A than in B, or a single group: nothing can be said from one recording.

    Examples
    --------
    >>> a, b = torch.tensor([1, 1, 0, 1]), torch.tensor([0, 1, 0, 0])
    >>> paired_bootstrap(a, b, ["x", "y", "y", "z"], generator=draw.generator_for(0, "bootstrap")).mean
    50.0
    """
    check.batch("errors_a", errors_a, ndim=1)
    check.batch("errors_b", errors_b, len(errors_a), ndim=1)
    check.integer("draws", draws, 1)
    if len(groups) != len(errors_a):
        check.fail("groups", f"one for each of {len(errors_a)} predictions", len(groups))
    number = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    if len(number) < 2:
        check.fail("groups", "at least two recordings", "one: the clips' own names where nothing is known of them?")
    member = torch.tensor([number[name] for name in groups])
    zeros = torch.zeros(len(number), dtype=torch.float64)
    gained = zeros.index_add(0, member, errors_a.cpu().double() - errors_b.cpu().double())
    size = member.bincount().double()
    means = []
    for count in torch.ones(draws).split(_CHUNK):
        drawn = draw.integers(torch.full((len(count), len(number)), len(number)), generator=generator)
        means.append(gained[drawn].sum(1) / size[drawn].sum(1))
    low, high = torch.cat(means).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Interval(100 * float(gained.sum()) / len(member), 100 * low, 100 * high)
