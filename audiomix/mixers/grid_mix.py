r"""GridMix: a grid of holes within a part of each clip is filled from its partner; in time alone a comb of segments.

.. math:: x' = M x + (1 - M) x_p, \qquad M = 0 \text{ in } n \times n \text{ holes of sides }
          \sqrt{1 - \lambda}\,(P_f, P_t), \qquad w = \mathrm{mean}(M)

P are the periods of the grid in frequency and time; over time alone a hole has the length (1 - lambda) P. It is done
as OpenMixup has it: without the paper's loss on the labels of patches. There the axes of the part are swapped, which
is wrong where they differ. The comb in time and the ranges of the part over it are ours.

Source: Baek, Bang and Shim, "GridMix: Strong regularization through local context mapping", Pattern Recognition 2021.
Label: mixed by the share of the valid area that is kept.
"""

from typing import Literal

import numpy as np

from .. import check, draw
from ..clips import Clips, overlap
from ..draw import Generator
from ..mixer import Example, Pairing, Rule
from ..plan import Plan
from ..schedule import Schedule
from ..transform import whole_numbers
from ._band_plan import BandMixer, plan_bands
from ._kind import KindMixer
from ._mask_plan import fade_of

__all__ = ["GridMix", "place_holes"]


def place_holes(
    places: np.ndarray, part: np.ndarray, side: np.ndarray, count: np.ndarray, size: np.ndarray
) -> np.ndarray:
    """Return first and last edge of equal holes, one in each period; (B, most, 2), whole numbers.

    Parameters
    ----------
    places : array, shape (2, B)
        In [0, 1): where the part with holes lies, and where in its period each hole lies.
    part : array, shape (B,)
        How long that part is, as a fraction of `size`.
    side : array, shape (B,)
        Of a hole, as a fraction of the period; at least one sample, and one less than the period.
    count : array, shape (B,), int
        Holes; fewer where periods would be shorter than two samples.
    size : array, shape (B,), int
        Samples, frames or bins of the axis.

    Examples
    --------
    >>> one = np.ones(1)
    >>> place_holes(np.zeros((2, 1)), 0.8 * one, 0.5 * one, 2 * one, 10 * one).tolist()
    [[[0.0, 2.0], [4.0, 6.0]]]
    """
    part = np.maximum(np.rint(part * size), np.minimum(size, 2))
    count = np.minimum(count, part // 2)
    period = np.floor(part / np.maximum(count, 1))
    width = np.clip(np.rint(side * period), 1, np.maximum(period - 1, 1)) * (count > 0)
    first = whole_numbers(places[0], size - count * period + 1) + whole_numbers(places[1], period - width + 1)
    number = np.arange(max(int(count.max()), 1))
    start = first[:, None] + number * period[:, None]
    hole = np.stack([start, start + width[:, None]], -1)
    return np.where((number < count[:, None])[..., None], hole, 0.0)


class GridMix(KindMixer, BandMixer):
    """Fill a grid of holes in each clip from its partner: a comb of segments in time, or holes in time and frequency.

    Parameters
    ----------
    kind : str
        ``time``: segments of time, over all frequencies. ``time_freq``: holes in both, of spectrograms.
    alpha : float or schedule
        The share lambda that is kept of the part with holes is drawn from Beta(alpha, alpha); 0 mixes nothing.
    holes : (int, int)
        Least and largest number of holes along each axis, uniform.
    part : (float, float)
        Least and largest share of the clip's area that the part with holes has, uniform; for ``time_freq`` its sides
        differ by up to twice.
    fade : float
        Cross-fade (raised cosine) at the edges in time, in seconds, for waveforms: 0.005 avoids clicks. Needs `rate`.
        At most half of a segment.
    rate : int, optional
        Sampling rate in Hz, for `fade`.
    num_classes, p, pairing, rule, time_axis
        See `audiomix.Mixer`.

    Notes
    -----
    The weight is the share of the valid area that is kept, after rounding: larger than lambda, as outside of the part
    nothing is replaced. Segments and gaps have at least one sample, and there are fewer where a clip is too short. With
    `lengths` they lie where both clips are valid.

    See Also
    --------
    audiomix.FMix : masks of random shape.

    Examples
    --------
    >>> import torch
    >>> spec, label = torch.randn(4, 1, 64, 100), torch.arange(4)
    >>> mixed = GridMix("time_freq", num_classes=4)(spec, label, generator=torch.Generator().manual_seed(1))
    >>> kept = (mixed.x == spec).double().mean((1, 2, 3))
    >>> bool(torch.allclose(kept, mixed.plans[0].weight))
    True
    """

    def __init__(
        self,
        kind: Literal["time", "time_freq"] = "time",
        *,
        alpha: float | str | Schedule = 1.0,
        holes: tuple[int, int] = (2, 6),
        part: tuple[float, float] = (0.5, 1.0),
        fade: float = 0.0,
        rate: int | None = None,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule, time_axis=time_axis)
        self.kind = check.choice("kind", kind, ["time", "time_freq"])
        self.alpha = Schedule.of(alpha, "alpha").within("alpha", 0)
        for name, value, usual in (("holes", holes, "holes=(2, 6)"), ("part", part, "part=(0.5, 1)")):
            if not isinstance(value, (tuple, list)) or len(value) != 2 or value[0] > value[1]:
                check.fail(name, "the least and the largest", repr(value), usual)
        self.holes = check.integer("holes", holes[0], 1), check.integer("holes", holes[1], 1)
        self.part = check.number("part", part[0], 0.05, 1), check.number("part", part[1], 0.05, 1)
        self.fade, self.rate = fade_of(fade, rate, waves=kind == "time")

    @classmethod
    def examples(cls) -> list[Example]:
        """Return both kinds, on waveforms with and without fades and on spectrograms."""
        waves = [cls(), cls(fade=0.01, rate=1000), cls(holes=(1, 12), part=(1.0, 1.0))]
        return [*map(Example, waves), *(Example(cls(kind), shape=(1, 12, 100)) for kind in ("time", "time_freq"))]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners, shares, parts and numbers of holes; the weight is the share really kept."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        share = draw.beta(self.alpha(progress), len(own), generator=generator)
        mixed, cut = mixed & (share < 1), 1 - share.numpy()
        both = overlap(own, source, partner)[1].numpy()
        numbers = draw.uniform(0, 1, 7 * len(own), generator=generator).view(7, -1).numpy()
        low, high = self.part
        area = low + (high - low) * numbers[0]
        least, most = self.holes
        count = least + whole_numbers(numbers[1], most - least + 1)
        if self.kind == "time":
            spans = place_holes(numbers[2:4], area, cut, count, both)
            fade = round(self.fade * self.rate) if self.rate else 0
            return plan_bands(own, source, partner, mixed, spans, fade=fade)
        # sides whose product is the area, neither longer than the clip: one up to twice the other
        most_aspect = np.minimum(np.log(2), -np.log(area))
        aspect = np.exp((2 * numbers[6] - 1) * most_aspect)
        spans = place_holes(numbers[2:4], np.sqrt(area * aspect), np.sqrt(cut), count, both)
        bins = np.full(len(own), own.x.shape[-2])
        bands = place_holes(numbers[4:6], np.sqrt(area / aspect), np.sqrt(cut), count, bins)
        return plan_bands(own, source, partner, mixed, spans, bands, where="both")
