"""Any object that finds beats, as a tracker: all it needs is a method ``track``."""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from ... import check
from ..grid import BeatGrid
from ._base import Tracker

__all__ = ["TracksBeats", "as_tracker"]


@runtime_checkable
class TracksBeats(Protocol):
    """What finds beats; every `Tracker` does."""

    def track(self, samples: Tensor, rate: int, /) -> Any:
        """Return the beats of `samples` (C, T) or (T,) at `rate` Hz: a `BeatGrid`, or their times in seconds."""


def as_tracker(value: Any) -> Tracker:
    """Return an object with a method ``track`` as a tracker.

    It is called by its ``name``, else by its class in small letters. What it finds in files is kept on disk only where
    it has a ``version``, a text that says what its result depends on.

    Parameters
    ----------
    value : TracksBeats
        A tracker comes back as it is.

    Raises
    ------
    TypeError
        It has no such method, or is a class.
    """
    if isinstance(value, Tracker):
        return value
    if isinstance(value, type) or not isinstance(value, TracksBeats):
        slip = f"{value.__name__}()?" if isinstance(value, type) else ""
        got = value.__name__ if isinstance(value, type) else type(value).__name__
        check.fail("tracker", "a name, or an object with track(samples, rate)", got, slip, TypeError)
    return _ObjectTracker(value)


class _ObjectTracker(Tracker):
    """Calls an object's ``track``."""

    def __init__(self, value: TracksBeats) -> None:
        self.value = value
        self.name = str(getattr(value, "name", type(value).__name__.lower()))
        self.cached = hasattr(value, "version")

    def track(self, samples: Tensor, rate: int) -> BeatGrid:
        return BeatGrid.of(self.value.track(samples, rate), f"what tracker {self.name} finds")

    @property
    def version(self) -> str:
        return str(getattr(self.value, "version", f"an object of {type(self.value).__qualname__}"))
