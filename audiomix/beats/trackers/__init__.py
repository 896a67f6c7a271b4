"""One tracker a file. The folder is a registry: a tracker's name is its file's stem; see `audiomix.registry`.

What a tracker needs (librosa, madmom) is imported when it first runs, never with its file.
"""

from typing import TYPE_CHECKING

from ...registry import Registry
from ._base import Tracker

__all__ = ["Tracker", "available", "by_rank", "get", "read", "source_of", "title_of"]

_REGISTRY: Registry[type[Tracker]] = Registry("tracker", __name__, "audiomix.trackers", base=Tracker)
available, get, read, title_of = _REGISTRY.available, _REGISTRY.get, _REGISTRY.read, _REGISTRY.title_of
source_of = _REGISTRY.source_of
if not TYPE_CHECKING:  # a type checker knows the files, and so which names are misspelt
    __getattr__ = _REGISTRY.module


def by_rank() -> list[type[Tracker]]:
    """Return the classes that ``auto`` may choose, the first choice first; imports every file and entry point.

    >>> [cls.name for cls in by_rank()][-1]
    'librosa'
    """
    classes = [get(name) for name in available()]
    return sorted((c for c in classes if c.rank is not None), key=lambda c: (c.rank, c.name))
