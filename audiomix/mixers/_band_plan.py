r"""Several pieces of each clip are its partner's: spans of time, bands of frequency, or where these cross.

.. math:: x' = M x + (1 - M) x_p, \qquad w = \mathrm{mean}(M)

M is 0 where a moment lies in one of the spans (``spans``), where a span or a band is (``either``), or a span and a band
(``both``). The plan holds their edges alone, so that it is exact to the sample and short.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from .. import check
from ..audio.blend import check_out, find_source
from ..clips import Clips, fit_length, overlap
from ..graphs import by_row
from ..mixer import Mixer
from ..plan import ORIGINAL, Part, Plan
from ._mask_plan import TOO_SHORT

__all__ = ["BandMixer", "BandPlan", "band_mix", "plan_bands"]

_WHERE = ("spans", "either", "both")


@dataclass(frozen=True, eq=False)
class BandPlan(Plan):
    """A plan that gives the partner several pieces: spans of time, bands of frequency, or where they cross.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    spans : Tensor, shape (B, M, 2), float64
        Start and stop of spans of time, fractions of the (padded) time axis, in order and apart from each other; equal
        where there is none.
    bands : Tensor, shape (B, Q, 2), float64
        Lower and upper edge of bands of frequency, fractions of the frequency axis, in the same way.
    covered : Tensor, shape (B,), float64
        How far bands reach, as a fraction of the (padded) time axis: where both clips are.
    where : str
        The partner stands in the ``spans`` over all frequencies (the bands do not count: waveforms), in ``either``, or
        where ``both`` a span and a band are.
    fades : Tensor, shape (B, M), float64, optional
        Length of the cross-fade (raised cosine) at both edges of each span, as a fraction of the time axis: within the
        span, and at most half of it. For ``spans``.
    """

    spans: Tensor
    bands: Tensor
    covered: Tensor
    where: Literal["spans", "either", "both"] = "spans"
    fades: Tensor | None = None

    share_of = "area"
    _still: ClassVar = {"spans": [[0.0, 0.0]], "bands": [[0.0, 0.0]], "covered": 1.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("spans", "bands"):
            self._check_rows(name, None, 2, share=True)
            edges = getattr(self, name).flatten(1)
            if bool((edges.diff(dim=1) < 0).any()):
                check.fail(name, "in order and apart from each other", "some that overlap", "merge them first")
        self._check_rows("covered", share=True)
        check.choice("where", self.where, _WHERE)
        if self.fades is not None:
            self._check_rows("fades", self.spans.shape[1], share=True)

    def edges(self, bins: int, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return spans, their fades, bands and how far bands reach in whole samples and bins, int64.

        Parameters
        ----------
        bins : int
            Of the frequency axis.
        size : int
            Samples or frames of the time axis.

        Returns
        -------
        spans, fades, bands, covered : Tensor, shape (B, M, 2), (B, M), (B, Q, 2) and (B,)
        """
        spans, bands = (self.spans * size).round().long(), (self.bands * bins).round().long()
        fades = torch.zeros_like(spans[..., 0]) if self.fades is None else (self.fades * size).round().long()
        fades = torch.minimum(fades, (spans[..., 1] - spans[..., 0]) // 2)
        return spans, fades, bands, (self.covered * size).round().long()

    def parts(self, index: int) -> list[Part]:
        """Return the rectangles of the original and those of the partner."""
        if float(self.weight[index]) == 1:
            return [Part(ORIGINAL)]
        row, end = int(self.partner[index]), float(self.covered[index])
        if self.where == "spans":
            return self._parts_in_time(index, row)
        own, theirs, bands = list[Part](), list[Part](), _wide(self.bands[index])
        for start, stop, inside in _segments(_wide(self.spans[index]), 1.0):
            crossed = bands if inside == (self.where == "both") else [(0.0, 1.0)] if inside else []
            for low, high, given in _segments(crossed, 1.0):
                # behind the end of one of the two clips no band is the partner's
                last = min(max(start, end), stop) if given else start
                if last > start:
                    theirs.append(_piece(row, start, last, band=(low, high)))
                if stop > last:
                    own.append(_piece(ORIGINAL, last, stop, band=(low, high)))
        return [*(own or [Part(ORIGINAL, 0.0)]), *theirs]

    def _parts_in_time(self, index: int, row: int) -> list[Part]:
        """Return what lies between the spans, what of the original is left under fades, and the spans."""
        spans = self.spans[index].tolist()
        own = [_piece(ORIGINAL, a, b) for a, b, inside in _segments(_wide(self.spans[index]), 1.0) if not inside]
        theirs = list[Part]()
        for (start, stop), fade in zip(spans, [0.0] * len(spans) if self.fades is None else self.fades[index].tolist()):
            if stop == start:
                continue
            into, out_of = (fade if start > 0 else 0.0), (fade if stop < 1 else 0.0)
            theirs.append(_piece(row, start, stop, fade_in=into, fade_out=out_of))
            own += [_piece(ORIGINAL, start, start + into, fade_out=into)] if into else []
            own += [_piece(ORIGINAL, stop - out_of, stop, fade_in=out_of)] if out_of else []
        return [*(own or [Part(ORIGINAL, 0.0)]), *theirs]

    def share(self, size: int) -> Tensor:
        """The original's share at the centre of each of `size` frames, over all frequencies; (B, size), float64."""
        centre = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        inside = ((centre[:, None] >= self.spans[:, None, :, 0]) & (centre[:, None] < self.spans[:, None, :, 1])).any(2)
        if self.where == "spans":
            return 1 - inside.double()
        high = (self.bands[..., 1] - self.bands[..., 0]).sum(1, keepdim=True)
        theirs = inside * high if self.where == "both" else torch.where(inside, 1.0, high)
        return 1 - theirs * (centre < self.covered[:, None])


def _wide(edges: Tensor) -> list[tuple[float, float]]:
    """Return the pieces of one clip that have any width."""
    return [(start, stop) for start, stop in edges.tolist() if stop > start]


def _segments(pieces: list[tuple[float, float]], end: float) -> Iterator[tuple[float, float, bool]]:
    """Return what lies between 0 and `end`: (start, stop, whether it is one of the pieces)."""
    at = 0.0
    for start, stop in pieces:
        if start > at:
            yield at, start, False
        yield start, stop, True
        at = stop
    if at < end:
        yield at, end, False


def _piece(source: int, start: float, stop: float, **more: Any) -> Part:
    """Return a part that stands in the mix where it stands in its source."""
    return Part(source, start=start, stop=stop, piece=(start, stop), fitted=source != ORIGINAL, fade="cosine", **more)


def plan_bands(
    own: Clips, source: Clips, partner: Tensor, mixed: Tensor, spans: np.ndarray, bands: np.ndarray | None = None, *,
    where: Literal["spans", "either", "both"] = "spans", fade: int = 0,
) -> BandPlan:  # fmt: skip
    """Return the plan of pieces in whole samples and bins; its weight is what is really kept.

    Parameters
    ----------
    own, source : Clips
        The originals, and where partners come from.
    partner : Tensor, shape (B,), int64
        Rows of `source`.
    mixed : Tensor, shape (B,), bool
        Clips that are mixed at all.
    spans : array, shape (B, M, 2)
        First sample of each span and the one behind it, within what both clips have; they may overlap.
    bands : array, shape (B, Q, 2), optional
        The same of bins.
    where : str
        See `BandPlan`.
    fade : int
        Longest cross-fade, in samples.
    """
    size, bins = own.size, own.x.shape[-2] if bands is not None else 1
    valid, both = (count.numpy() for count in overlap(own, source, partner))
    drawn = mixed.numpy()
    spans = _apart(np.where(drawn[:, None, None], spans, 0))
    bands = np.zeros((len(own), 1, 2)) if bands is None else _apart(np.where(drawn[:, None, None], bands, 0))
    long, high = (spans[..., 1] - spans[..., 0]).sum(1), (bands[..., 1] - bands[..., 0]).sum(1) / bins
    widths = None
    if where == "spans":
        widths = np.minimum(fade, (spans[..., 1] - spans[..., 0]) // 2)
        lost = long - (widths * ((spans[..., 0] > 0) * 0.5 + (spans[..., 1] < size) * 0.5)).sum(1)
    else:
        lost = long * high if where == "both" else long + (both - long) * high
    weight = np.clip(1 - lost / np.maximum(valid, 1), 0, 1)
    why: tuple[str, ...] = ()
    if (weight == 1).any():
        short = drawn & (both < 2)
        why = tuple(TOO_SHORT if one else "" for one in (short & (weight == 1)).tolist())
    numbers = (torch.from_numpy(value) for value in (weight, spans / size, bands / bins, both / size))
    share, times, frequencies, covered = numbers
    return BandPlan(
        partner, share, spans=times, bands=frequencies, covered=covered, where=where, why=why,
        fades=torch.from_numpy(widths / size) if fade and widths is not None else None,
    )  # fmt: skip


def _apart(pieces: np.ndarray) -> np.ndarray:
    """Return pieces (B, M, 2) in order, without what an earlier one has already."""
    order = np.argsort(pieces[..., 0], 1, kind="stable")[..., None]
    pieces = np.take_along_axis(pieces.astype(np.float64), order, 1)
    last = np.maximum.accumulate(pieces[..., 1], 1)
    before = np.concatenate([np.zeros_like(last[:, :1]), last[:, :-1]], 1)
    start = np.maximum(pieces[..., 0], before)
    return np.stack([start, np.maximum(pieces[..., 1], start)], -1)


def band_mix(x: Tensor, plan: BandPlan, *, other: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Replace in each clip the plan's pieces by its partner's, at the same places.

    Parameters
    ----------
    x : Tensor, shape (B, ..., T) or (B, ..., F, N)
        Waveforms or spectrograms. Left unchanged.
    plan : BandPlan
        Who is the partner, and what of it is put in place.
    other : Tensor, optional
        Where partners come from; of the same shape behind the batch axis.
    out : Tensor, optional
        See `audiomix.audio.blend.blend`.

    Examples
    --------
    >>> spans = torch.tensor([[[0.0, 0.25], [0.5, 0.75]], [[0.0, 0.0], [0.0, 0.0]]]).double()
    >>> weight, covered = torch.tensor([0.5, 1.0]).double(), torch.ones(2).double()
    >>> plan = BandPlan(torch.tensor([1, 0]), weight, spans=spans, bands=0 * spans, covered=covered)
    >>> band_mix(torch.tensor([[1.0, 1, 1, 1], [2, 2, 2, 2]]), plan)
    tensor([[2., 1., 2., 1.],
            [2., 2., 2., 2.]])
    """
    source = find_source(x, plan, other, ndim=2 if plan.where == "spans" else 3)
    if out is not None:
        check_out(out, x, source)
    if by_row(x, source):
        return _write_pieces(x, plan, source, torch.empty_like(x) if out is None else out)
    bins, size = x.shape[-2] if plan.where != "spans" else 1, x.shape[-1]
    spans, fades, bands, covered = plan.edges(bins, size)
    drawn = torch.cat([plan.partner[:, None], covered[:, None], fades, spans.flatten(1), bands.flatten(1)], 1)
    drawn = drawn.to(x.device, non_blocking=True)  # one upload
    partner, end, fades, spans, bands = drawn.split([1, 1, fades.shape[1], spans[0].numel(), bands[0].numel()], 1)
    spans = spans.view(len(x), -1, 2)
    inside = _inside(spans, size)[:, None]
    if plan.where != "spans":
        high = _inside(bands.view(len(x), -1, 2), bins)[:, :, None]
        inside = inside & high if plan.where == "both" else inside | high
        inside = inside & (torch.arange(size, device=x.device) < end)[:, None]
    shape = (len(x), *[1] * (x.ndim - 3), *inside.shape[1:]) if x.ndim > 2 else (len(x), size)
    chosen = source[partner[:, 0]]
    if plan.fades is not None:
        wide = torch.promote_types(x.dtype, torch.float32)
        share = _rise(spans, fades, size).to(wide).view(shape)
        chosen = torch.lerp(x.to(wide), chosen.to(wide), share).to(x.dtype)
    mixed = torch.where(inside.view(shape), chosen, x)
    return mixed if out is None else out.copy_(mixed)


def _inside(pieces: Tensor, size: int) -> Tensor:
    """Return which of `size` places lie in any of the pieces (B, M, 2); (B, size), bool."""
    place = torch.arange(size, device=pieces.device)[:, None]
    return ((place >= pieces[:, None, :, 0]) & (place < pieces[:, None, :, 1])).any(-1)


def _rise(spans: Tensor, fades: Tensor, size: int) -> Tensor:
    """Return the partner's share (B, size) in spans (B, M, 2) that begin and end with fades (B, M); float64."""
    time = torch.arange(size, device=spans.device)[:, None] + 0.5
    start, stop, width = spans[:, None, :, 0], spans[:, None, :, 1], fades[:, None].clamp(min=1)
    faded = fades[:, None] > 0
    rise = torch.where(faded & (start > 0), _step((time - start) / width), 1.0)
    fall = torch.where(faded & (stop < size), _step((stop - time) / width), 1.0)
    return (rise * fall * ((time > start) & (time < stop))).sum(-1)


def _step(u: Tensor) -> Tensor:
    """Return the raised cosine from 0 at u = 0 to 1 at u = 1."""
    return 0.5 - 0.5 * torch.cos(torch.pi * u.clamp(0, 1))


def _write_pieces(x: Tensor, plan: BandPlan, source: Tensor, out: Tensor) -> Tensor:
    """Copy each clip and write its partner's pieces into it: the cost of a copy of the batch."""
    edges = plan.edges(x.shape[-2] if plan.where != "spans" else 1, x.shape[-1])
    spans, fades, bands, covered = (numbers.tolist() for numbers in edges)
    clips, partners, rows = (_bits(value) for value in (x, source, out))
    weights = plan.weight.tolist()
    for i, j in enumerate(plan.partner.tolist()):
        row, theirs = rows[i], partners[j]
        row[...] = clips[i]
        if weights[i] == 1:
            continue
        if plan.where != "both":
            for start, stop in spans[i]:
                row[..., start:stop] = theirs[..., start:stop]
        for low, high in bands[i] if plan.where != "spans" else ():
            for start, stop in spans[i] if plan.where == "both" else [(0, covered[i])]:
                row[..., low:high, start:stop] = theirs[..., low:high, start:stop]
        for (start, stop), width in zip(spans[i], fades[i]) if plan.fades is not None else ():
            _fade_edges(out[i].detach(), x[i].detach(), source[j].detach(), start, stop, width)
    return out


def _bits(x: Tensor) -> Any:
    """Return a batch as an array of the same memory; NumPy has no bfloat16, and copies need no numbers."""
    x = x.detach()
    return (x.view(torch.int16) if x.dtype == torch.bfloat16 else x).numpy()


def _fade_edges(row: Tensor, own: Tensor, theirs: Tensor, start: int, stop: int, width: int) -> None:
    """Write the fades of one span, at those of its edges that do not touch an end of the clip."""
    if not width:
        return
    wide = torch.promote_types(row.dtype, torch.float32)
    rise = _rise_of(width).to(wide)
    for first, share, there in ((start, rise, start > 0), (stop - width, rise.flip(0), stop < row.shape[-1])):
        if there:
            piece = (..., slice(first, first + width))
            row[piece] = torch.lerp(own[piece].to(wide), theirs[piece].to(wide), share).to(row.dtype)


@lru_cache(maxsize=64)
def _rise_of(width: int) -> Tensor:
    return _step((torch.arange(width, dtype=torch.float64) + 0.5) / width)


class BandMixer(Mixer):
    """Base of mixers that draw a `BandPlan`: they override `draw`."""

    plan_type: ClassVar[type[Plan]] = BandPlan

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan; see `band_mix`. Pieces lie within the valid part: padding stays as it is."""
        assert isinstance(plan, BandPlan)
        return band_mix(own.x, plan, other=fit_length(source.x, own.size), out=out)
