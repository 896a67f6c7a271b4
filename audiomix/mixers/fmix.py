r"""FMix: clips are mixed by masks of random smooth shape, cut from noise whose spectrum falls with frequency.

.. math:: G = \mathcal{F}^{-1}\left\{\frac{c_k}{\max(|f_k|, f_{\min})^{\delta}}\right\}, \qquad
          M = \begin{cases} 0 & \text{in the cells of least } G \\ 1 & \text{elsewhere} \end{cases}, \qquad
          x' = M x + (1 - M) x_p

c is the spectrum of white Gaussian noise, and so many cells are 0 that the mean of M is the share w that was drawn. In
the authors' code the noise is taken along the wrong axis, so that masks over time are one segment each; here they are
as the equation says. The decay of masks over time, the `aspect` and the fades are ours.

Source: Harris et al., "FMix: Enhancing Mixed Sample Data Augmentation", arXiv:2002.12047, 2020.
Label: mixed by the share of the valid area that is kept.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .. import check, draw
from ..clips import Clips
from ..draw import Generator
from ..mixer import Example, Pairing, Rule
from ..plan import Plan
from ..schedule import Schedule
from ._kind import KindMixer
from ._mask_plan import MOST_CELLS, MaskMixer, cell_areas, fade_of, height_areas, plan_mask

__all__ = ["FMix", "cut_field", "draw_field"]

# Power of the frequency by which the noise falls: over time 3, the paper's, would leave one segment in most masks.
_DECAY = {"time": 1.5, "time_freq": 3.0}
_CELLS = {"time": (1, 256), "time_freq": (32, 32)}
# Soft shares are rounded, so that a plan stays short in JSON.
_DIGITS = 4


def draw_field(
    size: int, cells: tuple[int, int], *, decay: float = 3.0, aspect: float = 1.0, generator: Generator = None
) -> Tensor:
    """Draw smooth random fields; float64, (size, R, N). They have no scale: only the order of their values counts.

    Parameters
    ----------
    size : int
        How many.
    cells : (int, int)
        R cells in frequency and N in time.
    decay : float
        Power of the frequency by which the spectrum falls: 0 is white noise, larger values are smoother.
    aspect : float
        How much longer in time than in frequency shapes are, in cells.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.

    Examples
    --------
    >>> field = draw_field(2, (8, 20), generator=torch.Generator().manual_seed(0))
    >>> field.shape
    torch.Size([2, 8, 20])
    """
    rows, columns = cells
    over = torch.fft.fftfreq(rows, dtype=torch.float64)[:, None]
    along = torch.fft.rfftfreq(columns, dtype=torch.float64)
    frequency = torch.hypot(over, aspect * along).clamp(min=1 / max(rows, columns))
    noise = draw.normal(1, size * rows * columns, generator=generator).view(size, rows, columns)
    return torch.fft.irfft2(torch.fft.rfft2(noise) * frequency**-decay, s=cells)


def cut_field(field: Tensor, share: Tensor, areas: Tensor | None = None, places: Tensor | None = None) -> Tensor:
    """Return masks (B, R, N), uint8, that give the partner the cells of least field: all but `share` of the area.

    Parameters
    ----------
    field : Tensor, shape (B, R, N)
        What cells are ordered by.
    share : Tensor, shape (B,), float64
        The original's share of all cells, in [0, 1].
    areas : Tensor, shape (B, R, N), float64, optional
        Of each cell, as a fraction of the clip; a cell of area 0 is the original's. All are alike without it.
    places : Tensor, shape (B,), float64, optional
        In [0, 1): whether the cell on the edge is the partner's, which it is with the probability that makes the mean
        share the one asked for; half of it decides without them.

    Examples
    --------
    >>> field = torch.tensor([[[3.0, 1.0, 4.0, 2.0]]])
    >>> cut_field(field, torch.tensor([0.25]).double())
    tensor([[[0, 0, 1, 0]]], dtype=torch.uint8)
    """
    order, sizes, wanted = _order(field, share, areas)
    total = np.cumsum(sizes, 1)
    count = (total <= wanted[:, None] * (1 + 1e-12)).sum(1)
    last = np.minimum(count, total.shape[1] - 1)[:, None]
    rest = wanted - np.where(count > 0, np.take_along_axis(total, np.maximum(count - 1, 0)[:, None], 1)[:, 0], 0)
    place = 0.5 if places is None else places.numpy()
    count = count + (rest > place * np.take_along_axis(sizes, last, 1)[:, 0])
    theirs = (np.arange(total.shape[1]) < count[:, None]) & (sizes > 0)
    mask = np.ones_like(sizes, dtype=np.uint8)
    np.put_along_axis(mask, order, 1 - theirs.astype(np.uint8), 1)
    return torch.from_numpy(mask).view(field.shape)


def _order(field: Tensor, share: Tensor, areas: Tensor | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return cells from the least field on, those of no area last, their areas in this order, and what is cut."""
    flat = field.flatten(1).double().numpy()
    given = np.full(flat.shape, 1 / flat.shape[1]) if areas is None else areas.flatten(1).numpy()
    order = np.argsort(np.where(given > 0, flat, np.inf), 1)
    return order, np.take_along_axis(given, order, 1), 1 - share.numpy()


