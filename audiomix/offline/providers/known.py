"""Beats, tempo and key that a manifest tells: they stand before what a tracker finds."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ... import check
from ...audio import io
from ...beats import BeatGrid
from ...beats.trackers._base import within
from ...beats.trackers.file import FileTracker
from ...datasets.item import Item
from .tracking import Tracks

__all__ = ["KnownBeats", "read_known_grid", "read_tempo", "with_key"]


_ANNOTATIONS = FileTracker()


@dataclass(frozen=True)
class KnownBeats:
    """Find the beats of a file: those that are known, else by a tracker. For `track_files`.

    Parameters
    ----------
    tracking : Tracks
        Who finds what is not known.
    known : mapping of str to Item
        Clips of whose sound something is known, by path; see `of`.
    """

    tracking: Tracks
    known: Mapping[str, Item] = field(default_factory=dict)

    @classmethod
    def of(cls, tracking: Tracks, items: Iterable[Item]) -> "KnownBeats":
        """Return what finds the beats of these items; of pieces of a file `read_known_grid` does."""
        return cls(tracking, {_plain(item.path): item for item in items if item.start is None and _tells(item)})

    def file(self, path: str) -> BeatGrid:
        """Return the beats of the sound in a file, with its key where that is known.

        Raises
        ------
        ValueError
            What is told of it is no tempo, no key, or no beats.
        """
        item = self.known.get(_plain(path))
        if item is None:
            return self.tracking.file(path)
        return with_key(read_known_grid(item) or self.tracking.file(path), item)


def with_key(grid: BeatGrid, item: Item) -> BeatGrid:
    """Return a grid with the key that is known of a clip, if there is one."""
    return grid if item.key is None else replace(grid, key=item.key)


def read_known_grid(item: Item) -> BeatGrid | None:
    """Return the beats that are known of a clip, or None; they count from the start of its file.

    Where only the tempo is known an annotation beside the sound tells more; without one the first beat is where the
    clip begins, as in a loop.

    Raises
    ------
    ValueError, OSError
        What is told is no tempo or no beats of this sound; there is no such text; none of the beats lies in this piece
        of the file.

    Examples
    --------
    >>> read_known_grid(Item("", "x.wav", beats="[0.5, 1.0]")).times
    (0.5, 1.0)
    """
    if item.beats is None and item.bpm is None:
        return None
    if item.beats is None:
        bpm = read_tempo(item)
        assert bpm is not None
        if _ANNOTATIONS.finds(item.path):
            return replace(_ANNOTATIONS.track_file(item.path), tracker=_ANNOTATIONS.name)
        start, stop = _span(item)
        return BeatGrid(np.arange(start, stop - 1e-6, 60 / bpm).tolist(), tracker="bpm")
    grid = _read_row_grid(item)
    start, stop = _span(item) if item.start is not None else (0.0, np.inf)
    if not any(start <= time < stop for time in grid.times):
        slip = f"this one is {start:g} to {stop:g} s of it"
        check.fail("its beats", "seconds from the start of the file, some of them in this piece", "none there", slip)
    return grid


def _plain(path: str) -> str:
    """Return a path as all spellings of it have it: beside its manifest a sound is ``./a.wav``, and ``a.wav``."""
    return os.path.abspath(path)


def _tells(item: Item) -> bool:
    return bool(item.beats or item.bpm or item.key)


def _span(item: Item) -> tuple[float, float]:
    """Return where in its file a clip begins and ends, in seconds."""
    start, end = item.start or 0.0, io.info(item.path).seconds
    return start, end if item.seconds is None else min(end, start + item.seconds)


def _read_row_grid(item: Item) -> BeatGrid:
    """Return the beats that a clip's row lists or names a text of."""
    assert item.beats is not None
    if not item.beats.startswith("["):
        path = os.path.join(item.root, item.beats)
        if not os.path.isfile(path):
            check.fail("its beats", "a list of seconds or the path of a .beats text", repr(item.beats), "no such file")
        return within(BeatGrid.read(path), io.info(item.path).seconds, path)
    grid = BeatGrid.of(json.loads(item.beats), "its beats")
    return within(grid, io.info(item.path).seconds, "its beats") if os.path.isfile(item.path) else grid


def read_tempo(item: Item, name: str = "its bpm") -> float | None:
    """Return the tempo that is known of a clip, in beats a minute; None where nothing is said.

    Parameters
    ----------
    item : Item
        A clip.
    name : str
        What it is called in the message.

    Raises
    ------
    ValueError
        What is said is no tempo.
    """
    if item.bpm is None:
        return None
    try:
        bpm = float(item.bpm)
    except ValueError:
        return check.fail(name, "a number of beats a minute", repr(item.bpm))
    return check.number(name, bpm, 10, 600)
