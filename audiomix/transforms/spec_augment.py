r"""SpecAugment: stripes of time and of frequency of each spectrogram are hidden, or come from another clip.

.. math:: x'[f, t] = \begin{cases} \text{fill} & \text{mask} \\ (x + x_p) / 2 & \text{mix} \\ x_p & \text{cut}
          \end{cases} \quad \text{inside of a stripe}

Source: Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition", Interspeech
2019 (masks); Park et al., "SpecAugment on Large Scale Datasets", ICASSP 2020 (widths and numbers that follow the
length); Wang, Zou and Wang, "SpecAugment++: A Hidden Space Data Augmentation Method for Acoustic Scene
Classification", Interspeech 2021 (mix and cut).
Label: kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend import check_out, find_source
from ..clips import Clips, fit_length, overlap
from ..draw import Generator
from ..graphs import by_slice
from ..mixer import SPECTROGRAM, Example, Needs, Pairing
from ..plan import ORIGINAL, Part, Plan
from ..schedule import Schedule
from ..transform import Transform, TransformPlan, check_spectrogram, reasons, whole_numbers

__all__ = ["SpecAugment", "StripePlan", "spec_augment"]

Kind = Literal["mask", "mix", "cut"]
# The partner's share inside of a stripe; what hides it has all of it
_SHARE = {"mask": 1.0, "mix": 0.5, "cut": 1.0}
# Numbers of masks that follow the length end here, as in the paper of 2020
_MOST_MASKS = 20
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class StripePlan(TransformPlan):
    """Where the stripes of each clip lie, and what stands in them; labels are kept.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`; for ``mix`` and ``cut`` the partner is another clip, and the weight is 1 as well.
    spans : Tensor, shape (B, M, 2), float64
        Start and stop of each stripe of time, fractions of the (padded) time axis; equal where there is none.
    bands : Tensor, shape (B, Q, 2), float64
        Lower and upper edge of each stripe of frequency, fractions of the frequency axis; equal where there is none.
    valid : Tensor, shape (B,), float64
        How far stripes reach, as a fraction of the (padded) time axis.
    kind : str
        ``mask``, ``mix`` or ``cut``; see `SpecAugment`.

    Examples
    --------
    >>> plan = SpecAugment()(torch.randn(2, 1, 64, 100)).plans[0]
    >>> plan.kind, len(plan.spans), len(plan.bands)
    ('mask', 2, 2)
    """

    spans: Tensor
    bands: Tensor
    valid: Tensor
    kind: Kind = "mask"

    _still: ClassVar = {"spans": [[0.0, 0.0]], "bands": [[0.0, 0.0]], "valid": 1.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rows("spans", None, 2, share=True)
        self._check_rows("bands", None, 2, share=True)
        self._check_rows("valid", share=True)
        check.choice("kind", self.kind, _SHARE)
        last = self.spans.amax((1, 2))
        if bool((last > self.valid).any()):
            check.fail("spans", "within valid", f"{last.tolist()} of {self.valid.tolist()}")

    @property
    def mixed(self) -> Tensor:
        """Whether each clip has a stripe; (B,), bool."""
        wide = [(stripes[..., 1] > stripes[..., 0]).any(1) for stripes in (self.spans, self.bands)]
        return (wide[0] | wide[1]) & (self.valid > 0)

    def edges(self, bins: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return where stripes of time and of frequency lie, and end: (B, M, 2), (B, Q, 2) and (B,), int64.

        Parameters
        ----------
        bins : int
            Of the frequency axis.
        size : int
            Frames of the time axis.
        """
        spans, bands, valid = self.spans * size, self.bands * bins, self.valid * size
        return spans.round().long(), bands.round().long(), valid.round().long()

    def mask(self, bins: int, size: int, device: torch.device | None = None) -> Tensor:
        """Return which bins and frames lie in a stripe; (B, bins, size), bool, on `device`.

        Parameters
        ----------
        bins : int
            Of the frequency axis.
        size : int
            Frames of the time axis.
        device : torch.device, optional
            Where the result is made; the CPU by default.
        """
        spans, bands, valid = self.edges(bins, size)
        drawn = torch.cat([spans.flatten(1), bands.flatten(1), valid[:, None]], 1)  # one upload
        spans, bands, valid = drawn.to(device, non_blocking=True).split([spans[0].numel(), bands[0].numel(), 1], 1)
        frames = _inside(spans.view(len(self), -1, 2), size)[:, None, :]
        frequencies = _inside(bands.view(len(self), -1, 2), bins)[:, :, None]
        return (frames | frequencies) & (torch.arange(size, device=device) < valid)[:, None, :]

    def partner_rows(self) -> Tensor:
        """Return the rows of the partners' batch that stand in any stripe; (R,), int64."""
        return self.partner[self.mixed] if self.kind != "mask" else self.partner[:0]

    def parts(self, index: int) -> list[Part]:
        """Return what of the original is left, in rectangles, and what of the partner stands in the stripes."""
        share = _SHARE[self.kind]
        own, theirs = [], []
        end = float(self.valid[index])
        bands = _merge(self.bands[index].tolist())
        times = _segments(_merge(self.spans[index].tolist()), end)
        for start, stop, within in [*times, *([(end, 1.0, None)] if end < 1 else [])]:
            stripes = [] if within is None else [(0.0, 1.0)] if within else bands
            for low, high, hides in _segments(stripes, 1.0):
                more: dict[str, Any] = {"start": start, "stop": stop, "piece": (start, stop), "band": (low, high)}
                if not hides or share < 1:
                    own.append(Part(ORIGINAL, 1 - share * hides, **more))
                if hides and self.kind != "mask":
                    theirs.append(Part(int(self.partner[index]), share, fitted=True, **more))
        return [*(own or [Part(ORIGINAL, 0.0)]), *theirs]

    def describe(self, index: int) -> dict[str, Any]:
        """Return the stripes, and why there are none."""
        stripes = {"spans": _merge(self.spans[index].tolist()), "bands": _merge(self.bands[index].tolist())}
        return super().describe(index) | stripes


def _inside(stripes: Tensor, size: int) -> Tensor:
    """Return which of `size` places lie in any of the stripes (B, M, 2); (B, size), bool."""
    place = torch.arange(size, device=stripes.device)[:, None]
    return ((place >= stripes[:, None, :, 0]) & (place < stripes[:, None, :, 1])).any(-1)


def _merge(stripes: list[list[float]]) -> list[tuple[float, float]]:
    """Return stripes that overlap or touch as one, in order, without those of no width."""
    merged: list[tuple[float, float]] = []
    for start, stop in sorted(stripe for stripe in stripes if stripe[1] > stripe[0]):
        if merged and start <= merged[-1][1]:
            start, stop = merged[-1][0], max(stop, merged.pop()[1])
        merged.append((start, stop))
    return merged


def _segments(stripes: list[tuple[float, float]], end: float) -> Iterator[tuple[float, float, bool]]:
    """Return what lies between 0 and `end`: (start, stop, whether it is a stripe)."""
    at = 0.0
    for start, stop in stripes:
        if start > at:
            yield at, start, False
        yield start, stop, True
        at = stop
    if at < end:
        yield at, end, False


def spec_augment(
    x: Tensor,
    plan: StripePlan,
    *,
    fill: float | Literal["mean"] = 0.0,
    other: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Hide the plan's stripes, or mix the partner into them.

    Parameters
    ----------
    x : Tensor, shape (B, ..., F, N)
        Spectrograms. Left unchanged.
    plan : StripePlan
        Where the stripes are, and what stands in them.
    fill : float or str
        What hides a stripe of kind ``mask``; see `SpecAugment`.
    other : Tensor, shape (M, ..., F, N), optional
        Where partners come from; `x` itself by default.
    out : Tensor, shape of x, optional
        Written and returned; see `audiomix.audio.blend.blend`.

    Examples
    --------
    >>> spans, bands = torch.tensor([[[0.25, 0.5]]]).double(), torch.tensor([[[0.5, 1.0]]]).double()
    >>> plan = StripePlan.of(1, spans=spans, bands=bands, valid=torch.ones(1).double())
    >>> spec_augment(torch.ones(1, 2, 4), plan)
    tensor([[[1., 0., 1., 1.],
             [0., 0., 0., 0.]]])
    """
    source = check.batch("x", x, len(plan), ndim=3) if plan.kind == "mask" else find_source(x, plan, other, ndim=3)
    if out is not None:
        check_out(out, x, source)
    if by_slice(x, source):
        return _write_slices(x, plan, fill, source, torch.empty_like(x) if out is None else out)
    bins, size = x.shape[-2:]
    hidden = plan.mask(bins, size, x.device).view(len(x), *[1] * (x.ndim - 3), bins, size)
    if plan.kind == "mask":
        value: Any = fill if fill != "mean" else _mean(x, plan)
        augmented = torch.where(hidden, value, x)
    else:
        partner = source[plan.partner.to(x.device)]
        # halves: a sum may overflow in half precision, and a difference of the logarithms of silence, -inf, is NaN
        augmented = torch.where(hidden, partner if plan.kind == "cut" else x * 0.5 + partner * 0.5, x)
    return augmented if out is None else out.copy_(augmented)


def _mean(x: Tensor, plan: StripePlan) -> Tensor:
    """Return each clip's mean over its valid part; (B, 1, ..., 1). Half precision adds up in float32."""
    exact, shape = torch.promote_types(x.dtype, torch.float32), (len(x), *[1] * (x.ndim - 1))
    end = (plan.valid * x.shape[-1]).round().to(x.device, exact).view(shape)
    valid = torch.arange(x.shape[-1], device=x.device) < end
    total = torch.where(valid, x, 0.0).sum(tuple(range(1, x.ndim)), keepdim=True, dtype=exact)
    return (total / (end.clamp(min=1) * (x[0].numel() // x.shape[-1]))).to(x.dtype)


def _write_slices(x: Tensor, plan: StripePlan, fill: float | str, source: Tensor, out: Tensor) -> Tensor:
    """Copy each clip and write its stripes: the cost of a copy of the batch, and of what lies in the stripes."""
    spans, bands, valid = (edges.tolist() for edges in plan.edges(*x.shape[-2:]))
    clips, partners, rows = x.detach().numpy(), source.detach().numpy(), out.numpy()
    exact = "float64" if x.dtype == torch.float64 else "float32"
    for i, j in enumerate(plan.partner.tolist()):
        own, row, end = clips[i], rows[i], valid[i]
        row[...] = own
        if plan.kind == "mask":
            value = own[..., :end].mean(dtype=exact) if fill == "mean" and end else fill
            for start, stop in spans[i]:
                if stop > start:
                    row[..., start:stop] = value
            for low, high in bands[i]:
                if high > low:
                    row[..., low:high, :end] = value
            continue
        write = _put_partner if plan.kind == "cut" else _put_half
        for start, stop in spans[i]:
            if stop > start:
                write(row[..., start:stop], own[..., start:stop], partners[j][..., start:stop])
        for low, high in bands[i]:
            if high > low:
                places = (..., slice(low, high), slice(0, end))
                write(row[places], own[places], partners[j][places])
    return out


def _put_partner(stripe: Any, own: Any, partner: Any) -> None:
    stripe[...] = partner


def _put_half(stripe: Any, own: Any, partner: Any) -> None:
    if stripe.dtype == np.float16:  # a sum may overflow
        stripe[...] = own * 0.5 + partner * 0.5
    else:
        np.add(own, partner, out=stripe)
        stripe *= 0.5


class SpecAugment(Transform):
    """Hide random stripes of time and of frequency of each spectrogram, or take them from another clip.

    Parameters
    ----------
    kind : str
        ``mask``: stripes are filled. SpecAugment++: ``mix``, half clip and half partner; ``cut``, the partner alone.
        The label is kept, so that stripes should be small.
    time_masks : int or float
        Stripes of time in each clip. Below 1: so many for each valid frame, at most 20 (LibriFullAdapt: 0.04).
    time_width : int or float
        Frames of the widest stripe of time; widths from 0 on are equally likely. Below 1: that share of a clip's valid
        frames.
    time_limit : float
        No stripe of time covers more of a clip's valid frames (p of the paper): shorter clips have narrower ones.
    freq_masks : int
        Stripes of frequency in each clip.
    freq_width : int or float
        Bins of the widest stripe of frequency. Below 1: that share of the bins.
    fill : float or str
        What ``mask`` puts in: a number, or ``mean``, each clip's own mean over its valid part. 0 is the mean of a
        normalised spectrogram, but loud in one in decibels.
    pairing : str
        Who is the partner for ``mix`` and ``cut``; see `audiomix.Mixer`.
    num_classes, p, time_axis
        See `audiomix.Transform`.

    Notes
    -----
    Widths are drawn for each stripe, starts uniformly over where a stripe of that width fits into the valid frames (of
    both clips, for ``mix`` and ``cut``). Nothing is written behind them. The defaults are those of PANNs for 64 bins
    and 10 s, with the limit of SpecAugment's policies for Switchboard. LibriSpeech's LD:
    ``SpecAugment(time_width=100, time_limit=1, freq_width=27)``. Stripes that overlap are mixed once. Time is not
    warped.

    In ``eval()`` nothing is hidden. (torchaudio's masks go on there.)

    See Also
    --------
    audiomix.AdaptiveTimeMask : masks in seconds, one plan for streams of any rate: sound and pictures.

    Examples
    --------
    >>> spec = torch.full((2, 1, 64, 500), -50.0)
    >>> masked = SpecAugment(fill="mean", freq_width=16)(spec + torch.arange(64)[:, None])
    >>> masked.x.shape, type(masked.plans[0]).__name__
    (torch.Size([2, 1, 64, 500]), 'StripePlan')
    """

    plan_type = StripePlan

    def __init__(
        self,
        kind: Kind = "mask",
        *,
        time_masks: float = 2,
        time_width: float = 64,
        time_limit: float = 0.2,
        freq_masks: int = 2,
        freq_width: float = 8,
        fill: float | Literal["mean"] = 0.0,
        pairing: Pairing = "any",
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, time_axis=time_axis)
        self.kind: Any = check.choice("kind", kind, _SHARE)
        self.time_masks = _number_or_share("time_masks", time_masks)
        self.time_width = _number_or_share("time_width", time_width)
        self.time_limit = check.fraction("time_limit", time_limit)
        self.freq_masks = check.integer("freq_masks", freq_masks, 0)
        self.freq_width = _number_or_share("freq_width", freq_width)
        self.fill: Any = fill if fill == "mean" else check.number("fill", fill, slip="or 'mean'")
        if fill != 0 and kind != "mask":
            check.fail("fill", "left out unless kind='mask'", repr(fill), "the partner stands in the stripes")
        if pairing != "any" and kind == "mask":
            check.fail("pairing", "left out for kind='mask'", repr(pairing), "kind='mix' or 'cut'?")
        self.pairing = self.check_pairing(pairing)

    @property
    def needs(self) -> Needs:
        """Spectrograms; a partner for ``mix`` and ``cut``."""
        sources = (1, 1) if self.kind == "mask" else (2, 2)
        return Needs(domain=frozenset({SPECTROGRAM}), sources=sources, target=False, summed=self.fill == 0, axes=True)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return every kind, fill and way to say widths and numbers."""
        wide: dict[str, Any] = {"time_width": 30, "time_limit": 0.5, "freq_width": 4}
        adaptive = cls(fill="mean", time_masks=0.04, time_width=0.1, freq_width=0.3)
        made = [cls(**wide), adaptive, cls(fill=-100.0, **wide), cls("mix", **wide), cls("cut", **wide)]
        return [Example(t, shape=(1, 12, 100)) for t in made]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw which clips have stripes, their partners, and where the stripes lie."""
        size, bins, end = len(own), own.x.shape[-2], own.valid
        partner = torch.arange(size)
        if self.kind == "mask":
            chosen = self.choose(own, progress=progress, generator=generator)
        else:
            partner, chosen = self.pair(own, source, progress=progress, generator=generator)
            end = torch.where(chosen, overlap(own, source, partner)[1], end)
        # one number a clip: NumPy's calls cost a third of torch's
        some, ends, valid = (chosen & (end > 0)).numpy(), end.numpy(), own.valid.numpy()
        most = np.minimum(_share_of(self.time_width, ends), _share_of(self.time_limit, ends, limit=True))
        masks = np.full(size, int(self.time_masks))
        if self.time_masks < 1:
            masks = np.minimum(np.floor(self.time_masks * valid + _ROUNDING), _MOST_MASKS).astype(int)
        spans = _stripes(int(masks.max()), most, ends, generator)
        spans = spans * ((np.arange(spans.shape[1]) < masks[:, None]) & some[:, None])[:, :, None]
        whole = np.full(size, bins)
        bands = _stripes(self.freq_masks, _share_of(self.freq_width, whole), whole, generator) * some[:, None, None]
        return StripePlan(
            partner,
            torch.ones(size, dtype=torch.float64),
            spans=torch.from_numpy(spans / own.size),
            bands=torch.from_numpy(bands / bins),
            valid=end.double() / own.size,
            kind=self.kind,
            why=reasons(chosen, end > 0, "no valid frames"),
        )

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan; see `spec_augment`."""
        assert isinstance(plan, StripePlan)
        other = None if self.kind == "mask" else fit_length(source.x, own.size)
        return spec_augment(own.x, plan, fill=self.fill, other=other, out=out)

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse waveforms, and stripes wider than the frequency axis."""
        x = own.x
        check_spectrogram(x)
        if self.freq_masks and self.freq_width > x.shape[-2]:
            slip = f"a share of the bins? freq_width={self.freq_width / 100:g}" if x.shape[-2] < 100 else ""
            check.fail("freq_width", f"at most the {x.shape[-2]} bins of x", f"{self.freq_width:g}", slip)

    def identity(self, own: Clips) -> StripePlan:
        """Return the plan of this kind without stripes."""
        return replace(StripePlan.identity(len(own)), kind=self.kind)

    def check_plan(self, plan: Plan) -> None:
        """Refuse plans of another kind."""
        super().check_plan(plan)
        if isinstance(plan, StripePlan) and plan.kind != self.kind:
            check.fail("plan", f"of kind {self.kind!r}, as the transform is", repr(plan.kind))


def _number_or_share(name: str, value: Any) -> float:
    """Return a whole number, or a share below 1."""
    number = check.number(name, value, 0)
    if number >= 1 and not number.is_integer():
        check.fail(name, "a whole number, or a share below 1", f"{number:g}")
    return number


def _share_of(value: float, whole: Any, *, limit: bool = False) -> Any:
    """Return a number, or a share of `whole` (B,) rounded down, at most `whole`; a `limit` is always a share."""
    return np.floor(whole * value + _ROUNDING) if limit or value < 1 else np.minimum(whole, value)


def _stripes(count: int, most: Any, end: Any, generator: Generator) -> Any:
    """Draw `count` stripes for each clip: widths in 0..most (B,), starts where they fit before `end` (B,)."""
    if count == 0:
        return np.zeros((len(end), 1, 2))
    places = draw.uniform(0, 1, 2 * len(end) * count, generator=generator).numpy().reshape(2, len(end), count)
    width = whole_numbers(places[0], most[:, None] + 1)
    start = whole_numbers(places[1], end[:, None] - width + 1)
    return np.stack([start, start + width], -1)
