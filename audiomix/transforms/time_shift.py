r"""Time shift: each clip starts earlier or later, and its frame labels with it.

.. math:: x'[t] = x[(t - s) \bmod L] \quad \text{(roll)}, \qquad
          x'[t] = x[t - s] \text{ or a constant outside of the clip} \quad \text{(fill)}

for a clip of L valid samples or frames.

Source: ours: a shift whose frame labels follow.
Label: kept; frame labels move with the sound.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend import check_out
from ..clips import Clips
from ..draw import Generator
from ..graphs import by_slice
from ..mixer import SPECTROGRAM, WAVE, Example, Needs
from ..plan import ORIGINAL, Part, Plan
from ..roll import rotate
from ..schedule import Schedule
from ..transform import Transform, TransformPlan, reasons

__all__ = ["ShiftPlan", "TimeShift", "time_shift"]

Mode = Literal["roll", "fill"]
# Fractions times a size are whole numbers up to the rounding of float64
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class ShiftPlan(TransformPlan):
    """How far each clip is shifted; one plan shifts samples, spectrogram frames and frame labels.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    offset : Tensor, shape (B,), float64
        How much later each clip sounds, as a fraction of the (padded) time axis; below 0 it is earlier.
    valid : Tensor, shape (B,), float64
        How much of the (padded) time axis each clip fills: the shift stays within.
    mode : str
        ``roll`` or ``fill``; see `TimeShift`.

    Examples
    --------
    >>> plan = TimeShift(0.1)(torch.randn(2, 1, 100)).plans[0]
    >>> plan.mode, bool((plan.offset.abs() <= 0.1).all())
    ('roll', True)
    """

    offset: Tensor
    valid: Tensor
    mode: Mode = "roll"

    _still: ClassVar = {"offset": 0.0, "valid": 1.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rows("offset")
        self._check_rows("valid", share=True)
        check.choice("mode", self.mode, ("roll", "fill"))

    @property
    def mixed(self) -> Tensor:
        """Whether each clip is shifted; (B,), bool."""
        return self.offset != 0

    def steps(self, size: int) -> tuple[Tensor, Tensor]:
        """Return by how many of `size` frames each clip is shifted, and how many it fills; two of (B,), int64.

        A shift is rounded to the nearest frame. (DESED's baseline rounds the shift of its labels down, so that they
        are up to a frame earlier than the sound.) What a clip fills is rounded up, as frames that reach into the
        padding are.

        Parameters
        ----------
        size : int
            Samples or frames of the stream.
        """
        valid = torch.ceil(self.valid * size - _ROUNDING).long()
        shift = torch.floor(self.offset * size + 0.5 + _ROUNDING).long()
        if self.mode == "roll":
            return torch.remainder(shift, valid.clamp(min=1)), valid
        return torch.minimum(torch.maximum(shift, -valid), valid), valid

    def move_frames(self, stream: Tensor) -> Tensor:
        """Return another stream (B, ..., N) of the clips, shifted at its own rate; zeros come in at an end."""
        return time_shift(stream, self)

    def parts(self, index: int) -> list[Part]:
        """Return the pieces of the original, each in its new place."""
        offset, end = float(self.offset[index]), float(self.valid[index])
        if self.mode == "roll":
            offset = offset % end if end else 0.0
            whole = [Part(ORIGINAL, start=offset, piece=(0.0, end - offset))]
            return whole + ([Part(ORIGINAL, stop=offset, piece=(end - offset, end))] if offset else [])
        return [Part(ORIGINAL, start=max(offset, 0.0), piece=(max(-offset, 0.0), end - max(offset, 0.0)))]

    def describe(self, index: int) -> dict[str, Any]:
        """Return the shift, and why there is none."""
        return super().describe(index) | {"offset": float(self.offset[index])}


def time_shift(x: Tensor, plan: ShiftPlan, *, fill: float = 0.0, out: Tensor | None = None) -> Tensor:
    """Shift each clip, or any stream of it, within its valid part; padding stays as it is.

    Parameters
    ----------
    x : Tensor, shape (B, ..., N)
        Samples, frames or frame labels, time last. Left unchanged.
    plan : ShiftPlan
        By how much.
    fill : float
        What comes in at an end in the mode ``fill``.
    out : Tensor, shape of x, optional
        Written and returned; see `audiomix.audio.blend.blend`.

    Examples
    --------
    >>> plan = ShiftPlan.of(2, offset=torch.tensor([0.25, -0.5]).double(), valid=torch.ones(2).double())
    >>> time_shift(torch.tensor([[1.0, 2, 3, 4], [1, 2, 3, 4]]), plan)
    tensor([[4., 1., 2., 3.],
            [3., 4., 1., 2.]])
    """
    check.batch("x", x, len(plan))
    shift, valid = plan.steps(x.shape[-1])
    if out is not None:
        check_out(out, x, x)
    if plan.mode == "roll":
        return rotate(x, valid - shift, valid, out=out)
    return _shift_and_fill(x, shift, valid, fill, out)


def _shift_and_fill(x: Tensor, shift: Tensor, valid: Tensor, fill: float, out: Tensor | None) -> Tensor:
    if by_slice(x):  # the cost of a copy of the batch
        moved = torch.empty_like(x) if out is None else out
        for row, clip, by, end in zip(moved.numpy(), x.detach().numpy(), shift.tolist(), valid.tolist()):
            later, earlier = max(by, 0), max(-by, 0)
            row[..., later : end - earlier] = clip[..., earlier : end - later]
            row[..., :later] = fill
            row[..., end - earlier : end] = fill
            row[..., end:] = clip[..., end:]
        return moved
    shift, valid = torch.stack([shift, valid]).to(x.device, non_blocking=True).view(2, len(x), 1)
    time = torch.arange(x.shape[-1], device=x.device)
    place = torch.where(time < valid, time - shift, time)  # (B, N)
    shape = (len(x), *[1] * (x.ndim - 2), x.shape[-1])
    moved = x.gather(-1, place.clamp(0, x.shape[-1] - 1).view(shape).expand_as(x))
    empty = (time < valid) & ((place < 0) | (place >= valid))
    moved = moved.masked_fill(empty.view(shape), fill)
    return moved if out is None else out.copy_(moved)


class TimeShift(Transform):
    """Shift each clip in time, within its valid part; frame labels follow.

    Parameters
    ----------
    shift : float or schedule
        The largest shift (``uniform``) or its standard deviation (``normal``), in `unit`.
    unit : str
        ``fraction`` of the clip's valid part, ``seconds`` (needs `rate`), or ``frames``: samples or frames of `x`.
    distribution : str
        ``uniform``: in [-shift, shift]. ``normal``: of mean 0; DESED's baseline has 90 frames of 16 ms.
    mode : str
        ``roll``: what leaves at one end comes in at the other. ``fill``: what leaves is lost, and `fill` comes in.
    fill : float
        Silence in `x`: 0 for waveforms, the floor of a log spectrogram (LogMel: -100).
    rate : float, optional
        Samples or frames a second of `x`, for `unit` ``seconds``.
    num_classes, p, time_axis
        See `audiomix.Transform`.

    Notes
    -----
    A shift is a whole number of samples or frames of `x`. Frame labels (B, K, N) and any other stream that the plan is
    applied to (`time_shift`, `audiomix.targets.frames.mix_frames`) are shifted by the nearest whole number of their own
    frames; in the mode ``fill`` zeros come in. With ``fill`` at least one sample of the clip stays. Padding stays as it
    is.

    Examples
    --------
    >>> spec, labels = torch.randn(4, 1, 64, 200), torch.zeros(4, 10, 50)
    >>> shifted = TimeShift(90, unit="frames", distribution="normal")(spec, labels)
    >>> shifted.x.shape, shifted.target.shape
    (torch.Size([4, 1, 64, 200]), torch.Size([4, 10, 50]))
    """

    plan_type = ShiftPlan

    def __init__(
        self,
        shift: float | str | Schedule = 0.5,
        *,
        unit: Literal["fraction", "seconds", "frames"] = "fraction",
        distribution: Literal["uniform", "normal"] = "uniform",
        mode: Mode = "roll",
        fill: float = 0.0,
        rate: float | None = None,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, time_axis=time_axis)
        self.unit = check.choice("unit", unit, ["fraction", "seconds", "frames"])
        self.shift = Schedule.of(shift, "shift").within("shift", 0, *([1.0] if unit == "fraction" else []))
        self.distribution = check.choice("distribution", distribution, ["uniform", "normal"])
        self.mode: Any = check.choice("mode", mode, ["roll", "fill"])
        self.fill = check.number("fill", fill)
        if fill and mode == "roll":
            check.fail("fill", "left out unless mode='fill'", f"{fill:g}")
        self.rate = None if rate is None else check.number("rate", rate, 1e-6)
        if unit == "seconds" and rate is None:
            check.fail("rate", "given for unit='seconds'", None, "samples or frames a second of x")

    @property
    def needs(self) -> Needs:
        """Waveforms or spectrograms; the pieces sum to the result where silence is 0."""
        domain = frozenset({WAVE, SPECTROGRAM})
        return Needs(domain=domain, sources=(1, 1), target=False, summed=self.fill == 0, axes=True)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return both modes and every unit, on waveforms and on spectrograms."""
        seconds = cls(0.2, unit="seconds", rate=1000, mode="fill")
        frames = cls(30, unit="frames", distribution="normal")
        floor = cls(0.3, mode="fill", fill=-100.0)
        return [Example(cls()), Example(seconds), *(Example(t, shape=(1, 12, 100)) for t in (frames, floor))]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw which clips are shifted, and how far."""
        size, valid = own.size, own.valid
        chosen = self.choose(own, progress=progress, generator=generator)
        width = self.shift(progress)
        if self.distribution == "uniform":
            drawn = draw.uniform(-width, width, len(own), generator=generator)
        else:
            drawn = draw.normal(width, len(own), generator=generator)
        scale = valid.double() if self.unit == "fraction" else (self.rate or 1.0) if self.unit == "seconds" else 1.0
        shift = (drawn * scale).round()
        most = (valid - 1).clamp(min=0).double()
        if self.mode == "roll":
            shift = torch.fmod(shift, valid.clamp(min=1).double())
        shift = torch.where(chosen, torch.maximum(torch.minimum(shift, most), -most), 0.0)
        why = reasons(chosen, valid > 1, "too short to be shifted")
        return ShiftPlan.of(len(own), offset=shift / size, valid=valid.double() / size, mode=self.mode, why=why)

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan; see `time_shift`."""
        assert isinstance(plan, ShiftPlan)
        return time_shift(own.x, plan, fill=self.fill, out=out)

    def check_plan(self, plan: Plan) -> None:
        """Refuse plans of the other mode."""
        super().check_plan(plan)
        if isinstance(plan, ShiftPlan) and plan.mode != self.mode and bool(plan.mixed.any()):
            check.fail("plan", f"of mode {self.mode!r}, as the transform is", repr(plan.mode))
