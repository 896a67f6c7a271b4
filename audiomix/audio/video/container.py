"""An opened video file: its streams, the clock that they share, and what is wrong with it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..clip import AudioError

__all__ = ["Source", "VideoError", "available", "explain_errors", "open_source", "pyav", "start_of", "words_of"]

# Less than this missing at the end of a stream is no truncation, in seconds
_MISSING = 0.1
_NAMES = {"video": "pictures", "audio": "sound"}


class VideoError(AudioError):
    """A video file that cannot be read or written; the message names it and says why."""


def available() -> bool:
    """Say whether PyAV is installed."""
    try:
        return bool(pyav())
    except VideoError:
        return False


def pyav() -> Any:
    """Import PyAV, or say how to install it."""
    try:
        import av
    except ImportError:
        raise VideoError("video files need PyAV: pip install 'audiomix[video]'") from None
    return av


@contextmanager
def explain_errors(path: str | Path, doing: str, *, decoding: bool = False) -> Iterator[None]:
    """Turn what PyAV and the system raise into one VideoError that names the file and the reason.

    While `decoding` that is any error: a damaged file makes PyAV raise much else.
    """
    av = pyav()
    try:
        yield
    except Exception as error:
        other = not decoding or isinstance(error, (AudioError, MemoryError))
        if other and not isinstance(error, (av.FFmpegError, OSError)):
            raise
        text = (getattr(error, "strerror", None) or str(error)).strip()
        raise VideoError(f"{path}: {doing} ({text[:1].lower() + text[1:]})") from None


@contextmanager
def open_source(path: str | Path) -> Iterator["Source"]:
    """Open a file, or say what is wrong with it."""
    av, file = pyav(), Path(path)
    for wrong, reason in (
        (lambda: not file.exists(), "no such file"),
        (file.is_dir, "is a folder, not a file"),
        (lambda: not file.is_file(), "is a pipe or a device, not a file"),  # it would be waited for without end
        (lambda: file.stat().st_size == 0, "empty file (0 bytes)"),
    ):
        if wrong():
            raise VideoError(f"{path}: {reason}")
    doing = "not readable as video: something else, or cut off: a recording or download that was not finished?"
    with explain_errors(path, doing, decoding=True), av.open(str(path)) as container:
        yield Source(path, container)


class Source:
    """An open file: its first stream of pictures (cover art is none), its first of sound, and where its clock is 0."""

    def __init__(self, path: str | Path, container: Any) -> None:
        self.path, self.container = path, container
        cover = pyav().stream.Disposition.attached_pic
        self.video = next((s for s in container.streams.video if not s.disposition & cover), None)
        self.audio = next(iter(container.streams.audio), None)
        self.zero = min((start_of(s) for s in (self.video, self.audio) if s is not None), default=0.0)

    @property
    def rate(self) -> float:
        """Average pictures per second, as the header has it."""
        assert self.video is not None  # asked for where there are pictures
        found = self.video.average_rate or self.video.guessed_rate
        if not found:
            raise VideoError(f"{self.path}: no frame rate in its header: is it damaged?")
        return float(found)

    def require_stream(self, stream: Any, what: str, slip: str) -> Any:
        """Return a stream, or say what the file lacks and what it holds."""
        if stream is None:
            if not any(s.type in _NAMES for s in self.container.streams):
                raise VideoError(f"{self.path}: neither pictures nor sound: a header that is damaged, or cut off?")
            held = ", ".join(words_of(s) for s in self.container.streams) or "nothing"
            raise VideoError(f"{self.path}: {what}; it holds {held}: {slip}")
        return stream

    def decode(self, stream: Any, step: Callable[[Any], float]) -> Iterator[tuple[float, Any]]:
        """Yield what a stream holds, and when it starts; a part without a stamp follows the one before it."""
        # without this libavcodec conceals damage with grey or repeated pictures and says nothing
        stream.codec_context.options = {"err_detect": "explode"}
        stream.thread_type = "AUTO"
        after = start_of(stream) - self.zero
        for packet in self.container.demux(stream):
            for frame in self._frames(packet, after):
                at = after if frame.pts is None else float(frame.pts * frame.time_base) - self.zero
                if frame.is_corrupt:
                    raise VideoError(f"{self.path}: damaged at {at:.2f} s")
                after = at + step(frame)
                yield at, frame
        promised = self.read_stream_end(stream)
        if promised is not None and after + self.zero < promised - _MISSING:
            raise VideoError(
                f"{self.path}: truncated: its {_NAMES[stream.type]} ended at {after:.2f} s, "
                f"{promised - self.zero - after:.2f} s before what its header promises"
            )

    def _frames(self, packet: Any, at: float) -> list[Any]:
        try:
            return list(packet.decode())
        except pyav().InvalidDataError as error:
            name = _NAMES[packet.stream.type]
            raise VideoError(f"{self.path}: {name} damaged, or cut off, at {at:.2f} s ({error.strerror})") from None

    def read_stream_end(self, stream: Any) -> float | None:
        """Return when a stream ends, on the file's own clock, where the container says so of each stream."""
        if "mov" in self.container.format.name and stream.duration is not None:
            return start_of(stream) + float(stream.duration * stream.time_base)
        if "matroska" in self.container.format.name and "DURATION" in stream.metadata:  # hh:mm:ss.fraction
            hours, minutes, seconds = stream.metadata["DURATION"].split(":")
            return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
        return None


def start_of(stream: Any) -> float:
    """When a stream starts, in seconds on the file's own clock."""
    return float(stream.start_time * stream.time_base) if stream.start_time is not None else 0.0


def words_of(stream: Any) -> str:
    """What a stream holds, and its codec."""
    kind = _NAMES.get(stream.type, stream.type)
    return f"{kind} ({stream.codec_context.name})" if stream.codec_context is not None else kind
