"""madmom's recurrent networks: beats and bars.

Source: Böck, Krebs and Widmer, "Joint Beat and Downbeat Tracking with Recurrent Neural Networks", ISMIR 2016.
"""

import importlib
import importlib.util
import os
import warnings
from collections.abc import Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
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
_INFER = "madmom-infer"
_NETWORKS = 8  # files
# The longest analysis window is 4096 samples; a sound that is shorter than two beats at 215 bpm has no tempo.
_SHORTEST = 0.5
_INSTALL = (
    'pip install "cython>=3" wheel\n'
    'pip install --no-cache-dir --no-build-isolation "madmom==0.16.1"\n'
    "(needs a C compiler and the Python headers; without them, for network=downbeat, pip install madmom-infer,\n"
    "which downloads the same networks when it first runs)"
)
# What the networks find depends on the level, so each sound gets the same peak. It was chosen on other clips than
# those of tests/bench/trackers.py; at 0.9 the bars of a bundled loop are one beat off (tests/beats/test_trackers.py).
_PEAK = 0.7
# Where first beats are less probable downbeats than this only the usual metres are looked for, or bars of seven are
# found wherever downbeats are weak: on loops in 4 taken for 7 it is 0.28 at most, on drum loops in 5 and 7 from 0.6 on.
_USUAL = (3, 4)
_CLEAR = 0.5
# Bars are told where first beats are this many times as probable downbeats as the others are. In the right metre it is
# 5 and more on drum loops, and from 2 on in loops; in 3 or 4, which is wrong, 1.4 in the median and 2.2 at most.
_RATIO = 2.0


