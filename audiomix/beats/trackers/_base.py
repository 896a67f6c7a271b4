"""What a tracker is: sound in, `BeatGrid` out, and a version that says what the grid depends on."""

import inspect
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from ...audio import io
from ...registry import file_digest
from ..confidence import hold_to_sound
from ..grid import BeatGrid
from ..sound import mono

__all__ = ["Tracker", "mono", "within"]


class Tracker:
    """Finds the beats of a sound. One file holds one; its options are its constructor's arguments, plain values.

    Nothing has to be derived from it: where a tracker is asked for, any object with a method ``track`` will do.

    A constructor keeps each option in an attribute of the same name; `version` reads them there.

    Attributes
    ----------
    name : str
        The file's stem, and `BeatGrid.tracker` of what it finds; where a class gives none, its own name in small
        letters.
    rank : int or None
        Place in the order of ``tracker="auto"``, lowest first; None: only when asked for by name.
    for_downbeats : bool
        Whether ``auto`` takes it only where downbeats are asked for.
    cached : bool
        Whether grids are worth keeping on disk.
    revision : int
        Raised when our own part of the tracker changes, so that cached grids are found again.
    packages : tuple of str
        Distributions whose version the result depends on.
    """

    name: str
    rank: ClassVar[int | None] = None
    for_downbeats: ClassVar[bool] = False
    cached: bool = True
    revision: ClassVar[int] = 4
    packages: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()

    @classmethod
    def missing(cls) -> str:
        """Return "" if the tracker can be used here, else why not and the commands that install it."""
        return ""

    def finds(self, path: str | Path | None) -> bool:
        """Whether the tracker has something to say on this file (None: samples without a file)."""
        return True

    def track(self, samples: Tensor, rate: int) -> BeatGrid:
        """Return the beats of `samples`, floating point (C, T) or (T,), at `rate` Hz, wherever it believes in some.

        A confidence need not be given: it is estimated from the sound, on one scale for all trackers.
        """
        raise NotImplementedError

    def track_file(self, path: str | Path) -> BeatGrid:
        """Return the beats of an audio file, held to its sound: see `audiomix.beats.confidence.hold_to_sound`.

        Raises
        ------
        AudioError
            The file is missing, empty or not audio.
        """
        clip = io.read(path)
        grid = within(self.track(clip.samples, clip.rate), clip.seconds, path)
        return hold_to_sound(grid, clip.samples, clip.rate)

    def options(self) -> dict[str, Any]:
        """Return the constructor's arguments and their values."""
        return {key: getattr(self, key) for key in inspect.signature(type(self)).parameters}

    @property
    def version(self) -> str:
        """All that the result depends on: packages, our own revision, the user's own file, options."""
        needed = [f"{package} {metadata.version(package)}" for package in self.packages]
        chosen = [f"{key}={value!r}" for key, value in self.options().items()]
        own = [f"file {digest}"] if (digest := file_digest(type(self))) else []
        return ", ".join([*needed, f"revision {self.revision}", *own, *chosen])


def within(grid: BeatGrid, seconds: float, source: str | Path | None = None) -> BeatGrid:
    """Return the grid of a sound of this many seconds; an error names the file.

    Raises
    ------
    ValueError
        A beat lies behind the end.
    """
    try:
        return grid.check_within(seconds)
    except ValueError as error:
        raise ValueError(f"{source}: {error}" if source else str(error)) from None
