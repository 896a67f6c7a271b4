"""Where something begins in a sound: mel bands and their rise, what the built-in tracker and the confidence look at."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...numba_cache import compile_alone
from .spectrum import summarise_spectrum

__all__ = ["RATE", "STEP", "band_onsets", "mel_bands", "sum_onsets"]

RATE = 24_000  # Hz, of `mel_bands`
_HOP = 240  # 10 ms
STEP = _HOP / RATE  # seconds from frame to frame
_FFT = 1024
_BLOCK = 1500  # frames that are transformed at once: bounds the memory of the spectrum
# Mel bands: 80 from 30 Hz to 11 kHz, in low (to about 0.5 kHz), middle (to about 3 kHz) and high.
_BANDS: dict[str, Any] = {"n_mels": 80, "fmin": 30.0, "fmax": 11_000.0}
_EDGES = (8, 40)
# A rise is measured over 20 ms, and smoothed by 15 ms, so that a stroke off by a frame still counts.
_RISE = 2
_SMOOTH = 1.5


def mel_bands(sound: np.ndarray) -> np.ndarray:
    """Return the mel spectrogram of amplitudes, (80, N), float32; frame n is centred on sample n * `_HOP`.

    Parameters
    ----------
    sound : array, shape (T,), float32
        Samples at `RATE` Hz, from `mono`.
    """
    bank = _mel_bank()
    found = summarise_spectrum(torch.from_numpy(sound), _FFT, _HOP, lambda magnitudes: bank @ magnitudes, block=_BLOCK)
    return found.numpy()


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
