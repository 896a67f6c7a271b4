"""Where results go, looked at before any work."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from audiomix import check

__all__ = ["alone", "check_file", "check_folder"]


def check_file(path: Path, name: str = "out") -> None:
    """Raise where a file cannot be written.

    Raises
    ------
    ValueError
        A folder has that name, or what it is to lie in is no folder or may not be written to.
    """
    if path.is_dir():
        check.fail(name, "a file", str(path), "that is a folder")
    check_folder(path.parent, name, shown=path)


def check_folder(path: Path, name: str = "out", *, shown: Path | None = None) -> None:
    """Raise where a folder cannot be made, or written to.

    Raises
    ------
    ValueError
        A file has that name or that of a folder above, or the nearest folder there is may not be written to.
    """
    nearest = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not nearest.is_dir():
        check.fail(name, "in a folder" if shown else "a folder", str(shown or path), f"{nearest} is a file")
    if not os.access(nearest, os.W_OK | os.X_OK):
        check.fail(name, "in a folder that may be written to", str(shown or path), f"{nearest} may not")
    try:  # an administrator may write everywhere by name, and yet not make a folder in /proc
        tempfile.TemporaryDirectory(dir=nearest).cleanup()
    except OSError as error:
        slip = f"nothing can in {nearest}: {error.strerror}"
        check.fail(name, "a file that can be made" if shown else "a folder that can be made", str(shown or path), slip)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Make the folder of results and hold it: two commands would write into the same runs.

    A folder that was made here and into which nothing came is removed.

    Raises
    ------
    ValueError
        Another command holds it.
    """
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout:
        check.fail("out", "a folder that no other command writes into", str(out), "wait, or choose another --out")
    finally:
        if made and out.is_dir() and [path.name for path in out.iterdir()] == [".lock"]:
            (out / ".lock").unlink()
            out.rmdir()
