"""What is read from files: decoded sources, pieces of long ones, and fingerprints that tell when a file has changed."""

import hashlib
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from ..audio import io
from ..audio.io import AudioError, Clip
from ..audio.remote.copies import fetch, state
from ..audio.remote.urls import is_url
from ..stopwatch import Stopwatch

__all__ = ["MARGIN_S", "SILENT", "Fingerprint", "Sources", "enough_memory", "fingerprint", "is_changed", "is_silent"]

# Size in bytes, time of the last change in ns, and hash of a file; None of one that is not there.
Fingerprint = list[int | str] | None

# Decoded sources that a worker keeps.
_CACHE_BYTES = 64 << 20
MARGIN_S = 0.01  # of a piece more than is asked for is read, for what is lost where it is resampled
# Files from this size on may be long enough that decoding all for a piece would cost too much memory; so may smaller
# ones, such as an hour of near silence, if they decode to so many bytes. The smallest are not looked into.
_LARGE_FILE, _SMALL_FILE, _LARGE_CLIP = 4 << 20, 64 << 10, 64 << 20
# Pieces that are tried until one is not silent, and how far apart: the golden ratio spreads any number of them.
_PIECES = 20
# What is no louder than two steps of 16 bits counts as silent: dithered silence is.
SILENT = 2 / (1 << 15)
_STEP = 0.6180339887498949


def fingerprint(path: str | Path) -> Fingerprint:
    """Return size in bytes, time of the last change in ns, and SHA-256 (its first half) of a file; None without one.

    The hash of a file that stays as it is is computed once, so that pieces of a long one cost one reading of it all.
    """
    try:
        size, time = _state(path)
        return [size, time, _hash(str(path), size, time)]
    except OSError:
        return None


def is_changed(path: str | Path, before: Fingerprint, *, listed: bool = False) -> bool:
    """Say whether a file is another than it was. It is read only where its size is the same and its time is not.

    Of a remote file (`path` is a URL) its mark stands for the time; `listed` believes what the listing of its folder
    said of it.
    """
    try:
        size, time = _state(path, listed=listed)
        if before is None or size != before[0]:
            return True
        return time != before[1] and _hash(str(path), size, time) != before[2]
    except OSError:
        return before is not None


def _state(path: str | Path, *, listed: bool = False) -> tuple[int, int]:
    if isinstance(path, str) and is_url(path):
        return state(path, listed=listed)
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError("no file")
    # on POSIX the second also tells of contents that were changed under their old time
    return found.st_size, max(found.st_mtime_ns, found.st_ctime_ns)


@lru_cache(maxsize=4096)
def _hash(path: str, size: int, time: int) -> str:
    """Return the hash of a file; size and time are those it had, so that a changed file is read again."""
    digest = hashlib.sha256()
    with open(fetch(path) if is_url(path) else path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:32]


class Sources:
    """Read files at one rate, each decoded once while it stays in the cache.

    Parameters
    ----------
    rate : int, optional
        Resample to this rate, in Hz; None keeps each file's own.
    limit : int
        Bytes of samples to keep; the least recently used goes first.
    float_scale : float, optional
        As in `audiomix.audio.io.read`.
    watch : Stopwatch, optional
        Counts the seconds of reading and of fingerprints.

    Attributes
    ----------
    used, failed : dict of Fingerprint, or None
        The files that were read since `note`, and those that could not be, as they were just before, by path.
    """

    used: dict[str, Fingerprint] | None = None
    failed: dict[str, Fingerprint]

    def __init__(
        self,
        rate: int | None = None,
        limit: int = _CACHE_BYTES,
        *,
        float_scale: float | None = None,
        watch: Stopwatch | None = None,
    ) -> None:
        self.watch = watch or Stopwatch(running=False)
        self.rate, self.limit, self.float_scale = rate, limit, float_scale
        self._clips: OrderedDict[tuple[str, float, float | None], tuple[Clip, Fingerprint]] = OrderedDict()
        self._bytes = 0

    def note(self) -> None:
        """Begin to note the files that are read, anew."""
        self.used, self.failed = {}, {}

    def read(self, path: str, start: float = 0.0, seconds: float | None = None) -> Clip:
        """Read a file, or a piece of it. The samples belong to the cache: they must not be written to.

        Raises
        ------
        AudioError
            As `audiomix.audio.io.read`.
        """
        key = (path, start, seconds)
        kept = self._clips.pop(key, None)
        if kept is None:
            with self._note_file(path) as state:
                kept = self._read(path, start, seconds), state
            self._bytes += _size(kept[0])
        self._clips[key] = kept
        if self.used is not None:
            self.used[path] = kept[1]
        while self._bytes > self.limit:
            _, (old, _) = self._clips.popitem(last=False)
            self._bytes -= _size(old)
        return kept[0]

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
        size = _size_of(path) if seconds is not None else 0
        if seconds is None or size < _SMALL_FILE:
            return self.read(path), 0.0
        with self._note_file(path):
            head = io.info(path)
        spare = head.seconds - seconds
        if spare <= 1 or (size < _LARGE_FILE and 4 * head.frames * head.channels < _LARGE_CLIP):
            return self.read(path), 0.0
        # whole numbers of milliseconds, so that they are exact in the manifest and at every rate
        for number in range(_PIECES):
            start = int((position + number * _STEP) % 1 * spare * 1000) / 1000
            with self._note_file(path):
                clip = self._read(path, start, seconds + MARGIN_S)
            if not position or not is_silent(clip.samples):
                break
        return clip, start

    def _read(self, path: str, start: float, seconds: float | None) -> Clip:
        with self.watch.stage("decode"):
            return io.read(path, rate=self.rate, start=start, seconds=seconds, float_scale=self.float_scale)

    @contextmanager
    def _note_file(self, path: str) -> Iterator[Fingerprint]:
        """Note a file that is read in the block, as it is before: if it is changed meanwhile, a later look tells."""
        if self.used is None:
            yield None
            return
        with self.watch.stage("fingerprints"):
            self.failed[path] = state = fingerprint(path)
        yield state
        self.used[path] = self.failed.pop(path)


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


def is_silent(samples: Tensor) -> bool:
    """Return whether nothing in `samples` is louder than dithered silence."""
    return not samples.numel() or float(samples.abs().max()) <= SILENT


def _size_of(path: str) -> int:
    """Return the bytes of a file; 0 where there is none: reading it says what is wrong."""
    try:
        return _state(path)[0]
    except OSError:
        return 0


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _size(clip: Clip) -> int:
    return clip.samples.numel() * clip.samples.element_size()
