"""Reverb: the clip sounds in a room that is noise which dies away."""

import math

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from ... import check
from ...torchaudio import functional as F
from .._noise import read_noise
from .._operation import Group, Operation

__all__ = ["Reverb"]


class Reverb(Operation):
    r"""Add the sound of a room: a tail of white noise that falls by 60 dB in `seconds`, alike in all channels.

    .. math:: y = \sqrt{1 - w^2}\, x + w\, (h * x), \qquad \lVert h \rVert = 1

    The direct sound stays where it is, and so does the level of sound that is wide in frequency. What rings on behind
    the clip's end is cut.

    Parameters
    ----------
    wet : float
        w at magnitude 1, below 1.
    seconds : float
        Reverberation time.

    See Also
    --------
    audiomix.Room : impulse responses of real rooms.
    """

    numbers = 2

    def __init__(self, wet: float = 0.6, seconds: float = 0.5) -> None:
        self.wet = check.number("wet", wet, 0, 0.99)
        self.seconds = check.number("seconds", seconds, 0.01, 10)

    def apply(self, group: Group) -> Tensor:
        """Convolve each clip with its tail."""
        x, size = group.x, group.x.shape[-1]
        taps = max(1, min(round(self.seconds * group.rate), size))
        time_s = torch.arange(taps, device=x.device, dtype=x.dtype) / group.rate
        tail = read_noise(group.numbers[:, :2], taps, x) * torch.exp(time_s * (-math.log(1000) / self.seconds))
        tail = tail / torch.linalg.vector_norm(tail, dim=1, keepdim=True)
        tail = torch.nn.functional.pad(tail, (0, next_fast_len(size + taps - 1, real=True) - size + 1 - taps))
        wet = group.level * self.wet
        rung = F.fftconvolve(x, tail[:, None].expand(-1, x.shape[1], -1))[..., :size]
        return x * group.column((1 - wet.square()).sqrt()) + rung * group.column(wet)
