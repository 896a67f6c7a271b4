r"""Inverse warps of frame-level outputs: what a network says of a warped clip, put back to where the clip had it.

.. math:: \hat y = g^{-1}(f(g(x))), \qquad
          L = \frac{\sum_n v_n \, \ell(\hat y_n, y_n)}{\sum_n v_n}

with v_n = 1 for frames that g left in the clip, and 0 for those that it moved out of it: of these nothing is known.
The labels stay as they are. At test time the outputs of several views of a clip are averaged frame by frame, each where
it is valid: `average_frames`.

The paper undoes warps of pictures and depth. For sound, the warps and the reading of the nearest frame are ours: shifts
and flips come back exactly, stretches and other maps of time within one frame.

Frame n of N covers the part [n / N, (n + 1) / N) of the clip, and its time is the centre of it, as in all streams of
this package (`audiomix.streams`). An STFT with ``center=True`` counts otherwise: frame n lies at n hops, and N frames
are N - 1 hops. Of its frames flips come back to one sample. A shift by a fraction of the clip is ``shift * (N - 1) /
N`` of them: without the factor it may be one frame off. A stretch, and what `undo_plan` undoes, may be one frame off
more.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .. import check
from ..plan import Plan

__all__ = ["Frames", "average_frames", "undo_flip", "undo_plan", "undo_roll", "undo_shift", "undo_stretch"]

# Steps in a frame at which a plan is asked where the sound went: odd, so that one is at its centre
_STEPS = 9
# Fractions times a size are whole numbers up to the rounding of float64
_ROUNDING = 1e-9


class Frames(NamedTuple):
    """Outputs where the clips had them, and where they are known."""

    output: Tensor  # (B, ..., N); 0 where it is not valid
    valid: Tensor  # bool, of as many axes; size 1 along those that it does not depend on


def undo_shift(
    output: Tensor,
    shift: float | Tensor,
    *,
    wrap: bool = False,
    lengths: Tensor | None = None,
    valid: Tensor | None = None,
) -> Frames:
    """Return the outputs of clips that were shifted in time, back in their places.

    Source: Wu et al., "AugUndo: Scaling Up Augmentations for Monocular Depth Completion and Estimation", ECCV 2024; for
    sound ours.

    Parameters
    ----------
    output : Tensor, shape (B, ..., N)
        Of the network on the shifted clips; time last. It may be logits, probabilities or masks.
    shift : float or Tensor of shape (B,)
        By how much later the clips sounded, as a fraction of the time axis (N frames); below 0 earlier. Rounded to the
        nearest frame. Of an STFT with ``center=True``: the clip's shift times (N - 1) / N.
    wrap : bool
        What left at one end had come in at the other; without it what left is not valid.
    lengths : Tensor, shape (B,), int64, optional
        Valid frames of each clip; a shift with `wrap` is within them.
    valid : Tensor, bool, optional
        Of an output that is undone a second time: what the first undo returned.

    Raises
    ------
    ValueError, TypeError
        Outputs without frames, or another wrong argument.

    See Also
    --------
    undo_plan : of what a transform has drawn.

    Examples
    --------
    >>> undo_shift(torch.tensor([[[0.0, 1.0, 2.0, 3.0]]]), 0.25)
    Frames(output=tensor([[[1., 2., 3., 0.]]]), valid=tensor([[[ True,  True,  True, False]]]))
    """
    size, ends = _check(output, lengths)
    shifts = _per_clip("shift", shift, output, -1.0, 1.0)
    by = torch.floor(shifts * size + 0.5 + _ROUNDING).long()[:, None]
    time = torch.arange(size)
    place = time + by
    if wrap:
        place = place % ends.clamp(min=1)
    return _read(output, place, (place >= 0) & (place < ends) & (time < ends), valid)


def undo_stretch(
    output: Tensor,
    speed: float | Tensor,
    *,
    size: int | None = None,
    lengths: Tensor | None = None,
    output_lengths: Tensor | None = None,
    valid: Tensor | None = None,
) -> Frames:
    """Return the outputs of clips that were played faster or slower from their start on, at the clips' own times.

    Source: Wu et al., "AugUndo: Scaling Up Augmentations for Monocular Depth Completion and Estimation", ECCV 2024; for
    sound ours.

    Parameters
    ----------
    output : Tensor, shape (B, ..., M)
        Of the network on the stretched clips; time last.
    speed : float or Tensor of shape (B,)
        2 for twice as fast, in [0.1, 10].
    size : int, optional
        Frames N of the clips as they were; by default M: clips were cut or padded to their length.
    lengths : Tensor, shape (B,), int64, optional
        Valid frames of each clip as it was.
    output_lengths : Tensor, shape (B,), int64, optional
        Where each stretched clip was cut, in frames of `output`; by default its end.
    valid : Tensor, bool, optional
        See `undo_shift`.

    Returns
    -------
    Frames
        Of N frames, each read from the frame of the output that its centre lies in.

    Raises
    ------
    ValueError, TypeError
        Outputs without frames, or another wrong argument.

    Examples
    --------
    >>> undo_stretch(torch.tensor([[1.0, 2.0, 0.0, 0.0]])[:, None], 2.0).output
    tensor([[[1., 1., 2., 2.]]])
    """
    most, cut = _check(output, output_lengths, "output_lengths")
    size = most if size is None else check.integer("size", size, 1)
    ends = _lengths("lengths", lengths, len(output), size)
    speeds = _per_clip("speed", speed, output, 0.1, 10.0)[:, None]
    place = torch.floor((torch.arange(size) + 0.5) / speeds + _ROUNDING).long()
    return _read(output, place, (place < cut) & (torch.arange(size) < ends), valid)


def undo_flip(
    output: Tensor,
    axis: Literal["time", "frequency"] = "time",
    *,
    lengths: Tensor | None = None,
    valid: Tensor | None = None,
) -> Frames:
    """Return the outputs of clips that were flipped, the right way round.

    Source: Wu et al., "AugUndo: Scaling Up Augmentations for Monocular Depth Completion and Estimation", ECCV 2024; for
    sound ours.

    Parameters
    ----------
    output : Tensor, shape (B, ..., N) or (B, ..., F, N)
        Of the network on the flipped clips.
    axis : str
        ``time``, the last axis, or ``frequency``, the one before it: of masks and other outputs that have bins. Where
        an output has none, a flip in frequency moved nothing of it.
    lengths : Tensor, shape (B,), int64, optional
        Valid frames: each clip was flipped within them.
    valid : Tensor, bool, optional
        See `undo_shift`.

    Raises
    ------
    ValueError, TypeError
        Outputs without frames, or without bins for a flip in frequency.

    Examples
    --------
    >>> undo_flip(torch.tensor([[[1.0, 2.0, 3.0, 0.0]]]), lengths=torch.tensor([3])).output
    tensor([[[3., 2., 1., 0.]]])
    """
    size, ends = _check(output, lengths)
    time = torch.arange(size)
    inside = time < ends
    if check.choice("axis", axis, ["time", "frequency"]) == "time":
        return _read(output, ends - 1 - time, inside, valid)
    _check_bins(output)
    if valid is not None:
        _check_valid(valid, output)
    return _read(output.flip(-2), time.expand_as(inside), inside, None if valid is None else valid.flip(-2))


def undo_roll(
    output: Tensor,
    bins: int,
    *,
    wrap: bool = True,
    lengths: Tensor | None = None,
    valid: Tensor | None = None,
) -> Frames:
    """Return outputs with bins, of clips that were rolled along frequency, at their own frequencies.

    Source: Wu et al., "AugUndo: Scaling Up Augmentations for Monocular Depth Completion and Estimation", ECCV 2024; for
    sound ours.

    Parameters
    ----------
    output : Tensor, shape (B, ..., F, N)
        Of the network on the rolled clips: masks, or other outputs with bins.
    bins : int
        By how many bins the clips were higher; below 0 lower.
    wrap : bool
        What left at one end had come in at the other, as `torch.roll` does it; without it what left is not valid.
    lengths : Tensor, shape (B,), int64, optional
        Valid frames of each clip.
    valid : Tensor, bool, optional
        See `undo_shift`.

    Raises
    ------
    ValueError, TypeError
        Outputs without bins, or another wrong argument.

    Examples
    --------
    >>> undo_roll(torch.tensor([[[0.0], [1.0], [2.0]]]), 1, wrap=False).output[0, :, 0]
    tensor([1., 2., 0.])
    """
    size, ends = _check(output, lengths)
    _check_bins(output)
    bins, count = check.integer("bins", bins), output.shape[-2]
    if abs(bins) >= count:
        check.fail("bins", f"fewer than the {count} bins of output", bins)
    rolled = output.roll(-bins, -2)
    known = torch.ones(count, 1, dtype=torch.bool, device=output.device)
    if not wrap:
        known[count - max(0, bins) :] = False
        known[: max(0, -bins)] = False
    if valid is not None:
        _check_valid(valid, output)
        known = known & (valid.roll(-bins, -2) if valid.shape[-2] == count else valid)
    time = torch.arange(size)
    inside = time < ends
    found = _read(rolled, time.expand_as(inside), inside, None)
    both = found.valid & known
    return Frames(torch.where(both, found.output, 0), both)


def undo_plan(output: Tensor, plan: Plan, *, lengths: Tensor | None = None, valid: Tensor | None = None) -> Frames:
    """Return the outputs of clips that a transform moved in time, back in their places: of any plan that moves frames.

    Source: Wu et al., "AugUndo: Scaling Up Augmentations for Monocular Depth Completion and Estimation", ECCV 2024; for
    sound ours.

    Parameters
    ----------
    output : Tensor, shape (B, ..., N)
        Of the network on the clips that the plan changed; time last.
    plan : Plan
        Of `audiomix.TimeShift`, `audiomix.RandAugment`, `audiomix.RandomField` (``time_warp``), or of a transform of
        one's own with `Plan.move_frames`. One that moves nothing in time leaves the output as it is.
    lengths : Tensor, shape (B,), int64, optional
        Valid frames of each clip. Without it padding counts as valid.
    valid : Tensor, bool, optional
        See `undo_shift`.

    Returns
    -------
    Frames
        A frame is valid where some of it is heard in the changed clip.

    Raises
    ------
    ValueError, TypeError
        A plan that mixes frames or changes their number, or another wrong argument.

    Examples
    --------
    >>> from audiomix import TimeShift
    >>> wave = torch.randn(2, 1, 8000)
    >>> shifted = TimeShift(0.3, mode="fill")(wave)
    >>> activity = shifted.x.square().unflatten(-1, (50, 160)).mean(-1)  # what a network would say
    >>> found = undo_plan(activity, shifted.plans[0])
    >>> found.output.shape, found.valid.shape
    (torch.Size([2, 1, 50]), torch.Size([2, 1, 50]))
    """
    size, ends = _check(output, lengths)
    check.batch("output", output, len(plan))
    steps = size * _STEPS
    ramp = torch.arange(1, steps + 1, dtype=torch.float64).expand(len(plan), 1, steps)
    moved = plan.move_frames(ramp)[:, 0]
    if moved.shape != (len(plan), steps) or not bool((moved == moved.round()).all()):
        slip = f"{type(plan).__name__} mixes frames or changes their number"
        check.fail("plan", "one that moves frames in time and mixes none", type(plan).__name__, slip)
    # where in the result each step of the original is heard; -1 where it is not
    heard = torch.full((len(plan), steps + 1), -1, dtype=torch.long)
    heard.scatter_(1, moved.long(), torch.arange(steps).expand(len(plan), -1))
    each = heard[:, 1:].view(len(plan), size, _STEPS)
    centre = (torch.arange(_STEPS) - _STEPS // 2).abs()  # of a frame, the step that is nearest to its centre
    far = torch.where(each >= 0, centre, _STEPS)
    best = far.argmin(2, keepdim=True)
    place = each.gather(2, best)[..., 0] // _STEPS
    return _read(output, place, (place >= 0) & (torch.arange(size) < ends), valid)


def average_frames(views: Sequence[Frames]) -> Frames:
    """Return the mean of the outputs of several views of clips, frame by frame over the views where it is valid.

    Source: ours, after Wu et al., "AugUndo: Scaling Up Augmentations for Monocular Depth Completion and Estimation",
    ECCV 2024.

    Parameters
    ----------
    views : sequence of Frames
        What the undo functions returned, of one shape. The clips as they are: ``Frames(output, torch.ones_like(output,
        dtype=torch.bool))``.

    Returns
    -------
    Frames
        0 and not valid where no view is.

    Raises
    ------
    ValueError
        No view, or outputs of different shapes.

    Examples
    --------
    >>> one = undo_shift(torch.tensor([[[5.0, 1.0, 2.0]]]), 1 / 3)
    >>> two = undo_shift(torch.tensor([[[3.0, 4.0, 5.0]]]), 0.0)
    >>> average_frames([one, two]).output
    tensor([[[2., 3., 5.]]])
    """
    if not views:
        check.fail("views", "one or more", "none")
    shape = views[0].output.shape
    for view in views:
        if view.output.shape != shape:
            check.fail("views", f"outputs of shape {tuple(shape)}, as the first", tuple(view.output.shape))
    known = torch.stack([view.valid.expand(shape) for view in views])
    total = torch.stack([torch.where(view.valid, view.output, 0) for view in views]).sum(0)
    count = known.sum(0)
    return Frames(total / count.clamp(min=1), count > 0)


def _check(output: Tensor, lengths: Tensor | None, name: str = "lengths") -> tuple[int, Tensor]:
    """Return how many frames there are, and where each clip ends, (B, 1)."""
    check.batch("output", check.floating("output", output), ndim=2)
    if not output.shape[-1]:
        check.fail("output", "of one frame or more", f"shape {tuple(output.shape)}")
    return output.shape[-1], _lengths(name, lengths, len(output), output.shape[-1])


def _lengths(name: str, lengths: Tensor | None, count: int, size: int) -> Tensor:
    ends = torch.full((count,), size)
    return (ends if lengths is None else check.lengths(name, lengths, torch.empty(count, size)))[:, None]


def _check_valid(valid: Tensor, output: Tensor) -> Tensor:
    found = check.tensor("valid", valid)
    if found.dtype != torch.bool or found.ndim != output.ndim or found.shape[-1] != output.shape[-1]:
        expected = f"bool, with {output.ndim} axes and {output.shape[-1]} frames, as an undo returned it"
        check.fail("valid", expected, f"{found.dtype} of shape {tuple(found.shape)}")
    return found


def _check_bins(output: Tensor) -> None:
    if output.ndim < 3:
        check.fail("output", "of shape (B, ..., F, N) for bins to be moved", f"shape {tuple(output.shape)}")


def _per_clip(name: str, value: float | Tensor, output: Tensor, low: float, high: float) -> Tensor:
    """Return a number for each clip, (B,), float64, within [low, high]."""
    if not isinstance(value, Tensor):
        return torch.full((len(output),), check.number(name, value, low, high), dtype=torch.float64)
    found = value.detach().cpu().double()
    if found.shape != (len(output),):
        check.fail(name, f"a number, or one for each of {len(output)} clips", f"shape {tuple(value.shape)}")
    for one in found.tolist():
        check.number(name, one, low, high)
    return found


def _read(output: Tensor, place: Tensor, there: Tensor, valid: Tensor | None) -> Frames:
    """Return frames at places (B, N) of the output, and whether they are there."""
    axes = [1] * (output.ndim - 2)
    place, there = (table.view(len(output), *axes, -1).to(output.device) for table in (place, there))
    place = place.clamp(0, output.shape[-1] - 1)
    if valid is not None:
        before = _check_valid(valid, output)
        there = there & before.gather(-1, place.expand(*before.shape[:-1], -1))
    moved = output.gather(-1, place.expand(*output.shape[:-1], place.shape[-1]))
    return Frames(torch.where(there, moved, 0), there)
