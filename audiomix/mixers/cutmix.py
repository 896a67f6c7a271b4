r"""CutMix: a piece of each clip, of some frequencies or of both, is replaced by its partner's.

.. math:: x' = M x + (1 - M) x_p, \qquad y' = w y + (1 - w) y_p, \qquad w = \mathrm{mean}(M)

Placement is unclipped, so the mean share is what was drawn; centred and clipped boxes, as in the reference code, keep
more than was drawn.

Source: Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019.
Label: mixed by the share of the valid area that is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend import LARGE_ROW, check_out, find_source, upload
from ..clips import Clips, fit_length, overlap
from ..draw import Generator
from ..graphs import by_row
from ..mixer import SPECTROGRAM, WAVE, Example, Mixer, Needs, Pairing, Rule
from ..plan import ORIGINAL, Part, Plan
from ..schedule import Schedule

__all__ = ["CutMix", "SpanPlan", "cutmix"]


@dataclass(frozen=True, eq=False)
class SpanPlan(Plan):
    """A plan that cuts: spans are fractions of the clip, so that one plan cuts samples, frames and frame labels alike.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    span : Tensor, shape (B, 2), float64
        Start and stop in time, fractions of the (padded) time axis; equal where nothing is cut.
    band : Tensor, shape (B, 2), float64
        Start and stop in frequency, fractions of the frequency axis; (0, 1) for all of it.
    fade : float
        Length of the cross-fade at each edge in time, as a fraction of the time axis.
    kind : str
        ``time`` leaves the band aside, so that waveforms (B, C, T) are cut alike in all channels.
    widths : Tensor, shape (B,), float64, optional
        Length of each clip's cross-fade: `fade`, or half of its span, in whole samples, where that is less.
    source_span : Tensor, shape (B, 2), float64, optional
        What of the partner is put into the span: start and stop as fractions of the **partner's** own (padded) time
        axis, as long as the span. The same place as the span where it is None.

    Examples
    --------
    >>> plan = CutMix()(torch.randn(2, 1, 100)).plans[0]
    >>> bool(torch.allclose(plan.weight, 1 - plan.span.diff()[:, 0]))
    True
    """

    span: Tensor
    band: Tensor
    fade: float = 0.0
    kind: str = "time"
    widths: Tensor | None = None
    source_span: Tensor | None = None

    share_of = "area"
    _still: ClassVar = {"span": [0.0, 0.0], "band": [0.0, 1.0]}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.source_span is not None:
            self._check_rows("source_span", 2, share=True)

    def parts(self, index: int) -> list[Part]:
        """Return the original's parts around the cut, and the partner's piece in it."""
        start, stop = self.span[index].tolist()
        low, high = (0.0, 1.0) if self.kind == "time" else self.band[index].tolist()
        if start == stop or low == high:
            return [Part(ORIGINAL)]
        fade = min(self.fade, (stop - start) / 2) if self.widths is None else float(self.widths[index])
        into, out_of = (fade if start > 0 else 0.0), (fade if stop < 1 else 0.0)
        fades = {"fade_in": into, "fade_out": out_of, "fade": "cosine"}
        pieces = [
            Part(ORIGINAL, piece=(0.0, start + into), fade_out=into, fade="cosine"),
            Part(ORIGINAL, start=stop - out_of, piece=(stop - out_of, 1.0), fade_in=out_of, fade="cosine"),
            Part(ORIGINAL, start=start, piece=(start, stop), band=(0.0, low)),
            Part(ORIGINAL, start=start, piece=(start, stop), band=(high, 1.0)),
        ]
        there = None if self.source_span is None else tuple(self.source_span[index].tolist())
        partner = Part(
            int(self.partner[index]),
            start=start,
            piece=there or (start, stop),
            fitted=there is None,
            band=(low, high),
            **fades,  # type: ignore[arg-type]
        )
        return [*(p for p in pieces if p.piece[0] < p.piece[1] and p.band[0] < p.band[1]), partner]

    def share(self, size: int) -> Tensor:
        """The original's share at each of `size` frames: 1 outside the span; (B, size), float64."""
        centre = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        inside = (centre >= self.span[:, :1]) & (centre < self.span[:, 1:])
        return 1 - inside * (self.band[:, 1:] - self.band[:, :1])

    def place_frames(self, stream: Tensor, size: int) -> Tensor:
        """Return a stream of the partners as it lies in the mixes: moved from `source_span` to `span`."""
        if self.source_span is None:
            return super().place_frames(stream, size)
        centre = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        (start, stop), (first, last) = self.span.T[..., None], self.source_span.T[..., None]
        place = first + (centre - start) * (last - first) / (stop - start).clamp(min=1e-12)
        index = (place * stream.shape[-1]).floor().clamp(0, stream.shape[-1] - 1).long().to(stream.device)
        wide = index.view(len(index), *[1] * (stream.ndim - 2), size)
        return stream.gather(-1, wide.expand(*stream.shape[:-1], size))


