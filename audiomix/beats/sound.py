"""A sound as trackers and keys need it, whatever its level, offset, polarity and number of channels; and its onsets."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import check
from ..audio import io
from ..audio.clip import fit_channels
from ..audio.level import SILENCE_DB, from_db, rms
from ..numba_cache import compile_alone

__all__ = ["RATE", "STEP", "band_onsets", "mel_bands", "mono", "one_channel", "sum_onsets"]

RATE = 24_000  # Hz, of `mel_bands`
_HOP = 240  # 10 ms
STEP = _HOP / RATE  # seconds from frame to frame
_FFT = 1024
_BLOCK = 6000  # frames that are transformed at once: bounds the memory of the spectrum
# Mel bands: 80 from 30 Hz to 11 kHz, in low (to about 0.5 kHz), middle (to about 3 kHz) and high.
_BANDS: dict[str, Any] = {"n_mels": 80, "fmin": 30.0, "fmax": 11_000.0}
_EDGES = (8, 40)
# A rise is measured over 20 ms, and smoothed by 15 ms, so that a stroke off by a frame still counts.
_RISE = 2
_SMOOTH = 1.5

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


def mono(samples: Tensor, rate: int, wanted: int) -> np.ndarray:
    """Return (C, T) or (T,) samples as one channel, float32 (T,), at `wanted` Hz (soxr), its peak at 1.

    What is found does not hang on level, offset, polarity or the number of channels: see `one_channel`.

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


def mel_bands(sound: np.ndarray) -> np.ndarray:
    """Return the mel spectrogram of amplitudes, (80, N), float32; frame n is centred on sample n * `_HOP`.

    The transform is torch's: the first ``librosa.stft`` of a fresh installation compiles for 10 s and more.

    Parameters
    ----------
    sound : array, shape (T,), float32
        Samples at `RATE` Hz, from `mono`.
    """
    # the last values go on at both ends: an offset that falls to 0 there would be a sound
    padded = torch.nn.functional.pad(torch.from_numpy(sound)[None], (_FFT // 2, _FFT // 2), mode="replicate")[0]
    window, frames = torch.hann_window(_FFT), 1 + len(sound) // _HOP
    pieces = []
    for first in range(0, frames, _BLOCK):
        piece = padded[first * _HOP : (min(first + _BLOCK, frames) - 1) * _HOP + _FFT]
        spectrum = torch.stft(piece, _FFT, _HOP, window=window, center=False, return_complex=True)
        pieces.append(_mel_bank() @ spectrum.abs())
    return torch.cat(pieces, 1).numpy()


@lru_cache(maxsize=1)
def _mel_bank() -> Tensor:
    with compile_alone("mel"):  # functions that librosa.filters needs are compiled where it is imported
        from librosa.filters import mel

        return torch.from_numpy(mel(sr=RATE, n_fft=_FFT, **_BANDS))


def band_onsets(bands: np.ndarray) -> np.ndarray:
    """Return the onset strength in low, middle and high bands, (3, N), each of deviation 1, or 0 where nothing begins.

    The rise of log(1 + mel / mean), averaged over the bands, less its mean within 1 s.

    Parameters
    ----------
    bands : array, shape (80, N)
        From `mel_bands`.
    """
    from scipy.ndimage import gaussian_filter1d, uniform_filter1d

    level = np.log1p(bands / max(float(bands.mean()), 1e-9))
    rise = np.pad(np.maximum(level[:, _RISE:] - level[:, :-_RISE], 0), ((0, 0), (_RISE, 0)))
    rows = []
    for band in np.split(rise, _EDGES):
        strength = gaussian_filter1d(band.mean(0, dtype=np.float64), _SMOOTH)
        strength -= uniform_filter1d(strength, round(1 / STEP), mode="nearest")
        rows.append(strength / max(float(strength.std()), 1e-9))
    return np.stack(rows)


def sum_onsets(rows: np.ndarray) -> np.ndarray:
    """Return the onset strength over all bands, (N,), of mean 0 and deviation 1, from the rows of `band_onsets`."""
    total = rows.sum(0)
    return total / max(float(total.std()), 1e-9)
