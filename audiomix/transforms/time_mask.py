r"""Adaptive time masks: the longer a clip, the more masks, at the same times in every stream.

.. math:: M = \lceil T / \text{stride} \rceil, \qquad \ell_m \sim U(0, \text{window}), \qquad
    s_m \sim U(0, T - \ell_m)

for a clip of T seconds. Spans are kept in seconds, so that one plan masks samples and pictures alike.

Source: Ma et al., "Auto-AVSR: Audio-Visual Speech Recognition with Automatic Labels", ICASSP 2023.
Label: kept.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from .. import check, draw
from ..arguments import Recorded, copy_type
from ..clips import behind
from ..draw import Generator
from ..plan import Plan

__all__ = ["AdaptiveTimeMask", "MaskPlan", "Masked", "time_mask"]

Fill = Literal["zero", "mean"]
# A clip of 2.0000001 strides, by the rounding of its seconds, has two masks
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskPlan(Plan):
    """When each clip is masked; labels are kept (weight 1).

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    span_s : Tensor, shape (B, M, 2), float64
        Start and stop of each mask in seconds from the clip's start; equal where a clip has fewer masks.
    """

    span_s: Tensor

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rows("span_s", None, 2)

    @classmethod
    def of(cls, span_s: Tensor) -> "MaskPlan":
        """Return the plan with these spans."""
        return cls(torch.arange(len(span_s)), torch.ones(len(span_s), dtype=torch.float64), span_s=span_s)

    def masked(self, size: int, rate: float, ends: Tensor | None = None) -> Tensor:
        """Return which of `size` frames at `rate` a second are masked, none from `ends` (B,) on; (B, size), bool."""
        first, stop = torch.floor(self.span_s * rate + 0.5).unbind(-1)  # (B, M)
        time = torch.arange(size)
        inside = torch.zeros(len(self), size, dtype=torch.bool)
        for m in range(first.shape[1]):  # (B, M, T) would be large for waveforms
            inside |= (time >= first[:, m : m + 1]) & (time < stop[:, m : m + 1])
        return inside if ends is None else inside & (time < ends[:, None])


class Masked(NamedTuple):
    """What a mask returns: the masked batch and the plan behind it."""

    x: Tensor
    plan: MaskPlan


def time_mask(
    x: Tensor,
    plan: MaskPlan,
    *,
    rate: float,
    time_axis: int,
    lengths: Tensor | None = None,
    fill: Fill = "zero",
) -> Tensor:
    """Fill the plan's spans.

    Parameters
    ----------
    x : Tensor, shape (B, ...)
        Left unchanged.
    plan : MaskPlan
        Drawn for this stream or for another one of the same clips.
    rate : float
        Samples or frames a second of `x`.
    time_axis : int
        Which axis is time; not the first.
    lengths : Tensor, shape (B,), optional
        Valid samples or frames; what lies behind is left as it is.
    fill : str
        ``zero``, or ``mean``: each feature's (or pixel's) own mean over the clip's valid time.

    Examples
    --------
    >>> plan = MaskPlan.of(torch.tensor([[[0.5, 1.0]]]).double())
    >>> time_mask(torch.ones(1, 6), plan, rate=4, time_axis=1)
    tensor([[1., 1., 0., 0., 1., 1.]])
    """
    moved, ends = _move_time_last(x, time_axis, lengths)
    if len(plan) != len(x):
        check.fail("plan", f"drawn for {len(x)} clips", f"one for {len(plan)}")
    check.choice("fill", fill, ("zero", "mean"))
    shape = (len(x), *[1] * (moved.ndim - 2), moved.shape[-1])
    hidden = plan.masked(moved.shape[-1], check.number("rate", rate, 0), ends).to(x.device).view(shape)
    value = moved.new_zeros(()) if fill == "zero" else _mean(moved, ends)
    return torch.where(hidden, value, moved).movedim(-1, time_axis)


def _mean(moved: Tensor, ends: Tensor) -> Tensor:
    """Return each feature's mean over the valid time; (B, ..., 1). Half precision adds up in float32."""
    valid = ~behind(moved, ends)
    exact = torch.promote_types(moved.dtype, torch.float32)
    total = torch.where(valid, moved, 0.0).sum(-1, keepdim=True, dtype=exact)
    return (total / valid.sum(-1, keepdim=True).clamp(min=1)).to(moved.dtype)


