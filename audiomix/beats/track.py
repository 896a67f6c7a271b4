"""`track_beats`: the beats of a file or of samples, by the tracker asked for or the best one that is here."""

import inspect
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from .. import check
from ..registry import is_path
from . import trackers
from .cache import GridCache
from .confidence import hold_to_sound
from .grid import BeatGrid
from .trackers import Tracker, TracksBeats, as_tracker
from .trackers._base import within

__all__ = ["Tracking", "choose_tracker", "track_beats"]


def track_beats(
    source: str | Path | Tensor,
    rate: int | None = None,
    *,
    tracker: str | TracksBeats = "auto",
    downbeats: bool = False,
    cache: bool | str | Path = True,
    **options: Any,
) -> BeatGrid:
    """Return the beats of a sound; the grid's `tracker` says who found them.

    Parameters
    ----------
    source : path or (C, T) or (T,) tensor
        An audio file, or samples, floating point.
    rate : int, optional
        Sampling rate of samples, in Hz; a file has its own.
    tracker : str or object
        A name of `trackers.available` or a path to one's own (``mine.py:Taps``), with options behind it or without
        (``madmom:network=beat``); any object with a method ``track(samples, rate)`` that returns a `BeatGrid` or beat
        times in seconds; or ``auto``: the annotation beside the file where there is one, else Beat This! where its
        weights are here, else the built-in ``librosa``.
    downbeats : bool
        Whether downbeats are asked for: ``auto`` then takes madmom before librosa, where it is installed.
    cache : bool or path
        Keep what was found in a file, and look there first: in `cache.default_folder`, or in this folder. Samples and
        annotations are never kept.
    **options
        The tracker's own, e.g. ``network="beat"``; with a tracker named.

    Raises
    ------
    ModuleNotFoundError
        The tracker asked for is not installed; the message gives the commands.
    AudioError
        The file cannot be read.
    ValueError
        Wrong arguments, or an annotation that does not fit its sound.

    Examples
    --------
    >>> import torch
    >>> clicks = torch.zeros(4 * 16000)
    >>> clicks[4000::8000] = 1.0
    >>> grid = track_beats(clicks, 16000, tracker="librosa")
    >>> grid.tracker, round(grid.bpm), len(grid)
    ('librosa', 120, 8)
    """
    tracking = Tracking(tracker, cache, options, downbeats)
    if isinstance(source, (str, Path)):
        if rate is not None:
            check.fail("rate", "left out for a file, which has its own", rate)
        return tracking.file(source)
    if rate is None:
        check.fail("rate", "given with samples, in Hz", None, "track_beats(samples, 44100)", TypeError)
    return tracking.samples(source, rate)


def choose_tracker(
    tracker: str | TracksBeats = "auto", path: str | Path | None = None, *, downbeats: bool = False, **options: Any
) -> Tracker:
    """Return the tracker that `track_beats` uses.

    Parameters
    ----------
    tracker : str or object
        A name or path without options, ``auto``, or an object with a method ``track``.
    path : path, optional
        The sound file; None for samples.
    downbeats : bool
        Whether downbeats are asked for; see `track_beats`.
    **options
        The tracker's own.

    Raises
    ------
    ModuleNotFoundError
        It is asked for by name and not installed.
    TypeError
        An object without a method ``track``.
    ValueError
        There is none of that name, options without a name, or an option that the tracker does not have.
    """
    if tracker == "auto" or not isinstance(tracker, str):
        if options:
            got = repr(tracker) if isinstance(tracker, str) else type(tracker).__name__
            check.fail("tracker", f"named where options are given ({', '.join(options)})", got)
        return next(t for t in _usable(downbeats) if t.finds(path)) if tracker == "auto" else as_tracker(tracker)
    if not is_path(tracker):
        check.choice("tracker", tracker, ["auto", *trackers.available()])
    cls = trackers.get(tracker)
    reason = cls.missing() if issubclass(cls, Tracker) else ""
    if reason:
        raise ModuleNotFoundError(f"tracker {tracker!r} cannot be used: {reason}")
    known = list(inspect.signature(cls).parameters)
    for option in set(options) - set(known):
        check.choice(f"the option of tracker {tracker}", option, known)
    return as_tracker(cls(**options))


