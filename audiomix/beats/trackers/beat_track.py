"""librosa's own tracker, for comparison: dynamic programming around one global tempo.

Source: Ellis, "Beat Tracking by Dynamic Programming", Journal of New Music Research 2007.
"""

import importlib.util
import warnings

import numpy as np
from torch import Tensor

from ... import check
from ...numba_cache import compile_alone
from ..grid import BeatGrid
from ._base import Tracker, mono

__all__ = ["BeatTrackTracker"]

_RATE = 22_050
_HOP = 256
_STEP = _HOP / _RATE
_WINDOW = 2048  # of librosa's onset strength; shorter sounds are padded
# librosa issue #1052: beats come 20 to 60 ms late. The median on the clips that `librosa.py` was chosen on.
_LAG = 0.038


class BeatTrackTracker(Tracker):
    """``librosa.beat.beat_track`` with its lag taken out; no bars, one tempo a piece.

    Parameters
    ----------
    start_bpm : float
        Tempo that is thought likeliest beforehand.

    References
    ----------
    D. Ellis: Beat tracking by dynamic programming. Journal of New Music Research 36(1), 2007.
    """

    name = "beat_track"
    rank = None
    packages = ("librosa", "soxr")

    def __init__(self, start_bpm: float = 120.0) -> None:
        self.start_bpm = check.number("start_bpm", start_bpm, 30, 300)

    @classmethod
    def missing(cls) -> str:
        """Return "" if librosa is installed."""
        return "" if importlib.util.find_spec("librosa") else "librosa is not installed; pip install librosa"

    def track(self, samples: Tensor, rate: int) -> BeatGrid:
        """Return the beats of `samples`, floating point (C, T) or (T,), at `rate` Hz; none in silence."""
        sound = mono(samples, rate, _RATE)
        sound = np.pad(sound, (0, max(0, _WINDOW - len(sound))))
        import librosa

        with compile_alone(self.name), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an empty tempogram in short or silent sounds
            _, frames = librosa.beat.beat_track(
                y=sound, sr=_RATE, hop_length=_HOP, start_bpm=self.start_bpm, trim=False
            )
        times = np.asarray(frames) * _STEP - _LAG
        return BeatGrid(times[times >= 0].tolist(), confidence=None, tracker=self.name, step=_STEP)
