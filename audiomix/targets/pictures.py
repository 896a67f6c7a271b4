r"""The pictures of a mix: video frames (B, N, C, H, W) under the plan that mixed the sounds.

.. math:: v'(t) = p(t)\, v(t) + (1 - p(t))\, v_p(t)

The partner's frame is the one that is shown at the same time, whatever the frame rates: frames are matched by seconds,
never by their numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor

from .. import check
from ..audio.blend import check_out
from ..plan import Plan

__all__ = ["Rate", "frame_times", "mix_pictures", "partner_frames"]

Rate = float | Fraction
# Pixels that are blended at a time: temporaries stay small beside a video
_BLOCK = 1 << 19
# The denominator of a rate: 1001 of 30000/1001, with room. A rate that is no such ratio is off by less than 5e-5
# divided by its denominator in frames per second.
_DENOMINATOR = 10_000
# Seconds. Where the middle of a frame falls on the edge of two, the later is taken, however the times are rounded.
_EDGE = 1e-6


def mix_pictures(
    frames: Tensor,
    plan: Plan,
    *,
    other: Tensor | None = None,
    rate: Rate | None = None,
    other_rate: Rate | None = None,
    lengths: Tensor | None = None,
    other_lengths: Tensor | None = None,
    times: Tensor | None = None,
    other_times: Tensor | None = None,
    between: Literal["hold", "linear"] = "hold",
    size: Literal["same", "resize"] = "same",
    out: Tensor | None = None,
) -> Tensor:
    """Mix the pictures of clips as the plan says that mixed their sounds.

    Source: ours.

    Parameters
    ----------
    frames : Tensor, shape (B, N, C, H, W), uint8 or floating point
        The originals'. Left unchanged.
    plan : Plan
        Of `audiomix.AVMix`, or of any other mixer: its weight, or its share along time, is then the picture's.
    other : Tensor, shape (M, N', C, H', W'), optional
        Where partners come from; `frames` itself by default.
    rate, other_rate : float or Fraction, optional
        Frames per second; `other_rate` is `rate` unless given. Without them and without times, frame n meets frame n.
        NTSC rates are fractions: ``Fraction(30000, 1001)``.
    lengths, other_lengths : Tensor, shape (B,) and (M,), optional
        Valid frames; what lies behind is padding and neither mixed nor mixed in.
    times, other_times : Tensor, shape (N,) or (B, N), and (N',) or (M, N'), optional
        When each frame is first shown, in seconds from the start of the clip, for frames that are not evenly spaced.
        They go before the rates, which then say only how long the last frame is shown; else as long as the one before.
    between : str
        ``hold``: the partner's frame that is shown at the middle of the original's. ``linear``: interpolated between
        the two whose middles lie around it.
    size : str
        ``same``: pictures of another size are refused. ``resize``: the partner's are brought to the original's size
        (bilinear, antialiased).
    out : Tensor, shape of frames, optional
        Written and returned.

    Returns
    -------
    Tensor, shape (B, N, C, H, W)
        Of the same dtype and device. Whole numbers are rounded to the nearest; at share 1 they are the original's bits,
        at share 0 the partner's. Gradients flow to both.

    Raises
    ------
    TypeError, ValueError
        A wrong argument, before any work.

    Notes
    -----
    Where the partner has no frame to show (behind its end, before its first frame) the original's stands alone. The
    plan's shares know the sounds only, so they count such frames as mixed. A plan with ``seconds`` is followed in
    seconds where `rate` or `times` is given; else its fractions are those of the N frames. Frames that are shown behind
    the end of the original's sound are mixed as those at its end; without `lengths` they are taken for padding where
    the sound is padded. The edges of a box are rounded to whole pixels. A clip that meets itself is unchanged.

    Examples
    --------
    >>> frames = torch.tensor([0, 200], dtype=torch.uint8).view(2, 1, 1, 1, 1).expand(2, 3, 1, 2, 4)
    >>> plan = Plan(torch.tensor([1, 0]), torch.tensor([0.75, 1.0], dtype=torch.float64))
    >>> mix_pictures(frames, plan)[:, 0, 0, 0]
    tensor([[ 50,  50,  50,  50],
            [200, 200, 200, 200]], dtype=torch.uint8)
    """
    own = _Stream.of("", frames, rate, lengths, times)
    theirs = own
    if other is not None:
        theirs = _Stream.of("other_", other, rate if other_rate is None else other_rate, other_lengths, other_times)
    _check(plan, own, theirs, (other_rate, other_lengths, other_times) if other is None else (), size)
    check.choice("between", between, ["hold", "linear"])
    if out is not None:
        check_out(out, frames, theirs.frames)
    mixed = frames.clone() if out is None else out.copy_(frames)
    share = _shares(plan, own, timed_ends=lengths is not None)
    for i, j in enumerate(plan.partner.tolist()):
        if (other is None and j == i) or not bool((share[i] < 1).any()):
            continue
        lower, upper, part = _pair_frames(own, theirs, i, j, between)
        here = share[i, : len(lower)]
        rows = torch.nonzero((lower >= 0) & (here < 1)).flatten()
        for some in rows.split(max(1, _BLOCK // frames[0, 0].numel())) if len(rows) else ():
            found = _look_up(theirs.frames[j], lower[some], upper[some], part[some], frames.shape[-2:])
            _write(mixed[i], _run(some, frames.device), found, here[some], plan.picture_box(i))
    return mixed


def partner_frames(
    size: int,
    other_size: int,
    *,
    rate: Rate | None = None,
    other_rate: Rate | None = None,
    times: Tensor | None = None,
    other_times: Tensor | None = None,
) -> Tensor:
    r"""Return which of the partner's frames is shown at the middle of each of the original's.

    .. math:: j(n) = \lfloor (n + \tfrac12)\, r' / r \rfloor

    in whole numbers, so that it never drifts; by the times of display where they are given.

    Parameters
    ----------
    size, other_size : int
        Frames of the original and of its partner.
    rate, other_rate, times, other_times
        As for `mix_pictures`; times of shape (size,) and (other_size,).

    Returns
    -------
    Tensor, shape (size,), int64
        -1 where the partner shows none.

    Examples
    --------
    >>> partner_frames(8, 8, rate=25, other_rate=Fraction(30000, 1001))
    tensor([ 0,  1,  2,  4,  5,  6,  7, -1])
    """
    if size == 0 or other_size == 0:
        return torch.full((size,), -1)
    other_rate = rate if other_rate is None else other_rate
    if times is None and other_times is None:
        if rate is None and other_rate is not None:
            check.fail("rate", "given with other_rate", None, "frames are matched by time")
        step = Fraction(1) if rate is None else _ratio("other_rate", other_rate) / _ratio("rate", rate)
        middle = 2 * torch.arange(size) + 1  # in halves of a frame
        index = torch.div(middle * step.numerator, 2 * step.denominator, rounding_mode="floor")
        return torch.where(index < other_size, index, -1)
    middles = _middles(frame_times(size, rate, times), rate) + _EDGE
    starts = frame_times(other_size, other_rate, other_times)
    index = torch.searchsorted(starts, middles, right=True) - 1  # -1: not begun
    return torch.where(middles < _end(starts, other_rate), index, -1)


def frame_times(size: int, rate: Rate | None, times: Tensor | None = None) -> Tensor:
    """Return when each of `size` frames is first shown, in seconds; (size,), float64."""
    if times is not None:
        return times[:size].double().cpu()
    if rate is None:
        check.fail("rate", "given where only one of the clips has times", None, "how many frames a second?")
    ratio = _ratio("rate", rate)
    return torch.arange(size, dtype=torch.float64) * ratio.denominator / ratio.numerator


@dataclass(frozen=True)
class _Stream:
    """Frames, with what is known of when they are shown."""

    frames: Tensor
    rate: Rate | None
    ends: list[int]
    times: Tensor | None

    @classmethod
    def of(
        cls, prefix: str, frames: Tensor, rate: Rate | None, lengths: Tensor | None, times: Tensor | None
    ) -> "_Stream":
        """Return the stream whose arguments are called `prefix`..., checked, or raise."""
        name = prefix.rstrip("_") or "frames"
        if check.tensor(name, frames).ndim != 5 or 0 in frames.shape:
            slip = "one clip? frames[None]" if frames.ndim == 4 else ""
            check.fail(name, "frames (B, N, C, H, W), not empty", f"shape {tuple(frames.shape)}", slip)
        if not (frames.is_floating_point() or frames.dtype == torch.uint8):
            check.fail(name, "uint8 or floating point", frames.dtype, error=TypeError)
        if rate is not None:
            _ratio(prefix + "rate", rate)
        batch, size = frames.shape[:2]
        ends = [size] * batch
        if lengths is not None:
            ends = check.lengths(prefix + "lengths", lengths, frames.new_empty(batch, size)).tolist()
        if times is not None:
            times = _times(prefix + "times", times, batch, size, ends)
        return cls(frames, rate, ends, times)

    def when(self, i: int) -> Tensor | None:
        """Return the times of one clip's valid frames, where they were given."""
        return None if self.times is None else self.times[i, : self.ends[i]]


def _times(name: str, times: Tensor, batch: int, size: int, ends: Sequence[int]) -> Tensor:
    times = check.tensor(name, times).detach().double().cpu()
    if tuple(times.shape) not in ((size,), (batch, size)):
        check.fail(name, f"of shape ({size},) or ({batch}, {size})", tuple(times.shape), "one for each frame")
    times = times.expand(batch, size)
    for row, end in zip(times, ends):
        check.finite(name, row[:end])
        if bool((row[:end].diff() <= 0).any()):
            check.fail(name, "seconds that grow from frame to frame", "equal or falling ones", "in order of display?")
    return times


def _check(plan: Plan, own: _Stream, theirs: _Stream, lone: tuple[object, ...], size: str) -> None:
    """Check what the arguments are to each other."""
    check.one_of_types("plan", plan, Plan, "a Plan (Mixed.plans[0])")
    if bool((plan.label_shares()[1][:, 2:] > 0).any()):
        check.fail("plan", "of two sources, for pictures", "one of more", "sources=2")
    check.batch("frames", own.frames, len(plan))
    if any(value is not None for value in lone):
        check.fail("other", "given with other_rate, other_lengths or other_times", None)
    if (own.rate is None and own.times is None) != (theirs.rate is None and theirs.times is None):
        check.fail("rate", "given with other_rate", None, "frames are matched by time")
    a, b = own.frames, theirs.frames
    if a.dtype != b.dtype or a.device != b.device:
        check.fail("other", f"{a.dtype} on {a.device}, as frames are", f"{b.dtype} on {b.device}")
    if a.shape[2] != b.shape[2]:
        check.fail("other", f"of {a.shape[2]} colour channels, as frames are", b.shape[2])
    if check.choice("size", size, ["same", "resize"]) == "same" and a.shape[3:] != b.shape[3:]:
        expected = f"pictures of {a.shape[3]} x {a.shape[4]} pixels, as frames are"
        check.fail("other", expected, f"{b.shape[3]} x {b.shape[4]}", "size='resize' brings them to that size")
    met = plan.partner[plan.stream_weight("picture") < 1]
    if len(met) and not 0 <= int(met.min()) <= int(met.max()) < len(b):
        check.fail("plan.partner", f"in 0..{len(b) - 1}", int(met.max()), "was it drawn with other=?")


def _shares(plan: Plan, own: _Stream, *, timed_ends: bool) -> Tensor:
    """Return the original's share of each frame within the box, or of the whole picture; (B, N), float64."""
    batch, size = own.frames.shape[:2]
    at = (torch.arange(size, dtype=torch.float64) + 0.5).expand(batch, size) / size
    if plan.axis_seconds and not (own.rate is None and own.times is None):
        at = torch.zeros(batch, size, dtype=torch.float64)
        for i, end in enumerate(own.ends):
            if end == 0:
                continue
            at[i, :end] = _middles(frame_times(end, own.rate, own.when(i)), own.rate) / plan.axis_seconds
    return plan.picture_share(at, timed_ends=timed_ends)


def _pair_frames(own: _Stream, theirs: _Stream, i: int, j: int, between: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each valid frame of clip i two frames of clip j, -1 for none, and the second one's part."""
    end, other_end = own.ends[i], theirs.ends[j]
    when = {"rate": own.rate, "other_rate": theirs.rate, "times": own.when(i), "other_times": theirs.when(j)}
    index = partner_frames(end, other_end, **when)  # type: ignore[arg-type]
    part = torch.zeros(end, dtype=torch.float64)
    if between == "hold" or (own.rate is None and own.times is None) or end == 0 or other_end < 2:
        return index, index, part
    at = _middles(frame_times(end, own.rate, own.when(i)), own.rate)
    middles = _middles(frame_times(other_end, theirs.rate, theirs.when(j)), theirs.rate)
    upper = torch.searchsorted(middles, at).clamp(1, other_end - 1)
    part = ((at - middles[upper - 1]) / (middles[upper] - middles[upper - 1])).clamp(0, 1)
    return torch.where(index >= 0, upper - 1, -1), upper, part


def _look_up(frames: Tensor, lower: Tensor, upper: Tensor, part: Tensor, size: torch.Size) -> Tensor:
    """Return one picture for each row: frames as they are, or interpolated and resized ones in floating point."""
    found = frames.index_select(0, lower.to(frames.device))
    if bool((part > 0).any()):
        exact = _exact(found)
        found = torch.lerp(exact, frames.index_select(0, upper.to(frames.device)).to(exact), _column(part, exact))
    if found.shape[-2:] != size:
        found = torch.nn.functional.interpolate(_exact(found), size=tuple(size), mode="bilinear", antialias=True)
    return found


def _run(rows: Tensor, device: torch.device) -> slice | Tensor:
    """Return ascending rows as a slice where they are without gaps: a view, several times as fast as an index."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == len(rows) else rows.to(device)


def _write(mixed: Tensor, rows: slice | Tensor, theirs: Tensor, share: Tensor, box: Tensor | None) -> None:
    """Blend some frames of one clip in place, within the box."""
    top, left, bottom, right = 0, 0, *mixed.shape[-2:]
    if box is not None:
        sides = torch.tensor([*mixed.shape[-2:]] * 2)
        top, left, bottom, right = (box * sides).round().long().tolist()
    theirs = theirs[..., top:bottom, left:right]
    if bool((share > 0).any()):
        exact = _exact(theirs)
        theirs = torch.lerp(exact, mixed[rows, :, top:bottom, left:right].to(exact), _column(share, exact))
    if theirs.is_floating_point() and not mixed.is_floating_point():
        theirs = theirs.round_()  # a buffer of our own; between two pictures nothing leaves 0..255
    mixed[rows, :, top:bottom, left:right] = theirs if isinstance(rows, slice) else theirs.to(mixed.dtype)


def _exact(pictures: Tensor) -> Tensor:
    """Return them in a type to reckon in: single precision for whole numbers and halves."""
    return pictures.to(torch.promote_types(pictures.dtype, torch.float32))


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like).view(-1, 1, 1, 1)


def _ratio(name: str, rate: Rate | None) -> Fraction:
    """Return frames per second as a ratio of whole numbers."""
    value = rate if isinstance(rate, Fraction) else Fraction(check.number(name, rate))
    if not 0.01 <= value <= 1000:
        slip = "the sampling rate of the sound?" if value > 1000 else ""
        check.fail(name, "frames per second in [0.01, 1000]", f"{float(value):g}", slip)
    return value.limit_denominator(_DENOMINATOR)


def _middles(starts: Tensor, rate: Rate | None) -> Tensor:
    """Return the middle of the time that each frame is shown."""
    ends = torch.cat([starts[1:], _end(starts, rate)[None]])
    return torch.where(ends.isfinite(), (starts + ends) / 2, starts)


def _end(starts: Tensor, rate: Rate | None) -> Tensor:
    """Return when the last frame is no longer shown; never for a single picture of no rate."""
    if rate is not None:
        return starts[-1] + 1 / float(rate)
    return 2 * starts[-1] - starts[-2] if len(starts) > 1 else torch.tensor(torch.inf, dtype=torch.float64)
