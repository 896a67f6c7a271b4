"""Two video files mixed by one plan: sounds placed on their pictures' time, pictures mixed a few at a time."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .. import check
from ..audio import io, video
from ..audio.io import Clip
from ..audio.video import VideoError
from ..plan import Plan
from ..targets.pictures import mix_pictures
from .cache import Sources

__all__ = ["Film", "FilmSources", "check_film", "mix_films", "write_film"]

# Pictures of each film that are mixed at once. Memory holds two such groups and one mix, whatever the films' length.
_GROUP = 16
_CLOSE = 1e-6


@dataclass(frozen=True, eq=False)
class Film:
    """A video file whose sound stands on its pictures' time: sample 0 is heard when the first picture appears.

    Parameters
    ----------
    path : str
        The video file.
    times : Tensor, shape (N,), float64
        When each picture appears, in seconds, from the first one on.
    seconds : float
        How long the pictures are shown.
    start : float
        When the first picture appears on the clock of `audiomix.audio.video`.
    rate : float
        Pictures per second.
    size : (int, int)
        Height and width.
    sound : Clip
        As long as the pictures: cut, or filled up with silence, at both ends.
    """

    path: str
    times: Tensor
    seconds: float
    start: float
    rate: float
    size: tuple[int, int]
    sound: Clip

    @classmethod
    def open(cls, path: str | Path, rate: int | None = None) -> "Film":
        """Read a film's sound, and when its pictures appear; `rate` is that of the sound, in Hz.

        Raises
        ------
        VideoError
            The file cannot be read, or has no pictures or no sound.
        """
        times, end = video.picture_times(path)
        head = video.info(path)
        clip, at = video.read_sound(path, rate=rate)
        assert head.rate is not None  # picture_times found pictures
        start = float(times[0])
        real = (len(times) - 1) / float(times[-1] - start) if len(times) > 2 else head.rate
        average = head.rate if abs(head.rate / real - 1) < 0.01 else real
        _, first = next(video.pictures(path))  # as it is shown: phones store their pictures lying down
        height, width = first.shape[-2:]
        sound = _place_sound(clip, at - start, end - start)
        return cls(str(path), times - start, end - start, start, average, (height, width), sound)

    def pictures(self, offset: float, size: tuple[int, int]) -> Iterator[tuple[float, Tensor]]:
        """Yield (seconds after `offset`, picture) from the one on that is shown at `offset`."""
        first = max(0, int(torch.searchsorted(self.times, offset + _CLOSE, right=True)) - 1)
        for at, picture in video.pictures(self.path, size=size, start=self.start + float(self.times[first])):
            yield max(0.0, at - self.start - offset), picture


def _place_sound(clip: Clip, at: float, seconds: float) -> Clip:
    """Return the sound from time 0 on, `seconds` long, where its first sample is heard at `at`."""
    first = round(at * clip.rate)
    samples = clip.samples[:, -first:] if first < 0 else torch.nn.functional.pad(clip.samples, (first, 0))
    return Clip(io.fit_length(samples, max(1, round(seconds * clip.rate))), clip.rate)


class FilmSources(Sources):
    """The sounds of films in place of those of files; see `Sources`."""

    def __init__(self, films: dict[str, Film]) -> None:
        super().__init__()
        self.films = films

    def piece(self, path: str, seconds: float | None, position: float) -> tuple[Clip, float]:
        """Return all of the sound, which is decoded already."""
        return self.films[path].sound, 0.0


def mix_films(
    own: Film,
    partner: Film,
    plan: Plan,
    *,
    seconds: float,
    offsets: tuple[float, float] = (0.0, 0.0),
    size: tuple[int, int] | None = None,
) -> Iterator[tuple[float, Tensor]]:
    """Yield (seconds, picture) of a mix, one by one, at the original's times.

    The partner's picture is the one that is shown at the middle of the original's; behind its end the original's stands
    alone. Behind the original's end its pictures are black, as its sound is silent.

    Parameters
    ----------
    own, partner : Film
        The two films; the mix has the original's times and size.
    plan : Plan of one clip
        That mixed the sounds.
    seconds : float
        How long the mix is.
    offsets : (float, float)
        Where in the films the sounds that were mixed start, in seconds.
    size : (int, int), optional
        Height and width; by default the original's. Both films are brought to it (area average, stretched).
    """
    size = size or own.size
    theirs = _Ahead(partner.pictures(offsets[1], size), partner.seconds - offsets[1], partner.rate)
    group: list[tuple[float, Tensor]] = []
    for at, picture in _fill(own, offsets[0], seconds, size):
        group.append((at, picture))
        if len(group) > _GROUP:
            yield from _mix_group(group, theirs, plan, own.rate)
            group = group[-1:]  # it told how long the one before it is shown
    yield from _mix_group([*group, (seconds, group[-1][1])], theirs, plan, own.rate)


def _fill(own: Film, offset: float, seconds: float, size: tuple[int, int]) -> Iterator[tuple[float, Tensor]]:
    """Yield the original's pictures up to `seconds`, and black ones behind its end."""
    picture, end = None, own.seconds - offset
    for at, picture in own.pictures(offset, size):
        if at >= seconds - _CLOSE:
            return
        yield at, picture
    if picture is None:
        raise VideoError(f"{own.path}: no pictures from {offset:g} s on")
    for number in range(math.ceil((seconds - end) * own.rate - 1e-3)):
        yield end + number / own.rate, torch.zeros_like(picture)


