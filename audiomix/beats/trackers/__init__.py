"""One tracker a file. The folder is the registry: a name is its file's stem; only the chosen file is imported.

What a tracker needs (librosa, madmom) is imported when it first runs, never with its file.
"""

import importlib
import pkgutil

from ... import check
from ._base import Tracker

__all__ = ["Tracker", "available", "by_rank", "get"]


def available() -> list[str]:
    """Return the names of all trackers, sorted.

    >>> "librosa" in available()
    True
    """
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def get(name: str) -> type[Tracker]:
    """Return the tracker class of the file `name`.

    Raises
    ------
    ValueError
        There is no such file; a near miss is named.
    ImportError
        The file does not hold exactly one Tracker.

    Examples
    --------
    >>> get("librosa").__name__
    'LibrosaTracker'
    """
    check.choice("tracker", name, available())
    module = importlib.import_module(f"{__name__}.{name}")
    found = [c for c in vars(module).values() if _is_tracker(c) and c.__module__ == module.__name__]
    if len(found) != 1:
        where = f"audiomix/beats/trackers/{name}.py"
        check.fail(where, "a file with one Tracker", [c.__name__ for c in found], error=ImportError)
    return found[0]


def by_rank() -> list[type[Tracker]]:
    """Return the classes that `auto` may choose, the first choice first; imports every file.

    >>> [cls.name for cls in by_rank()]
    ['file', 'madmom', 'librosa']
    """
    classes = [get(name) for name in available()]
    return sorted((c for c in classes if c.rank is not None), key=lambda c: (c.rank, c.name))


def _is_tracker(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Tracker)