class MadmomTracker(Tracker):
    """Bidirectional recurrent networks and a bar-pointer model (madmom 0.16.1), about 0.1 s per second of sound.

    madmom's code is BSD; **its models are CC BY-NC-SA 4.0: not for commercial use.** They come with the package. Where
    it is not built, the package ``madmom-infer`` (BSD, no compiler) runs the same networks, for beats and bars, in
    twice the time; it downloads them once. Times are multiples of 0.01 s. Bars whose first beats are hardly more
    probable downbeats than the others are not told: the phase is unknown.

    Parameters
    ----------
    network : str
        ``downbeat`` finds beats and bars; ``beat`` finds beats only, a little better (the phase stays unknown).
    min_bpm, max_bpm : float
        Tempi that are looked for, in beats a minute.
    beats_per_bar : sequence of int
        Metres that are looked for (``downbeat`` only); where downbeats are weak, only 3 and 4 of them. A single one is
        taken as known.

    References
    ----------
    S. Böck, F. Krebs, G. Widmer: Joint beat and downbeat tracking with recurrent neural networks. ISMIR 2016.
    S. Böck, M. Schedl: Enhanced beat tracking with context-aware neural networks. DAFx 2011.
    """

    name = "madmom"
    rank = 20
    for_downbeats = True

    def __init__(
        self,
        network: Literal["downbeat", "beat"] = "downbeat",
        min_bpm: float = 55.0,
        max_bpm: float = 215.0,
        beats_per_bar: Sequence[int] = (3, 4, 5, 7),
    ) -> None:
        self.network = check.choice("network", network, ["downbeat", "beat"])
        self.min_bpm = check.number("min_bpm", min_bpm, 20, 200)
        self.max_bpm = check.number("max_bpm", max_bpm, self.min_bpm * 1.2, 400)
        self.beats_per_bar = tuple(check.integer("beats_per_bar", n, 2) for n in beats_per_bar)
        if not self.beats_per_bar:
            check.fail("beats_per_bar", "one metre or several", "none")
        if network == "beat" and _package() == _INFER:
            slip = f"it is madmom's own; to install that:\n{_INSTALL}"
            check.fail("network", "downbeat, with madmom-infer", "'beat'", slip, ModuleNotFoundError)
        self._processors: tuple[Any, Any] | None = None

    @classmethod
    def missing(cls) -> str:
        """Return "" if madmom or madmom-infer can be imported, else why not and the commands that install one."""
        return "" if _package() else f"{_reason()}; to install it:\n{_INSTALL}"

    def finds(self, path: str | Path | None) -> bool:
        """Whether the networks are here: ``auto`` downloads none."""
        return _package() != _INFER or len(list(_networks_folder().glob("downbeats_blstm_*.pkl"))) == _NETWORKS

    @property
    def version(self) -> str:
        """All that the result depends on; which package runs the networks."""
        package = _package()
        return f"{package} {metadata.version(package)}, {super().version}" if package else super().version

    def track(self, samples: Tensor, rate: int) -> BeatGrid:
        """Return the beats of `samples`, floating point (C, T) or (T,), at `rate` Hz; none in silence.

        Raises
        ------
        OSError
            madmom-infer cannot download the networks.
        """
        sound = _PEAK * mono(samples, rate, _RATE)
        if len(sound) < _SHORTEST * _RATE or not sound.any():
            return BeatGrid((), confidence=None, tracker=self.name, step=1 / _FPS)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # logarithms of zero, deprecations: as many as there are frames
            times, positions = self._run(sound)
        return BeatGrid(times.tolist(), positions, confidence=None, tracker=self.name, step=1 / _FPS)

    def _run(self, sound: np.ndarray) -> tuple[np.ndarray, list[int] | None]:
        """Return the beat times, and the positions where they are clear."""
        if self._processors is None:
            self._processors = self._make_processors()
        network, decoders = self._processors
        (signal,) = _import_all("audio.signal")
        activations = network(signal.Signal(sound, sample_rate=_RATE, num_channels=1))
        if self.network == "beat":
            return np.asarray(decoders[0](activations)), None
        times = np.zeros(0)
        for decoder, least in zip(decoders, (_CLEAR, 0.0) if len(decoders) > 1 else (0.0,)):
            found = decoder(activations)
            if len(found) == 0:
                break
            times, positions = found[:, 0], found[:, 1].astype(int)
            if len(self.beats_per_bar) == 1 or _are_bars_clear(activations, times, positions, least):
                return times, positions.tolist()
        return times, None

    def _make_processors(self) -> tuple[Any, Any]:
        """Return the networks, and what finds beats in their probabilities: for all metres, and for the usual ones."""
        tempi = {"min_bpm": self.min_bpm, "max_bpm": self.max_bpm, "fps": _FPS}
        if self.network == "beat":
            (beats,) = _import_all("features.beats")
            return beats.RNNBeatProcessor(), [beats.DBNBeatTrackingProcessor(**tempi)]
        (downbeats,) = _import_all("features.downbeats")
        usual = [n for n in self.beats_per_bar if n in _USUAL]
        metres = [self.beats_per_bar, usual] if 0 < len(usual) < len(self.beats_per_bar) else [self.beats_per_bar]
        decoders = [downbeats.DBNDownBeatTrackingProcessor(beats_per_bar=list(one), **tempi) for one in metres]
        for decoder in decoders:
            if _package() != _INFER:
                decoder.map = shim.map_pairs
        try:
            return downbeats.RNNDownBeatProcessor(), decoders
        except OSError as error:
            raise OSError(f"madmom's networks cannot be downloaded to {_networks_folder()} ({error})") from None

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


def _package() -> str:
    """Return the distribution that runs the networks; "" where there is none."""
    if not _reason():
        return "madmom"
    return _INFER if importlib.util.find_spec("madmom_infer") else ""


def _import_all(*modules: str) -> list[Any]:
    """Import modules of the package that runs the networks: they have the same names in both."""
    if _package() == _INFER:
        return [importlib.import_module(f"madmom_infer.{name}") for name in modules]
    return shim.import_all(*(f"madmom.{name}" for name in modules))


def _networks_folder() -> Path:
    """Return where madmom-infer keeps the networks that it downloads."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base, "madmom_infer", "models", "downbeats", "2016")


def _are_bars_clear(activations: np.ndarray, times: np.ndarray, positions: np.ndarray, least: float) -> bool:
    """Return whether first beats are more probable downbeats than the others, and `least` so probable."""
    frames = np.rint(times * _FPS).astype(int).clip(0, len(activations) - 1)
    probability, first = activations[frames, 1], positions == 1
    if first.all() or not first.any():
        return False
    return bool(probability[first].mean() >= max(least, _RATIO * probability[~first].mean()))
