"""What a tracker is: sound in, `BeatGrid` out, and a version that says what the grid depends on."""

import inspect
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ... import check
from ...audio import io
from ...registry import file_digest
from ..grid import BeatGrid
from ..silence import drop_silent
from ..sound import one_channel

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
    revision: ClassVar[int] = 3
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
        """Return the beats of `samples`, floating point (C, T) or (T,), at `rate` Hz."""
        raise NotImplementedError

    def track_file(self, path: str | Path) -> BeatGrid:
        """Return the beats of an audio file; none where it is silent (`audiomix.beats.silence.drop_silent`).

        Raises
        ------
        AudioError
            The file is missing, empty or not audio.
        """
        clip = io.read(path)
        grid = within(self.track(clip.samples, clip.rate), clip.seconds, path)
        return drop_silent(grid, clip.samples, clip.rate)

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


def mono(samples: Tensor, rate: int, wanted: int) -> np.ndarray:
    """Return (C, T) or (T,) samples as one channel, float32 (T,), at `wanted` Hz (soxr), its peak at 1.

    What is found does not hang on level, offset, polarity or the number of channels: see `one_channel`.

    Raises
    ------
    TypeError, ValueError
        Not a floating point tensor of one or two axes, empty, or not finite.
    """
    samples = check.finite("samples", check.floating("samples", samples)).detach().to("cpu", torch.float32)
    if samples.ndim not in (1, 2) or 0 in samples.shape:
        slip = "one clip at a time: x[i]?" if samples.ndim == 3 else ""
        check.fail("samples", "of shape (C, T) or (T,), not empty", f"shape {tuple(samples.shape)}", slip)
    if samples.ndim == 2 and samples.shape[0] > samples.shape[1]:
        check.fail("samples", "(C, T), channels first", f"shape {tuple(samples.shape)}", "samples.T?")
    return io.resample(io.Clip(one_channel(samples), check.rate("rate", rate)), wanted).samples[0].numpy()


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
