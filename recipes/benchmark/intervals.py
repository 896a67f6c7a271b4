"""Whether one method errs less than another: the difference of their errors, with intervals and p values."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from scipy import stats
from torch import Tensor

from audiomix import check, draw

__all__ = [
    "FEW_RUNS", "CrossedMeans", "Interval", "adjust_for_rows", "crossed_bootstrap", "crossed_means", "interval_of",
    "paired_t", "wider",
]  # fmt: skip

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
    found = crossed_means(differences[:, None], recordings, folds, seeds, draws=draws, generator=generator)
    return None if found is None else interval_of(100 * float(found.mean), 100 * found.draws[:, 0])


class CrossedMeans(NamedTuple):
    """Means over runs of several numbers that predictions have."""

    mean: Tensor  # (M,), float64: of the runs as they are
    draws: Tensor  # (D, M), float64: of drawn folds, seeds and recordings


def crossed_means(
    values: Tensor,
    recordings: Sequence[Hashable],
    folds: Sequence[Hashable],
    seeds: Sequence[Hashable],
    *,
    draws: int = 10000,
    generator: draw.Generator = None,
) -> CrossedMeans | None:
    """Return the means over runs of several numbers of each prediction, as they are and as they are drawn.

    So what is no mean itself, such as a calibration error, can be drawn too: it is a function of means. How is drawn is
    told by `crossed_bootstrap`.

    Parameters
    ----------
    values : Tensor, shape (N, M)
        M numbers of each prediction.
    recordings, folds, seeds : sequence of N
        Recording or speaker of each prediction's clip, and fold and seed of its run.
    draws : int
        Number of draws; those in which nothing is drawn that there is are left out.
    generator : torch.Generator, optional
        Source of the draws.

    Returns
    -------
    CrossedMeans or None
        None where there is one recording, one fold and one seed: nothing can be drawn.

    Raises
    ------
    ValueError
        Not as many recordings, folds or seeds as values.

    Examples
    --------
    >>> values = torch.tensor([[1.0, 0.0], [3.0, 1.0], [5.0, 0.0], [7.0, 1.0]])
    >>> crossed_means(values, "xyxy", "1122", "0000", generator=draw.generator_for(0, "bootstrap")).mean
    tensor([4.0000, 0.5000], dtype=torch.float64)
    """
    check.batch("values", values, ndim=2)
    check.integer("draws", draws, 1)
    for name, units in {"recordings": recordings, "folds": folds, "seeds": seeds}.items():
        if len(units) != len(values):
            check.fail(name, f"one for each of {len(values)} predictions", len(units))
    (of_recording, r), (of_fold, f), (of_seed, s) = (_number(units) for units in (recordings, folds, seeds))
    if max(r, f, s) < 2:
        return None
    width = values.shape[1]
    cell = (of_recording * f + of_fold) * s + of_seed
    sums = torch.zeros(r * f * s, width, dtype=torch.float64).index_add(0, cell, values.cpu().double())
    sums = sums.view(r, f * s * width)
    sizes = torch.zeros(r * f * s, dtype=torch.float64).index_add(0, cell, torch.ones(len(values), dtype=torch.float64))
    sizes = sizes.view(r, f * s)
    nested = f >= _FOLDS and bool(((sizes.view(r, f, s).sum(2) > 0).sum(1) == 1).all())
    if nested:
        sums, sizes = sums.sum(0, keepdim=True), sizes.sum(0, keepdim=True)
    # a fold need not have run with every seed
    mean = (sums.sum(0).view(f * s, width) / sizes.sum(0)[:, None]).nanmean(0)
    means = []
    for some in torch.ones(draws).split(_CHUNK):
        u, v, w = (_draw_weights(len(some), n, generator) for n in (f, s, 1 if nested else r))
        run, size = (w @ sums).view(len(some), f * s, width), (w @ sizes)[..., None]
        weight = (u[:, :, None] * v[:, None, :]).flatten(1)[..., None] * (size > 0)
        means.append((weight * run / size.clamp(min=1)).sum(1) / weight.sum(1))
    found = torch.cat(means)
    # folds and seeds may be drawn that have no run, or none of the recordings
    return CrossedMeans(mean, found[found.isfinite().all(1)])


def interval_of(mean: float, draws: Tensor) -> Interval:
    """Return the 95 % interval of a mean from its draws (D,), by percentiles, with the p value.

    Examples
    --------
    >>> interval_of(1.0, torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64)).p  # 2 (1 + 1) / (4 + 1)
    0.8
    """
    low, high = draws.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    beyond = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return Interval(mean, low, high, min(1.0, 2 * (beyond + 1) / (len(draws) + 1)))


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
