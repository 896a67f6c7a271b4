r"""ResizeMix: the whole partner, made short, replaces a piece of each clip.

.. math:: x'[t] = \begin{cases} R(x_p)[t - s] & s \le t < s + \tau L \\ x[t] & \text{else} \end{cases}, \qquad
          y' = w y + (1 - w) y_p, \quad w = 1 - \tau, \quad \tau \sim U(0.1, 0.8)

The paper resizes pictures in both axes and clips the box that it pastes. Here the partner is resized in time alone,
since a sound at other frequencies is another one, and its piece lies within the clip: all of the partner is there,
whatever the shape of `x`.

Source: Qin et al., "ResizeMix: Mixing Data with Preserved Object Information and True Labels", arXiv:2012.11101, 2020.
Label: mixed by the share of the valid area that is kept.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend import check_out, find_source
from ..clips import Clips
from ..draw import Generator
from ..graphs import by_row
from ..mixer import SPECTROGRAM, WAVE, Example, Mixer, Needs, Pairing, Rule
from ..plan import ORIGINAL, Part, Plan
from ..resize import METHODS, resize
from ..schedule import Schedule
from ..transform import reasons
from ._sources import schedule_or_pair
from .cutmix import SpanPlan

__all__ = ["ResizeMix", "ResizePlan", "resize_mix"]

# How sounds of each domain are resized
_BY = {"wave": "resample", "spectrogram": "interpolate"}


@dataclass(frozen=True, eq=False)
class ResizePlan(SpanPlan):
    """Where the whole partner is put, made as short as the span.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    span, band, fade, kind, widths
        See `audiomix.SpanPlan`; over all frequencies, without fades.
    source_span : Tensor, shape (B, 2), float64
        The partner's valid part, fractions of its own (padded) time axis; it is longer than the span.
    stretch : str
        ``resample`` (waves) or ``interpolate`` (spectrograms); see `audiomix.resize.resize`.

    Examples
    --------
    >>> plan = ResizeMix()(torch.randn(2, 1, 100)).plans[0]
    >>> plan.stretch, plan.source_span.shape
    ('resample', torch.Size([2, 2]))
    """

    stretch: str = "resample"

    def __post_init__(self) -> None:
        super().__post_init__()
        check.choice("stretch", self.stretch, METHODS)

    def parts(self, index: int) -> list[Part]:
        """Return the original's parts around the span, and the partner in it."""
        start, stop = self.span[index].tolist()
        if start == stop or self.source_span is None:
            return [Part(ORIGINAL)]
        first, last = self.source_span[index].tolist()
        around = [Part(ORIGINAL, piece=(0.0, start)), Part(ORIGINAL, start=stop, piece=(stop, 1.0))]
        knots = torch.tensor([[start, first], [stop, last]], dtype=torch.float64)
        partner = Part(
            int(self.partner[index]), start=start, piece=(first, last), warp=knots, stretch=self.stretch
        )  # fmt: skip
        return [*around, partner]


