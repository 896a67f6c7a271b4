"""Streams along time under a plan: frame labels (B, K, N) and any other (B, ..., N).

A plan that cuts in time cuts frames hard, where the frame's centre lies inside the span; a plan that mixes throughout
mixes every frame by its weight.
"""

from torch import Tensor

from .. import check
from ..plan import Plan
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
        ``linear``, ``union`` or ``dominant``, per frame.
    other : Tensor, shape (M, ..., N), optional
        The stream of the second batch.

    Returns
    -------
    Tensor, shape (B, ..., N)

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
    if source.shape[1:] != target.shape[1:]:
        check.fail("other_target", f"of shape (M, {', '.join(map(str, target.shape[1:]))})", tuple(source.shape))
    source = plan.turned(source)
    share = plan.share(target.shape[-1])
    share = share.view(len(plan), *[1] * (target.ndim - 2), share.shape[-1])
    return apply_rule(target, source[plan.partner.to(target.device)], share, rule)
