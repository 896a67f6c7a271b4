"""Whether one method errs less than another: the difference of their errors, with a bootstrap interval."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from audiomix import check, draw

__all__ = ["Interval", "paired_bootstrap"]

_CHUNK = 500  # draws at a time: bounds the memory to 500 numbers a group


class Interval(NamedTuple):
    """A mean with its 95 % interval, in percent."""

    mean: float  # of the clips as they are
    low: float  # 2.5 % of the draws lie below
    high: float  # 2.5 % of the draws lie above


def paired_bootstrap(
    errors_a: Tensor, errors_b: Tensor, groups: Sequence[Any], *, draws: int = 10000, generator: draw.Generator = None
) -> Interval:
    r"""Return how much higher the error of A is than that of B on the same clips, with its 95 % interval.

    .. math:: 100 \, \frac{\sum_{g \in G^*} \sum_{i \in g} (a_i - b_i)}{\sum_{g \in G^*} n_g}

    G* are as many groups as there are, drawn with replacement: the clips of one recording or speaker are not
    independent of one another, and neither is one clip in the runs of several seeds. B is better than A if the lower
    bound is above 0. Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3 (percentile
    interval).

    Parameters
    ----------
    errors_a : Tensor, shape (N,)
        1 where a prediction of A is wrong, else 0.
    errors_b : Tensor, shape (N,)
        The same of B, on the same clips, folds and seeds in the same order.
    groups : sequence of N
        Recording or speaker of each prediction.
    draws : int
        Number of bootstrap draws.
    generator : torch.Generator, optional
        Source of the draws.

    Raises
    ------
    ValueError
        Not as many predictions of A as of B or as groups, or a single group: one recording gives no interval.

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
    gains = zeros.index_add(0, member, errors_a.cpu().double() - errors_b.cpu().double())
    size = member.bincount().double()
    means = []
    for count in torch.ones(draws).split(_CHUNK):
        drawn = draw.integers(torch.full((len(count), len(number)), len(number)), generator=generator)
        means.append(gains[drawn].sum(1) / size[drawn].sum(1))
    low, high = torch.cat(means).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Interval(100 * float(gains.sum()) / len(member), 100 * low, 100 * high)
