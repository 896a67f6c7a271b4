"""Streams rolled in a circle: sounds, frames and frame labels alike."""

import torch
from torch import Tensor

from .graphs import by_slice

__all__ = ["roll_rows", "rotate"]

# Fractions times a size are whole numbers up to the rounding of float64.
_ROUNDING = 1e-9


def roll_rows(x: Tensor, roll: Tensor, within: Tensor | None = None) -> Tensor:
    """Return `x` (B, ..., N) with each row read from another place on, its beginning following its end.

    Parameters
    ----------
    x : Tensor, shape (B, ..., N)
        Sounds, frame labels or any other stream; the last axis is time.
    roll : Tensor, shape (B,), float64
        Where each row begins, as a fraction of its valid part.
    within : Tensor, shape (B,), float64, optional
        The valid part, as a fraction of the time axis; all of it where it is None. What lies behind stays in place.

    Examples
    --------
    >>> roll_rows(torch.arange(8.0)[None], torch.tensor([0.25]).double(), torch.tensor([0.5]).double())
    tensor([[1., 2., 3., 0., 4., 5., 6., 7.]])
    """
    size = x.shape[-1]
    valid = torch.full_like(roll, size) if within is None else torch.ceil(within * size - _ROUNDING)
    return rotate(x, (roll * valid).round().long(), valid.long())


def rotate(x: Tensor, first: Tensor, valid: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return `x` (B, ..., N) with the valid part of each row read from a place on, its beginning following its end.

    Parameters
    ----------
    x : Tensor, shape (B, ..., N)
        Sounds, frame labels or any other stream; the last axis is time.
    first : Tensor, shape (B,), int64
        The sample or frame that each row begins with, in [0, valid].
    valid : Tensor, shape (B,), int64
        Valid samples or frames; what lies behind stays in place.
    out : Tensor, shape of x, optional
        Written and returned; memory of its own.
    """
    if by_slice(x):
        moved = torch.empty_like(x) if out is None else out
        rows = zip(moved.numpy(), x.detach().numpy(), first.tolist(), valid.tolist())
        for row, old, start, end in rows:
            row[..., : end - start] = old[..., start:end]
            row[..., end - start : end] = old[..., :start]
            row[..., end:] = old[..., end:]
        return moved
    time = torch.arange(x.shape[-1], device=x.device)
    first, valid = torch.stack([first, valid]).to(x.device, non_blocking=True).view(2, len(x), 1)
    index = torch.where(time < valid, (time + first) % valid.clamp(min=1), time)
    moved = x.gather(-1, index.view(len(x), *[1] * (x.ndim - 2), x.shape[-1]).expand_as(x))
    return moved if out is None else out.copy_(moved)
