r"""CutMix: a piece of each clip, of some frequencies or of both, is replaced by its partner's.

.. math:: x' = M x + (1 - M) x_p, \qquad y' = w y + (1 - w) y_p, \qquad w = \mathrm{mean}(M)

Yun et al., "CutMix", ICCV 2019. Placement is unclipped, so the mean share is what was drawn; centred and
clipped boxes, as in the reference code, keep more than was drawn.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend import blend, check_out
from ..clips import Clips, fit_length, overlap
from ..draw import Generator
from ..mixer import SPECTROGRAM, WAVE, Example, Mixer, Needs, Pairing, Rule
from ..plan import ORIGINAL, Part, Plan
from ..schedule import Schedule

__all__ = ["CutMix", "SpanPlan", "cutmix"]


@dataclass(frozen=True, eq=False)
class SpanPlan(Plan):
    """A plan that cuts: spans are fractions of the clip, so that one plan cuts samples, frames and frame labels alike.

    Parameters
    ----------
    partner, weight, why, turn, turn_within
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
    """

    span: Tensor
    band: Tensor
    fade: float = 0.0
    kind: str = "time"
    widths: Tensor | None = None

    share_of = "area"
    _still: ClassVar = {"span": [0.0, 0.0], "band": [0.0, 1.0]}

    def parts(self, index: int) -> list[Part]:
        """Return the original's parts around the cut, and the partner's piece in it."""
        start, stop = self.span[index].tolist()
        if start == stop:
            return [Part(ORIGINAL)]
        low, high = (0.0, 1.0) if self.kind == "time" else self.band[index].tolist()
        fade = min(self.fade, (stop - start) / 2) if self.widths is None else float(self.widths[index])
        into, out_of = (fade if start > 0 else 0.0), (fade if stop < 1 else 0.0)
        fades = {"fade_in": into, "fade_out": out_of, "fade": "cosine"}
        pieces = [
            Part(ORIGINAL, piece=(0.0, start + into), fade_out=into, fade="cosine"),
            Part(ORIGINAL, start=stop - out_of, piece=(stop - out_of, 1.0), fade_in=out_of, fade="cosine"),
            Part(ORIGINAL, start=start, piece=(start, stop), band=(0.0, low)),
            Part(ORIGINAL, start=start, piece=(start, stop), band=(high, 1.0)),
        ]
        partner = Part(
            int(self.partner[index]),
            start=start,
            piece=(start, stop),
            fitted=True,
            band=(low, high),
            **self._turn(index),
            **fades,  # type: ignore[arg-type]
        )
        return [*(p for p in pieces if p.piece[0] < p.piece[1] and p.band[0] < p.band[1]), partner]

    def share(self, size: int) -> Tensor:
        """The original's share at each of `size` frames: 1 outside the span; (B, size), float64."""
        centre = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        inside = (centre >= self.span[:, :1]) & (centre < self.span[:, 1:])
        return 1 - inside * (self.band[:, 1:] - self.band[:, :1])


