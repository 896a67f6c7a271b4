"""Speed: the clip is played faster or slower, and cut or padded to its length."""

import math

import torch
from torch import Tensor

from ... import check
from ...torchaudio import functional as F
from .._operation import BOTH, Group, Operation
from .._ratios import STEPS, by_ratio, to_steps
from .._time_map import line_from_start, read_along

__all__ = ["Speed"]


class Speed(Operation):
    """Play clips faster or slower from their start on: a waveform's pitch moves along, a spectrogram's bins stay.

    What is slower is cut at the clip's end; behind what is faster is silence. Labels of frames follow.

    Parameters
    ----------
    octaves : float
        At magnitude 1 a clip is ``2**octaves`` times as fast, at -1 as slow; in steps of 1/120.
    """

    domains = BOTH
    symmetric = True
    changes = frozenset({"pitch", "time", "duration"})

    def __init__(self, octaves: float = 0.5) -> None:
        self.octaves = check.number("octaves", octaves, 0, 2)

    def _steps(self, level: Tensor) -> Tensor:
        return to_steps(torch.pow(2.0, level * self.octaves))

    def apply(self, group: Group) -> Tensor:
        """Resample waveforms; read spectrograms between their frames."""
        if not group.is_wave:
            return read_along(group.x, self.knots(group.level, group.numbers), group.valid, group.floor())

        def play(x: Tensor, steps: int) -> Tensor:
            heard = x[..., : math.ceil(x.shape[-1] * min(1.0, steps / STEPS)) + STEPS]  # of what is cut nothing is made
            return F.resample(heard, steps, STEPS)

        return by_ratio(group.x, self._steps(group.level), play)

    def knots(self, level: Tensor, numbers: Tensor) -> Tensor:
        """Return the line from the start on."""
        return line_from_start(self._steps(level).double() / STEPS)
