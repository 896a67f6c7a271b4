"""Stretch: the clip is faster or slower at the same pitch, and cut or padded to its length."""

import math

import torch
from torch import Tensor

from ... import check
from .._operation import Group, Operation
from .._ratios import STEPS, by_ratio, stretch, to_steps
from .._time_map import line_from_start

__all__ = ["Stretch"]


class Stretch(Operation):
    """Stretch or squeeze clips in time from their start on at the same pitch, by torchaudio's phase vocoder.

    What is slower is cut at the clip's end; behind what is faster is silence. Labels of frames follow.

    Parameters
    ----------
    octaves : float
        At magnitude 1 a clip is ``2**octaves`` times as fast, at -1 as slow; in steps of 1/120.
    """

    symmetric = True
    changes = frozenset({"time", "duration"})

    def __init__(self, octaves: float = 0.5) -> None:
        self.octaves = check.number("octaves", octaves, 0, 2)

    def _steps(self, level: Tensor) -> Tensor:
        return to_steps(torch.pow(2.0, level * self.octaves))

    def apply(self, group: Group) -> Tensor:
        """Stretch all clips that are as fast as each other at once."""

        def play(x: Tensor, steps: int) -> Tensor:
            heard = math.ceil(x.shape[-1] * min(1.0, steps / STEPS))
            return stretch(x[..., :heard], steps / STEPS, group.rate)

        return by_ratio(group.x, self._steps(group.level), play)

    def knots(self, level: Tensor, numbers: Tensor) -> Tensor:
        """Return the line from the start on."""
        return line_from_start(self._steps(level).double() / STEPS)