def cutmix(x: Tensor, plan: SpanPlan, *, other: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Replace in each clip the plan's span and band by the partner's.

    Parameters
    ----------
    x : Tensor, shape (B, ..., T) or (B, ..., F, N)
        Waveforms or spectrograms. Left unchanged.
    plan : SpanPlan
        Who is the partner, and what of it is put in place.
    other : Tensor, optional
        Where partners come from; of the same shape behind the batch axis.
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
    source = x if other is None else other
    traced = torch.compiler.is_compiling() or (torch.is_grad_enabled() and (x.requires_grad or source.requires_grad))
    if plan.kind == "time" and x.device.type == "cpu" and not traced:
        return _copy_spans(x, plan, source, out)
    cut = _cut_time(plan.span, plan.fade, x.shape[-1])  # (B, N)
    if plan.kind != "time":
        cut = cut[:, None, :] * _inside(plan.band, x.shape[-2]).double()[:, :, None]  # (B, F, N)
    cut = cut.view(len(x), *[1] * (x.ndim - cut.ndim), *cut.shape[1:])
    return blend(x, plan.partner, 1 - cut, cut, other=other, out=out)


def _copy_spans(x: Tensor, plan: SpanPlan, source: Tensor, out: Tensor | None) -> Tensor:
    """Copy the spans: the same as with a mask of zeros and ones, at the cost of a copy of the batch."""
    if out is not None:
        check_out(out, x, source)
    mixed = x.clone() if out is None else out.copy_(x)
    spans = (plan.span * x.shape[-1]).round().long().tolist()
    for i, (j, (start, stop)) in enumerate(zip(plan.partner.tolist(), spans)):
        mixed[i, ..., start:stop] = source[j, ..., start:stop]
        width = min(round(plan.fade * x.shape[-1]), (stop - start) // 2)
        rise = _step((torch.arange(width, dtype=torch.float64) + 0.5) / max(width, 1)).to(x.dtype)
        for edge, share in ((start, rise), (stop - width, rise.flip(0))):
            if width and ((edge == start and start > 0) or (edge != start and stop < x.shape[-1])):
                piece = slice(edge, edge + width)
                mixed[i, ..., piece] = torch.lerp(x[i, ..., piece], source[j, ..., piece], share)
    return mixed


class CutMix(Mixer):
    """CutMix in time (waveforms and spectrograms), in frequency or in a box (spectrograms).

    Parameters
    ----------
    kind : str
        ``time``: a span of time, over all frequencies; ``freq``: a band, over all time; ``box``: both.
    alpha : float or schedule
        The share kept is drawn from Beta(alpha, alpha); 1 is uniform, 0 cuts nothing.
    fade : float
        Cross-fade (raised cosine) at the edges in time, in seconds, for waveforms: 0.005 avoids clicks. Needs `rate`.
    rate : int, optional
        Sampling rate in Hz, for `fade`.
    keep_larger : bool
        Give the larger share to the original.
    num_classes, p, pairing, rule
        See `audiomix.Mixer`.

    Notes
    -----
    The weight is the share of the valid area that is kept, after rounding. With `lengths` the span lies where both
    clips are valid. The partner's span is the same as the original's.

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
        fade: float = 0.0,
        rate: int | None = None,
        keep_larger: bool = False,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule)
        self.kind = check.choice("kind", kind, ["time", "freq", "box"])
        self.alpha = Schedule.of(alpha, "alpha").within("alpha", 0)
        slip = f"in seconds: did you mean {fade / 1000:g}?" if fade > 1 else ""
        self.fade = check.number("fade", fade, 0, 1, slip=slip)
        if fade and (rate is None or kind != "time"):
            check.fail("fade", "0 unless rate= is given and kind='time'", f"{fade:g}", "fades are for waveforms")
        self.rate = None if rate is None else check.rate("rate", rate)
        self.keep_larger = keep_larger

    @property
    def needs(self) -> Needs:
        """Waveforms or spectrograms for ``time``, else spectrograms."""
        return Needs(domain=frozenset({WAVE, SPECTROGRAM} if self.kind == "time" else {SPECTROGRAM}))

    @classmethod
    def examples(cls) -> list[Example]:
        """Return every kind of cut, on waveforms with and without fades and on spectrograms."""
        waves = [cls(), cls(fade=0.05, rate=1000), cls(keep_larger=True)]
        return [*map(Example, waves), *(Example(cls(kind), shape=(1, 12, 100)) for kind in ("time", "freq", "box"))]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners, shares and places; the weight is the share really kept."""
        x, size = own.x, len(own)
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        kept = draw.beta(self.alpha(progress), size, generator=generator)
        kept = torch.maximum(kept, 1 - kept) if self.keep_larger else kept
        cut = torch.where(mixed, 1 - kept, 0.0)
        valid, both = overlap(own, source, partner)
        side = cut.sqrt() if self.kind == "box" else cut
        fade = round(self.fade * self.rate) if self.rate else 0
        time = torch.where(cut > 0, both, 0)
        if self.kind != "freq":  # a piece is longer by its fade, which is half the partner's
            time = torch.minimum((side * valid).round().long() + fade * (cut > 0), both)
        start = draw.integers(both - time + 1, generator=generator)
        bins = x.shape[-2] if self.kind != "time" else 1
        width = (side * bins).round().long() if self.kind != "time" else torch.ones(size, dtype=torch.int64)
        low = draw.integers(bins - width + 1, generator=generator)
        widths = torch.minimum(torch.tensor(fade), time // 2)
        edges = widths * ((start > 0).long() + (start + time < x.shape[-1]))
        area = (time - edges / 2).double() * width / bins
        weight = torch.where(valid > 0, 1 - area / valid.clamp(min=1), 1.0).clamp(0, 1)
        span = torch.stack([start, start + time], 1).double() / x.shape[-1]
        band = torch.stack([low, low + width], 1).double() / bins
        return SpanPlan(
            partner, weight, span=span, band=band, fade=fade / x.shape[-1], kind=self.kind,
            widths=widths.double() / x.shape[-1] if fade else None,
        )  # fmt: skip

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan; see `cutmix`. Spans lie within the valid part: padding stays as it is."""
        assert isinstance(plan, SpanPlan)
        return cutmix(own.x, plan, other=fit_length(source.x, own.size), out=out)

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse waveforms for `freq` and `box`."""
        x = own.x
        if self.kind != "time" and (x.ndim < 3 or x.shape[-2] < 4):
            got = f"shape {tuple(x.shape)}"
            check.fail("x", f"spectrograms (B, ..., F, N) for kind={self.kind!r}", got, "a waveform? kind='time'")

    def identity(self, own: Clips) -> SpanPlan:
        """Return the plan of this mixer's kind that cuts nothing."""
        return replace(SpanPlan.identity(len(own)), kind=self.kind)

    def check_plan(self, plan: Plan) -> None:
        """Refuse plans of another kind of cut."""
        super().check_plan(plan)
        if isinstance(plan, SpanPlan) and plan.kind != self.kind:
            check.fail("plan", f"of kind {self.kind!r}, as the mixer is", repr(plan.kind))


def _cut_time(span: Tensor, fade: float, size: int) -> Tensor:
    """Return the partner's share at each of `size` samples; (B, size), float64."""
    inside, longest = _inside(span, size).double(), round(fade * size)
    if longest == 0:
        return inside
    start, stop = (span * size).round().unbind(1)
    time = torch.arange(size, dtype=torch.float64)
    # a fade lies within the piece, and there is none where the piece touches the end of the clip
    width = torch.minimum(torch.full_like(start, longest), (stop - start).div(2, rounding_mode="floor"))[:, None]
    rise = torch.where(start[:, None] > 0, _step((time + 0.5 - start[:, None]) / width), 1.0)
    fall = torch.where(stop[:, None] < size, _step((stop[:, None] - time - 0.5) / width), 1.0)
    return torch.where(width > 0, inside * rise * fall, inside)


def _inside(edges: Tensor, size: int) -> Tensor:
    """Return which of `size` samples or bins lie between the edges (B, 2), fractions; bool, (B, size)."""
    start, stop = (edges * size).round()[:, :, None].unbind(1)
    place = torch.arange(size, dtype=torch.float64)
    return (place >= start) & (place < stop)


def _step(u: Tensor) -> Tensor:
    """Return the raised cosine from 0 at u = 0 to 1 at u = 1."""
    return 0.5 - 0.5 * torch.cos(torch.pi * u.clamp(0, 1))
