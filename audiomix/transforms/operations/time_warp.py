"""Time warp: a spectrogram's first part is squeezed and its rest stretched, or the other way round."""

import torch
from torch import Tensor

from ... import check
from ...needs import SPECTROGRAM
from .._operation import Group, Operation
from .._time_map import read_along

__all__ = ["TimeWarp"]


class TimeWarp(Operation):
    """Move one instant of each spectrogram and all others in proportion; both ends stay. Labels of frames follow.

    Park et al., "SpecAugment: A simple data augmentation method for automatic speech recognition", Interspeech 2019:
    the warp of time; here piecewise linear [ours].

    Parameters
    ----------
    share : float
        By how much of the clip the instant is later at magnitude 1, and earlier at -1; below 0.25.
    """

    domains = frozenset({SPECTROGRAM})
    symmetric = True
    numbers = 1
    changes = frozenset({"time"})

    def __init__(self, share: float = 0.1) -> None:
        self.share = check.number("share", share, 0, 0.24)

    def apply(self, group: Group) -> Tensor:
        """Read each clip along its map."""
        return read_along(group.x, self.knots(group.level, group.numbers), group.valid, group.floor())

    def knots(self, level: Tensor, numbers: Tensor) -> Tensor:
        """Return two lines that meet at an instant in the middle half of the clip."""
        source = 0.25 + 0.5 * numbers[:, 0]
        zero, one = torch.zeros_like(source), torch.ones_like(source)
        there = torch.stack([zero, source + level * self.share, one], 1)
        return torch.stack([there, torch.stack([zero, source, one], 1)], -1)
