"""Shift: the clip is rolled in a circle; what leaves at one end comes in at the other."""

import torch
from torch import Tensor

from ... import check
from ...roll import rotate
from .._operation import BOTH, Group, Operation

__all__ = ["Shift"]


class Shift(Operation):
    """Roll clips within their valid parts, later or earlier by whole samples or frames; labels of frames follow.

    Parameters
    ----------
    share : float
        Shift at magnitude 1 (later) and -1 (earlier), as a fraction of the clip.
    """

    domains = BOTH
    symmetric = True
    changes = frozenset({"time"})

    def __init__(self, share: float = 0.5) -> None:
        self.share = check.fraction("share", share)

    def apply(self, group: Group) -> Tensor:
        """Roll each clip."""
        ends = group.valid.clamp(min=1)
        first = torch.remainder(-(group.level * self.share * group.valid).round().long(), ends)
        return rotate(group.x, first, group.valid)

    def knots(self, level: Tensor, numbers: Tensor) -> Tensor:
        """Return the two lines of a roll, with a jump where the clip's end meets its start."""
        place = torch.remainder(level * self.share, 1.0)
        zero, one = torch.zeros_like(place), torch.ones_like(place)
        there = torch.stack([zero, place, place, one], 1)
        return torch.stack([there, torch.stack([1 - place, one, zero, 1 - place], 1)], -1)