class _Ahead:
    """Pictures in the order of time, of which as many are held as one group meets."""

    def __init__(self, source: Iterator[tuple[float, Tensor]], seconds: float, rate: float) -> None:
        self.source, self.held, self.ended = source, [next(source)], False
        self.seconds, self._rate = seconds, rate

    def between(self, first: float, last: float) -> list[tuple[float, Tensor]]:
        """Return those shown in [first, last], and the next one."""
        while not self.ended and self.held[-1][0] <= last:
            found = next(self.source, None)
            self.ended = found is None
            self.held += [found] if found is not None else []
        while len(self.held) > 1 and self.held[1][0] <= first:
            self.held.pop(0)
        return self.held

    @property
    def rate(self) -> float:
        """The rate by which the last picture that is held is shown for as long as it is in the film."""
        return 1 / max(self.seconds - self.held[-1][0], 1e-4) if self.ended else self._rate


def _mix_group(
    group: list[tuple[float, Tensor]], theirs: _Ahead, plan: Plan, rate: float
) -> Iterator[tuple[float, Tensor]]:
    """Mix all pictures of a group but the last, which only tells when the one before it ends."""
    at = torch.tensor([t for t, _ in group], dtype=torch.float64)
    met = theirs.between(float(at[0]), float(at[-1]))
    mixed = mix_pictures(
        torch.stack([p for _, p in group])[None],
        plan,
        other=torch.stack([p for _, p in met])[None],
        rate=rate,
        other_rate=theirs.rate,
        times=at,
        other_times=torch.tensor([t for t, _ in met], dtype=torch.float64),
    )
    yield from zip(at.tolist()[:-1], mixed[0, :-1])


def write_film(
    out: str | Path,
    own: Film,
    partner: Film,
    plan: Plan,
    sound: Clip,
    *,
    offsets: tuple[float, float],
    size: tuple[int, int] | None = None,
) -> dict[str, object]:
    """Write a mix of two films picture by picture; return what the pictures are."""
    size, count = size or own.size, 0
    with video.writer(out, size, own.rate, sound=sound) as put:
        for at, picture in mix_films(own, partner, plan, seconds=sound.seconds, offsets=offsets, size=size):
            put(picture, at)
            count += 1
    return {
        "size": list(size), "frames": count, "rate": own.rate, "partner_rate": partner.rate,
        "partner_size": list(partner.size), "codec": video.encoder(),
    }  # fmt: skip


def check_film(rate: int, channels: int, size: tuple[int, int] | None) -> None:
    """Raise where the sound or the pictures of a mix cannot be written, before any work."""
    video.check_sound(rate, channels)
    for side in size or ():
        check.integer("picture_size", side, 1)
