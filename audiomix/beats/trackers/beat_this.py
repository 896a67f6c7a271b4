"""Beat This!, a transformer that finds beats and downbeats without a model of tempo or metre.

Source: Foscarin, Schlüter and Widmer, "Beat this! Accurate beat tracking without DBN postprocessing", ISMIR 2024.
"""

import hashlib
import importlib
import importlib.util
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ... import check
from ..annotation import CLOSEST, positions_from_downbeats
from ..grid import BeatGrid
from ._base import Tracker, mono

__all__ = ["BeatThisTracker"]

_RATE, _FPS = 22050, 50
_SHORTEST = 0.5  # seconds: less is no music
_VARIABLE = "AUDIOMIX_BEAT_THIS"


class BeatThisTracker(Tracker):
    """Beat This! of the package ``beat-this`` (code and weights MIT): beats and downbeats, of any metre.

    Bars follow from its downbeats, two at least: no metre is asked for, and one piece may have several. Of two beats
    less than 0.1 s apart the more probable stays. Times are multiples of 0.02 s.

    Parameters
    ----------
    checkpoint : str
        A file of weights, or a name that the package knows (``final0``, ``small0``, ...), which it then downloads
        once; by default the file in the environment's ``AUDIOMIX_BEAT_THIS``, else ``final0``.

    Notes
    -----
    ``tracker="auto"`` takes it where the package is installed and the weights are here: it never downloads any.
    """

    name = "beat_this"
    rank = 15
    packages = ("beat-this", "soxr")

    def __init__(self, checkpoint: str = "") -> None:
        self.checkpoint = check.one_of_types("checkpoint", checkpoint, str, "a path or a name")
        path = self._path()
        if os.sep in self._choose() and not path.is_file():
            slip = "no such file" + ("" if self.checkpoint else f", which {_VARIABLE} names")
            check.fail("checkpoint", "a file of weights, or a name such as final0", repr(str(path)), slip)
        self._model: Any = None

    @classmethod
    def missing(cls) -> str:
        """Return "" if the package is installed, else the command that installs it."""
        if importlib.util.find_spec("beat_this") is not None:
            return ""
        return "beat-this is not installed; to install it:\npip install beat-this"

    def finds(self, path: str | Path | None) -> bool:
        """Whether the weights are here."""
        return self._path().is_file()

    def _choose(self) -> str:
        return self.checkpoint or os.environ.get(_VARIABLE, "") or "final0"

    def _path(self) -> Path:
        """Return where the weights are, or will be: the package keeps what it downloads in torch's folder."""
        chosen = self._choose()
        if os.sep in chosen or Path(chosen).is_file():
            return Path(chosen)
        return Path(torch.hub.get_dir()) / "checkpoints" / f"beat_this-{chosen}.ckpt"

    @property
    def version(self) -> str:
        """All that the result depends on; of the weights their hash, once they are here."""
        path = self._path()
        weights = _digest(path, path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else self._choose()
        return f"{super().version}, weights {weights}"

    def track(self, samples: Tensor, rate: int) -> BeatGrid:
        """Return the beats of `samples`, floating point (C, T) or (T,), at `rate` Hz; none in silence."""
        sound = mono(samples, rate, _RATE)
        if len(sound) < _SHORTEST * _RATE or not sound.any():
            return BeatGrid((), confidence=None, tracker=self.name, step=1 / _FPS)
        if self._model is None:
            self._model = self._load()
        beat, downbeat = self._model.frames(sound, _RATE)
        times, downbeats = self._model.peaks(beat, downbeat)
        probability = beat.double().sigmoid().numpy()
        at = np.rint(np.asarray(times) * _FPS).astype(int).clip(0, len(probability) - 1)
        kept = _merge(np.asarray(times), probability[at])
        if not len(kept):
            return BeatGrid((), confidence=None, tracker=self.name, step=1 / _FPS)
        times = np.asarray(times)[kept]
        first = np.zeros(len(times), dtype=bool)
        for time in downbeats:
            first[np.abs(times - time).argmin()] = True
        positions = positions_from_downbeats(first.tolist())
        return BeatGrid(times.tolist(), positions, confidence=None, tracker=self.name, step=1 / _FPS)

    def _load(self) -> "_Model":
        path = self._path()
        return _Model(str(path) if path.is_file() else self._choose())

    def __getstate__(self) -> dict[str, Any]:
        """Leave the network out: a spawned worker loads its own."""
        return {**vars(self), "_model": None}


class _Model:
    """The package's network and its choice of peaks; imported when it is first needed."""

    def __init__(self, checkpoint: str) -> None:
        # the package imports torchaudio, which beside a CPU-only torch our own module has to do first
        importlib.import_module("audiomix.torchaudio")
        inference = importlib.import_module("beat_this.inference")
        self.frames = inference.Audio2Frames(checkpoint, device="cpu")
        self.peaks = inference.Postprocessor(type="minimal", fps=_FPS)


@lru_cache(maxsize=8)
def _digest(path: Path, changed: int, size: int) -> str:
    """Return the hash of a file of weights, read anew once it has changed."""
    with open(path, "rb") as file:
        found = hashlib.blake2b(digest_size=8)
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


def _merge(times: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Return which beats stay, as indices: of two that are too close the more probable."""
    kept: list[int] = []
    for i in range(len(times)):
        if kept and times[i] - times[kept[-1]] < CLOSEST:
            if probability[i] > probability[kept[-1]]:
                kept[-1] = i
        else:
            kept.append(i)
    return np.asarray(kept, dtype=np.int64)
