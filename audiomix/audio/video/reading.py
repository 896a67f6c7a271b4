"""Video files read through PyAV: pictures, sound, and when each of them is.

Pictures and sound have **one clock**: zero is where the earlier of a file's first picture and its first sound sample
stands, as players have it. The time stamps are those of the container, so edit lists, the encoder's priming (AAC), an
offset between the streams and a variable frame rate are honoured. AVI stores no such stamps: there they are guesses.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ... import check
from ..clip import Clip, Info, check_header_rate, fit_channels, resample
from .container import Source, VideoError, open_source, pyav, start_of, words_of

__all__ = ["MOST_BYTES", "Video", "VideoInfo", "info", "picture_times", "pictures", "read_sound", "read_video"]

# Pictures that are read into memory at once. 2 GiB are 10 s of 1080p at 30 fps, or 4.8 min of 360x288 at 25 fps.
MOST_BYTES = 2 << 30
# What the last packet of a lossy sound may hold beyond its end: two AAC frames, which HE-AAC doubles
_PADDING = 4096
# Jitter of time stamps (AVI: 26 ms) is no gap in the sound
_GAP = 0.05
_CLOSE = 1e-6


@dataclass(frozen=True, eq=False)
class Video:
    """Pictures and sound on one clock.

    Parameters
    ----------
    frames : Tensor, shape (N, 3, H, W) or (N, 1, H, W), uint8
        RGB, or grey.
    times : Tensor, shape (N,), float64
        When each picture appears, in seconds.
    rate : float
        Average pictures per second.
    sound : Clip, optional
        None where there is none.
    sound_start : float
        When the first sample sounds, in seconds on the same clock.
    """

    frames: Tensor
    times: Tensor
    rate: float
    sound: Clip | None = None
    sound_start: float = 0.0


@dataclass(frozen=True)
class VideoInfo:
    """What a file's header says: `streams` in words, `size` (H, W) and `rate` of the pictures, `seconds`, the sound.

    `picture_start` and `sound_start` are seconds on the clock of `read_video`; what a file lacks is None. `seconds`
    and the number of samples in `sound` are the container's promise, of MPEG program streams an estimate.
    """

    streams: tuple[str, ...]
    size: tuple[int, int] | None
    rate: float | None
    seconds: float | None
    picture_start: float | None
    sound: Info | None
    sound_start: float | None


def info(path: str | Path) -> VideoInfo:
    """Read a file's header.

    Raises
    ------
    VideoError
        The file is missing, empty, or not a video.
    """
    with open_source(path) as source:
        video, audio, whole = source.video, source.audio, source.container.duration
        sound, seconds = None, None if whole is None else whole / 1e6
        if audio is not None:
            check_header_rate(path, audio.codec_context.sample_rate)
            long = float(audio.duration * audio.time_base) if audio.duration is not None else seconds or 0.0
            rate = audio.codec_context.sample_rate
            sound = Info(rate, audio.codec_context.channels, round(long * rate))
        return VideoInfo(
            tuple(words_of(s) for s in source.container.streams),
            None if video is None else (video.codec_context.height, video.codec_context.width),
            None if video is None else source.rate,
            seconds,
            None if video is None else start_of(video) - source.zero,
            sound,
            None if audio is None else start_of(audio) - source.zero,
        )


def pictures(
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    gray: bool = False,
    start: float = 0.0,
    seconds: float | None = None,
) -> Iterator[tuple[float, Tensor]]:
    """Yield (seconds, picture) one by one, uint8 of shape (3, H, W), or (1, H, W) if `gray`; bounded memory.

    Parameters
    ----------
    path, size, gray, start, seconds
        As `read_video`.

    Raises
    ------
    VideoError
        As `read_video`.
    """
    first, end = _span(start, seconds)
    size = None if size is None else _size(size)
    with open_source(path) as source:
        video = source.require_stream(source.video, "no pictures", "a sound file?")
        step, found = 1 / source.rate, False
        for at, frame in source.decode(video, lambda f: float((getattr(f, "duration", 0) or 0) * f.time_base) or step):
            if at >= end - _CLOSE and found:
                return
            if first - _CLOSE <= at < end - _CLOSE:
                found = True
                yield at, _picture(frame, size, gray)
    if not found:
        raise VideoError(f"{path}: no pictures from {first:g} s on" if first else f"{path}: no pictures")


def picture_times(path: str | Path) -> tuple[Tensor, float]:
    """Return when each picture appears, (N,) float64 seconds, and when the last one ends; nothing is decoded.

    Raises
    ------
    VideoError
        As `read_video`.
    """
    with open_source(path) as source:
        stream = source.require_stream(source.video, "no pictures", "a sound file?")
        unit, step = float(stream.time_base), 1 / source.rate
        found = [
            (p.pts * unit - source.zero, (p.duration or 0) * unit or step)
            for p in source.container.demux(stream)
            if p.pts is not None and not p.is_discard
        ]
    if not found:
        raise VideoError(f"{path}: no pictures, or none with a time stamp")
    last, shown = max(found)
    return torch.tensor(sorted(at for at, _ in found), dtype=torch.float64), last + shown


def _picture(frame: Any, size: tuple[int, int] | None, gray: bool) -> Tensor:
    turned = round((getattr(frame, "rotation", 0) or 0) / 90) % 4  # phones store the display's turn beside the pictures
    height, width = size or (None, None)
    if turned % 2:
        height, width = width, height
    data = frame.to_ndarray(format="gray" if gray else "rgb24", width=width, height=height, interpolation="AREA")
    data = np.rot90(data, turned)
    return torch.from_numpy(np.ascontiguousarray(data[None] if gray else data.transpose(2, 0, 1)))


def _span(start: float, seconds: float | None) -> tuple[float, float]:
    first = check.number("start", start, 0)
    return first, math.inf if seconds is None else first + check.number("seconds", seconds, 0)


def _size(size: Any) -> tuple[int, int]:
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        check.fail("size", "(height, width) in pixels", repr(size), error=TypeError)
    return check.integer("the height in size", size[0], 1), check.integer("the width in size", size[1], 1)


def read_sound(
    path: str | Path,
    *,
    rate: int | None = None,
    channels: int | None = None,
    start: float = 0.0,
    seconds: float | None = None,
    from_sound: bool = False,
) -> tuple[Clip, float]:
    """Read a file's first sound track; return it and when its first sample sounds, in seconds.

    What an encoder put in front of and behind the sound is left out where the container says how much that is (mp4,
    mov, mkv). A gap in the time stamps becomes silence.

    Parameters
    ----------
    path, rate, channels, start, seconds
        As `read_video`.
    from_sound : bool
        Count `start` from the first sample, as `audiomix.audio.io.read` does, and not on the clock of the pictures.

    Raises
    ------
    VideoError
        As `read_video`.
    """
    first, end = _span(start, seconds)
    with open_source(path) as source:
        slip = "read_video(path, sound=False) reads the pictures"
        stream = source.require_stream(source.audio, "no sound track", slip)
        offset = start_of(stream) - source.zero if from_sound else 0.0
        clip, at = _samples(source, stream, end + offset)
    skipped = max(0, math.ceil((first + offset - at) * clip.rate - 1e-3))
    last = clip.samples.shape[-1] if math.isinf(end) else round((end + offset - at) * clip.rate)
    samples = clip.samples[:, skipped : max(0, last)]
    if samples.shape[-1] == 0:
        raise VideoError(f"{path}: no sound between {first:g} s and {end:g} s; it ends at {at + clip.seconds:.2f} s")
    if not bool(torch.isfinite(samples).all()):
        raise VideoError(f"{path}: {int((~torch.isfinite(samples)).sum())} samples are NaN or infinite")
    at, clip = at + skipped / clip.rate, Clip(samples.contiguous(), clip.rate)
    clip = clip if channels is None else Clip(fit_channels(clip.samples, channels), clip.rate)
    return (clip if rate is None else resample(clip, rate)), at


def _samples(source: Source, stream: Any, end: float) -> tuple[Clip, float]:
    """Decode a sound track up to `end`; also when its first sample sounds."""
    convert = pyav().AudioResampler(format="fltp")  # whole numbers become fractions of full scale
    parts: list[np.ndarray] = []
    begin, have, rate, channels, gap = 0.0, 0, 0, 0, 0
    for at, frame in source.decode(stream, lambda f: f.samples / f.sample_rate):
        if not parts:
            begin, rate, channels = at, frame.sample_rate, len(frame.layout.channels)
            check_header_rate(source.path, rate)
        if (frame.sample_rate, len(frame.layout.channels)) != (rate, channels):
            raise VideoError(f"{source.path}: its sound changes rate or channels at {at:.2f} s")
        if at >= end:
            break
        gap = round((at - begin) * rate) - have
        if gap < -_GAP * rate:
            raise VideoError(f"{source.path}: the time stamps of its sound jump back at {at:.2f} s")
        if gap > _GAP * rate:
            parts.append(np.zeros((channels, gap), np.float32))
            have += gap
        for part in convert.resample(frame):
            parts.append(part.to_ndarray())
            have += part.samples
    else:  # read to its end: the last packet is filled up, and only the header of this family says how far it counts
        if "mov" in source.container.format.name and stream.duration is not None:
            spare = have - round(float(stream.duration * stream.time_base) * rate)
            have -= spare if 0 < spare < _PADDING else 0
    if have == 0:
        raise VideoError(f"{source.path}: no samples in its sound track")
    samples = torch.from_numpy(np.concatenate(parts, 1)[:, :have])
    return Clip(samples, rate), begin


def read_video(
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    gray: bool = False,
    sound: bool = True,
    pictures: bool = True,
    start: float = 0.0,
    seconds: float | None = None,
    rate: int | None = None,
    channels: int | None = None,
) -> Video:
    """Read a video file, or a piece of it.

    Parameters
    ----------
    path : path
        Anything FFmpeg reads: mp4, mov, mkv, webm, mpg, avi, ts, ...
    size : (int, int), optional
        Resize the pictures to (height, width), stretched (area average). None keeps theirs.
    gray : bool
        One channel of brightness in place of RGB.
    sound, pictures : bool
        What to read. Without pictures `frames` has shape (0, 3, 0, 0). A file without sound gives ``sound=None``.
    start, seconds : float
        The piece to read, in seconds on the file's clock: pictures that appear in [start, start + seconds), and the
        samples that sound in it. Times stay those of the file. All before `start` is decoded, too.
    rate, channels : int, optional
        Of the sound, as in `audiomix.audio.io.read`.

    Raises
    ------
    VideoError
        PyAV is not installed; the file is missing, empty, truncated (mp4, mov, mkv), damaged as far as its codec
        notices (there are no check sums), or no video; it has no pictures; these take more than `MOST_BYTES`.
    """
    _span(start, seconds)
    with open_source(path) as source:
        has_sound = source.audio is not None
        if pictures:
            source.require_stream(source.video, "no pictures", "pictures=False reads its sound alone")
        else:
            source.require_stream(source.audio, "no sound track", "read its pictures")
        average = source.rate if pictures else 0.0
    frames, times = torch.zeros(0, 1 if gray else 3, 0, 0, dtype=torch.uint8), torch.zeros(0, dtype=torch.float64)
    if pictures:
        frames, times = _stack_pictures(path, size=size, gray=gray, start=start, seconds=seconds)
        if len(times) > 2:  # some containers hold the clock's ticks per second in place of a frame rate
            real = (len(times) - 1) / float(times[-1] - times[0])
            average = average if abs(average / real - 1) < 0.01 else real
    heard, at = None, 0.0
    if sound and has_sound:
        heard, at = read_sound(path, rate=rate, channels=channels, start=start, seconds=seconds)
    return Video(frames, times, average, heard, at)


def _stack_pictures(path: str | Path, **piece: Any) -> tuple[Tensor, Tensor]:
    found, times, held = [], [], 0
    for at, picture in pictures(path, **piece):
        held += picture.numel()
        if held > MOST_BYTES:
            raise VideoError(
                f"{path}: more than {MOST_BYTES / 2**30:g} GiB of pictures ({at:.0f} s are too many): give seconds= or "
                "a smaller size=, or take them one by one with audiomix.audio.video.pictures"
            )
        found.append(picture)
        times.append(at)
    return torch.stack(found), torch.tensor(times, dtype=torch.float64)
