r"""Masks over a grid of cells: the plan and the rendering that all mixers of masks share.

.. math:: x' = M x + (1 - M) x_p, \qquad y' = w y + (1 - w) y_p, \qquad w = \mathrm{mean}(M)

A plan does not hold a number for each sample but one for each cell of a grid: at most `MOST_CELLS` a clip, so that a
plan of one clip is at most 50 kB of JSON where a mask is hard (the usual one has a few hundred cells, a kB). In time
alone one plan masks samples, frames and frame labels alike.
"""

from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend import check_out, find_source
from ..cells import Cells, cell_index, cell_ramps, cell_samples, edges, over_time
from ..clips import Clips, fit_length, overlap
from ..draw import Generator
from ..graphs import by_row
from ..mixer import Mixer
from ..plan import NOT_DRAWN, ORIGINAL, Part, Plan

__all__ = [
    "MOST_CELLS",
    "ONE_CELL",
    "TOO_SHORT",
    "CellPlan",
    "MaskMixer",
    "cell_areas",
    "check_patch",
    "draw_cells",
    "fade_of",
    "height_areas",
    "mask_mix",
    "patch_grid",
    "plan_mask",
]

# Cells of one clip's mask: the bound of a plan's size.
MOST_CELLS = 1 << 14
# Of one clip: each costs a few calls, so that from here on a gain of every sample is cheaper.
_MANY_FADES = 64
# Why a clip that was to be mixed was left as it is.
TOO_SHORT = "no cell of the mask lies where both clips are"
ONE_CELL = "a single cell of the mask holds all that both clips have"

_PlanType = TypeVar("_PlanType", bound="CellPlan")


@dataclass(frozen=True, eq=False)
class CellPlan(Plan):
    """A plan that masks: the original's share in each cell of a grid over time, or over time and frequency.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    mask : Tensor, shape (B, R, N), uint8 or float64
        The original's share in R cells of frequency and N of time. In uint8 it is 0 or 1, and what is mixed has the
        bits of one of the two sounds; in float64 it lies in [0, 1]. With R = 1 all frequencies are alike, and so are
        waveforms, spectrograms and any stream along time.
    covered : Tensor, shape (B,), float64
        How far the partner may reach, as a fraction of the (padded) time axis. The original stands alone behind that.
    width : float
        Of a cell, as a fraction of the time axis: the first begins with the clip, the last is cut by its end.
    height : float
        Of a cell, as a fraction of the frequency axis.
    fade : float
        Length of the fade over an edge in time, as a fraction of the time axis, at most `width`: a straight line
        between the shares of two cells, half of it on either side of their edge.
    """

    mask: Tensor
    covered: Tensor
    width: float = 1.0
    height: float = 1.0
    fade: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        hard = check.tensor("mask", self.mask).dtype == torch.uint8
        self._check_rows("mask", None, None, dtype=torch.uint8 if hard else torch.float64, share=True)
        self._check_rows("covered", share=True)
        cells = self.mask.shape[1] * self.mask.shape[2]
        if not 0 < cells <= MOST_CELLS:
            got = f"{tuple(self.mask.shape[1:])}"
            check.fail("mask", f"of 1 to {MOST_CELLS} cells a clip", got, "a plan is no spectrogram: larger cells")
        check.number("width", self.width, 0, 1)
        check.number("height", self.height, 0, 1)
        check.number("fade", self.fade, 0, self.width)

    @classmethod
    def identity(cls: type[_PlanType], size: int) -> _PlanType:
        """Return the plan that leaves `size` clips as they are: masks of one cell, the original's."""
        ones, mask = torch.ones(size, dtype=torch.float64), torch.ones(size, 1, 1, dtype=torch.uint8)
        return cls(torch.arange(size), ones, mask=mask, covered=ones.clone(), why=(NOT_DRAWN,) * size)

    @property
    def share_of(self) -> str | None:  # type: ignore[override]
        """``area`` where every moment belongs to one of the two, so that the weight can be told from the sound."""
        return "area" if self.mask.dtype == torch.uint8 and self.mask.shape[1] == 1 else None

    def cells(self, index: int) -> Cells:
        """Return the original's gains in one mix.

        Parameters
        ----------
        index : int
            Which mix of the batch.
        """
        gains, end = self.mask[index].double(), float(self.covered[index])
        return Cells(gains, width=self.width, height=self.height, fade=self.fade, end=end, rest=1.0)

    def parts(self, index: int) -> list[Part]:
        """Return the original under its mask and the partner under what is left."""
        if float(self.weight[index]) == 1:
            return [Part(ORIGINAL)]
        own = self.cells(index)
        theirs = Cells(1 - own.gains, own.width, own.height, own.fade, own.end, 0.0)
        there = bool((own.gains > 0).any()) or own.end < 1
        return [Part(ORIGINAL, float(there), cells=own), Part(int(self.partner[index]), fitted=True, cells=theirs)]

    def share(self, size: int) -> Tensor:
        """The original's share at the centre of each of `size` frames, over all frequencies; (B, size), float64."""
        rows = self.mask.shape[1]
        heights = torch.tensor([min(self.height, 1 - k * self.height) for k in range(rows)], dtype=torch.float64)
        kept = (self.mask.double() * (heights / heights.sum())[:, None]).sum(1)
        centre = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        return torch.where(centre < self.covered[:, None], over_time(kept, self.width, self.fade, size), 1.0)


