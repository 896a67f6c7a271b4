"""Make a mix again from its plan: the same sounds, read as they were, through the renderer of `audiomix augment`."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from ...audio import io
from ...audio.io import AudioError, Clip
from ...datasets.item import Item
from ...plan import Plan
from ..cache import MARGIN_S, Sources, enough_memory
from ..limits import Settings
from ..render import Rendered, Renderer, Task
from .output import item_of

__all__ = ["Replay", "Replayer", "hash_clip", "hash_samples", "replay_task", "sources_of"]

# A piece of a file that was read: where it begins, and how long it is, in seconds.
Piece = tuple[float, float]


@dataclass(frozen=True)
class Replay:
    """What is known of a mix that is made again, beside its plan.

    Parameters
    ----------
    row : dict
        Its row of the manifest.
    pieces : mapping of str to (float, float), optional
        By id of a source, the piece of it that was read, in seconds; those that are missing were read whole. None: it
        is decided again, as when the mix was made, by the size of the files.
    sounds : mapping of str to str
        By id of a source, the hash of what its file decodes to (`hash_clip`); a file that decodes to something else is
        an error. Empty where that is not known.
    samples : str
        Hash of the mix (`hash_samples`); a mix that comes out otherwise is an error. Empty where that is not known.
    """

    row: dict[str, Any]
    pieces: Mapping[str, Piece] | None = None
    sounds: Mapping[str, str] = field(default_factory=dict)
    samples: str = ""

    def rooms_of(self, partners: Sequence[Item]) -> list[str | None]:
        """Return the names of the rooms that the original and its partners are in; None for none."""
        original, *heard = self.row["sources"]
        names = {entry["id"]: entry.get("room") for entry in heard}
        return [original.get("room"), *(names.get(item.id) for item in partners)]


class _Pieces(Sources):
    """Sources of which it is known, or noted, which piece of a file was read."""

    known: Mapping[str, Piece] | None = None  # by path
    read_pieces: dict[str, Piece]  # by path; files that are not in it were read whole

    def piece(self, path: str, seconds: float | None, position: float) -> tuple[Clip, float]:
        """Read a file or a piece of it, as it was read before where that is known."""
        if self.known is None:
            whole = self._whole_reads
            clip, start = super().piece(path, seconds, position)
            if seconds is not None and self._whole_reads == whole:
                self.read_pieces[path] = start, seconds + MARGIN_S
            return clip, start
        if path not in self.known:
            return self.read(path), 0.0
        start, length = self.known[path]
        with self._note_file(path):
            return self._read(path, start, length), start

    _whole_reads = 0

    def read(self, path: str, start: float = 0.0, seconds: float | None = None) -> Clip:
        """Read a file, or a piece of it, and count that."""
        self._whole_reads += 1
        return super().read(path, start, seconds)


class Replayer(Renderer):
    """Renders tasks that have a plan and a `Replay`.

    Parameters
    ----------
    settings : Settings
        Of the run that made the mixes.
    strict : bool
        A mix whose samples are not those that are known is an error.
    """

    def __init__(self, settings: Settings, *, strict: bool = True) -> None:
        super().__init__(settings)
        self.strict = strict
        self.sources: _Pieces = _Pieces(settings.rate, float_scale=settings.float_scale)
        self._hashes: dict[str, str] = {}

    def render(self, task: Task) -> Rendered:
        """Make a mix again; its row is the one that is known.

        Raises
        ------
        AudioError
            A source cannot be read, or decodes to something else; the mix is not the one that is known.
        ValueError
            The plan does not fit the sources.
        """
        known: Replay = task.replay
        items = {item.path: item for item in (task.item, *task.partners)}
        for path, item in items.items() if known.sounds else ():
            self._check_sound(item, path, known.sounds)
        pieces = known.pieces
        self.sources.known = None if pieces is None else {p: pieces[i.id] for p, i in items.items() if i.id in pieces}
        self.sources.read_pieces = {}
        plan = Plan.from_json(known.row["plan"])
        done = super().render(task._replace(plan=plan))
        if self.strict and known.samples and hash_samples(done.mix, *done.stems) != known.samples:
            raise AudioError(f"{task.item.path}: its mix {known.row['file_name']} comes out otherwise than published")
        return Rendered(done.mix, done.stems, done.rate, known.row)

    def pieces_of(self, task: Task) -> dict[str, Piece]:
        """Return by id which pieces of its sources the last mix was made of; those read whole are left out."""
        return {item.id: self.sources.read_pieces[item.path] for item in (task.item, *task.partners)
                if item.path in self.sources.read_pieces}  # fmt: skip

    def hash_source(self, item: Item) -> str:
        """Return the hash of what the file of an item decodes to, at its own rate; see `hash_clip`."""
        path = item.path
        if path not in self._hashes:
            with enough_memory(path, " to read it"):
                if self.settings.rate is None:
                    clip = self.sources.read(path)
                else:
                    clip = io.read(path, float_scale=self.settings.float_scale)
            self._hashes[path] = hash_clip(clip)
        return self._hashes[path]

    def _check_sound(self, item: Item, path: str, sounds: Mapping[str, str]) -> None:
        expected = sounds.get(item.id)
        if expected and self.hash_source(item) != expected:
            raise AudioError(f"altered source: {item.id} decodes to other samples than when the mix was made ({path})")


def hash_clip(clip: Clip) -> str:
    """Return the hash of a decoded sound: BLAKE2b of rate, channels and float32 samples, 32 hexadecimal digits.

    It does not depend on the container: a FLAC file and the WAV file it was made of have the same.

    Parameters
    ----------
    clip : Clip
        Samples (C, T), and the rate in Hz.

    Examples
    --------
    >>> import torch
    >>> hash_clip(Clip(torch.zeros(1, 4), 8000))
    '8d3dae18081da747964371b068877b65'
    """
    digest = hashlib.blake2b(f"{clip.rate} {len(clip.samples)} ".encode(), digest_size=16)
    for channel in clip.samples:
        digest.update(np.ascontiguousarray(channel.numpy(), "<f4").data)
    return digest.hexdigest()


def hash_samples(*sounds: Tensor) -> str:
    """Return the hash of a mix, and of its stems where there are some: BLAKE2b of 16 bit samples, channel by channel.

    Parameters
    ----------
    *sounds : Tensor, shape (C, T), int32
        Whole numbers within 16 bits.
    """
    digest = hashlib.blake2b(digest_size=16)
    for sound in sounds:
        digest.update(str(tuple(sound.shape)).encode())
        digest.update(np.ascontiguousarray(sound.numpy(), "<i2").data)
    return digest.hexdigest()


def sources_of(row: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the entries of the original and of its partners, in the order in which the mixer got them.

    Parameters
    ----------
    row : mapping
        Of the manifest.

    Raises
    ------
    ValueError
        The row does not tell all partners that its plan names.
    """
    original, *heard = row["sources"]
    places = Plan.from_json(row["plan"]).sources(0)
    rest = json.loads(row.get("unheard") or "[]")
    if len(places) != len(heard):
        raise ValueError(f"{row['file_name']}: its plan has {len(places)} partners, and its row names {len(heard)}")
    if not heard and not rest:
        raise ValueError(f"{row['file_name']}: its row does not name its partner: made by an earlier version?")
    found: list[dict[str, Any] | None] = [None] * (len(heard) + len(rest))
    for place, entry in zip(places, heard):
        found[place] = entry
    return original, [one or rest.pop(0) for one in found]


def replay_task(number: int, row: dict[str, Any], roots: Mapping[str, str] | None = None, **known: Any) -> Task:
    """Return the task that makes a mix again.

    Parameters
    ----------
    number : int
        Its number in the run.
    row : dict
        Of the manifest.
    roots : mapping of str to str, optional
        By id of a source, the folder that it is relative to; by default the one that the row names.
    **known
        Further fields of `Replay`.
    """
    original, partners = sources_of(row)
    places = roots or {}
    items: Sequence[Item] = [item_of(one, places.get(one["id"])) for one in (original, *partners)]
    name = row["file_name"].rpartition(".")[0]
    return Task(number, items[0], row["copy"], name, tuple(items[1:]), None, len(partners), None, Replay(row, **known))
