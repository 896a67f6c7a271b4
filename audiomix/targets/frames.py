"""Streams along time under a plan: frame labels (B, K, N) and any other (B, ..., N).

A plan that cuts in time cuts frames hard, where the frame's centre lies inside the span; a plan that mixes throughout
mixes every frame by its shares. In a scene (`audiomix.plan_sources.PlacedPlan`) sounds are placed in time, and so are
their frames: in each frame of the mix is the largest of what sounds there, whatever the rule.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .. import check
from ..plan import Plan
from ..plan_sources import PlacedPlan
from .labels import apply_rule

__all__ = ["mix_frames"]


def mix_frames(target: Tensor, plan: Plan, *, rule: str = "linear", other: Tensor | None = None) -> Tensor:
    """Mix frame labels, or any stream whose last axis is time, as the plan says.

    Parameters
    ----------
    target : Tensor, shape (B, ..., N), floating point
        Frame labels (B, K, N), video frames (B, C, H, W, N), features; N need not be the frame rate of the sound.
    plan : Plan
        What a mixer drew for the clips.
    rule : str
        See `audiomix.targets.labels`; per frame.
    other : Tensor, shape (M, ..., N), optional
        The stream of the second batch.

    Returns
    -------
    Tensor, shape (B, ..., N), or longer where the mixes are

    Examples
    --------
    >>> import torch
    >>> plan = Plan(torch.tensor([1, 0]), torch.tensor([0.75, 0.5], dtype=torch.float64))
    >>> mix_frames(torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]]]), plan)[:, 0]
    tensor([[0.7500, 0.7500],
            [0.5000, 0.5000]])
    """
    check.batch("target", check.floating("target", target), len(plan), ndim=2)
    source = target if other is None else check.floating("other_target", other)
    target = plan.move_frames(target)
    expected, got = f"of shape (M, {', '.join(map(str, target.shape[1:]))})", tuple(source.shape)
    if source.shape[1:-1] != target.shape[1:-1]:
        check.fail("other_target", expected, got)
    source = plan.roll_stream(source)
    size = target.shape[-1]
    partners, shares = plan.label_shares(size)
    rows = partners.clamp(min=0).to(target.device).unbind(1)
    theirs = [plan.place_frames(source[k], size) for k in rows]
    if any(stream.shape != target.shape for stream in theirs):
        check.fail("other_target", expected, got)
    if isinstance(plan, PlacedPlan):
        return _place_frames([target, *theirs], plan)
    each = [share.view(len(plan), *[1] * (target.ndim - 2), -1) for share in shares.unbind(1)]
    return apply_rule([target, *theirs], each, rule)


def _place_frames(streams: Sequence[Tensor], plan: PlacedPlan) -> Tensor:
    """Return the largest of what sounds in each frame of the scenes, of streams (B, ..., N) of all sources."""
    mixed = streams[0].new_zeros(())
    for source, stream in enumerate(streams):
        index = plan.frame_index(source, streams[0].shape[-1], stream.shape[-1])
        wide = index.view(len(index), *[1] * (stream.ndim - 2), -1).to(stream.device)
        taken = stream.gather(-1, wide.clamp(min=0).expand(*stream.shape[:-1], -1))
        mixed = torch.maximum(mixed, taken * (wide >= 0))
    return mixed