def plan_mask(
    own: Clips, source: Clips, partner: Tensor, mask: Tensor, *, width: float, height: float = 1.0, fade: float = 0.0,
    mixed: Tensor | None = None,
) -> CellPlan:  # fmt: skip
    """Return the plan of a mask: it ends with the shorter of two clips, and its weight is what is really kept.

    Parameters
    ----------
    own, source : Clips
        The originals, and where partners come from.
    partner : Tensor, shape (B,), int64
        Rows of `source`.
    mask : Tensor, shape (B, R, N), uint8 or float64
        The original's share in each cell. Cells in which the partner is not there become the original's.
    width, height, fade : float
        See `CellPlan`, as fractions of the axes of `own`.
    mixed : Tensor, shape (B,), bool, optional
        Clips that are mixed at all; the others become the original's, and so are all with a mask of ones.
    """
    rows = mask.shape[1]
    areas, ends, valid = _areas(own, source, partner, mask.shape[2], width, fade)
    theirs = areas > 0 if mixed is None else (areas > 0) & mixed.numpy()[:, None]
    if not theirs.all():
        mask = torch.where(torch.from_numpy(theirs)[:, None], mask, 1)
    lost = 1 - mask.numpy().astype(np.float64)
    if rows > 1:
        lost = (lost * height_areas(rows, height, own.x.shape[-2])[:, None]).sum(1)
    lost = (lost.reshape(len(own), -1) * areas).sum(1)
    weight = np.clip(1 - lost / np.maximum(valid, 1), 0, 1)
    why: tuple[str, ...] = ()
    if (weight == 1).any():
        texts = {0: TOO_SHORT} if mask.dtype != torch.uint8 else {0: TOO_SHORT, 1: ONE_CELL}
        usable = ((areas > 0).sum(1) * rows).tolist()
        why = tuple(texts.get(n, "") if w == 1 else "" for n, w in zip(usable, weight.tolist()))
    return CellPlan(
        partner, torch.from_numpy(weight), mask=mask, covered=torch.from_numpy(ends / own.size), width=width,
        height=height, fade=fade, why=why,
    )  # fmt: skip


def cell_areas(own: Clips, source: Clips, partner: Tensor, count: int, width: float, fade: float = 0.0) -> np.ndarray:
    """Return how many samples of each cell both clips have; (B, count), float64; 0 where the original must stand alone.

    Of a mask with fades the cell in which the partner ends is the original's: the fade into it ends before the partner.

    Parameters
    ----------
    own, source, partner
        See `plan_mask`.
    count : int
        Cells in time.
    width, fade : float
        See `CellPlan`.
    """
    return _areas(own, source, partner, count, width, fade)[0]


def height_areas(rows: int, height: float, bins: int) -> np.ndarray:
    """Return which share of the bins lies in each cell of frequency; (rows,), float64.

    Parameters
    ----------
    rows : int
        Cells in frequency.
    height : float
        See `CellPlan`.
    bins : int
        Of the frequency axis.
    """
    return np.diff(edges(rows, height, bins)) / bins


