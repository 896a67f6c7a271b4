"""librosa's compiled functions, made by one process at a time.

librosa's functions are compiled by numba when they are first called, some already when their module is imported, and
kept in a cache on disk. Where two processes compile one at the same time, each overwrites a part of what the other
wrote, and every later process that loads it crashes (numba issue 10128: a segmentation fault, without a message).
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

__all__ = ["compile_alone"]

_called: set[str] = set()


@contextmanager
def compile_alone(name: str) -> Iterator[None]:
    """Let no other process compile during this one's first call of some functions; later calls wait for nobody.

    Modules of librosa are to be imported in the block too.

    Parameters
    ----------
    name : str
        What is called in the block: the same functions each time.
    """
    if name in _called:
        yield
        return
    user = os.getuid() if hasattr(os, "getuid") else 0
    with FileLock(Path(tempfile.gettempdir()) / f"audiomix-numba-{user}.lock"):
        yield
    _called.add(name)
