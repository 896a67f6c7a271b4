"""One channel of a sound, whatever its level, offset, polarity and number of channels: what trackers and keys hear."""

import torch
from torch import Tensor

from ..audio.clip import fit_channels
from ..audio.level import SILENCE_DB, from_db, rms

__all__ = ["one_channel"]

# What is left of a constant when its mean is taken away: steps of single precision.
_BLOCK = 1 << 20  # samples
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
    # in double, for an offset may be loud; by pieces, for ten minutes in double are 200 MB
    pieces = samples.split(_BLOCK, -1)
    mean = sum(piece.double().sum(-1, keepdim=True) for piece in pieces) / samples.shape[-1]
    centred = torch.empty(samples.shape)
    for piece, target in zip(pieces, centred.split(_BLOCK, -1)):
        target.copy_(piece.double() - mean)
    one = fit_channels(centred, 1)
    peak = float(one.abs().amax())
    silent = peak <= _ROUNDING * float(samples.abs().amax()) or float(rms(one)) <= float(from_db(SILENCE_DB))
    return one.zero_() if silent else one.div_(peak)
