"""Files in and out: the only module that opens audio. Samples are float32 of shape (C, T), full scale is 1."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from .. import check
from ..clips import fit_length
from ..interrupts import defer_interrupts
from . import video
from .clip import AudioError, Clip, Info, atomic_file, fit_channels, resample, to_channels
from .decode import count_samples, decode
from .remote.copies import local_copy
from .remote.urls import is_url

__all__ = [
    "AUDIO_SUFFIXES",
    "PYAV_SUFFIXES",
    "VIDEO_SUFFIXES",
    "AudioError",
    "Clip",
    "Info",
    "atomic_file",
    "fit_channels",
    "fit_length",
    "info",
    "quantise",
    "read",
    "read_video",
    "resample",
    "to_channels",
    "write",
    "write_video",
]

# Files that libsndfile reads
AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64", ".rf64"),
    *(".aifc", ".snd", ".sph", ".voc", ".mp2"),
)
# Files whose sound track PyAV reads (extra ``[video]``)
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".m4a", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".avi", ".ts", ".m2ts", ".mts", ".3gp", ".flv",
    ".wmv", ".ogv", ".vob",
)  # fmt: skip
# Files that PyAV alone reads and a folder lists as sounds where it is installed; .ts is TypeScript too often.
PYAV_SUFFIXES = (
    *(suffix for suffix in VIDEO_SUFFIXES if suffix != ".ts"),
    *(".m4b", ".aac", ".wma", ".mka", ".weba", ".amr", ".ac3", ".wv", ".ape", ".tta"),
)
# Of these the container states how much of the sound is heard; of the others the length is an estimate
_STATED = (".mp4", ".m4v", ".m4a", ".mov", ".3gp")
_ENCODING = {"flac": "PCM_16", "wav": "PCM_16", "ogg": "VORBIS"}
_BITS = {"PCM_16": 16, "PCM_24": 24}
# libvorbis overflows its stack when one write is very long (python-soundfile #396, xiph/vorbis #99).
_OGG_BLOCK = 65536
# Peaks beyond this (30 dB above full scale) are another scale: floats that mixers and encoders leave reach 12 dB.
MOST_PEAK = 32.0
# An offset from this share of the sound's own rms on is told of.
_OFFSET = 0.25
# Samples that are rounded at once: bounds the memory of the copy.
_BLOCK = 1 << 20


def info(path: str | Path) -> Info:
    """Return rate, channels and number of samples as `read` finds them: from the header, where it can be believed.

    Parameters
    ----------
    path : path
        A sound file, or a video; here, or a URL.

    Raises
    ------
    AudioError
        The file is missing, empty, or not audio; a video without sound.
    """
    if is_url(path):
        with local_copy(path) as place:
            return info(place)
    if _is_video(path):
        found = video.info(path)
        if found.sound is None:
            raise video.VideoError(f"{path}: no sound track; it holds {', '.join(found.streams) or 'nothing'}")
        if str(path).lower().endswith(_STATED):
            return found.sound
        clip, _ = video.read_sound(path, from_sound=True)
        return Info(clip.rate, len(clip.samples), clip.samples.shape[-1])
    return count_samples(path)


def read(
    path: str | Path,
    *,
    rate: int | None = None,
    channels: int | None = None,
    start: float = 0.0,
    seconds: float | None = None,
    float_scale: float | None = None,
) -> Clip:
    """Read a file, or a piece of it.

    Parameters
    ----------
    path : path
        Anything libsndfile reads: wav, flac, ogg, mp3, aiff, ... of any rate, width and number of channels, and with
        PyAV what FFmpeg reads. Of a video (`VIDEO_SUFFIXES`; needs PyAV) the sound track, from its own first sample on.
        Of a URL, which fsspec opens (extra ``[remote]``), a copy in the cache is read.
    rate : int, optional
        Resample to this rate, in Hz (soxr, high quality). None keeps the file's.
    channels : int, optional
        1 mixes down (mean of the channels; the loudest one where they cancel), more repeats a mono sound. None keeps
        the file's.
    start, seconds : float
        The piece to read, in seconds; by default all of it.
    float_scale : float, optional
        What full scale is in files that hold whole numbers as floats, such as 32768: one whose peak lies above
        `MOST_PEAK` is divided by it. None refuses such files.

    Raises
    ------
    AudioError
        The file is missing, empty, truncated, damaged, not audio; it has no samples, holds NaN or infinity, or samples
        far beyond full scale (`MOST_PEAK`), as whole numbers stored as floats are.

    Notes
    -----
    The length in a header is compared with what is read: either all samples come back, or an error. `Clip.notes` say
    what was odd: a wrong length, another decoder (PyAV reads what libsndfile does not, where it is installed), silence,
    a constant offset, channels that cancel, a peak of more than 12 dB above full scale.
    """
    if is_url(path):
        with local_copy(path) as place:
            return read(
                place, rate=rate, channels=channels, start=start, seconds=seconds, float_scale=float_scale
            )
    start = check.number("start", start, 0)
    seconds = None if seconds is None else check.number("seconds", seconds, 0)
    if _is_video(path):
        clip, _ = video.read_sound(path, start=start, seconds=seconds, from_sound=True)
    else:
        data, source, notes = decode(path, start, seconds)
        clip = Clip(torch.from_numpy(np.ascontiguousarray(data.T)), source, notes)
    if clip.samples.shape[-1] == 0:
        raise AudioError(f"{path}: no samples (0 s of sound)")
    if float_scale is not None and _largest(path, clip, start, seconds) > MOST_PEAK:
        clip = replace(clip, samples=clip.samples / float_scale, notes=(*clip.notes, f"divided by {float_scale:g}"))
    clip = replace(clip, notes=clip.notes + _notes_on(path, clip.samples.numpy()))
    clip = clip if channels is None else to_channels(clip, channels)
    return clip if rate is None else resample(clip, rate)


def _largest(path: str | Path, clip: Clip, start: float, seconds: float | None) -> float:
    """Return the largest sample of the whole file that a clip is read from: a piece of it may be quiet."""
    if not (start or seconds is not None):
        return float(clip.samples.abs().max())
    try:
        if soundfile.info(path).subtype not in ("FLOAT", "DOUBLE"):
            return 1.0
    except soundfile.SoundFileError:  # read by PyAV
        return 1.0
    return _file_peak(str(path), Path(path).stat().st_mtime_ns)


@lru_cache(maxsize=4096)
def _file_peak(path: str, changed: int) -> float:
    return float(np.abs(decode(path).data).max())


def _notes_on(path: str | Path, data: np.ndarray) -> tuple[str, ...]:
    """Say what is odd about samples (C, T); refuse what is no sound at full scale 1."""
    low, high = float(data.min()), float(data.max())  # NaN is kept
    if not (math.isfinite(low) and math.isfinite(high)):
        raise AudioError(f"{path}: {int((~np.isfinite(data)).sum())} samples are NaN or infinite")
    loudest = max(-low, high)
    if loudest > MOST_PEAK:
        slip = "whole numbers stored as floats? --float-scale 32768 (of augment; or float_scale=) divides by that"
        raise AudioError(f"{path}: its loudest sample is {loudest:g} times full scale (at most {MOST_PEAK:g}): {slip}")
    if loudest == 0:
        return ("silent: all samples are 0",)
    notes = []
    if loudest > 4:
        notes.append(f"above full scale by more than 12 dB: its peak is {20 * math.log10(loudest):.1f} dB")
    step = data.shape[-1] // 4096 | 1  # some of them tell whether it is worth to look at all
    if _offset(data[:, ::step]) and (offset := _offset(data)):
        notes.append(f"a constant offset: {offset:.3g} of full scale")
    return tuple(notes)


def _offset(data: np.ndarray) -> float:
    """Return the largest mean of a channel that stands out against the sound in it, or 0."""
    mean = data.mean(-1, dtype=np.float64)
    found = mean**2 > _OFFSET**2 * data.var(-1, dtype=np.float64)
    return float(max(mean * found, key=abs))


def _is_video(path: str | Path) -> bool:
    return str(path).lower().endswith(VIDEO_SUFFIXES)


def read_video(path: str | Path, **options: Any) -> video.Video:
    """Read pictures and sound of a video on one clock; see `audiomix.audio.video.read_video`.

    Parameters
    ----------
    path : path
        The file to read.
    **options
        As of `audiomix.audio.video.read_video`.
    """
    with local_copy(path) as place:
        return video.read_video(place, **options)


def write_video(path: str | Path, film: video.Video, **options: Any) -> Path:
    """Write pictures and sound as H.264 and AAC; see `audiomix.audio.video.write_video`.

    Parameters
    ----------
    path : path
        The file to write.
    film : Video
        Pictures and sound.
    **options
        As of `audiomix.audio.video.write_video`.
    """
    return video.write_video(path, film, **options)


def quantise(samples: Tensor, bits: int = 16) -> Tensor:
    """Return samples as whole numbers, int32 in [-2^(bits-1), 2^(bits-1) - 1]: rounded, and clipped at full scale.

    Stems that are quantised first sum to the mix exactly; float stems that are rounded by the writer do not.

    Parameters
    ----------
    samples : Tensor, floating point
        Full scale is 1.
    bits : int
        Bits a sample.
    """
    full = 2 ** (bits - 1)
    exact = torch.promote_types(samples.dtype, torch.float32)
    whole = torch.empty(samples.shape, dtype=torch.int32)
    for start in range(0, samples.shape[-1], _BLOCK):
        # times a power of two, which is exact: float32 gives the same numbers as float64
        piece = samples[..., start : start + _BLOCK].to(exact).mul(full)
        whole[..., start : start + _BLOCK] = piece.round_().clamp_(-full, full - 1)
    return whole


def write(path: str | Path, clip: Clip, *, subtype: str | None = None) -> Path:
    """Write a clip; the suffix decides the format (flac, wav or ogg). The name appears only when the file is whole.

    flac and wav are 16 bit (``subtype="PCM_24"`` for 24) and byte-identical every time; Ogg Vorbis and float wav
    (``subtype="FLOAT"``) differ in serial numbers and time stamps, their samples do not. Whole-number samples (int32,
    as `quantise` makes them) are written as they are.

    Parameters
    ----------
    path : path
        The file to write.
    clip : Clip
        Samples (C, T), full scale is 1, and their rate.
    subtype : str, optional
        Encoding of the samples, as libsndfile names it; None: that of the format.

    Raises
    ------
    AudioError
        NaN samples, an unknown suffix, a full disk.
    """
    path = Path(path)
    kind = path.suffix.lower().lstrip(".")
    if kind not in _ENCODING:
        raise AudioError(f"{path}: cannot write {path.suffix or 'a file without a suffix'}; use .flac, .wav or .ogg")
    subtype = subtype or _ENCODING[kind]
    data = _writable(path, clip.samples, subtype)
    with _explain_errors(path):
        # in memory first: libsndfile takes no error from a file object whose disk is full
        encoded = _encode(data, clip.rate, kind, subtype)
        with atomic_file(path) as file:
            file.write(encoded)
    return path


class _Buffer(BytesIO):
    """Memory that libsndfile writes to; an error in it is kept, because the C code between swallows it."""

    error: BaseException | None = None

    def write(self, data: Any) -> int:
        """Write, and keep the error where that fails."""
        try:
            return super().write(data)
        except BaseException as error:
            self.error = error
            raise


def _encode(data: np.ndarray, rate: int, kind: str, subtype: str) -> memoryview:
    buffer = _Buffer()
    try:
        form = {"format": kind.upper(), "subtype": subtype}
        # Ctrl-C in a callback from C would be swallowed, and the file damaged
        with defer_interrupts(), soundfile.SoundFile(buffer, "w", rate, data.shape[1], **form) as out:
            step = _OGG_BLOCK if kind == "ogg" else max(1, len(data))
            for start in range(0, len(data), step):
                out.write(data[start : start + step])
    finally:
        if buffer.error is not None:
            raise buffer.error
    return buffer.getbuffer()


def _writable(path: Path, samples: Tensor, subtype: str) -> np.ndarray:
    samples = samples.unsqueeze(0) if samples.ndim == 1 else samples
    if samples.dtype != torch.int32 and not bool(torch.isfinite(samples).all()):
        raise AudioError(f"{path}: refused to write NaN or infinite samples")
    bits = _BITS.get(subtype)
    if bits is None:  # lossy or float: libsndfile wants floats
        whole = samples.dtype == torch.int32
        floats = samples.float() / 32768 if whole else samples.float()
        return np.ascontiguousarray(floats.T.numpy())
    numbers = samples if samples.dtype == torch.int32 else quantise(samples, bits)
    # libsndfile takes int32 as full-scale 32 bit and keeps the upper bits
    return np.ascontiguousarray((numbers.numpy().astype(np.int32) << (32 - bits)).T)


@contextmanager
def _explain_errors(path: Path) -> Iterator[None]:
    """Turn what soundfile and the system raise while writing into one AudioError that names the file and the reason."""
    try:
        if not path.parent.exists():
            raise AudioError(f"{path}: no such folder")
        yield
    except (OSError, RuntimeError, soundfile.SoundFileError) as error:
        raise AudioError(f"{path}: {_reason(error)}") from None


def _reason(error: Any) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = getattr(error, "error_string", str(error)).strip().rstrip(".")
    return f"cannot be written so ({text}): more channels or a higher rate than the format has?"