class AdaptiveTimeMask(Recorded, nn.Module):
    """Mask each clip once per `stride` seconds, each time for up to `window` seconds.

    Parameters
    ----------
    rate : float
        Samples or frames a second of the stream: 25 for pictures, 16000 for a waveform.
    time_axis : int
        Which axis is time: 1 for streams (B, N, D), pictures (B, N, C, H, W) and waveforms (B, T); -1 for (B, C, T).
    window : float
        Longest mask in seconds. Auto-AVSR: 0.4 (10 frames, 6400 samples).
    stride : float
        Seconds that get one mask. Auto-AVSR: 1. A part of a stride at the end counts as one.
    fill : str
        ``zero`` or ``mean``; see `time_mask`.

    Notes
    -----
    Lengths are uniform in [0, window] and starts uniform over where a mask of that length fits into the valid part,
    so no mask is cut and no mask lies in the padding. (Auto-AVSR's code draws the length that bounds the start and the
    length that is masked independently of each other, so that a start depends on a length that is not its own.)
    Masks of one clip may overlap. Spans are rounded to the nearest sample or frame of each stream. In eval nothing
    is masked. Source: Ma et al., Auto-AVSR (ICASSP 2023); its public code has the numbers.

    See Also
    --------
    audiomix.ModalityDropout : hides one of two streams.

    Examples
    --------
    One plan masks sound and picture at the same times:

    >>> hide_picture = AdaptiveTimeMask(25, time_axis=1, fill="mean")
    >>> hide_sound = AdaptiveTimeMask(16000, time_axis=-1)
    >>> picture, plan = hide_picture(torch.rand(2, 50, 1, 8, 9), generator=torch.Generator().manual_seed(0))
    >>> sound, _ = hide_sound(torch.rand(2, 1, 32000), plan=plan)
    """

    def __init__(
        self, rate: float, *, time_axis: int, window: float = 0.4, stride: float = 1.0, fill: Fill = "zero"
    ) -> None:
        super().__init__()
        self.rate = _positive("rate", rate)
        self.time_axis = check.integer("time_axis", time_axis)
        self.window = check.number("window", window, 0, slip="in seconds")
        self.stride = _positive("stride", stride)
        check.choice("fill", fill, ("zero", "mean"))
        self.fill = fill

    def draw(self, seconds: Tensor, *, generator: Generator = None) -> MaskPlan:
        """Draw a plan for clips of so many valid seconds, shape (B,), float64."""
        masks = torch.ceil(seconds / self.stride - _ROUNDING).clamp(min=0)
        most = max(1, int(masks.max()))
        u = draw.uniform(0, 1, len(seconds) * most * 2, generator=generator).view(len(seconds), most, 2)
        length = torch.minimum(u[..., 0] * self.window, seconds[:, None])
        length = torch.where(torch.arange(most) < masks[:, None], length, 0.0)
        start = u[..., 1] * (seconds[:, None] - length)
        return MaskPlan.of(torch.stack([start, start + length], -1))

    def forward(
        self,
        x: Tensor,
        *,
        lengths: Tensor | None = None,
        generator: Generator = None,
        plan: MaskPlan | None = None,
    ) -> Masked:
        """Mask by a plan that is drawn here or given.

        Parameters
        ----------
        x : Tensor, shape (B, ...)
            Samples, frames or pictures of B clips. Left unchanged.
        lengths : Tensor, shape (B,), optional
            Valid samples or frames of the time axis.
        generator : torch.Generator, optional
            On the CPU; None means torch's global one.
        plan : MaskPlan, optional
            Replay this plan, of this stream or of another one of the same clips.

        Raises
        ------
        TypeError, ValueError
            A wrong argument, before any work.
        """
        generator = draw.check_generator(generator)
        _, ends = _move_time_last(x, self.time_axis, lengths)
        if plan is not None:
            check.one_of_types("plan", plan, MaskPlan, "a MaskPlan (Masked.plan; Plan.from_json reads a string)")
        if not self.training:
            return Masked(x, MaskPlan.of(torch.zeros(len(x), 1, 2, dtype=torch.float64)))
        if plan is None:
            plan = self.draw(ends.double() / self.rate, generator=generator)
        hidden = time_mask(x, plan, rate=self.rate, time_axis=self.time_axis, lengths=lengths, fill=self.fill)
        return Masked(hidden, plan)

    if TYPE_CHECKING:

        @copy_type(forward)
        def __call__(self) -> Any:
            """See `forward`."""


def _positive(name: str, value: float) -> float:
    return check.number(name, value, 0) or check.fail(name, "above 0", 0)


def _move_time_last(x: Tensor, time_axis: int, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return `x` with time last, and the valid lengths."""
    check.batch("x", check.floating("x", x))
    if not -x.ndim <= time_axis < x.ndim or time_axis % x.ndim == 0:
        check.fail("time_axis", f"an axis of x {tuple(x.shape)} behind the batch's", time_axis)
    moved = x.movedim(time_axis, -1)
    if lengths is None:
        return moved, torch.full((len(x),), moved.shape[-1])
    return moved, check.lengths("lengths", lengths, moved)
