"""Tilt: a spectrogram is brighter or darker, by a straight line over its bins."""

import torch
from torch import Tensor

from ... import check
from ...needs import SPECTROGRAM
from .._operation import Group, Operation

__all__ = ["Tilt"]


class Tilt(Operation):
    """Raise the high bins of each spectrogram and lower the low ones, or the other way round, along a line.

    Parameters
    ----------
    db : float
        Gain of the highest bin at magnitude 1, and of the lowest one with the other sign.
    """

    domains = frozenset({SPECTROGRAM})
    symmetric = True

    def __init__(self, db: float = 9.0) -> None:
        self.db = check.number("db", db, 0)

    def apply(self, group: Group) -> Tensor:
        """Add the line."""
        line = torch.linspace(-1, 1, group.x.shape[-2], device=group.x.device, dtype=group.x.dtype)[:, None]
        return group.x + line * group.column(group.level * (self.db * group.decibel))