def patch_grid(own: Clips, patch: int | tuple[int, int]) -> tuple[int, int, float, float]:
    """Return cells in frequency and in time, their height and their width, for patches over the axes of some clips.

    Parameters
    ----------
    own : Clips
        The originals.
    patch : int or (int, int)
        Samples or frames, over all frequencies; or bins and frames.

    Raises
    ------
    ValueError
        There are more patches than a plan may hold.
    """
    high, wide = (0, patch) if isinstance(patch, int) else patch
    columns, width = -(-own.size // wide), min(wide / own.size, 1.0)
    bins = own.x.shape[-2] if high else 1
    rows, height = (-(-bins // high), min(high / bins, 1.0)) if high else (1, 1.0)
    if rows * columns > MOST_CELLS:
        got = f"{patch}, which makes {rows} x {columns}"
        slip = "in samples, frames or bins, not in seconds"
        check.fail("patch", f"so large that a clip has at most {MOST_CELLS}", got, slip)
    return rows, columns, height, width


def draw_cells(usable: np.ndarray, count: np.ndarray, *, generator: Generator = None) -> np.ndarray:
    """Draw cells without replacement, each set of them with the same probability; bool, shape of `usable`.

    Parameters
    ----------
    usable : array, shape (B, R, N), bool
        Cells that there are to draw from.
    count : array, shape (B,), int
        How many are drawn; all that are usable where that is more.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    flat = usable.reshape(len(usable), -1)
    keys = draw.uniform(0, 1, flat.size, generator=generator).numpy().reshape(flat.shape)
    keys = np.where(flat, keys, 2.0)
    last = np.minimum(count, flat.shape[1]).astype(np.int64)[:, None] - 1
    edge = np.take_along_axis(np.sort(keys, 1), np.maximum(last, 0), 1)
    return ((keys <= edge) & (last >= 0) & flat).reshape(usable.shape)


def check_patch(name: str, patch: int | tuple[int, int], kind: str) -> int | tuple[int, int]:
    """Return the size of a patch: one number for masks in time, two for masks in time and frequency.

    Parameters
    ----------
    name : str
        The argument, for the message.
    patch : int or (int, int)
        As it was given.
    kind : str
        ``time`` or ``time_freq``.
    """
    if kind == "time":
        return check.integer(name, patch, 1, slip="samples or frames; bins and frames for kind='time_freq'")
    pair = (patch, patch) if isinstance(patch, int) else patch
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        check.fail(name, "bins and frames", repr(patch), f"{name}=(16, 16)")
    high, wide = (check.integer(name, number, 1) for number in pair)
    return high, wide


def _areas(
    own: Clips, source: Clips, partner: Tensor, count: int, width: float, fade: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the areas of cells (B, count), where both clips end and where the original ends, in samples (B,)."""
    size = own.size
    if own.lengths is None and source is own:
        areas = np.broadcast_to(cell_samples(count, width, fade, size, np.array(size)), (len(own), count))
        whole = np.full(len(own), size)
        return areas, whole, whole
    valid, both = (count.numpy() for count in overlap(own, source, partner))
    areas = cell_samples(count, width, fade, size, both)
    if fade:
        stop = np.arange(1, count + 1) * (width * size) + fade * size / 2
        areas = np.where((stop <= both[:, None]) | (both == valid)[:, None], areas, 0)
    return areas, both, valid


def mask_mix(x: Tensor, plan: CellPlan, *, other: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Keep of each clip what its mask keeps, and fill the rest from its partner, at the same place.

    Parameters
    ----------
    x : Tensor, shape (B, ..., T) or (B, ..., F, N)
        Waveforms or spectrograms. Left unchanged.
    plan : CellPlan
        Who is the partner, and the original's share in each cell.
    other : Tensor, optional
        Where partners come from; of the same shape behind the batch axis.
    out : Tensor, optional
        See `audiomix.audio.blend.blend`.

    Examples
    --------
    >>> mask = torch.tensor([[[1, 0]], [[1, 1]]], dtype=torch.uint8)
    >>> weight, covered = torch.tensor([[0.5, 1.0], [1.0, 1.0]], dtype=torch.float64)
    >>> plan = CellPlan(torch.tensor([1, 0]), weight, mask=mask, covered=covered, width=0.5)
    >>> mask_mix(torch.tensor([[1.0, 1, 1, 1], [2, 2, 2, 2]]), plan)
    tensor([[1., 1., 2., 2.],
            [2., 2., 2., 2.]])
    """
    source = find_source(x, plan, other, ndim=2 if plan.mask.shape[1] == 1 else 3)
    if out is not None:
        check_out(out, x, source)
    if by_row(x, source):
        return _mix_rows(x, plan, source, torch.empty_like(x) if out is None else out)
    size, (rows, count) = x.shape[-1], plan.mask.shape[1:]
    numbers = [plan.partner[:, None], (plan.covered * size).round()[:, None], plan.mask.flatten(1)]
    drawn = torch.cat([number.double() for number in numbers], 1).to(x.device, non_blocking=True)  # one upload
    partner, end, mask = drawn[:, 0].long(), drawn[:, 1:2], drawn[:, 2:].view(-1, rows, count)
    wide = torch.promote_types(x.dtype, torch.float32)
    mask = over_time(mask.to(wide), plan.width, plan.fade, size)
    inside = (torch.arange(size, device=x.device) < end)[:, None]
    mask = torch.where(inside, mask, 1.0)
    if rows > 1:
        mask = mask[:, cell_index(rows, plan.height, x.shape[-2], x.device)]
    mask = mask.view(len(x), *[1] * (x.ndim - (2 if rows == 1 else 3)), *mask.shape[1 if rows > 1 else 2 :])
    chosen = source[partner]
    if plan.mask.dtype != torch.uint8 or plan.fade:
        chosen = torch.lerp(chosen.to(wide), x.to(wide), mask).to(x.dtype)
    mixed = torch.where(mask == 1, x, chosen)  # what is kept has its bits, whatever the partner holds there
    return mixed if out is None else out.copy_(mixed)


def _mix_rows(x: Tensor, plan: CellPlan, source: Tensor, out: Tensor) -> Tensor:
    """Write each clip at once, while it is in cache; NumPy repeats the numbers of cells faster than torch gathers."""
    size, (rows, count) = x.shape[-1], plan.mask.shape[1:]
    soft = plan.mask.dtype != torch.uint8
    starts = edges(count, plan.width, size)
    heights = np.diff(edges(rows, plan.height, x.shape[-2])) if rows > 1 else None
    exact = np.float64 if x.dtype == torch.float64 else np.float32
    ramp = _Ramp.of(count, plan.width, plan.fade, size, exact) if plan.fade else None
    masks = plan.mask.numpy().astype(exact) if soft or ramp else None
    clips, partner_bits, written = (_bits(value) for value in (x, source, out))
    ends, partners, weights = (plan.covered * size).round().long().tolist(), plan.partner.tolist(), plan.weight.tolist()
    for i, (row, own, j, end, weight) in enumerate(zip(out.detach(), x.detach(), partners, ends, weights)):
        theirs = source[j].detach()
        if weight == 1:
            row.copy_(own)
            continue
        if end < size:
            row[..., end:] = own[..., end:]
            row, own, theirs = row[..., :end], own[..., :end], theirs[..., :end]
        many = ramp is not None and np.count_nonzero(np.diff(plan.mask[i, 0].numpy())) > _MANY_FADES
        if not soft and rows == 1 and not many:
            changes = _copy_spans(written[i], clips[i], partner_bits[j], plan.mask[i, 0].numpy(), starts, end)
            if ramp is not None:
                _fade_over(row, own, theirs, changes, plan.mask[i, 0].tolist(), ramp)
            continue
        if masks is None:
            assert heights is not None  # of hard masks those in time alone are copied above
            kept = np.repeat(plan.mask[i].numpy().view(np.bool_), np.diff(starts), 1)[:, :end]
            torch.where(torch.from_numpy(np.repeat(kept, heights, 0)), own, theirs, out=row)
            continue
        share = np.repeat(masks[i], np.diff(starts), 1) if ramp is None else ramp.over(masks[i])
        share = share[:, :end] if heights is None else np.repeat(share[:, :end], heights, 0)
        _keep_share(row, own, theirs, torch.from_numpy(share))
        _keep_bits(written[i], clips[i], masks[i] == 1, starts, heights, ramp, end)
        if not soft:
            _keep_bits(written[i], partner_bits[j], masks[i] == 0, starts, heights, ramp, end)
    return out


def _bits(x: Tensor) -> np.ndarray:
    """Return a batch as an array of the same memory; NumPy has no bfloat16, and copies need no numbers."""
    x = x.detach()
    return (x.view(torch.int16) if x.dtype == torch.bfloat16 else x).numpy()


@dataclass(frozen=True, eq=False)
class _Ramp:
    """How shares run from cell to cell.

    `u` says of each sample how far it is from one cell to the next, `numbers` how many samples lie between the cells
    `left` and `right`, `first` and `stop` where the ramp at the start of each cell begins and ends.
    """

    u: np.ndarray
    numbers: np.ndarray
    left: np.ndarray
    right: np.ndarray
    first: np.ndarray
    stop: np.ndarray

    @classmethod
    def of(cls, count: int, width: float, fade: float, size: int, dtype: type) -> "_Ramp":
        """Return the ramps of a grid, see `cell_ramps`, as numbers of a dtype."""
        left, right, u = (value.numpy() for value in cell_ramps(count, width, fade, size))
        numbers = np.bincount(left + right, minlength=2 * count - 1)  # 2 j - 1 between cells, 0 and 2 N - 2 at the ends
        pair = np.flatnonzero(numbers)
        edge, half = np.arange(count) * (width * size), fade * size / 2
        first = (np.floor(edge - half - 0.5) + 1).astype(np.int64)
        stop = np.ceil(edge + half - 0.5).astype(np.int64)
        return cls(u.astype(dtype), numbers[pair], pair // 2, (pair + 1) // 2, first, stop)

    def over(self, shares: np.ndarray) -> np.ndarray:
        """Return shares (R, N) of cells at each sample, (R, size)."""
        low, high = shares[:, self.left], shares[:, self.right]
        steps = np.repeat(high - low, self.numbers, 1)
        steps *= self.u
        steps += np.repeat(low, self.numbers, 1)
        return steps


def _keep_share(row: Tensor, own: Tensor, theirs: Tensor, share: Tensor) -> None:
    """Write one clip (..., F, N) with the original's share (F or 1, N) of it."""
    share = share[0] if row.ndim == 1 else share
    if row.dtype == share.dtype:
        torch.lerp(theirs, own, share, out=row)
    else:
        row.copy_(torch.lerp(theirs.to(share.dtype), own.to(share.dtype), share))


def _keep_bits(
    row: np.ndarray, own: np.ndarray, kept: np.ndarray, starts: np.ndarray, heights: np.ndarray | None,
    ramp: _Ramp | None, end: int,
) -> None:  # fmt: skip
    """Copy the cells (R, N) of one clip that are kept, without their fades: whatever the partner holds there."""
    tops = [0] if heights is None else [0, *np.cumsum(heights).tolist()]
    for band, cells in enumerate(kept):
        edges_of = np.flatnonzero(np.diff(cells, prepend=False, append=False)).reshape(-1, 2)
        for first, stop in edges_of.tolist():
            begin, last = int(starts[first]), int(starts[stop])
            if ramp is not None:  # from where the ramp into the first is over to where the one out of the last begins
                begin = int(ramp.stop[first]) if first else 0
                last = int(ramp.first[stop]) if stop < len(cells) else last
            time = slice(begin, max(begin, min(last, end)))
            if heights is None:
                row[..., time] = own[..., time]
            else:
                row[..., tops[band] : tops[band + 1], time] = own[..., tops[band] : tops[band + 1], time]


def _copy_spans(
    row: np.ndarray, own: np.ndarray, theirs: np.ndarray, mask: np.ndarray, starts: np.ndarray, end: int
) -> list[int]:
    """Write one clip (..., T) span by span, each a copy of one of the two sounds; return the cells that begin one."""
    changes = np.flatnonzero(np.diff(mask)) + 1
    begin = [0, *np.minimum(starts[changes], end).tolist(), end]
    kept = [bool(mask[0]), *(mask[changes] > 0).tolist()]
    for first, stop, keep in zip(begin, begin[1:], kept):
        row[..., first:stop] = (own if keep else theirs)[..., first:stop]
    return changes.tolist()


def _fade_over(row: Tensor, own: Tensor, theirs: Tensor, changes: list[int], mask: list[int], ramp: _Ramp) -> None:
    """Write the fades between the spans of one clip (..., T)."""
    u, end = torch.from_numpy(ramp.u), row.shape[-1]
    for cell in changes:
        where = (..., slice(int(ramp.first[cell]), min(int(ramp.stop[cell]), end)))
        share = u[where] if mask[cell] else 1 - u[where]
        if row.dtype == share.dtype:
            torch.lerp(theirs[where], own[where], share, out=row[where])
        else:
            row[where] = torch.lerp(theirs[where].to(share.dtype), own[where].to(share.dtype), share).to(row.dtype)


def fade_of(fade: float, rate: int | None, *, waves: bool = True) -> tuple[float, int | None]:
    """Return the options `fade`, in seconds, and `rate`, in Hz, checked: a fade needs a rate, and waveforms.

    Parameters
    ----------
    fade, rate
        As they were given.
    waves : bool
        Whether the mixer works on waveforms.
    """
    slip = f"in seconds: did you mean {fade / 1000:g}?" if isinstance(fade, (int, float)) and fade > 1 else ""
    fade = check.number("fade", fade, 0, 1, slip=slip)
    if fade and (rate is None or not waves):
        check.fail("fade", "0 unless rate= is given and kind='time'", f"{fade:g}", "fades are for waveforms")
    return fade, None if rate is None else check.rate("rate", rate)


class MaskMixer(Mixer):
    """Base of mixers that draw a `CellPlan`: they override `draw`."""

    plan_type: ClassVar[type[Plan]] = CellPlan

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan; see `mask_mix`. Masks end with the valid part: padding stays as it is."""
        assert isinstance(plan, CellPlan)
        return mask_mix(own.x, plan, other=fit_length(source.x, own.size), out=out)
