"""Decoded sources: a cache that is bounded in bytes, and pieces of files too long to decode whole."""

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from ..audio import io
from ..audio.io import AudioError, Clip

__all__ = ["Sources", "enough_memory"]

# Decoded sources that a worker keeps.
_CACHE_BYTES = 64 << 20
# Files from this size on may be long enough that decoding all for a piece would cost too much memory.
_LARGE_FILE = 4 << 20
# Pieces that are tried until one is not silent, and how far apart: the golden ratio spreads any number of them.
_PIECES = 8
_STEP = 0.6180339887498949


class Sources:
    """Read files at one rate, each decoded once while it stays in the cache.

    Parameters
    ----------
    rate : int, optional
        Resample to this rate, in Hz; None keeps each file's own.
    limit : int
        Bytes of samples to keep; the least recently used goes first.
    """

    def __init__(self, rate: int | None = None, limit: int = _CACHE_BYTES) -> None:
        self.rate, self.limit = rate, limit
        self._clips: OrderedDict[str, Clip] = OrderedDict()
        self._bytes = 0

    def read(self, path: str) -> Clip:
        """Read a whole file. The samples belong to the cache: they must not be written to.

        Raises
        ------
        AudioError
            As `audiomix.audio.io.read`.
        """
        clip = self._clips.pop(path, None)
        if clip is None:
            clip = io.read(path, rate=self.rate)
            self._bytes += _size(clip)
        self._clips[path] = clip
        while self._bytes > self.limit:
            _, old = self._clips.popitem(last=False)
            self._bytes -= _size(old)
        return clip

    def piece(self, path: str, seconds: float | None, position: float) -> tuple[Clip, float]:
        """Read a file, or of a large and longer one only about `seconds`, `position` (0 to 1) of the way through it.

        Which of the two depends on the file alone and not on what is in the cache: a piece has other edges than a whole
        that is cropped (of a resampled or lossy file), and the bytes of a run must not depend on its workers.

        Returns
        -------
        clip : Clip
            At least as long as asked for, where the file is.
        start : float
            Where in the file it starts, in seconds.
        """
        if seconds is None or not os.path.isfile(path) or os.path.getsize(path) < _LARGE_FILE:
            return self.read(path), 0.0
        spare = io.info(path).seconds - seconds
        if spare <= 1:
            return self.read(path), 0.0
        # whole numbers of milliseconds, so that they are exact in the manifest and at every rate
        for number in range(_PIECES):
            start = int((position + number * _STEP) % 1 * spare * 1000) / 1000
            clip = io.read(path, rate=self.rate, start=start, seconds=seconds + 0.01)
            if bool(clip.samples.any()):
                break
        return clip, start


@contextmanager
def enough_memory(path: str, doing: str = "") -> Iterator[None]:
    """Turn a lack of memory into an AudioError about this file: one absurd file must not end a run.

    Raises
    ------
    AudioError
        Python, numpy or torch got no memory in the block.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):  # torch's is a RuntimeError
            raise
        raise AudioError(f"{path}: too little memory{doing} ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _size(clip: Clip) -> int:
    return clip.samples.numel() * clip.samples.element_size()
