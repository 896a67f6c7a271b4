"""One mixer a file. The folder is the registry: a mixer's name is its file's stem; only the chosen file is imported.

A file that cannot be imported is an error, never a message that scrolls by.
"""

import importlib
import inspect
import pkgutil
from typing import Any

from .. import check
from ..mixer import Mixer

__all__ = ["available", "get", "make"]


def available() -> list[str]:
    """Return the names of all mixers, sorted.

    >>> "mixup" in available()
    True
    """
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def get(name: str) -> type[Mixer]:
    """Return the mixer class of the file `name`.

    Raises
    ------
    ValueError
        There is no such file; a near miss is named.

    Examples
    --------
    >>> get("mixup").__name__
    'MixUp'
    """
    check.choice("mixer", name, available())
    module = importlib.import_module(f"{__name__}.{name}")
    found = [c for c in vars(module).values() if _is_mixer(c) and c.__module__ == module.__name__]
    if len(found) != 1:
        check.fail(
            f"audiomix/mixers/{name}.py", "a file with one Mixer", [c.__name__ for c in found], error=ImportError
        )
    return found[0]


def _is_mixer(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Mixer)


def make(name: str, *, rate: int | None = None, **options: Any) -> Mixer:
    """Return a mixer by name; `rate` goes to those that need one and is left out for the others.

    >>> make("between_class", rate=16000).rate
    16000
    """
    cls = get(name)
    if "rate" in inspect.signature(cls).parameters:
        options = {"rate": rate, **options}
    return cls(**options)
