"""madmom's recurrent networks: the most accurate tracker here, and the only one that finds bars.

Source: Böck, Krebs and Widmer, "Joint Beat and Downbeat Tracking with Recurrent Neural Networks", ISMIR 2016.
"""

import importlib.util
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from torch import Tensor

from ... import check
from ..grid import BeatGrid
from . import _madmom_shim as shim
from ._base import Tracker, mono

__all__ = ["MadmomTracker"]

_RATE = 44_100  # of the networks; at any other, madmom would call ffmpeg
_FPS = 100
# The longest analysis window is 4096 samples; a sound that is shorter than two beats at 215 bpm has no tempo.
_SHORTEST = 0.5
_INSTALL = (
    'pip install "cython>=3" wheel\n'
    'pip install --no-cache-dir --no-build-isolation "madmom==0.16.1"\n'
    "(needs a C compiler and the Python headers)"
)
# What the networks find depends on the level, so each sound gets the same peak. It was chosen on other clips than
# those of tests/bench/trackers.py; at 0.9 the bars of a bundled loop are one beat off (tests/beats/test_trackers.py).
_PEAK = 0.7


class MadmomTracker(Tracker):
    """Bidirectional recurrent networks and a bar-pointer model (madmom 0.16.1), about 0.08 s per second of sound.

    madmom's code is BSD; **its models are CC BY-NC-SA 4.0: not for commercial use.** They come with the package.
    Times are multiples of 0.01 s.

    Parameters
    ----------
    network : str
        ``downbeat`` finds beats and bars; ``beat`` finds beats only, a little better (the phase stays unknown).
    min_bpm, max_bpm : float
        Tempi that are looked for, in beats a minute.
    beats_per_bar : sequence of int
        Metres that are looked for (``downbeat`` only); a piece has one of them throughout.

    References
    ----------
    S. Böck, F. Krebs, G. Widmer: Joint beat and downbeat tracking with recurrent neural networks. ISMIR 2016.
    S. Böck, M. Schedl: Enhanced beat tracking with context-aware neural networks. DAFx 2011.
    """

    name = "madmom"
    rank = 20
    packages = ("madmom",)

    def __init__(
        self,
        network: Literal["downbeat", "beat"] = "downbeat",
        min_bpm: float = 55.0,
        max_bpm: float = 215.0,
        beats_per_bar: Sequence[int] = (3, 4),
    ) -> None:
        self.network = check.choice("network", network, ["downbeat", "beat"])
        self.min_bpm = check.number("min_bpm", min_bpm, 20, 200)
        self.max_bpm = check.number("max_bpm", max_bpm, self.min_bpm * 1.2, 400)
        self.beats_per_bar = tuple(check.integer("beats_per_bar", n, 2) for n in beats_per_bar)
        if not self.beats_per_bar:
            check.fail("beats_per_bar", "one metre or several", "none")
        self._processors: tuple[Any, Any] | None = None

    @classmethod
    def missing(cls) -> str:
        """Return "" if madmom can be imported, else why not and the two commands that build it."""
        reason = _reason()
        return f"{reason}; to install it:\n{_INSTALL}" if reason else ""

    def track(self, samples: Tensor, rate: int) -> BeatGrid:
        """Return the beats of `samples`, floating point (C, T) or (T,), at `rate` Hz; none in silence."""
        sound = _PEAK * mono(samples, rate, _RATE)
        if len(sound) < _SHORTEST * _RATE or not sound.any():
            return BeatGrid((), confidence=None, tracker=self.name, step=1 / _FPS)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # logarithms of zero, deprecations: as many as there are frames
            found = self._run(sound)
        if len(found) == 0:
            return BeatGrid((), confidence=None, tracker=self.name, step=1 / _FPS)
        times = found[:, 0] if self.network == "downbeat" else found
        positions = found[:, 1].astype(int).tolist() if self.network == "downbeat" else None
        return BeatGrid(times.tolist(), positions, confidence=None, tracker=self.name, step=1 / _FPS)

    def _run(self, sound: np.ndarray) -> np.ndarray:
        if self._processors is None:
            self._processors = self._make_processors()
        network, decoder = self._processors
        (signal,) = shim.import_all("madmom.audio.signal")
        activations = network(signal.Signal(sound, sample_rate=_RATE, num_channels=1))
        return np.asarray(decoder(activations))

    def _make_processors(self) -> tuple[Any, Any]:
        beats, downbeats = shim.import_all("madmom.features.beats", "madmom.features.downbeats")
        tempi = {"min_bpm": self.min_bpm, "max_bpm": self.max_bpm, "fps": _FPS}
        if self.network == "beat":
            return beats.RNNBeatProcessor(), beats.DBNBeatTrackingProcessor(**tempi)
        decoder = downbeats.DBNDownBeatTrackingProcessor(beats_per_bar=list(self.beats_per_bar), **tempi)
        decoder.map = shim.map_pairs
        return downbeats.RNNDownBeatProcessor(), decoder

    def __getstate__(self) -> dict[str, Any]:
        """Leave the processors out: a spawned worker makes its own."""
        return {**vars(self), "_processors": None}


@lru_cache(maxsize=1)
def _reason() -> str:
    """Why madmom cannot be imported; "" if it can. Asked once a process."""
    if importlib.util.find_spec("madmom") is None:
        return "madmom is not installed"
    try:
        shim.import_all("madmom.features.beats", "madmom.features.downbeats")
    except Exception as error:  # of any kind: see the shim
        return f"madmom cannot be imported ({type(error).__name__}: {error})"
    return ""