@dataclass(frozen=True)
class Tracking:
    """How beats are found in a run: the arguments of `track_beats`, to be handed to workers and written down.

    Parameters
    ----------
    tracker, cache, options, downbeats
        As `track_beats` has them; options may stand in the name too: ``madmom:network=beat``. For several workers an
        object that is a tracker must pickle.
    """

    tracker: str | TracksBeats = "auto"
    cache: bool | str | Path = True
    options: dict[str, Any] = field(default_factory=dict)
    downbeats: bool = False

    def __post_init__(self) -> None:
        name = self.tracker if isinstance(self.tracker, str) else ""
        if name.startswith("auto:"):
            check.fail("tracker", "named where options are given", repr(name))
        if ":" in name:
            given = trackers.read(name)
            object.__setattr__(self, "tracker", given.name)
            object.__setattr__(self, "options", given.options | self.options)
        check.one_of_types("cache", self.cache, (bool, str, Path), "True, False or a folder")
        choose_tracker(self.tracker, **self.options)  # a wrong name, option or a missing package: now, not in a worker

    def tracker_for(self, path: str | Path | None = None) -> Tracker:
        """Return the tracker for a file (None: for samples). It is made once a process, with its models."""
        if self.tracker == "auto" or not isinstance(self.tracker, str):
            return choose_tracker(self.tracker, path, downbeats=self.downbeats)
        return _make_tracker(self.tracker, tuple(sorted((k, _hashable(v)) for k, v in self.options.items())))

    def file(self, path: str | Path) -> BeatGrid:
        """Return the beats of an audio file."""
        tracker = self.tracker_for(path)
        if self.cache is False or not tracker.cached:
            return _name_tracker(tracker.track_file(path), tracker)
        cache = GridCache(None if self.cache is True else self.cache)
        version = tracker.version
        entry = cache.path(path, tracker.name, version)
        grid = cache.load(entry, tracker.name)
        if grid is None:
            grid = _name_tracker(tracker.track_file(path), tracker)
            cache.store(entry, version, grid)
        return grid

    def samples(self, samples: Tensor, rate: int) -> BeatGrid:
        """Return the beats of (C, T) or (T,) samples at `rate` Hz, held to the sound as those of a file are."""
        tracker = self.tracker_for()
        grid = _name_tracker(tracker.track(samples, rate), tracker)
        return hold_to_sound(within(grid, samples.shape[-1] / rate), samples, rate)

    def describe(self) -> dict[str, str]:
        """Return name and version of the tracker that is used, for a run's manifest; annotations may come before it.

        >>> Tracking("beat_track").describe()["tracker"]
        'beat_track'
        """
        tracker = self.tracker_for()
        first = "annotations beside the sounds" if self.tracker == "auto" else ""
        asked = self.tracker if isinstance(self.tracker, str) else tracker.name
        return {"asked": asked, "tracker": tracker.name, "version": tracker.version, "first": first}


def _name_tracker(grid: BeatGrid, tracker: Tracker) -> BeatGrid:
    """Return the grid with the name of its tracker, which a tracker of one's own need not write."""
    return grid if grid.tracker == tracker.name else replace(grid, tracker=tracker.name)


def _usable(downbeats: bool) -> list[Tracker]:
    classes = [cls for cls in trackers.by_rank(downbeats) if not cls.missing()]
    return [_default(cls) for cls in classes]  # type: ignore[arg-type]  # a class is hashable


@lru_cache(maxsize=8)
def _default(cls: type[Tracker]) -> Tracker:
    return cls()


@lru_cache(maxsize=8)
def _make_tracker(name: str, options: tuple[tuple[str, Any], ...]) -> Tracker:
    return choose_tracker(name, **dict(options))


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