def soften_field(field: Tensor, share: Tensor, soft: float, areas: Tensor) -> Tensor:
    """Return masks (B, R, N), float64, of `cut_field` with a straight ramp between both sides; the mean is the same.

    Parameters
    ----------
    field, share, areas
        See `cut_field`.
    soft : float
        Half of the ramp, as a fraction of the cells; it is shortened where either side is smaller.
    """
    order, sizes, wanted = _order(field, share, areas)
    total = sizes.sum(1)
    half = np.minimum(soft * total, np.minimum(wanted, np.maximum(total - wanted, 0)))
    centre = np.cumsum(sizes, 1) - sizes / 2
    distance = (wanted[:, None] - centre) / np.maximum(half, 1e-12)[:, None]
    theirs = np.where(sizes > 0, np.clip(0.5 + distance / 2, 0, 1), 0)
    mask = np.ones_like(sizes)
    np.put_along_axis(mask, order, np.round(1 - theirs, _DIGITS), 1)
    return torch.from_numpy(mask).view(field.shape)


class FMix(KindMixer, MaskMixer):
    """Mix clips by masks of random smooth shape: in time (waveforms and spectrograms), or in time and frequency.

    Parameters
    ----------
    kind : str
        ``time``: segments of time, over all frequencies. ``time_freq``: shapes in both, of spectrograms.
    alpha : float or schedule
        The share kept is drawn from Beta(alpha, alpha); 1 is uniform, 0 masks nothing.
    decay : float, optional
        Power of the frequency by which the spectrum of the noise falls: larger values give fewer, larger pieces. 1.5
        for ``time``, where it leaves about four, and the paper's 3 for ``time_freq``.
    cells : int or (int, int), optional
        Cells of the mask in time (256 by default), or in frequency and in time (32, 32); as many as there are samples,
        frames or bins where those are fewer.
    aspect : float
        How much longer in time than in frequency shapes are, in cells.
    soft : float
        Half of a ramp between both sides, as a fraction of the cells, at most 0.5: max_soft of the paper.
    fade : float
        Cross-fade at the edges in time, in seconds, for waveforms: 0.005 avoids clicks. Needs `rate`. At most a cell.
    rate : int, optional
        Sampling rate in Hz, for `fade`.
    num_classes, p, pairing, rule, time_axis
        See `audiomix.Mixer`.

    Notes
    -----
    The weight is the mean of the mask over the valid part of the original, as it is rendered. The mask is cut from the
    share that was drawn, so that the two differ by less than a cell, and by nothing in the mean over many clips. With
    `lengths` cells lie where both clips are valid; behind a shorter partner the original stands alone, and the rest of
    the mask makes up for it.

    See Also
    --------
    audiomix.GridMix : a grid of holes.
    audiomix.SmoothMix : a window without an edge.
    audiomix.PatchMix : patches anywhere.

    Examples
    --------
    >>> spec, label = torch.randn(4, 1, 64, 100), torch.arange(4)
    >>> mixed = FMix("time_freq", num_classes=4)(spec, label, generator=torch.Generator().manual_seed(1))
    >>> kept = (mixed.x == spec).double().mean((1, 2, 3))
    >>> bool(torch.allclose(kept, mixed.plans[0].weight))
    True
    """

    def __init__(
        self,
        kind: Literal["time", "time_freq"] = "time",
        *,
        alpha: float | str | Schedule = 1.0,
        decay: float | None = None,
        cells: int | tuple[int, int] | None = None,
        aspect: float = 1.0,
        soft: float = 0.0,
        fade: float = 0.0,
        rate: int | None = None,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule, time_axis=time_axis)
        self.kind = check.choice("kind", kind, _CELLS)
        self.alpha = Schedule.of(alpha, "alpha").within("alpha", 0)
        self.decay = check.number("decay", _DECAY[kind] if decay is None else decay, 0)
        self.cells = self._check_cells(cells)
        self.aspect = check.number("aspect", aspect, 0)
        self.soft = check.number("soft", soft, 0, 0.5)
        self.fade, self.rate = fade_of(fade, rate, waves=kind == "time")

    def _check_cells(self, cells: int | tuple[int, int] | None) -> int | tuple[int, int]:
        """Return how many cells there are, one number for masks over time alone."""
        given = _CELLS[self.kind] if cells is None else (1, cells) if isinstance(cells, (int, float)) else tuple(cells)
        slip = "one number for kind='time', two for kind='time_freq'"
        if len(given) != 2 or (self.kind == "time") != (given[0] == 1):
            check.fail("cells", f"those of kind={self.kind!r}", cells, slip)
        rows, columns = (check.integer("cells", number, 1) for number in given)
        if rows * columns > MOST_CELLS:
            check.fail("cells", f"at most {MOST_CELLS} in all", f"{rows} x {columns}", "a plan would be a spectrogram")
        return columns if self.kind == "time" else (rows, columns)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return both kinds, hard and soft, on waveforms with and without fades and on spectrograms."""
        waves = [cls(), cls(fade=0.002, rate=1000, cells=100), cls(soft=0.2, decay=1.0)]
        specs = [cls(), cls("time_freq", cells=(8, 12)), cls("time_freq", cells=(12, 20), aspect=2.0, soft=0.3)]
        return [*map(Example, waves), *(Example(spec, shape=(1, 12, 100)) for spec in specs)]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners, shares and fields; the mask is cut from the share, and the weight is the mean of the mask."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        share = draw.beta(self.alpha(progress), len(own), generator=generator)
        places = draw.uniform(0, 1, len(own), generator=generator)
        rows, columns = (1, self.cells) if isinstance(self.cells, int) else self.cells
        rows, columns = min(rows, own.x.shape[-2]) if rows > 1 else 1, min(columns, own.size)
        field = draw_field(len(own), (rows, columns), decay=self.decay, aspect=self.aspect, generator=generator)
        width = 1 / columns
        fade = min(self.fade * self.rate / own.size, width) if self.rate else 0.0
        areas = cell_areas(own, source, partner, columns, width=width, fade=fade)
        areas = areas / own.valid.clamp(min=1).numpy()[:, None]
        heights = height_areas(rows, 1 / rows, own.x.shape[-2]) if rows > 1 else np.ones(1)
        area = torch.from_numpy(areas[:, None] * heights[:, None])
        if self.soft:
            mask = soften_field(field, share, self.soft, area)
        else:
            mask = cut_field(field, share, area, places)
        return plan_mask(own, source, partner, mask, height=1 / rows, mixed=mixed, width=width, fade=fade)
