"""Frequency warp: a spectrogram's bins are moved up or down, as by a longer or shorter vocal tract."""

import torch
from torch import Tensor

from ... import check
from ...needs import SPECTROGRAM
from .._operation import Group, Operation
from .._time_map import follow, read_between

__all__ = ["FreqWarp"]

# Up to this share of the (moved) axis the map is a line through 0; from there on it runs to the last bin.
_KNEE = 0.75


class FreqWarp(Operation):
    """Move the bins of each spectrogram along its frequency axis; the lowest and the highest stay.

    Vocal tract length perturbation (Jaitly and Hinton, ICML workshop 2013) has such a map of two lines, over Hz; here
    it is one of bins [ours].

    Parameters
    ----------
    share : float
        At magnitude 1 bins are moved up by a factor of ``1 + share``, at -1 down by as much; at most 0.3.
    """

    domains = frozenset({SPECTROGRAM})
    symmetric = True
    changes = frozenset({"pitch"})

    def __init__(self, share: float = 0.2) -> None:
        self.share = check.number("share", share, 0, 0.3)

    def apply(self, group: Group) -> Tensor:
        """Read each frame between its bins."""
        bins = group.x.shape[-2]
        source = torch.full_like(group.level, _KNEE)
        zero, one = torch.zeros_like(source), torch.ones_like(source)
        there = torch.stack([zero, source * (1 + group.level * self.share), one], 1)
        knots = torch.stack([there, torch.stack([zero, source, one], 1)], -1)
        # the lowest and the highest bin stand at 0 and 1
        grid = torch.linspace(0, 1, bins, dtype=torch.float64, device=group.x.device).expand(len(source), bins)
        place = follow(knots, grid) * (bins - 1)
        return read_between(group.x.transpose(-1, -2), place, torch.full_like(group.valid, bins)).transpose(-1, -2)
