"""Contrast: a spectrogram's distances from its mean are larger or smaller."""

import torch
from torch import Tensor

from ... import check
from ...needs import SPECTROGRAM
from .._operation import Group, Operation

__all__ = ["Contrast"]


class Contrast(Operation):
    """Multiply the distance of each value from the spectrogram's mean over its valid part.

    Parameters
    ----------
    octaves : float
        The factor is ``2**octaves`` at magnitude 1, and one through it at -1.
    """

    domains = frozenset({SPECTROGRAM})
    symmetric = True

    def __init__(self, octaves: float = 1.0) -> None:
        self.octaves = check.number("octaves", octaves, 0, 4)

    def apply(self, group: Group) -> Tensor:
        """Scale about the mean."""
        mean = group.mean()
        return mean + (group.x - mean) * group.column(torch.pow(2.0, group.level * self.octaves))
