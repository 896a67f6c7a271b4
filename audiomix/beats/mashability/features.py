"""What is compared of two pieces, beat by beat: onsets in a few bands, harmony, and where their energy lies."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...audio.io import Clip, resample
from ...numba_cache import compile_alone
from ..grid import BeatGrid
from ..sound.channel import one_channel
from ..sound.spectrum import summarise_spectrum

__all__ = ["SLOTS", "BeatFeatures", "measure"]

# Onsets are read this often in a beat: 1/2, 1/3 and 1/4 of a beat are whole numbers of them.
SLOTS = 12

_RATE = 12_000
_BLOCK = 1000  # frames that are transformed at once: bounds the memory of the spectrum
# Onsets: 40 mel bands from 30 Hz to 5.8 kHz, every 10 ms, in four groups (up to about 0.2, 0.7 and 2.3 kHz).
_FFT, _HOP = 512, 120
_MEL: dict[str, Any] = {"n_mels": 40, "fmin": 30.0, "fmax": 5800.0}
_EDGES = (4, 12, 26)
_RISE = 2  # frames over which a rise is measured
_SMOOTH = 3.0  # frames: an onset counts though a tracker is 30 ms off
# Harmony: windows of 171 ms every 50 ms.
_LONG_FFT, _LONG_HOP = 2048, 600
# Hz: edges of the three bands of the spectral balance (Davies et al. 2014)
_BALANCE = (220.0, 1760.0)


@dataclass(frozen=True, eq=False)
class BeatFeatures:
    """What is measured of a piece between its beats: of N intervals, float32.

    Level, offset and polarity of the sound and its number of channels do not matter.

    Parameters
    ----------
    onsets : array, shape (N, 12, K)
        Strength of onsets in K bands, twelve times a beat, the first on the beat; each band with deviation 1. The last
        band is the change of harmony from one beat to the next.
    chroma : array, shape (N, 12)
        Energy of the pitch classes from C up, less their mean, of length 1 in a beat of usual strength; 0 in silence.
    energy : array, shape (N, 3)
        Energy below 220 Hz, up to 1760 Hz and above; of mean 1 over the piece and the bands.
    """

    onsets: np.ndarray
    chroma: np.ndarray
    energy: np.ndarray

    def __len__(self) -> int:
        return len(self.chroma)

    def first(self, count: int) -> "BeatFeatures":
        """Return those of the first `count` intervals."""
        return BeatFeatures(self.onsets[:count], self.chroma[:count], self.energy[:count])


def measure(samples: Tensor, rate: int, grid: BeatGrid | None) -> BeatFeatures:
    """Measure what `mashability` compares.

    Parameters
    ----------
    samples : Tensor, shape (C, T) or (T,), floating point
        Samples of one sound. No gradient is kept.
    rate : int
        In Hz.
    grid : BeatGrid or None
        Its beats; the one that follows the last is added (`BeatGrid.close`). None, or less than two: no intervals.

    Examples
    --------
    >>> found = measure(torch.randn(16000), 8000, BeatGrid([0.0, 0.5, 1.0, 1.5]))
    >>> found.onsets.shape, found.chroma.shape, found.energy.shape
    ((4, 12, 5), (4, 12), (4, 3))
    """
    times = np.zeros(0) if grid is None else grid.close(samples.shape[-1] / rate).array
    count = max(len(times) - 1, 0)
    if not count:
        return BeatFeatures(*(np.zeros((0, *rest), np.float32) for rest in ((SLOTS, len(_EDGES) + 2), (12,), (3,))))
    sound = resample(Clip(one_channel(samples.detach().cpu()), rate), _RATE).samples[0]
    chroma, energy = _harmony(sound, times)
    onsets = np.concatenate([_onsets(sound, times), _changes(chroma)], 2)
    onsets /= np.maximum(onsets.std((0, 1)), 1e-9)
    return BeatFeatures(onsets.astype(np.float32), chroma.astype(np.float32), energy.astype(np.float32))


def _onsets(sound: Tensor, times: np.ndarray) -> np.ndarray:
    """Return the strength of onsets in each group of bands at twelve places a beat, (N, 12, K)."""
    from scipy.ndimage import gaussian_filter1d

    bands = summarise_spectrum(sound, _FFT, _HOP, lambda magnitudes: _mel() @ magnitudes, block=_BLOCK).numpy()
    level = np.log1p(10 * bands / max(float(bands.mean()), 1e-9))
    rise = np.pad(np.maximum(level[:, _RISE:] - level[:, :-_RISE], 0), ((0, 0), (_RISE, 0)))
    strength = [gaussian_filter1d(band.mean(0, dtype=np.float64), _SMOOTH) for band in np.split(rise, _EDGES)]
    beat = np.arange((len(times) - 1) * SLOTS) / SLOTS
    frame = np.interp(beat, np.arange(len(times)), times) * _RATE / _HOP
    read = [np.interp(frame, np.arange(rise.shape[1]), one) for one in strength]
    return np.stack(read, 1).reshape(-1, SLOTS, len(read))


def _harmony(sound: Tensor, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the chroma (N, 12) and the energy in three bands (N, 3) between beats."""

    def summarise(magnitudes: Tensor) -> Tensor:
        powers = _balance() @ magnitudes.square()
        return torch.cat([_chroma() @ magnitudes.square(), powers])

    frames = summarise_spectrum(sound, _LONG_FFT, _LONG_HOP, summarise, block=_BLOCK).double().numpy()
    chroma, energy = (part / max(float(part.mean()), 1e-12) for part in np.split(frames, [12]))
    total = np.pad(np.cumsum(np.concatenate([np.log1p(10 * chroma), energy]), 1), ((0, 0), (1, 0)))
    # frame n is centred on n hops and stands for half a hop to both sides
    edge = (times * _RATE / _LONG_HOP + 0.5).clip(0, total.shape[1] - 1)
    read = np.stack([np.interp(edge, np.arange(total.shape[1]), one) for one in total], 1)
    mean = np.diff(read, axis=0) / np.maximum(np.diff(edge), 1e-6)[:, None]
    chroma = mean[:, :12] - mean[:, :12].mean(1, keepdims=True)
    length = np.linalg.norm(chroma, axis=1, keepdims=True)
    usual = float(np.sqrt(np.mean(length**2)))
    return chroma / np.maximum(np.maximum(length, 0.1 * usual), 1e-9), mean[:, 12:]


def _changes(chroma: np.ndarray) -> np.ndarray:
    """Return how far the harmony moves at each beat, on the beat; (N, 12, 1)."""
    found = np.zeros((len(chroma), SLOTS, 1))
    found[1:, 0, 0] = np.linalg.norm(np.diff(chroma, axis=0), axis=1)
    return found


@lru_cache(maxsize=1)
def _mel() -> Tensor:
    with compile_alone("mel"):  # functions that librosa.filters needs are compiled where it is imported
        from librosa.filters import mel

        return torch.from_numpy(mel(sr=_RATE, n_fft=_FFT, **_MEL))


@lru_cache(maxsize=1)
def _chroma() -> Tensor:
    with compile_alone("mel"):
        from librosa.filters import chroma

        return torch.from_numpy(chroma(sr=_RATE, n_fft=_LONG_FFT)).float()


@lru_cache(maxsize=1)
def _balance() -> Tensor:
    hertz = torch.arange(_LONG_FFT // 2 + 1) * _RATE / _LONG_FFT
    low, high = _BALANCE
    bands = [(hertz > 0) & (hertz < low), (hertz >= low) & (hertz < high), hertz >= high]
    return torch.stack(bands).float()
