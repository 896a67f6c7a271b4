"""Video files written: H.264 (or MPEG-4) and AAC, with every picture's own time stamp and the offset of the sound."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ... import check
from ..clip import Clip, atomic_file
from .container import VideoError, explain_errors, pyav
from .reading import Video

__all__ = ["WRITTEN_SUFFIXES", "check_sound", "encoder", "write_video", "writer"]

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
WRITTEN_SUFFIXES = tuple(_FORMATS)
# Ticks per second: 24, 25, 30 and 30000/1001 pictures a second stand on whole ones; MPEG-4 has at most 65535.
_TICKS = 60_000
# ISO/IEC 14496-3, table 1.18
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_AAC_FRAME = 1024
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def encoder() -> str:
    """Return the codec that pictures are written with: ``libx264`` where this PyAV has it, ``mpeg4`` otherwise."""
    return "libx264" if "libx264" in pyav().codecs_available else "mpeg4"


def write_video(path: str | Path, video: Video, *, crf: float = 18) -> Path:
    """Write a video; the suffix decides the container: .mp4, .m4v, .mov or .mkv.

    Pictures are H.264 (`encoder` says which codec; 4:2:0, BT.601), the sound is AAC at 96 kbit/s per channel. The name
    appears only when the file is whole. The earlier of the first picture and the first sample becomes the file's zero;
    all else keeps its distance from it: pictures to 1/60000 s, the sound to a sample (.mkv: both to 1 ms). Where the
    sound starts later than the pictures, the 1024 samples by which AAC has to start early are heard as silence.

    Parameters
    ----------
    path : path
        The file to write.
    video : Video
        4:2:0 needs an even height and width: the last row or column of an odd one is repeated. Without pictures only
        the sound is written.
    crf : float
        Quality of H.264, 0 (best) to 51; of MPEG-4 the quantiser is a sixth of it.

    Raises
    ------
    VideoError
        PyAV is not installed; no folder; a full disk; NaN samples; neither pictures nor sound.
    ValueError
        An unknown suffix; pictures that are not uint8; times that do not rise; a rate or a number of channels that AAC
        does not have.
    """
    frames, times = check.tensor("video.frames", video.frames), check.tensor("video.times", video.times)
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] not in (1, 3):
        check.fail("video.frames", "uint8 of shape (N, 3, H, W) or (N, 1, H, W)", f"{frames.dtype} of shape "
                   f"{tuple(frames.shape)}", "pictures in [0, 1]? (255 * x).round().byte()")  # fmt: skip
    if tuple(times.shape) != (len(frames),) or not bool(torch.isfinite(times).all()):
        check.fail("video.times", f"finite, of shape ({len(frames)},)", f"{tuple(times.shape)}")
    if len(frames) == 0 and video.sound is None:
        raise VideoError(f"{path}: neither pictures nor sound to write")
    starts = [float(times[0])] if len(times) else []
    starts += [video.sound_start] if video.sound is not None else []
    zero = min(starts)
    at = video.sound_start - zero if video.sound is not None else 0.0
    size = (frames.shape[2], frames.shape[3]) if len(frames) else None
    with writer(path, size, video.rate, sound=video.sound, sound_start=at, crf=crf) as put:
        for picture, time in zip(frames, times.tolist()):
            put(picture, time - zero)
    return Path(path)


@contextmanager
def writer(
    path: str | Path,
    size: tuple[int, int] | None,
    rate: float,
    *,
    sound: Clip | None = None,
    sound_start: float = 0.0,
    crf: float = 18,
) -> Iterator[Callable[[Tensor, float], None]]:
    """Open a video to be written picture by picture: gives ``put(picture, seconds)``.

    The name appears only when the block ends without an error.

    Parameters
    ----------
    path, crf
        As `write_video`.
    size : (int, int), optional
        Height and width of the pictures. None: sound alone.
    rate : float
        Average pictures per second.
    sound : Clip, optional
        What is heard; None for a silent film.
    sound_start : float
        When its first sample sounds, in seconds, on the clock of `put`.

    Raises
    ------
    VideoError, ValueError
        As `write_video`.
    """
    path, av = Path(path), pyav()
    kind = _FORMATS[check.choice("the suffix of path", path.suffix.lower(), _FORMATS)]
    if not path.parent.is_dir():
        raise VideoError(f"{path}: no such folder")
    check.number("rate", rate, *((0, 1e9) if size is None else (1e-3, 1e4)))
    check.number("sound_start", sound_start, 0)
    check.number("crf", crf, 0, 51)
    if sound is not None:
        sound = _check_sound(path, sound)
    # An edit list counts in these ticks: with FFmpeg's 1/1000 s an offset of the sound is rounded to 1 ms.
    options = {} if kind == "matroska" else {"movie_timescale": str(_TICKS if sound is None else sound.rate)}
    with (
        explain_errors(path, "cannot be written"),
        atomic_file(path) as file,
        av.open(file, "w", format=kind, options=options) as container,
    ):
        out = _Output(container, size, rate, sound, sound_start, crf)
        yield out.put
        out.finish()


def check_sound(rate: int, channels: int) -> None:
    """Raise where AAC does not have a sampling rate or a number of channels."""
    if rate not in _AAC_RATES:
        near = min(_AAC_RATES, key=lambda r: abs(r - rate))
        check.fail("the rate of a video's sound", f"one of AAC's: {', '.join(map(str, _AAC_RATES))}", rate,
                   f"resample it to {near}?")  # fmt: skip
    if channels not in _LAYOUTS:
        check.fail("a video's sound", "of 1, 2 or 6 channels", channels, "mix down to mono first")


def _check_sound(path: Path, sound: Clip) -> Clip:
    """Return the sound as float32."""
    check_sound(sound.rate, len(sound.samples))
    whole = sound.samples.dtype == torch.int32
    samples = sound.samples.detach().cpu().float() / (32768 if whole else 1)
    if not bool(torch.isfinite(samples).all()):
        raise VideoError(f"{path}: refused to write NaN or infinite samples")
    return Clip(samples, sound.rate)


class _Output:
    """The streams of a file that is being written; sound goes in beside the pictures that it belongs to."""

    def __init__(
        self, container: Any, size: tuple[int, int] | None, rate: float, sound: Clip | None, start: float, crf: float
    ) -> None:
        self.container, self.size, self.sound, self.start = container, size, sound, start
        self.done, self.last = 0, -1
        self.video = None if size is None else self._pictures(size, rate, crf)
        self.audio = None
        if sound is not None:
            self.audio = container.add_stream("aac", rate=sound.rate, layout=_LAYOUTS[len(sound.samples)])
            self.audio.bit_rate = 96_000 * len(sound.samples)

    def _pictures(self, size: tuple[int, int], rate: float, crf: float) -> Any:
        codec = encoder()
        stream = self.container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001))
        stream.height, stream.width = (n + n % 2 for n in size)
        stream.pix_fmt = "yuv420p"
        # SMPTE 170M (BT.601), as swscale converts by default; players take large pictures for BT.709 where none is said
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 6
        context.color_range = 1
        stream.codec_context.time_base = Fraction(1, _TICKS)
        if codec == "libx264":
            stream.codec_context.options = {"crf": f"{crf:g}"}
        else:
            level = f"{max(1, round(crf / 6))}"
            stream.codec_context.options = {"qmin": level, "qmax": level}
        return stream

    def put(self, picture: Tensor, seconds: float) -> None:
        """Write the picture that appears at `seconds`."""
        tick = round(seconds * _TICKS)
        if tick <= self.last:
            check.fail("times", "rising", f"{seconds:g} s after {self.last / _TICKS:g} s")
        if self.video is None or picture.shape[-2:] != self.size or picture.dtype != torch.uint8:
            check.fail("picture", f"uint8 of height and width {self.size}", f"{picture.dtype}, {tuple(picture.shape)}")
        self.last = tick
        frame = pyav().VideoFrame.from_ndarray(_even(picture), format="rgb24")
        frame.pts, frame.time_base = tick, Fraction(1, _TICKS)
        self.container.mux(self.video.encode(frame))
        self._sound_until(seconds)

    def _sound_until(self, seconds: float) -> None:
        if self.sound is None or self.audio is None:
            return
        samples, rate = self.sound.samples, self.sound.rate
        while self.done < samples.shape[-1] and self.start + self.done / rate <= seconds:
            data = np.ascontiguousarray(samples[:, self.done : self.done + _AAC_FRAME].numpy())
            frame = pyav().AudioFrame.from_ndarray(data, format="fltp", layout=_LAYOUTS[len(samples)])
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = round(self.start * rate) + self.done
            self.done += data.shape[1]
            self.container.mux(self.audio.encode(frame))

    def finish(self) -> None:
        """Write what the encoders still hold."""
        if self.video is not None and self.last < 0:
            check.fail("the video", "of at least one picture", 0)
        self._sound_until(float("inf"))
        for stream in (self.video, self.audio):
            if stream is not None:
                self.container.mux(stream.encode(None))


def _even(picture: Tensor) -> np.ndarray:
    """Return a picture as (H, W, 3) with its last row and column repeated where there is an odd number of them."""
    picture = picture.detach().cpu().expand(3, -1, -1)
    for axis in (1, 2):
        if picture.shape[axis] % 2:
            picture = torch.cat([picture, picture.narrow(axis, picture.shape[axis] - 1, 1)], axis)
    return np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
