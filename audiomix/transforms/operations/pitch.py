"""Pitch: the clip is higher or lower, and as long as before."""

import torch
from torch import Tensor

from ... import check
from ...torchaudio import functional as F
from .._operation import Group, Operation
from .._ratios import STEPS, by_ratio, stretch, to_steps

__all__ = ["Pitch"]


class Pitch(Operation):
    """Shift the pitch: torchaudio's phase vocoder, then its resampling; what is heard when stays.

    Parameters
    ----------
    semitones : float
        Shift at magnitude 1, and at -1 with the other sign; in steps of 1/120 of the frequency.
    """

    symmetric = True
    changes = frozenset({"pitch"})

    def __init__(self, semitones: float = 4.0) -> None:
        self.semitones = check.number("semitones", semitones, 0, 24)

    def apply(self, group: Group) -> Tensor:
        """Stretch the clips, and play them faster or slower by as much."""

        def shift(x: Tensor, steps: int) -> Tensor:
            return F.resample(stretch(x, STEPS / steps, group.rate), steps, STEPS)

        ratio = torch.pow(2.0, group.level * (self.semitones / 12))
        return by_ratio(group.x, to_steps(ratio), shift)
