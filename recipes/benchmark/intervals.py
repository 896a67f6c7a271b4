"""Whether one method errs less than another: the difference of their errors, with intervals and p values."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from scipy import stats
from torch import Tensor

from audiomix import check, draw

__all__ = ["FEW_RUNS", "Interval", "adjust_for_rows", "crossed_bootstrap", "paired_t", "wider"]

# With fewer runs than this percentiles are too narrow: see tests/recipes/benchmark/test_intervals.py
FEW_RUNS = 10
_FOLDS = 5  # from which recordings are drawn with their fold
_CHUNK = 500  # draws at a time: bounds the memory


class Interval(NamedTuple):
    """A mean difference with its 95 % interval, in percent, and the p value of the hypothesis that it is 0."""

    mean: float  # over the runs as they are
    low: float  # the difference is above this with 97.5 %
    high: float  # and below this with 97.5 %
    p: float  # two-sided, of this difference alone


def crossed_bootstrap(
    differences: Tensor,
    recordings: Sequence[Hashable],
    folds: Sequence[Hashable],
    seeds: Sequence[Hashable],
    *,
    draws: int = 10000,
    generator: draw.Generator = None,
) -> Interval | None:
    r"""Return the mean of paired differences over runs, with an interval for other recordings, folds and seeds.

    .. math:: \bar d^* = \frac{\sum_{f,s} u_f v_s \, d^*_{f,s}}{\sum_{f,s} u_f v_s}, \qquad
              d^*_{f,s} = 100 \, \frac{\sum_i w_{r(i)} d_i}{\sum_i w_{r(i)}}

    d_i is the difference of a clip i in the run of fold f and seed s, r(i) its recording or speaker. How often each
    fold, seed and recording is drawn (u, v, w) is drawn for each of the three factors by itself, and multiplied: Owen
    and Eckles, "Bootstrapping data arrays of arbitrary order", AOAS 2012, section 3. All runs of a seed share v and all
    runs of a fold share u: what they have in common is not taken for evidence of several.

    Recordings that lie in one fold each are drawn with their fold, whole (w is 1), if there are five folds: drawing
    them again within the drawn folds would count their variance three times (Davison and Hinkley, "Bootstrap Methods
    and their Application", 1997, section 3.8). Where there are fewer folds, which tell too little of others, or
    recordings are in several folds, as validation clips are, w is drawn.

    Of n folds, seeds or recordings n - 1 are drawn with replacement: the variance of a mean is then that of n units
    without bias, where n draws give (n - 1) / n of it, two thirds for three seeds (Rao and Wu, "Resampling inference
    with complex survey data", JASA 1988, section 2). What differs from run to run without a cause in its fold, its seed
    or its recordings is counted three times: no bootstrap of crossed factors is exact (McCullagh, "Resampling and
    exchangeable arrays", Bernoulli 2000), and this one is rather too wide than too narrow. A factor of which there is
    one value is not drawn: nothing is known of others.

    In a simulation (400 trials a case, in which recordings, folds, seeds or runs differ) the interval holds the truth
    in 94 to 99 % of the trials of five folds and three seeds, but in 91 % with two seeds where these differ most, and
    in 93 % of ten folds with one seed; see tests/recipes/benchmark/test_intervals.py.

    The bounds are percentiles. p is twice the share of the draws on the far side of 0, at least 2 / (draws + 1).

    Parameters
    ----------
    differences : Tensor, shape (N,)
        For each prediction: 1 where A alone is wrong, -1 where B alone is wrong, else 0.
    recordings, folds, seeds : sequence of N
        Recording or speaker of each prediction's clip, and fold and seed of its run.
    draws : int
        Number of draws.
    generator : torch.Generator, optional
        Source of the draws.

    Returns
    -------
    Interval or None
        None where there is one recording, one fold and one seed: nothing can be drawn.

    Raises
    ------
    ValueError
        Not as many recordings, folds or seeds as differences.

    Examples
    --------
    >>> d = torch.tensor([1, 0, 0, 1, 1, 1, 0, 1])
    >>> found = crossed_bootstrap(d, "xxyzxxyz", "11221122", "00001111", generator=draw.generator_for(0, "bootstrap"))
    >>> found.mean
    62.5
    """
    check.batch("differences", differences, ndim=1)
    check.integer("draws", draws, 1)
    for name, values in {"recordings": recordings, "folds": folds, "seeds": seeds}.items():
        if len(values) != len(differences):
            check.fail(name, f"one for each of {len(differences)} predictions", len(values))
    (of_recording, r), (of_fold, f), (of_seed, s) = (_number(values) for values in (recordings, folds, seeds))
    if max(r, f, s) < 2:
        return None
    cell = (of_recording * f + of_fold) * s + of_seed
    sums, sizes = (
        torch.zeros(r * f * s, dtype=torch.float64).index_add(0, cell, values.double()).view(r, f * s)
        for values in (differences.cpu(), torch.ones(len(differences)))
    )
    nested = f >= _FOLDS and bool(((sizes.view(r, f, s).sum(2) > 0).sum(1) == 1).all())
    if nested:
        sums, sizes = sums.sum(0, keepdim=True), sizes.sum(0, keepdim=True)
    mean = 100 * float((sums.sum(0) / sizes.sum(0)).nanmean())  # a fold need not have run with every seed
    means = []
    for some in torch.ones(draws).split(_CHUNK):
        u, v, w = (_draw_weights(len(some), n, generator) for n in (f, s, 1 if nested else r))
        run, size = (w @ totals for totals in (sums, sizes))  # (draws, runs)
        weight = (u[:, :, None] * v[:, None, :]).flatten(1) * (size > 0)
        means.append((weight * run / size.clamp(min=1)).sum(1) / weight.sum(1))
    found = 100 * torch.cat(means)
    found = found[found.isfinite()]  # folds and seeds may be drawn that have no run, or none of the recordings
    low, high = found.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    beyond = min(int((found <= 0).sum()), int((found >= 0).sum()))
    return Interval(mean, low, high, min(1.0, 2 * (beyond + 1) / (len(found) + 1)))


def _number(values: Sequence[Hashable]) -> tuple[Tensor, int]:
    """Return the number of each value among the different ones, int64 (N,), and how many there are."""
    numbers = {value: i for i, value in enumerate(dict.fromkeys(values))}
    return torch.tensor([numbers[value] for value in values]), len(numbers)


def _draw_weights(draws: int, units: int, generator: draw.Generator) -> Tensor:
    """Return how often each unit is drawn, float64 (draws, units): one less than there are, with replacement."""
    if units == 1:
        return torch.ones(draws, 1, dtype=torch.float64)
    drawn = draw.integers(torch.full((draws, units - 1), units), generator=generator)
    ones = torch.ones(drawn.shape, dtype=torch.float64)
    return torch.zeros(draws, units, dtype=torch.float64).scatter_add(1, drawn, ones)


def paired_t(differences: Sequence[float]) -> Interval | None:
    """Return the mean of the runs' differences, with the interval and the p value of Student's paired t test.

    Runs are taken for independent of one another: recordings and seeds that they share are not seen.

    Parameters
    ----------
    differences : sequence of float
        Difference of two errors in percent, of each run.

    Returns
    -------
    Interval or None
        None for a single run.

    Examples
    --------
    The sleep data of Student, "The probable error of a mean", Biometrika 1908:

    >>> found = paired_t([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
    >>> [round(value, 4) for value in found]
    [1.58, 0.7001, 2.4599, 0.0028]
    """
    if len(differences) < 2:
        return None
    x = torch.tensor(differences, dtype=torch.float64)
    mean, error = float(x.mean()), float(x.std()) / len(x) ** 0.5
    reach = float(stats.t.ppf(0.975, len(x) - 1)) * error
    if error == 0:
        return Interval(mean, mean, mean, float(mean == 0))
    return Interval(mean, mean - reach, mean + reach, float(2 * stats.t.sf(abs(mean) / error, len(x) - 1)))


def wider(one: Interval | None, other: Interval | None) -> Interval | None:
    """Return the one of two intervals with the larger p value, which claims less; one alone where the other is None.

    >>> wider(Interval(5, 1, 9, 0.01), Interval(5, -1, 11, 0.08)).low
    -1
    """
    known = [interval for interval in (one, other) if interval is not None]
    return max(known, key=lambda interval: (interval.p, interval.high - interval.low)) if known else None


def adjust_for_rows(p_values: Sequence[float]) -> list[float]:
    r"""Return p values that hold for all rows of a table together, in the order of `p_values`: Holm's step-down.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \, \min\big(1, (m - j + 1) \, p_{(j)}\big)

    for the m values in ascending order. If all rows below 0.05 are claimed, any of the claims is false with 5 % at
    most, whatever the rows have in common. Holm, "A simple sequentially rejective multiple test procedure",
    Scandinavian Journal of Statistics 1979.

    Parameters
    ----------
    p_values : sequence of float
        The rows' own p values.

    Examples
    --------
    >>> [round(p, 3) for p in adjust_for_rows([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