def cutmix(x: Tensor, plan: SpanPlan, *, other: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Replace in each clip the plan's span and band by the partner's.

    Parameters
    ----------
    x : Tensor, shape (B, ..., T) or (B, ..., F, N)
        Waveforms or spectrograms. Left unchanged.
    plan : SpanPlan
        Who is the partner, and what of it is put in place.
    other : Tensor, optional
        Where partners come from; of the same shape behind the batch axis, up to time where the plan has a
        `source_span`.
    out : Tensor, optional
        See `audiomix.audio.blend.blend`.

    Examples
    --------
    >>> span, band = torch.tensor([[0.25, 0.75], [0.0, 0.0]]).double(), torch.tensor([[0.0, 1.0]] * 2).double()
    >>> plan = SpanPlan(torch.tensor([1, 0]), torch.tensor([0.5, 1.0]).double(), span=span, band=band)
    >>> cutmix(torch.tensor([[1.0, 1, 1, 1], [2, 2, 2, 2]]), plan)
    tensor([[1., 2., 2., 1.],
            [2., 2., 2., 2.]])
    """
    bands = None if plan.kind == "time" else plan.band
    there = plan.source_span
    source = find_source(x, plan, other, ndim=2 if bands is None else 3, whole=there is not None)
    return cut_pieces(x, plan.partner, plan.span, source, there=there, bands=bands, fade=plan.fade, out=out)


def cut_pieces(
    x: Tensor, partner: Tensor, spans: Tensor, source: Tensor, *, there: Tensor | None = None,
    bands: Tensor | None = None, fade: float = 0.0, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Replace in each clip a piece by its partner's, from the same place or from another one.

    Parameters
    ----------
    x : Tensor, shape (B, ..., T) or (B, ..., F, N)
        Waveforms or spectrograms. Left unchanged.
    partner : Tensor, shape (B,), int64
        Rows of `source`.
    spans, bands : Tensor, shape (B, 2), float64
        Start and stop in time and in frequency, as fractions; all frequencies where there are no bands.
    source : Tensor
        Where partners come from; of the same shape as `x` behind the batch axis, up to time with `there`.
    there : Tensor, shape (B, 2), float64, optional
        Start and stop of the piece in the source, as fractions of its time axis; `spans` where it is None.
    fade : float
        Length of the cross-fade at each edge in time, as a fraction of the time axis.
    out : Tensor, optional
        See `audiomix.audio.blend.blend`.
    """
    if out is not None:
        check_out(out, x, source)
    if by_row(x, source):
        return _copy_pieces(x, partner, spans, bands, fade, source, there, out)
    numbers = [partner, *_edges(spans, x.shape[-1]), *(() if bands is None else _edges(bands, x.shape[-2]))]
    if there is not None:
        numbers[2] = torch.minimum(numbers[2], numbers[1] + source.shape[-1])
        first = (there[:, 0] * source.shape[-1]).round()
        numbers.insert(3, torch.minimum(first, source.shape[-1] - (numbers[2] - numbers[1])) - numbers[1])
    partner, start, stop, *band = upload(numbers, x.device)
    chosen = source[partner]
    time = torch.arange(x.shape[-1], device=x.device)
    if there is not None:
        place = (time + band.pop(0)[:, None]).clamp(0, source.shape[-1] - 1).long()
        chosen = chosen.gather(-1, place.view(len(x), *[1] * (x.ndim - 2), -1).expand(*x.shape[:-1], -1))
    inside = (time >= start[:, None]) & (time < stop[:, None])  # (B, N)
    if band:
        bins = torch.arange(x.shape[-2], device=x.device)
        rows = (bins >= band[0][:, None]) & (bins < band[1][:, None])
        inside = rows[:, :, None] & inside[:, None, :]  # (B, F, N)
    shape = (len(x), *[1] * (x.ndim - inside.ndim), *inside.shape[1:])
    longest = round(fade * x.shape[-1])
    if longest:
        wide = torch.promote_types(x.dtype, torch.float32)
        share = _fade(time, start[:, None], stop[:, None], longest).to(wide)
        chosen = torch.lerp(x.to(wide), chosen.to(wide), share.view(shape)).to(x.dtype)
    mixed = torch.where(inside.view(shape), chosen, x)
    return mixed if out is None else out.copy_(mixed)


def _edges(edges: Tensor, size: int) -> Sequence[Tensor]:
    """Return first and stop, in whole samples or bins of `size`, of spans (B, 2) that are fractions."""
    return (edges * size).round().unbind(1)


def _copy_pieces(
    x: Tensor, partner: Tensor, spans: Tensor, bands: Tensor | None, fade: float, source: Tensor,
    there: Tensor | None, out: Tensor | None,
) -> Tensor:  # fmt: skip
    """Copy the pieces: the same as with a mask of zeros and ones, at the cost of a copy of the batch."""
    size, longest = x.shape[-1], round(fade * x.shape[-1])
    mixed = x.detach().clone() if out is None else out.copy_(x)
    edges, partners = _whole(spans, size), partner.tolist()
    places = edges if there is None else _fit_places(_whole(there, source.shape[-1]), edges, source.shape[-1])
    rows, sources = _views(mixed, source)
    if bands is None:
        for row, j, (start, _), (first, last) in zip(rows, partners, edges, places):
            row[..., start : start + last - first] = sources[j][..., first:last]
    else:
        many = zip(rows, partners, edges, places, _whole(bands, x.shape[-2]))
        for row, j, (start, _), (first, last), (low, high) in many:
            row[..., low:high, start : start + last - first] = sources[j][..., low:high, first:last]
    for i, (j, (start, stop), (first, last)) in enumerate(zip(partners, edges, places) if longest else ()):
        stop = start + last - first
        width = min(longest, (stop - start) // 2)
        rise = _step((torch.arange(width, dtype=torch.float64) + 0.5) / max(width, 1)).to(x.dtype)
        for edge, share in ((start, rise), (stop - width, rise.flip(0))):
            if width and ((edge == start and start > 0) or (edge != start and stop < size)):
                piece, far = slice(edge, edge + width), slice(first + edge - start, first + edge - start + width)
                mixed[i, ..., piece] = torch.lerp(x[i, ..., piece], source[j, ..., far], share)
    return mixed


def _fit_places(places: Any, edges: Any, size: int) -> Any:
    """Return where in the source pieces begin and stop: as long as in the mix, and within `size` at any rate."""
    fitted = []
    for (first, _), (start, stop) in zip(places, edges):
        width = min(stop - start, size)
        first = min(first, size - width)
        fitted.append((first, first + width))
    return fitted


def _whole(edges: Tensor, size: int) -> Any:
    """Return the same as a list of pairs of numbers."""
    return np.rint(edges.numpy() * size).astype(np.int64).tolist()


def _views(mixed: Tensor, source: Tensor) -> tuple[Any, Any]:
    """Return rows of both for slices to be copied: arrays cost a fifth, tensors use all threads."""
    both = mixed.detach(), source.detach()
    if mixed.numel() * mixed.element_size() >= LARGE_ROW * len(mixed):
        return both
    bits = [x.view(torch.int16) if x.dtype == torch.bfloat16 else x for x in both]  # which NumPy has
    return bits[0].numpy(), bits[1].numpy()


class CutMix(Mixer):
    """CutMix in time (waveforms and spectrograms), in frequency or in a box (spectrograms).

    Parameters
    ----------
    kind : str
        ``time``: a span of time, over all frequencies; ``freq``: a band, over all time; ``box``: both.
    alpha : float or schedule
        The share kept is drawn from Beta(alpha, alpha); 1 is uniform, 0 cuts nothing.
    offset : str
        Which piece of the partner it is: the ``same`` place of its time axis, as in the paper, or from a ``free`` one,
        drawn uniformly, for sounds whose events may be anywhere. Pieces are moved in time, never in frequency.
    fade : float
        Cross-fade (raised cosine) at the edges in time, in seconds, for waveforms: 0.005 avoids clicks. Needs `rate`.
    rate : int, optional
        Sampling rate in Hz, for `fade`.
    keep_larger : bool
        Give the larger share to the original.
    num_classes, p, pairing, rule, time_axis
        See `audiomix.Mixer`.

    Notes
    -----
    The weight is the share of the valid area that is kept, after rounding. With `lengths` the span lies where both
    clips are valid. With a ``free`` offset the piece may be put anywhere in the valid part of the original and may come
    from anywhere in the valid part of the partner, which may be longer; `SpanPlan.source_span` says from where, and
    frame labels follow it.

    See Also
    --------
    audiomix.ResizeMix : the whole partner, made short.
    audiomix.SelfMix : a piece of the same clip.
    audiomix.cutmix : the function behind it.

    Examples
    --------
    >>> spec, label = torch.randn(4, 1, 64, 100), torch.arange(4)
    >>> mixed = CutMix("time", num_classes=4)(spec, label, generator=torch.Generator().manual_seed(1))
    >>> changed = (mixed.x != spec).all(2).sum(-1)[:, 0] / 100
    >>> bool(torch.allclose(1 - changed.double(), mixed.plans[0].weight))
    True
    """

    plan_type = SpanPlan

    def __init__(
        self,
        kind: Literal["time", "freq", "box"] = "time",
        *,
        alpha: float | str | Schedule = 1.0,
        offset: Literal["same", "free"] = "same",
        fade: float = 0.0,
        rate: int | None = None,
        keep_larger: bool = False,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule, time_axis=time_axis)
        self.kind = check.choice("kind", kind, ["time", "freq", "box"])
        self.alpha = Schedule.of(alpha, "alpha").within("alpha", 0)
        self.offset = check.choice("offset", offset, ["same", "free"])
        if kind == "freq" and offset == "free":
            check.fail("offset", "'same' with kind='freq'", "'free'", "a band is cut over all time: kind='box'?")
        slip = f"in seconds: did you mean {fade / 1000:g}?" if isinstance(fade, (int, float)) and fade > 1 else ""
        self.fade = check.number("fade", fade, 0, 1, slip=slip)
        if fade and (rate is None or kind != "time"):
            check.fail("fade", "0 unless rate= is given and kind='time'", f"{fade:g}", "fades are for waveforms")
        self.rate = None if rate is None else check.rate("rate", rate)
        self.keep_larger = keep_larger

    @property
    def needs(self) -> Needs:
        """Waveforms or spectrograms for ``time``, else spectrograms."""
        domain = frozenset({WAVE, SPECTROGRAM} if self.kind == "time" else {SPECTROGRAM})
        return Needs(domain=domain, axes=True, partner="whole" if self.offset == "free" else "fitted")

    @classmethod
    def examples(cls) -> list[Example]:
        """Return every kind of cut, on waveforms with and without fades and on spectrograms."""
        waves = [cls(), cls(fade=0.05, rate=1000), cls(keep_larger=True)]
        waves += [cls(offset="free"), cls(offset="free", fade=0.05, rate=1000)]
        bins = [*map(cls, ("time", "freq", "box")), cls("time", offset="free"), cls("box", offset="free")]
        return [*map(Example, waves), *(Example(mixer, shape=(1, 12, 100)) for mixer in bins)]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners, shares and places; the weight is the share really kept."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        kept = draw.beta(self.alpha(progress), len(own), generator=generator)
        rows = (1 if self.kind == "time" else 2) + (self.offset == "free")
        places = draw.uniform(0, 1, rows * len(own), generator=generator).view(rows, len(own))
        share = kept.numpy()
        cut = 1 - (np.maximum(share, 1 - share) if self.keep_larger else share)
        cut = np.where(mixed.numpy(), cut, 0.0) if False in mixed.tolist() else cut
        return self._place(own, source, partner, cut, places.numpy())

    def _place(self, own: Clips, source: Clips, partner: Tensor, cut: Any, places: Any) -> SpanPlan:
        """Return the plan that cuts shares (B,) at places (rows, B) in [0, 1), in whole samples and bins.

        The last row of a ``free`` offset is the place in the partner. In NumPy, whose calls on one number a clip cost a
        third of torch's.
        """
        size, fade = own.size, round(self.fade * self.rate) if self.rate else 0
        free = self.offset == "free"
        valid: Any = size
        both: Any = size
        theirs: Any = size
        if own.lengths is not None or source is not own:
            valid, both = (count.numpy() for count in overlap(own, source, partner))
            theirs = source.valid[partner].numpy() if free else both
        side = np.sqrt(cut) if self.kind == "box" else cut
        if self.kind == "freq":
            time = np.where(cut > 0, both, 0.0)
        else:  # a piece is longer by its fade, which is half the partner's
            time = np.minimum(np.rint(side * valid) + (fade * (cut > 0) if fade else 0), both)
        start = self._start("free" if free else "time", valid if free else both, time, places[0])
        widths, area = None, time
        there = _spans(self._start("time", theirs, time, places[-1]), time, source.size, len(own)) if free else None
        if fade:
            widths = np.minimum(fade, time // 2)
            area = time - widths * ((start > 0) + (start + time < size) * 1.0) / 2
        low, width, bins = 0, 1, 1
        if self.kind != "time":
            bins = own.x.shape[-2]
            width = np.rint(side * bins)
            low = self._start("freq", bins, width, places[1])
            area = area * width / bins
        weight = 1 - area / (np.maximum(valid, 1) if own.lengths is not None else size)
        return SpanPlan(
            partner, torch.from_numpy(weight), span=_spans(start, time, size, len(own)),
            band=_spans(low, width, bins, len(own)), fade=fade / size, kind=self.kind,
            widths=None if widths is None else torch.from_numpy(widths / size), source_span=there,
        )  # fmt: skip

    def _start(self, axis: str, room: Any, width: Any, place: Any) -> Any:
        """Return where pieces of `width` samples or bins begin within `room` of them, for places in [0, 1).

        The axis is ``time`` or ``freq`` of the partner, or the ``free`` time of the original.
        """
        return _choose(room - width + 1, place)

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan; see `cutmix`. Spans lie within the valid part: padding stays as it is."""
        assert isinstance(plan, SpanPlan)
        other = source.x if plan.source_span is not None else fit_length(source.x, own.size)
        return cutmix(own.x, plan, other=other, out=out)

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse waveforms for `freq` and `box`."""
        x = own.x
        if self.kind != "time" and (x.ndim < 3 or x.shape[-2] < 4):
            got = f"shape {tuple(x.shape)}"
            check.fail("x", f"spectrograms (B, ..., F, N) for kind={self.kind!r}", got, "a waveform? kind='time'")

    def identity(self, own: Clips) -> SpanPlan:
        """Return the plan of this mixer's kind that cuts nothing."""
        plan = super().identity(own)
        assert isinstance(plan, SpanPlan)
        return replace(plan, kind=self.kind)

    def check_plan(self, plan: Plan) -> None:
        """Refuse plans of another kind of cut."""
        super().check_plan(plan)
        if isinstance(plan, SpanPlan) and plan.kind != self.kind:
            check.fail("plan", f"of kind {self.kind!r}, as the mixer is", repr(plan.kind))


def _choose(count: Any, place: Any) -> Any:
    """Return one of 0..count-1 for places in [0, 1); a product that rounds up to `count` is the last of them."""
    return np.minimum(np.floor(place * count), count - 1)


def _spans(start: Any, width: Any, size: int, clips: int) -> Tensor:
    """Return start and stop as fractions of `size`, a row a clip."""
    edges = np.empty((clips, 2))
    edges[:, 0], edges[:, 1] = start, start + width
    return torch.from_numpy(np.divide(edges, size, out=edges))


def _fade(time: Tensor, start: Tensor, stop: Tensor, longest: int) -> Tensor:
    """Return the partner's share at samples `time` of pieces with edges (B, 1), between these edges; (B, N)."""
    # a fade lies within the piece, and there is none where the piece touches the end of the clip
    width = ((stop - start) // 2).clamp(1, longest)
    rise = torch.where(start > 0, _step((time + 0.5 - start) / width), 1.0)
    fall = torch.where(stop < time.shape[-1], _step((stop - time - 0.5) / width), 1.0)
    return torch.where(stop - start > 1, rise * fall, 1.0)


def _step(u: Tensor) -> Tensor:
    """Return the raised cosine from 0 at u = 0 to 1 at u = 1."""
    return 0.5 - 0.5 * torch.cos(torch.pi * u.clamp(0, 1))
