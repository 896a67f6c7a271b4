"""Noise from a folder: random pieces of its files, read when they are drawn."""

import math
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from . import check, draw
from .arguments import Recorded
from .audio import io, level
from .datasets.source import read_source
from .datasets.weights import weights_by_name
from .draw import Generator

__all__ = ["NoiseFolder", "Piece"]

# A file of at most so many pieces, or seconds, is read whole and stays in the cache; of a longer one the piece alone is
# read. Which of the two it is depends on the file only: both resample, and their samples differ at the ends of a piece.
_WHOLE_PIECES, _WHOLE_SECONDS = 4, 10.0
# Places that are tried in one file, and files that are tried at random before all are looked through in order
_PLACES, _FILES = 5, 20
_NAMED = 5


class Piece(NamedTuple):
    """Where a piece of noise was read: plain values, to be kept beside a plan.

    Parameters
    ----------
    file : str
        Path relative to the folder, or id in the manifest.
    start : float
        Its first sample, in seconds.

    Examples
    --------
    >>> Piece("rain.flac", 1.5)
    Piece(file='rain.flac', start=1.5)
    """

    file: str
    start: float


class NoiseFolder(Recorded):
    """Draw random pieces of the sounds in a folder: what ``other=`` of a mixer, a Pipeline or a `Collate` may be.

    Parameters
    ----------
    path : path
        A folder, however its files lie in it, or a manifest; all that `audiomix.datasets.source` reads, labels or not.
    seconds : float
        How long a piece is.
    rate : int
        Sampling rate of the pieces, in Hz; files of other rates are resampled.
    channels : int
        1 mixes down, more repeats a mono sound.
    weights : str or mapping
        ``file``: each file is as likely as any other. ``second``: as likely as it is long, so that each second is (the
        headers of all files are read at once). A mapping from file or folder to the weight of each file there, relative
        to `path`: ``{"music": 0.2, "street/3.wav": 0}``; the longest name counts, and files that none names have 1.
    cache : float
        Megabytes of decoded short files that are kept, in each process.
    min_db : float
        A piece with an rms below this, in dB of full scale, is silent: another one is drawn.

    Raises
    ------
    ValueError
        No sounds; weights that are all 0. When drawing: no file has a piece above `min_db`, or none can be read.

    Notes
    -----
    The generator alone decides: any number of workers, and a full cache or an empty one, give the same pieces. Of a
    file that is longer than a piece any place is equally likely; one that is shorter comes whole, padded with zeros,
    and `sample` returns its length: `audiomix.SNRMix` and `audiomix.SpeechNoise` repeat it. In place of a silent piece
    another one of the file is drawn, and after a few of these of another file. A file that cannot be read is named in a
    warning, once, and others are drawn in its place.

    Replay: ``pieces = folder.draw(8, generator=g)`` and ``other, other_lengths = folder.read(pieces)`` are what
    ``folder.sample(8, generator=g)`` returns; beside a plan the pieces are all that a mix needs.

    Examples
    --------
    >>> from audiomix import SNRMix
    >>> from audiomix.datasets.demo import assets
    >>> folder = NoiseFolder(assets() / "sounds", seconds=1.0, rate=16000)
    >>> speech = torch.randn(4, 1, 16000)
    >>> mixed = SNRMix((0, 20), label="keep")(speech, other=folder, generator=torch.Generator().manual_seed(0))
    >>> mixed.x.shape, bool((mixed.x != speech).any())
    (torch.Size([4, 1, 16000]), True)
    >>> pieces = folder.draw(4, generator=torch.Generator().manual_seed(0))
    >>> noise, lengths = folder.read(pieces)
    >>> again = SNRMix((0, 20), label="keep")(speech, other=noise, other_lengths=lengths, plan=mixed.plans[0])
    >>> torch.equal(again.x, mixed.x)
    True
    """

    def __init__(
        self,
        path: str | Path,
        *,
        seconds: float,
        rate: int,
        channels: int = 1,
        weights: Literal["file", "second"] | Mapping[str, float] = "file",
        cache: float = 256.0,
        min_db: float = -70.0,
    ) -> None:
        self.path = Path(path).expanduser()
        self.rate = check.rate("rate", rate)
        self.seconds = check.number("seconds", seconds, 1 / self.rate)
        self.size = round(self.seconds * self.rate)
        self.channels = check.integer("channels", channels, 1)
        self.cache = check.number("cache", cache, 0, slip="megabytes")
        self.min_db = check.number("min_db", min_db, level.SILENCE_DB, 0, slip="dB of full scale")
        self.broken: dict[str, str] = {}
        self._items = tuple(read_source(self.path, no_labels=True, skipped=[])[0])
        self._place = {item.id: i for i, item in enumerate(self._items)}
        self._infos: dict[int, io.Info | None] = {}
        self._sounds: OrderedDict[int, Tensor] = OrderedDict()
        self._bytes = 0
        self._weights = self._make_weights(weights)

    def __len__(self) -> int:
        return len(self._items)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker gets: all but the sounds in the cache."""
        return {**self.__dict__, "_sounds": OrderedDict(), "_bytes": 0}

    @property
    def files(self) -> list[str]:
        """The files, relative to the folder."""
        return [item.id for item in self._items]

    def sample(self, size: int, *, generator: Generator = None) -> tuple[Tensor, Tensor | None]:
        """Draw pieces.

        Parameters
        ----------
        size : int
            How many.
        generator : torch.Generator, optional
            On the CPU; None means torch's global one.

        Returns
        -------
        x : Tensor, shape (size, channels, T), float32
            The pieces, zeros behind those of shorter files.
        lengths : Tensor, shape (size,), int64, or None
            Valid samples; None where all are full.

        Raises
        ------
        ValueError
            No file has a piece that is not silent.
        """
        return self._stack([sound for _, sound in self._draw(size, generator)])

    def draw(self, size: int, *, generator: Generator = None) -> list[Piece]:
        """Return where the pieces lie that `sample` would return.

        Parameters
        ----------
        size : int
            How many.
        generator : torch.Generator, optional
            On the CPU; None means torch's global one.

        Raises
        ------
        ValueError
            As `sample`.
        """
        return [piece for piece, _ in self._draw(size, generator)]

    def read(self, pieces: Sequence[Piece]) -> tuple[Tensor, Tensor | None]:
        """Return pieces that were drawn before, as `sample` does.

        Parameters
        ----------
        pieces : sequence of Piece
            What `draw` returned, or pairs of file and start in seconds.

        Raises
        ------
        ValueError
            A file that the folder does not have, a start that does not lie in it.
        audiomix.audio.io.AudioError
            A file that cannot be read any more.
        """
        if not len(pieces):
            check.fail("pieces", "at least one piece", "none")
        sounds = []
        for file, start in pieces:
            number = self._place.get(file)
            if number is None:
                check.fail("pieces", f"of files in {self.path}", repr(file), "was it moved?")
            info = self._info(number)
            if info is not None and not 0 <= start < info.seconds:
                got = f"one at {start:g} s of {file}, which has {info.seconds:g} s"
                check.fail("pieces", "within their files", got, "has it changed?")
            sounds.append(self._piece(number, start))
        return self._stack(sounds)

    def _make_weights(self, weights: Any) -> Tensor:
        if weights == "file":
            return torch.ones(len(self), dtype=torch.float64)
        if weights == "second":
            return torch.tensor(self._seconds(), dtype=torch.float64)
        if not isinstance(weights, Mapping):
            check.choice("weights", weights, ["file", "second"])
        found = weights_by_name([item.id for item in self._items], weights, self.path)
        return torch.tensor(found, dtype=torch.float64)

    def _seconds(self) -> list[float]:
        """Return how long each file is, 0 for those that cannot be read; one warning names them."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            infos = [self._info(number) for number in range(len(self))]
        if self.broken and not any(infos):
            self._fail()
        if self.broken:
            names = [f"{name} ({reason})" for name, reason in self.broken.items()]
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            text = f"{self.path}: {len(names)} files are left out: {'; '.join(names[:_NAMED])}{more}"
            warnings.warn(text, stacklevel=4)
        return [0.0 if info is None else info.seconds for info in infos]

    def _info(self, number: int) -> io.Info | None:
        """Return rate, channels and samples of a file; None, with a warning the first time, where it cannot be read."""
        if number not in self._infos:
            item = self._items[number]
            try:
                info = io.info(item.path)
                if not info.frames:
                    raise io.AudioError(f"{item.path}: no samples")
                if self.channels not in (1, info.channels) and info.channels != 1:
                    raise io.AudioError(f"{item.path}: {info.channels} channels, neither 1 nor {self.channels}")
                first = round((item.start or 0.0) * info.rate)
                frames = max(0, info.frames - first)
                frames = frames if item.seconds is None else min(frames, round(item.seconds * info.rate))
                if not frames:
                    raise io.AudioError(f"{item.path}: it begins behind the end of the file")
                self._infos[number] = io.Info(info.rate, info.channels, frames)
            except io.AudioError as error:
                self._infos[number] = None
                self._note(number, error)
        return self._infos[number]

    def _note(self, number: int, error: io.AudioError) -> None:
        """Name a file that cannot be read, or not at one place, in a warning: the first time."""
        item = self._items[number]
        if item.id not in self.broken:
            self.broken[item.id] = str(error).removeprefix(f"{item.path}: ")
            warnings.warn(f"noise that cannot be read is left out: {error}", stacklevel=2)

    def _is_whole(self, info: io.Info) -> bool:
        return info.seconds <= max(_WHOLE_SECONDS, _WHOLE_PIECES * self.seconds)

    def _whole(self, number: int) -> Tensor:
        """Return all samples of a short file, (C, T): those used last stay in the cache."""
        if number in self._sounds:
            self._sounds.move_to_end(number)
            return self._sounds[number]
        item = self._items[number]
        options: dict[str, Any] = {"start": item.start or 0.0, "seconds": item.seconds}
        samples = io.read(item.path, rate=self.rate, channels=self.channels, **options).samples
        self._sounds[number] = samples
        self._bytes += samples.nbytes
        while self._bytes > self.cache * 1e6:
            self._bytes -= self._sounds.popitem(last=False)[1].nbytes
        return samples

    def _piece(self, number: int, start: float) -> Tensor:
        """Return the samples of a piece, (C, T) or shorter where the file ends."""
        item, info = self._items[number], self._info(number)
        if info is None:
            raise io.AudioError(f"{item.path}: {self.broken[item.id]}")
        if self._is_whole(info):
            first = round(start * self.rate)
            return self._whole(number)[:, first : first + self.size]
        first = round(start * info.rate) + round((item.start or 0.0) * info.rate)
        options = {"start": first / info.rate, "seconds": self._native_size(info) / info.rate}
        samples = io.read(item.path, rate=self.rate, channels=self.channels, **options).samples
        return samples[:, : self.size]

    def _native_size(self, info: io.Info) -> int:
        """Return how many samples of a file make a piece; rounded up, so that none is missing at the end."""
        return math.ceil(self.size * info.rate / self.rate)

    def _try(self, number: int, place: float) -> tuple[Piece, Tensor] | None:
        """Return the piece of a file at a place in [0, 1) of those possible; None where it is silent or unreadable."""
        info = self._info(number)
        if info is None:
            return None
        try:
            if self._is_whole(info):
                rate, room = self.rate, self._whole(number).shape[-1] - self.size
            else:
                rate, room = info.rate, info.frames - self._native_size(info)
            start = int(place * (max(room, 0) + 1)) / rate
            sound = self._piece(number, start)
        except io.AudioError as error:
            if self._is_whole(info):  # at every place: it need not be read again
                self._infos[number] = None
            self._note(number, error)
            return None
        if float(level.rms(sound[None])) < 10 ** (self.min_db / 20):
            return None
        return Piece(self._items[number].id, start), sound

    def _draw(self, size: int, generator: Generator) -> list[tuple[Piece, Tensor]]:
        """Draw pieces that are not silent; those that fail are drawn again together, so that the order is the same."""
        size = check.integer("size", size, 1)
        generator = draw.check_generator(generator)
        found: list[tuple[Piece, Tensor] | None] = [None] * size
        files = [0] * size
        todo = list(range(size))
        for number in range(_PLACES * _FILES):
            if number % _PLACES == 0:
                for row, file in zip(todo, draw.categorical(self._weights, len(todo), generator=generator).tolist()):
                    files[row] = file
            for row, place in zip(todo, draw.uniform(0, 1, len(todo), generator=generator).tolist()):
                found[row] = self._try(files[row], place)
            todo = [row for row in todo if found[row] is None]
            if not todo:
                break
        for row in todo:
            found[row] = next(self._search(files[row]), None)
            if found[row] is None:
                self._fail()
        return [one for one in found if one is not None]

    def _search(self, first: int) -> Iterator[tuple[Piece, Tensor]]:
        """Yield pieces that are not silent, of all files in order from one on."""
        for number in range(first, first + len(self)):
            file = number % len(self)
            for step in range(_PLACES) if self._weights[file] > 0 else ():
                if (one := self._try(file, (step + 0.5) / _PLACES)) is not None:
                    yield one

    def _fail(self) -> None:
        files = int((self._weights > 0).sum()) if hasattr(self, "_weights") else len(self)
        if len(self.broken) >= files:
            name, reason = next(iter(self.broken.items()))
            got = f"{files} files of which none can be read, the first: {name}: {reason}"
            check.fail(str(self.path), "of sounds that can be read", got)
        got = f"silence in all that was read of its {files} files"
        check.fail(str(self.path), f"of sounds above min_db={self.min_db:g}", got, "a lower min_db?")

    def _stack(self, sounds: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        x = torch.zeros(len(sounds), self.channels, self.size)
        for row, sound in zip(x, sounds):
            row[:, : sound.shape[-1]] = sound
        ends = [sound.shape[-1] for sound in sounds]
        return x, None if all(end == self.size for end in ends) else torch.tensor(ends)
