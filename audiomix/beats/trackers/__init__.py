"""One tracker a file. The folder is a registry: a tracker's name is its file's stem; see `audiomix.registry`.

What a tracker needs (librosa, madmom) is imported when it first runs, never with its file.
"""

from ...registry import Choice, Registry
from ._base import Tracker

__all__ = ["Tracker", "available", "by_rank", "get", "read", "title_of"]

_REGISTRY: Registry[type[Tracker]] = Registry("tracker", __name__, "audiomix.trackers", base=Tracker)


def available() -> list[str]:
    """Return the names of all trackers, those of installed packages too, sorted.

    >>> "librosa" in available()
    True
    """
    return _REGISTRY.available()


def get(name: str) -> type[Tracker]:
    """Return the class of a tracker.

    Parameters
    ----------
    name : str
        One of `available`, or a path: ``mine.py:Taps`` or ``package.module:Taps``.

    Raises
    ------
    ValueError
        There is none of this name; a near miss is named.
    ImportError
        A file of the folder does not hold exactly one Tracker.

    Examples
    --------
    >>> get("librosa").__name__
    'LibrosaTracker'
    """
    return _REGISTRY.get(name)


def read(text: str) -> Choice[type[Tracker]]:
    """Return name, class and options of a tracker; see `audiomix.registry.Registry.read`.

    Parameters
    ----------
    text : str
        ``NAME`` or ``NAME:key=value,...``.

    Examples
    --------
    >>> read("librosa:min_bpm=70").options
    {'min_bpm': 70.0}
    """
    return _REGISTRY.read(text)


def by_rank() -> list[type[Tracker]]:
    """Return the classes that ``auto`` may choose, the first choice first; imports every file and entry point.

    >>> [cls.name for cls in by_rank()][-1]
    'librosa'
    """
    classes = [get(name) for name in available()]
    return sorted((c for c in classes if c.rank is not None), key=lambda c: (c.rank, c.name))


def title_of(tracker: type[Tracker]) -> str:
    """Return what a tracker does, in one line.

    Parameters
    ----------
    tracker : subclass of Tracker
        The class.

    Examples
    --------
    >>> title_of(get("librosa")).split(":")[0]
    'The built-in tracker'
    """
    return _REGISTRY.title_of(tracker)
