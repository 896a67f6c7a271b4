"""One channel of a sound, whatever its level, offset, polarity and number of channels: what trackers and keys hear."""

import numpy as np
import torch
from torch import Tensor

from ... import check
from ...audio import io
from ...audio.clip import fit_channels
from ...audio.level import SILENCE_DB, from_db, rms

__all__ = ["mono", "one_channel"]

# What is left of a constant when its mean is taken away: steps of single precision.
_ROUNDING = 4 * torch.finfo(torch.float32).eps
_BLOCK = 1 << 20  # samples


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
    peak, largest = (max(abs(float(edge)) for edge in x.aminmax()) for x in (one, samples))
    silent = peak <= _ROUNDING * largest or float(rms(one)) <= float(from_db(SILENCE_DB))
    return one.zero_() if silent else one.div_(peak)


def mono(samples: Tensor, rate: int, wanted: int) -> np.ndarray:
    """Return (C, T) or (T,) samples as one channel, float32 (T,), at `wanted` Hz (soxr), its peak at 1.

    What is found does not hang on level, offset, polarity or the number of channels: see `one_channel`.

    Parameters
    ----------
    samples : Tensor, shape (C, T) or (T,), floating point
        Samples of one sound.
    rate, wanted : int
        In Hz: of the samples, and of what comes back.

    Raises
    ------
    TypeError, ValueError
        Not a floating point tensor of one or two axes, empty, or not finite.
    """
    samples = check.finite("samples", check.floating("samples", samples)).detach().to("cpu", torch.float32)
    if samples.ndim not in (1, 2) or 0 in samples.shape:
        slip = "one clip at a time: x[i]?" if samples.ndim == 3 else ""
        check.fail("samples", "of shape (C, T) or (T,), not empty", f"shape {tuple(samples.shape)}", slip)
    if samples.ndim == 2 and samples.shape[0] > samples.shape[1]:
        check.fail("samples", "(C, T), channels first", f"shape {tuple(samples.shape)}", "samples.T?")
    return io.resample(io.Clip(one_channel(samples), check.rate("rate", rate)), wanted).samples[0].numpy()