def resize_mix(x: Tensor, plan: ResizePlan, *, other: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Replace in each clip the plan's span by the whole partner, made as short.

    Parameters
    ----------
    x : Tensor, shape (B, ..., T) or (B, ..., F, N), floating point
        Waveforms or spectrograms, as the plan says. Left unchanged.
    plan : ResizePlan
        Who is the partner, and where it is put.
    other : Tensor, shape (M, ..., T'), optional
        Where partners come from; of any length.
    out : Tensor, optional
        See `audiomix.audio.blend.blend`.

    Examples
    --------
    >>> rows = torch.tensor([1, 0]), torch.tensor([0.5, 0.75]).double()
    >>> span = torch.tensor([[0.25, 0.75], [0.0, 0.25]]).double()
    >>> plan = ResizePlan(
    ...     *rows, span=span, band=torch.tensor([[0.0, 1]] * 2).double(),
    ...     source_span=torch.tensor([[0.0, 1]] * 2).double(), stretch="interpolate")
    >>> resize_mix(torch.tensor([[[1.0, 1, 1, 1]], [[2, 2, 2, 2]]]), plan)[:, 0].round(decimals=4)
    tensor([[1., 2., 2., 1.],
            [1., 2., 2., 2.]])
    """
    source = find_source(check.floating("x", x), plan, other, whole=True)
    if out is not None:
        check_out(out, x, source)
    if plan.source_span is None:  # nothing is put anywhere
        return x.clone() if out is None else out.copy_(x)
    wide = torch.promote_types(x.dtype, torch.float32)
    edges, places = _whole(plan.span, x.shape[-1]), _whole(plan.source_span, source.shape[-1])
    rows = list(zip(plan.partner.tolist(), edges, places))
    pieces = [resize(source[j, ..., first:last].to(wide), stop - start, plan.stretch).to(x.dtype)
              if start < stop else None for j, (start, stop), (first, last) in rows]  # fmt: skip
    if by_row(x, source):
        mixed = x.clone() if out is None else out.copy_(x)
        for row, (start, stop), piece in zip(mixed, edges, pieces):
            if piece is not None:
                row[..., start:stop] = piece
        return mixed
    parts = [
        row if piece is None else torch.cat([row[..., :start], piece, row[..., stop:]], -1)
        for row, (start, stop), piece in zip(x, edges, pieces)
    ]
    return torch.stack(parts, out=out) if out is not None else torch.stack(parts)


def _whole(edges: Tensor, size: int) -> list[list[int]]:
    """Return fractions (B, 2) as whole samples or frames of `size`."""
    found: list[list[int]] = (edges * size).round().long().tolist()
    return found


class ResizeMix(Mixer):
    """ResizeMix on waveforms and spectrograms: the whole partner, made short, replaces a piece of each clip.

    Parameters
    ----------
    domain : str
        ``wave``: the partner is resampled, and its pitch moves up with its speed, as on a tape. ``spectrogram``: it is
        interpolated along time, and its frequencies stay where they are.
    scope : (float, float), float or schedule
        Length of the piece, as a share of the original's valid part: the least and the most, between which it is drawn
        uniformly, or a constant.
    alpha : float or schedule, optional
        Draw the share from Beta(alpha, alpha) instead; one outside of `scope` is drawn again, uniformly, as in the
        code of OpenMixup.
    num_classes, p, pairing, rule, time_axis
        See `audiomix.Mixer`.

    Notes
    -----
    The weight is the share of the original's valid area that is kept, after rounding. A partner is never made longer
    than it is: the piece of a very short one is as short. Frame labels of the partner are moved and made short as its
    sound is. A piece begins and ends without a fade.

    See Also
    --------
    audiomix.CutMix : a piece of the partner as it is.

    Examples
    --------
    >>> wave, label = torch.randn(4, 1, 16000), torch.arange(4)
    >>> mixed = ResizeMix(num_classes=4)(wave, label, generator=torch.Generator().manual_seed(1))
    >>> changed = (mixed.x != wave).double().mean((1, 2))
    >>> bool(torch.allclose(1 - changed, mixed.plans[0].weight)), mixed.target.sum(1).tolist()
    (True, [1.0, 1.0, 1.0, 1.0])
    """

    plan_type = ResizePlan

    def __init__(
        self,
        domain: Literal["wave", "spectrogram"] = "wave",
        *,
        scope: float | tuple[float, float] | str | Schedule = (0.1, 0.8),
        alpha: float | str | Schedule | None = None,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule, time_axis=time_axis)
        self.domain = check.choice("domain", domain, _BY)
        self.scope = schedule_or_pair("scope", scope, 1, ordered=True)
        self.alpha = None if alpha is None else Schedule.of(alpha, "alpha").within("alpha", 0)
        if alpha is not None and isinstance(self.scope, Schedule):
            check.fail("scope", "(least, most) where alpha is given", repr(scope), "a constant, or a draw from Beta?")

    @property
    def needs(self) -> Needs:
        """Waveforms or spectrograms, by `domain`; partners as long as they are."""
        domain = WAVE if self.domain == "wave" else SPECTROGRAM
        return Needs(domain=frozenset({domain}), partner="whole", axes=True)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return both domains and both ways to draw."""
        waves = [cls(), cls(alpha=1.0, scope=(0.3, 0.5))]
        bins = Example(cls("spectrogram"), shape=(1, 12, 100), compiles=False)
        return [*(Example(mixer, compiles=False) for mixer in waves), bins]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners, shares and places; the weight is the share really kept."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        valid, theirs = own.valid, source.valid[partner]
        share = self._draw_share(len(own), progress, generator)
        width = torch.minimum((share * valid).round().long(), theirs) * mixed
        start = draw.integers(valid - width + 1, generator=generator)
        there = torch.stack([torch.zeros_like(theirs), theirs], 1)
        return ResizePlan(
            partner, 1 - width.double() / valid.clamp(min=1),
            span=torch.stack([start, start + width], 1).double() / own.size,
            band=torch.tensor([[0.0, 1.0]], dtype=torch.float64).repeat(len(own), 1),
            source_span=there.double() / source.size, stretch=_BY[self.domain],
            why=reasons(mixed, width > 0, "too short: no sample of the partner would be left"),
        )  # fmt: skip

    def _draw_share(self, size: int, progress: float | None, generator: Generator) -> Tensor:
        """Draw the lengths of the pieces as shares of the originals, (size,)."""
        if isinstance(self.scope, Schedule):
            return torch.full((size,), self.scope(progress), dtype=torch.float64)
        low, high = self.scope
        share = draw.uniform(low, high, size, generator=generator)
        if self.alpha is None:
            return share
        drawn = draw.beta(self.alpha(progress), size, generator=generator)
        return torch.where((drawn >= low) & (drawn <= high), drawn, share)

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan; see `resize_mix`. Pieces lie within the valid part: padding stays as it is."""
        assert isinstance(plan, ResizePlan)  # check_plan saw to it
        return resize_mix(own.x, plan, other=source.x, out=out)

    def identity(self, own: Clips) -> ResizePlan:
        """Return the plan of this mixer's domain that replaces nothing."""
        return replace(ResizePlan.identity(len(own)), stretch=_BY[self.domain])

    def check_plan(self, plan: Plan) -> None:
        """Refuse plans of the other domain."""
        super().check_plan(plan)
        if isinstance(plan, ResizePlan) and plan.stretch != _BY[self.domain] and bool(plan.mixed.any()):
            got = next(domain for domain, by in _BY.items() if by == plan.stretch)
            check.fail("plan", f"of domain {self.domain!r}, as the mixer is", repr(got))
