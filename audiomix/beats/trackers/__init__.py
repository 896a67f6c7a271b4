"""One tracker a file. The folder is a registry: a tracker's name is its file's stem; see `audiomix.registry`.

What a tracker needs (librosa, madmom) is imported when it first runs, never with its file.
"""

from typing import TYPE_CHECKING

from ...registry import Registry
from ._base import Tracker
from ._object import TracksBeats, as_tracker

__all__ = ["Tracker", "TracksBeats", "as_tracker", "available", "by_rank", "get", "read", "source_of", "title_of"]

_REGISTRY: Registry[type[Tracker]] = Registry("tracker", __name__, "audiomix.trackers", base=Tracker, method="track")
available, get, read, title_of = _REGISTRY.available, _REGISTRY.get, _REGISTRY.read, _REGISTRY.title_of
source_of = _REGISTRY.source_of
if not TYPE_CHECKING:  # a type checker knows the files, and so which names are misspelt
    __getattr__ = _REGISTRY.module


def by_rank(downbeats: bool = False) -> list[type[Tracker]]:
    """Return the classes that ``auto`` may choose, the first choice first; imports every file and entry point.

    Parameters
    ----------
    downbeats : bool
        Whether downbeats are asked for: then those that are slow, but find them, may be chosen too.

    Examples
    --------
    >>> [cls.name for cls in by_rank()]
    ['file', 'beat_this', 'librosa']
    >>> [cls.name for cls in by_rank(downbeats=True)]
    ['file', 'beat_this', 'madmom', 'librosa']
    """
    classes = [cls for cls in map(get, available()) if getattr(cls, "rank", None) is not None]
    chosen = [cls for cls in classes if downbeats or not cls.for_downbeats]
    return sorted(chosen, key=lambda cls: (cls.rank, cls.name))
