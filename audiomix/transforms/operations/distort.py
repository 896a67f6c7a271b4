"""Distort: peaks are rounded off, as by an amplifier that is driven too hard."""

import torch
from torch import Tensor

from ... import check
from .._operation import Group, Operation

__all__ = ["Distort"]


class Distort(Operation):
    """Round off peaks: ``p tanh(d x / p) / tanh(d)`` for a clip of peak p, which is kept.

    Parameters
    ----------
    drive : float
        d at magnitude 1.
    """

    changes = frozenset({"level"})

    def __init__(self, drive: float = 5.0) -> None:
        self.drive = check.number("drive", drive, 0, 100)

    def apply(self, group: Group) -> Tensor:
        """Distort each clip; silence stays silent."""
        peak = group.x.detach().abs().amax((1, 2), keepdim=True).clamp(min=1e-30)  # silence
        drive = group.level * self.drive
        scale = peak / group.column(torch.tanh(drive))
        return torch.tanh(group.x * (group.column(drive) / peak)) * scale
