"""Resample: the clip goes through a lower sampling rate and back."""

from torch import Tensor

from ... import check
from ...torchaudio import functional as F
from .._operation import Group, Operation
from .._ratios import STEPS, by_ratio, to_steps

__all__ = ["Resample"]


class Resample(Operation):
    """Take clips to a lower sampling rate and back, by torchaudio: nothing is left above half of it.

    Parameters
    ----------
    share : float
        What of the rate is left at magnitude 1; in steps of 1/120.
    """

    def __init__(self, share: float = 0.25) -> None:
        self.share = check.number("share", share, 0.05, 1)

    def apply(self, group: Group) -> Tensor:
        """Resample all clips that go through the same rate at once."""

        def limit(x: Tensor, steps: int) -> Tensor:
            return F.resample(F.resample(x, STEPS, steps), steps, STEPS)

        return by_ratio(group.x, to_steps(1 - group.level * (1 - self.share)), limit)
