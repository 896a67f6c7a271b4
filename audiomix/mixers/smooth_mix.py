r"""SmoothMix: a Gaussian window of the partner fades into each clip, so that no edge tells where it was put.

.. math:: x' = (1 - G) x + G x_p, \qquad G = e^{-\frac{(t - t_0)^2}{2 \sigma_t^2} - \frac{(f - f_0)^2}{2 \sigma_f^2}},
          \qquad w = 1 - \mathrm{mean}(G)

The window is sampled at the centres of a grid of cells; in time straight lines run from centre to centre. Windows over
time alone are ours, and so is a width of its own for each axis. (Of a common reimplementation the label is the wrong
way round: it gives the original the mean of G.)

Source: Lee et al., "SmoothMix: a Simple Yet Effective Data Augmentation to Train Robust Classifiers", CVPR Workshops
2020.
Label: mixed by the mean of the gains.
"""

from typing import Literal

import numpy as np
import torch

from .. import check, draw
from ..clips import Clips, overlap
from ..draw import Generator
from ..mixer import Example, Pairing, Rule
from ..plan import Plan
from ..schedule import Schedule
from ._kind import KindMixer
from ._mask_plan import MaskMixer, plan_mask

__all__ = ["SmoothMix", "draw_window"]

# Cells of a window: over time alone, and in frequency and time. Within a cell it changes by less than 0.02 where its
# width is a quarter of the axis, so that straight lines are off by less than 1e-4; half of a cell at each end is level.
_CELLS = {"time": (1, 128), "time_freq": (32, 64)}
# Shares are rounded, so that a plan stays short in JSON.
_DIGITS = 4


def draw_window(centre: np.ndarray, sigma: np.ndarray, count: int, width: float) -> np.ndarray:
    """Return Gaussian windows at the centres of cells; (B, count), float64, at most 1.

    Parameters
    ----------
    centre, sigma : array, shape (B,)
        Where each is largest, and its standard deviation, as fractions of the axis; sigma above 0.
    count : int
        How many cells.
    width : float
        Of a cell, as a fraction of the axis.

    Examples
    --------
    >>> draw_window(np.array([0.5]), np.array([0.25]), 4, 0.25).round(3).tolist()
    [[0.325, 0.882, 0.882, 0.325]]
    """
    place = (np.arange(count) + 0.5) * width
    return np.exp(-0.5 * ((place - centre[:, None]) / sigma[:, None]) ** 2)


class SmoothMix(KindMixer, MaskMixer):
    """Fade a Gaussian window of the partner into each clip: in time, or in time and frequency.

    Parameters
    ----------
    kind : str
        ``time``: a window of time, over all frequencies; of waveforms without clicks. ``time_freq``: of both, of
        spectrograms.
    sigma : (float, float)
        Range of the window's standard deviation, as a fraction of each axis; drawn uniformly, for each axis anew.
    num_classes, p, pairing, rule, time_axis
        See `audiomix.Mixer`.

    Notes
    -----
    The weight is the original's mean share over the valid part, as it is rendered. The centre is uniform over what both
    clips have, and the axis of `sigma` is that part. Before a shorter partner ends, its share fades to 0 over one cell,
    a 128th (64th) of the clip. Steps in frequency are those of 32 cells.

    See Also
    --------
    audiomix.FMix : masks with edges.

    Examples
    --------
    >>> ones, zeros = torch.ones(4, 1, 1000), torch.zeros(4, 1, 1000)
    >>> mixed = SmoothMix()(ones, other=zeros, generator=torch.Generator().manual_seed(1))
    >>> bool(torch.allclose(mixed.x.mean((1, 2)).double(), mixed.plans[0].weight))
    True
    """

    def __init__(
        self,
        kind: Literal["time", "time_freq"] = "time",
        *,
        sigma: tuple[float, float] = (0.25, 0.5),
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule, time_axis=time_axis)
        self.kind = check.choice("kind", kind, _CELLS)
        if not isinstance(sigma, (tuple, list)) or len(sigma) != 2:
            check.fail("sigma", "the least and the largest width", repr(sigma), "sigma=(0.25, 0.5)")
        low, high = (check.number("sigma", value, 0.01, 10, slip="fractions of the axis") for value in sigma)
        if low > high:
            check.fail("sigma", "the least width first", f"({low:g}, {high:g})", f"did you mean ({high:g}, {low:g})?")
        self.sigma = low, high

    @classmethod
    def examples(cls) -> list[Example]:
        """Return both kinds, on waveforms and on spectrograms."""
        return [Example(cls()), Example(cls("time"), shape=(1, 12, 100)), Example(cls("time_freq"), shape=(1, 12, 100))]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners, centres and widths; the weight is the mean of the original's share."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        both = overlap(own, source, partner)[1].numpy() / own.size
        rows, columns = _CELLS[self.kind]
        rows, columns = min(rows, own.x.shape[-2]) if rows > 1 else 1, min(columns, own.size)
        window = self._draw_axis(both, columns, generator)[:, None]
        if self.kind == "time_freq":
            window = window * self._draw_axis(np.ones(len(own)), rows, generator)[:, :, None]
        mask = torch.from_numpy(np.round(1 - window, _DIGITS))
        width = 1 / columns
        return plan_mask(own, source, partner, mask, width=width, height=1 / rows, fade=width, mixed=mixed)

    def _draw_axis(self, extent: np.ndarray, count: int, generator: Generator) -> np.ndarray:
        """Return a window (B, count) for each clip over the first part, of `extent` (B,), of an axis."""
        centre, width = draw.uniform(0, 1, 2 * len(extent), generator=generator).view(2, -1).numpy()
        low, high = self.sigma
        return draw_window(centre * extent, (low + (high - low) * width) * np.maximum(extent, 1e-9), count, 1 / count)
