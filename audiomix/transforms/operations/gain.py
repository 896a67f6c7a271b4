"""Gain: the whole clip is louder or quieter."""

import torch
from torch import Tensor

from ... import check
from .._operation import BOTH, Group, Operation

__all__ = ["Gain"]


class Gain(Operation):
    """Make clips louder or quieter; nothing is cut at full scale.

    Parameters
    ----------
    db : float
        Gain at magnitude 1, and at -1 with the other sign.

    Examples
    --------
    >>> Gain().apply(Group(torch.ones(1, 1, 2), torch.tensor([-1 / 3]).double(), torch.zeros(1, 0), torch.tensor([2])))
    tensor([[[0.5012, 0.5012]]])
    """

    domains = BOTH
    symmetric = True
    changes = frozenset({"level"})

    def __init__(self, db: float = 18.0) -> None:
        self.db = check.number("db", db, 0)

    def apply(self, group: Group) -> Tensor:
        """Multiply waveforms, and add to log spectrograms."""
        gain_db = group.level * self.db
        if group.is_wave:
            return group.x * group.column(torch.pow(10.0, gain_db / 20))
        return group.x + group.column(gain_db * group.decibel)
