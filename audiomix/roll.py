"""Streams rolled in a circle: sounds, frames and frame labels alike."""

import torch
from torch import Tensor

__all__ = ["roll_rows"]

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
    first = (roll * valid).round()
    traced = torch.compiler.is_compiling() or (torch.is_grad_enabled() and x.requires_grad)
    if x.device.type == "cpu" and not traced:
        moved = torch.empty_like(x)
        for row, old, end, start in zip(moved, x, valid.long().tolist(), first.long().tolist()):
            row[..., : end - start] = old[..., start:end]
            row[..., end - start : end] = old[..., :start]
            row[..., end:] = old[..., end:]
        return moved
    time = torch.arange(size, device=x.device)
    valid, first = (value.long().to(x.device)[:, None] for value in (valid, first))
    index = torch.where(time < valid, (time + first) % valid.clamp(min=1), time)
    return x.gather(-1, index.view(len(x), *[1] * (x.ndim - 2), size).expand_as(x))
