"""One channel of a sound, whatever its level, offset, polarity and number of channels: what trackers and keys hear."""

import torch
from torch import Tensor

from ..audio.clip import fit_channels
from ..audio.level import SILENCE_DB, from_db, rms

__all__ = ["one_channel"]

# What is left of a constant when its mean is taken away: steps of single precision.
_ROUNDING = 4 * torch.finfo(torch.float32).eps


def one_channel(samples: Tensor) -> Tensor:
    """Return the mean of the channels, (1, T), float32, without offset and with its peak at 1.

    Of channels that cancel each other the loudest is taken. A constant comes back as zeros, as
    does what is softer than -120 dB: silence.

    Parameters
    ----------
    samples : Tensor, shape (C, T) or (T,), floating point
        Samples of one sound.

    Examples
    --------
    >>> one_channel(torch.tensor([[0.25, 0.75], [0.25, 0.75]])), one_channel(torch.full((1, 2), 0.3))
    (tensor([[-1.,  1.]]), tensor([[0., 0.]]))
    """
    samples = samples.reshape(-1, samples.shape[-1])
    centred = (samples.double() - samples.double().mean(-1, keepdim=True)).float()
    one = fit_channels(centred, 1)
    peak = float(one.abs().amax())
    silent = peak <= _ROUNDING * float(samples.abs().amax()) or float(rms(one)) <= float(from_db(SILENCE_DB))
    return torch.zeros_like(one) if silent else one / peak
