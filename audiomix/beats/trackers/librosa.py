"""The built-in tracker: onsets in three groups of librosa's mel bands, and the best sequence of beats in them.

Source: ours, after Krebs, Böck and Widmer, "An Efficient State-Space Model for Joint Tempo and Meter Tracking", ISMIR
2015.
"""

import importlib.util

import numpy as np
from torch import Tensor

from ... import check
from ..grid import BeatGrid
from ..sound.bar_pointer import fit_beats
from ..sound.onsets import RATE, STEP, band_onsets, mel_bands, sum_onsets
from ._base import Tracker, mono

__all__ = ["LibrosaTracker"]

# Beats come this much later than they are: the median of tests/bench's synthesiser with other patterns and seeds.
_LAG = 0.003
# Nothing rises in the first frames of a sound that begins with a beat: that beat is put back if it lies this near 0.
_EDGE = 3
# Nothing before the first and behind the last frame this loud (amplitude, of the loudest) is a beat.
_SILENT = 1e-3


class LibrosaTracker(Tracker):
    """Onsets in librosa's mel bands, beats by a bar-pointer model; no weights, no compiler, no bars.

    The onset strength is the rise of log(1 + mel / mean), averaged in three bands, each less its mean within 1 s and
    divided by its deviation. `fit_beats` finds the beats, a parabola through the curve their place between frames. Its
    constants were chosen on synthetic drum loops whose patterns and seeds are not those of
    ``tests/bench/trackers.py``. Bar positions are not looked for: the phase is unknown. Time and memory grow with the
    length: 0.003 s and 0.3 MB a second.

    Parameters
    ----------
    min_bpm, max_bpm : float
        Tempi that are looked for, in beats a minute, within 30 and 300, `max_bpm` at least twice `min_bpm`.

    References
    ----------
    F. Krebs, S. Böck, G. Widmer: An efficient state-space model for joint tempo and meter tracking. ISMIR 2015.
    """

    name = "librosa"
    rank = 30
    packages = ("librosa", "soxr")

    def __init__(self, min_bpm: float = 55.0, max_bpm: float = 215.0) -> None:
        self.min_bpm = check.number("min_bpm", min_bpm, 30, 150)
        self.max_bpm = check.number("max_bpm", max_bpm, 2 * self.min_bpm, 300, slip="an octave at least")

    @classmethod
    def missing(cls) -> str:
        """Return "" if librosa is installed."""
        return "" if importlib.util.find_spec("librosa") else "librosa is not installed; pip install librosa"

    def track(self, samples: Tensor, rate: int) -> BeatGrid:
        """Return the beats of `samples`, floating point (C, T) or (T,), at `rate` Hz; none in silence."""
        bands = mel_bands(mono(samples, rate, RATE))
        loud = np.flatnonzero(bands.max(0) > _SILENT * bands.max())
        onsets = sum_onsets(band_onsets(bands))
        if len(loud) == 0 or not onsets.any():
            return BeatGrid((), confidence=None, tracker=self.name, step=STEP)
        frames = fit_beats(onsets, tempi=(self.min_bpm, self.max_bpm))
        frames = frames[(frames >= loud[0]) & (frames <= loud[-1])]
        times = (frames + _between(onsets, frames)) * STEP - _LAG
        if loud[0] <= _EDGE:
            times = _with_first(times)
        return BeatGrid(np.maximum(times, 0.0).tolist(), confidence=None, tracker=self.name, step=STEP)


def _with_first(times: np.ndarray) -> np.ndarray:
    """Return the times with a beat at 0, which is no onset, where the first interval leads there."""
    if len(times) < 2 or abs(2 * times[0] - times[1]) > _EDGE * STEP:
        return times
    return np.r_[max(0.0, 2 * times[0] - times[1]), times]


def _between(curve: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return how far, in frames, the peak of a parabola through three points lies from the middle one; at most 0.5."""
    inner = frames.clip(1, len(curve) - 2)
    before, here, behind = curve[inner - 1], curve[inner], curve[inner + 1]
    bend = before - 2 * here + behind
    away = np.divide(0.5 * (before - behind), bend, out=np.zeros(len(frames)), where=bend < -1e-9)
    return np.where(inner == frames, away, 0.0).clip(-0.5, 0.5)
