"""Sound files decoded to their end: by libsndfile, and where that cannot or stops early by PyAV (FFmpeg's libraries).

A number of samples in a header is a claim. It never decides how much memory is taken, and what is read is compared
with it: all samples come back, or an `AudioError`.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import lru_cache
from io import BytesIO, FileIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from ..interrupts import defer_interrupts
from . import headers, video
from .clip import AudioError, Info, check_header_rate

__all__ = ["Decoded", "count_samples", "decode"]

# Samples per channel that a file of so many bytes may claim before memory is taken for them: above what codecs reach.
_FRAMES_PER_BYTE = 8
_BLOCK = 1 << 16
_ALL = 1 << 62  # also what libsndfile has for a length that it does not know, or more
_MP3_FRAME = 1441  # bytes at most
# The mark of FLAC with the head of STREAMINFO, alone or with other blocks behind it (RFC 9639, section 8).
_FLAC_STARTS = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")
# What libsndfile says of a file that it has opened: of no use.
_WRONG_REASON = "File does not exist"
# Formats of FFmpeg that have a mark of their own: it takes anything else for sound by guessing.
_MARKED = {
    "wav", "w64", "flac", "ogg", "mov", "matroska", "asf", "aiff", "au", "caf", "amr", "ape", "wv", "tta", "voc",
    "nistsphere", "mpeg", "mpegts", "avi", "flv",
}  # fmt: skip


class Decoded(NamedTuple):
    """Samples, float32 of shape (T, C); their rate in Hz; what a person should know of the reading."""

    data: np.ndarray
    rate: int
    notes: tuple[str, ...] = ()


class _NotRead(Exception):
    """libsndfile cannot read this file, or not all of it: another decoder may."""


class _Sound(soundfile.SoundFile):
    """A file that is read forward: soundfile itself seeks after each block, which libsndfile refuses for some."""

    def seekable(self) -> bool:
        """Keep soundfile from seeking."""
        return False

    @property
    def seeks(self) -> bool:
        """Whether `seek` works all the same."""
        return bool(self._info.seekable)

    def take(self, frames: int, room: int) -> np.ndarray:
        """Return up to `frames` samples from here on, (T, C); memory for `room` of them is taken at once."""
        frames = min(frames, self.frames)  # past it libsndfile decodes, and throws away what it decoded
        out = np.empty((min(frames, room), self.channels), np.float32)
        have = 0
        while have < len(out):
            got = len(self.read(out=out[have:]))
            if not got:
                return out[:have].copy()
            have += got
        parts = [out]
        while have < frames and len(block := self.read(min(frames - have, _BLOCK), "float32", always_2d=True)):
            parts.append(block)
            have += len(block)
        return np.concatenate(parts) if len(parts) > 1 else out


class _Patched(FileIO):
    """A file in which some bytes read otherwise."""

    def __init__(self, path: str | Path, patch: headers.Patch) -> None:
        super().__init__(path)
        self._patch = patch

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        start = self.tell()
        got = super().readinto(buffer)
        at, data, _ = self._patch
        first, last = max(start, at), min(start + got, at + len(data))
        if first < last:
            memoryview(buffer)[first - start : last - start] = data[first - at : last - at]
        return got


class _File:
    """An open file, and what its header says of its length."""

    def __init__(self, path: str | Path, raw: FileIO, state: os.stat_result) -> None:
        self.path, self.raw, self.size = path, raw, state.st_size
        self.patch: headers.Patch | None = None
        self.flac: headers.Flac | None = None
        self.mp3: headers.Mp3Length | None = None
        self.links: tuple[headers.OggLink, ...] = ()
        mark = raw.read(4)
        try:
            if mark in headers.CHUNKED:
                self.patch = headers.chunk_patch(raw, self.size)
            elif mark == b"OggS":
                self.links = _ogg_links(str(path), self.size, state.st_mtime_ns)
            elif (flac := headers.flac_header(raw)) is not None:
                self.flac = flac
                _check_one_flac(str(path), self.size, state.st_mtime_ns)
            else:
                self.mp3 = headers.mp3_length(raw)
        except ValueError as error:
            raise AudioError(f"{path}: {error}") from None
        self.notes = (self.patch.note,) if self.patch and self.patch.note else ()

    @contextmanager
    def open(self, *, link: headers.OggLink | None = None, patch: headers.Patch | None = None) -> Iterator[_Sound]:
        """Open the file, or one of the streams in it, or with another header; what libsndfile raises is `_NotRead`."""
        patch = patch or self.patch
        self.raw.seek(0)
        source: Any = self.raw.fileno()  # faster than an object, whose every read comes back to Python
        if link is not None:
            self.raw.seek(link.start)
            source = BytesIO(self.raw.read(link.stop - link.start))
        elif patch is not None:
            source = _Patched(self.path, patch)
        # Ctrl-C in a callback from C would be swallowed, and read as the end of the file
        held = nullcontext() if isinstance(source, int) else defer_interrupts()
        try:
            with held, _Sound(source, closefd=False) as sound:
                check_header_rate(self.path, sound.samplerate)
                yield sound
        except (AudioError, _NotRead, MemoryError):
            raise
        except Exception as error:  # whatever a decoder raises
            text = getattr(error, "error_string", str(error)).strip().rstrip(".")
            text = "" if text.startswith(_WRONG_REASON) else text
            raise _NotRead(f"not readable as audio ({text or 'damaged, or cut off'})") from None
        finally:
            if isinstance(source, _Patched):
                source.close()

    def claim(self, sound: _Sound) -> int | None:
        """Return how many samples the header states; None where it states none, or libsndfile guesses."""
        if self.flac:
            return self.flac.claim or None
        if sound.subtype.startswith("MPEG") and not (sound.format == "MP3" and self.mp3 and self.mp3.samples):
            return None
        return sound.frames if sound.frames < _ALL else None

    def take(self, sound: _Sound, frames: int = _ALL) -> np.ndarray:
        """Return up to `frames` samples from here on, (T, C)."""
        return sound.take(frames, min(self.claim(sound) or 0, self.size * _FRAMES_PER_BYTE) or _BLOCK)

    def ends_at(self, sound: _Sound, claim: int) -> bool:
        """Say whether the file ends where its header says, as far as that can be seen without decoding all."""
        if self.flac:
            return self.flac_ends()
        if self.mp3 and sound.format == "MP3":
            stop = self.mp3.start + self.mp3.size
            return claim == self.mp3.samples and stop <= self.size + _MP3_FRAME and not self._mp3_behind(stop)
        return True

    def flac_ends(self) -> bool:
        """Say whether the last sample that a FLAC file counts is there, and no other behind it."""
        assert self.flac is not None
        if not self.flac.claim:
            return False
        have = 0
        with suppress(_NotRead), self.open(patch=self.flac.patch) as sound:
            sound.seek(self.flac.claim - 1)
            while have < 2 and len(sound.read(1, "float32")):  # one by one: junk behind the last is an error
                have += 1
        return have == 1

    def _mp3_behind(self, at: int) -> bool:
        """Say whether more MP3 follows a place in the file: frames of the same kind, one after the other."""
        assert self.mp3 is not None
        here = self.raw.tell()
        self.raw.seek(at)
        rest = self.raw.read(1 << 16)
        self.raw.seek(here)
        return len(rest) > _MP3_FRAME and rest.count(self.mp3.mark) > 1

    def check_all(self, sound: _Sound, data: np.ndarray) -> tuple[str, ...]:
        """Compare what was read with the claim; return notes, or raise where it is not all."""
        claim, have = self.claim(sound), len(data)
        if self.mp3 and sound.format == "MP3" and have == sound.frames and self._mp3_behind(self.raw.tell()):
            raise _NotRead(f"libsndfile stops after {have} samples, and more follow")
        if self.flac and have != claim:
            return self.check_flac(data)
        if claim is not None and have != claim:
            raise AudioError(f"{self.path}: truncated: {have} samples where the header promises {claim}")
        return ()

    def check_flac(self, data: np.ndarray) -> tuple[str, ...]:
        """Compare FLAC samples whose number is not as claimed with the hash in the header."""
        assert self.flac is not None
        claim, have, md5 = self.flac.claim, len(data), self.flac.md5
        if md5 and self.flac.bits <= 24 and _md5(data, self.flac.bits) != md5:
            raise AudioError(f"{self.path}: truncated or damaged: {have} samples, not those that its header promises")
        if have < claim and not (md5 and self.flac.bits <= 24):
            raise AudioError(f"{self.path}: truncated: {have} samples where the header promises {claim}")
        note = f"a wrong length in its header: it counts {claim} samples, {have} are there and were read"
        return (note,) if claim else ()


@lru_cache(maxsize=1024)  # all pages are looked at, for each piece of a long file
def _ogg_links(path: str, size: int, changed: int) -> tuple[headers.OggLink, ...]:
    with FileIO(path) as raw:
        return tuple(headers.ogg_links(raw, size))


@lru_cache(maxsize=1024)  # as of Ogg
def _check_one_flac(path: str, size: int, changed: int) -> None:
    """Raise where another FLAC stream follows: decoders stop at the end of the first without a word."""
    with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        first = data.find(b"fLaC")
        if any(data.find(mark, first + 4) >= 0 for mark in _FLAC_STARTS):
            raise ValueError("several FLAC streams follow each other, of which only the first would be read")


def _md5(data: np.ndarray, bits: int) -> bytes:
    """Return the hash that FLAC stores of its samples, of at most 24 bits, which float32 holds exactly."""
    whole = np.rint(data * np.float32(2 ** (bits - 1))).astype("<i4")
    width = -(-bits // 8)
    return hashlib.md5(whole.view(np.uint8).reshape(-1, 4)[:, :width].tobytes()).digest()


def decode(path: str | Path, start: float = 0.0, seconds: float | None = None) -> Decoded:
    """Read a sound file, or a piece of it in seconds.

    Raises
    ------
    AudioError
        It cannot be decoded, not to its end, or ends before `start`.
    """
    with _file(path) as file:
        try:
            if len(file.links) > 1:
                return _piece(path, _join(file), start, seconds)
            if start or seconds is not None:
                with suppress(_NotRead), file.open() as sound:
                    claim = file.claim(sound)
                    if claim is not None and sound.seeks and file.ends_at(sound, claim):
                        first, frames = _span(path, claim, sound.samplerate, start, seconds)
                        sound.seek(first)
                        data = file.take(sound, frames)
                        if len(data) == frames:
                            return Decoded(data, sound.samplerate, file.notes)
            if file.flac and not file.flac_ends():
                file.patch = file.flac.patch
            with file.open() as sound:
                data = file.take(sound)
                found = Decoded(data, sound.samplerate, file.notes + file.check_all(sound, data))
            return _piece(path, found, start, seconds)
        except _NotRead as error:
            return _piece(path, _by_pyav(file, str(error)), start, seconds)


def count_samples(path: str | Path) -> Info:
    """Return rate, channels and number of samples; where its header may be wrong the file is decoded.

    Raises
    ------
    AudioError
        As `decode`.
    """
    with _file(path) as file:
        if len(file.links) < 2:
            with (
                suppress(_NotRead),
                file.open() as sound,
            ):  # what libsndfile cannot read, `decode` reads or refuses below
                claim = file.claim(sound)
                if claim is not None and file.ends_at(sound, claim):
                    return Info(sound.samplerate, sound.channels, claim)
    found = decode(path)
    return Info(found.rate, found.data.shape[1], len(found.data))


def _span(path: str | Path, total: int, rate: int, start: float, seconds: float | None) -> tuple[int, int]:
    """Return the first sample of a piece, and how many it has."""
    first = round(start * rate)
    if first and first >= total:
        raise AudioError(f"{path}: start {start:g} s lies beyond its end ({total / rate:g} s)")
    return first, total - first if seconds is None else min(round(seconds * rate), total - first)


def _piece(path: str | Path, found: Decoded, start: float, seconds: float | None) -> Decoded:
    first, frames = _span(path, len(found.data), found.rate, start, seconds)
    return found._replace(data=found.data[first : first + frames])


def _join(file: _File) -> Decoded:
    """Read the streams of an Ogg file that follow each other."""
    parts, kinds = [], set()
    for link in file.links:
        with file.open(link=link) as sound:
            kinds.add((sound.samplerate, sound.channels))
            parts.append(sound.take(_ALL, _BLOCK))
            if len(parts[-1]) < sound.frames < _ALL:
                raise AudioError(f"{file.path}: damaged: {len(parts[-1])} of {sound.frames} samples in one stream")
    if len(kinds) > 1:
        raise AudioError(f"{file.path}: its sound changes rate or channels: {len(parts)} Ogg streams follow each other")
    note = f"Ogg streams that follow each other: all {len(parts)} were read"
    return Decoded(np.concatenate(parts), kinds.pop()[0], (note,))


def _by_pyav(file: _File, reason: str) -> Decoded:
    """Read a file that libsndfile does not."""
    path = file.path
    try:
        with video.open_source(path) as source:
            name = source.container.format.name
            known = _MARKED.intersection(name.split(",")) or name == Path(path).suffix.lower().lstrip(".")
            if not known or source.audio is None:
                raise AudioError(f"{path}: {reason}")
        clip, _ = video.read_sound(path, from_sound=True)
    except video.VideoError:
        way = "PyAV cannot either" if video.available() else "PyAV may read it: pip install 'audiomix[video]'"
        raise AudioError(f"{path}: {reason}; {way}") from None
    data = np.ascontiguousarray(clip.samples.T.numpy())
    if file.mp3 and name == "mp3" and len(data) < file.mp3.samples:
        raise AudioError(f"{path}: truncated: {len(data)} samples where the header promises {file.mp3.samples}")
    if file.flac:
        if not file.flac.md5 or file.flac.bits > 24:  # FFmpeg leaves out frames that are damaged
            raise AudioError(f"{path}: {reason}")
        file.check_flac(data)
    return Decoded(data, clip.rate, (*file.notes, f"read by PyAV, as libsndfile does not: {reason}"))


@contextmanager
def _file(path: str | Path) -> Iterator[_File]:
    """Open a regular file that is not empty; whatever goes wrong in the block is an AudioError that names it."""
    try:
        state = os.stat(path)
        if stat.S_ISDIR(state.st_mode):
            raise AudioError(f"{path}: is a folder, not a file")
        if not stat.S_ISREG(state.st_mode):  # opening a pipe would wait without end
            raise AudioError(f"{path}: is a pipe or a device, not a file")
        if state.st_size == 0:
            raise AudioError(f"{path}: empty file (0 bytes)")
        with FileIO(path) as raw:
            yield _File(path, raw, state)
    except (AudioError, MemoryError):
        raise
    except FileNotFoundError:
        raise AudioError(f"{path}: no such {'file' if Path(path).parent.exists() else 'folder'}") from None
    except OSError as error:
        raise AudioError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except Exception as error:  # whatever a decoder raises
        raise AudioError(f"{path}: not readable as audio ({type(error).__name__}: {error})") from error
