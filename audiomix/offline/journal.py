"""The journal of a run: which files are done, so that a run that was killed goes on where it stopped.

``OUT/.audiomix/journal.jsonl`` is append-only. Its first line holds the settings: a run with other settings is refused
in the same folder. Every other line is one file that was written whole, with its size and its row of the manifest. A
line that a kill has cut off is dropped; its file is rendered again, to the same bytes.
"""

import errno
import json
import os
import sys
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from .. import check
from ..audio import io
from ..identity import differences

__all__ = ["FOLDER", "Journal", "RunStopped", "check_free", "stop_on_oserror"]

# Folder of the journal, within that of the run.
FOLDER = ".audiomix"


class RunStopped(OSError):
    """A run that cannot go on (a full disk, a dead worker). What is done is kept: the same command goes on."""


class Journal:
    """The journal of one run, opened and locked. Use it as a context manager.

    Parameters
    ----------
    out : path
        Folder of the run: new, empty, or of a run with the same settings.
    settings : dict
        What the run's files depend on, as plain JSON.
    total : int
        Number of files of the run.

    Attributes
    ----------
    seconds : float
        Duration of all files that are done, in seconds; who adds a file adds to it.

    Raises
    ------
    ValueError
        The folder holds something else, or another run; the message says what differs.
    RunStopped
        The folder cannot be written, or another process is at work in it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as out, Journal(out, {"seed": 0}, total=2) as journal:
    ...     journal.add(1, 11, '{"file_name": "b.flac", "stems": [], "seconds": 2.5}')
    ...     0 in journal, 1 in journal, [row["file_name"] for row in journal.rows()]
    (False, True, ['b.flac'])
    """

    def __init__(self, out: str | Path, settings: dict[str, Any], total: int) -> None:
        self.out, self.total = Path(out), total
        self.seconds = 0.0
        self._at = array("q", [-1]) * total  # where in the journal each file's line begins; -1 where it is not done
        path = self.out / FOLDER / "journal.jsonl"
        check_free(self.out, settings)
        with stop_on_oserror(self.out, begun=path.exists()):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                with io.atomic_file(path) as new:
                    new.write(json.dumps({"settings": settings}, ensure_ascii=False).encode() + b"\n")
            self._file: IO[bytes] = open(path, "r+b")  # noqa: SIM115 (closed by __exit__)
            _lock(self._file, self.out)
            self._load()
            for left in self.out.rglob(".tmp-*"):  # of a process that was killed
                left.unlink(missing_ok=True)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def __contains__(self, index: int) -> bool:
        return self._at[index] >= 0

    def __len__(self) -> int:
        return sum(at >= 0 for at in self._at)

    def add(self, index: int, size: int, row: str) -> None:
        """Note that a file was written.

        Parameters
        ----------
        index : int
            Number of the file in the run.
        size : int
            Its size in bytes.
        row : str
            Its row of the manifest, as JSON.

        Raises
        ------
        RunStopped
            The disk is full.
        """
        line = f'{{"index": {index}, "bytes": {size}, "row": {row}}}\n'.encode()
        with stop_on_oserror(self.out):
            self._at[index] = self._file.seek(0, os.SEEK_END)
            self._file.write(line)
            self._file.flush()

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the manifest's rows of all files that are done, in the order of the run."""
        for at in self._at:
            if at >= 0:
                self._file.seek(at)
                yield json.loads(self._file.readline())["row"]

    def _load(self) -> None:
        """Find the files that are done: those in the journal that are there, with the size that it says."""
        line = self._file.readline()  # the settings
        at = self._file.tell()
        for line in self._file:
            entry = _parsed(line)
            if entry is not None and "row" in entry and _is_whole(self.out, entry):
                self._at[entry["index"]] = at
                self.seconds += entry["row"]["seconds"]
            at += len(line)
        if not line.endswith(b"\n"):  # cut off by a kill: what is added begins a line of its own
            self._file.seek(0, os.SEEK_END)
            self._file.write(b"\n")


@contextmanager
def stop_on_oserror(path: str | Path, *, begun: bool = True) -> Iterator[None]:
    """Turn an OSError of the block, such as a full disk, into RunStopped.

    Parameters
    ----------
    path : path
        What the message names, where the error itself names no file.
    begun : bool
        Whether there is anything that the same command could go on with; the message says so.

    Raises
    ------
    RunStopped
        The block raised an OSError.
    """
    try:
        yield
    except RunStopped:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        then = "What is done is kept; the same command goes on" if begun else "Nothing was done"
        stopped = RunStopped(f"{error.filename or path}: {reason}. {then}")
        stopped.errno = None if begun else error.errno  # what a command was refused for, or stopped by
        raise stopped from None


def check_free(out: Path, settings: dict[str, Any]) -> None:
    """Raise unless a folder is new, empty, or of a run with these settings; nothing is written.

    Parameters
    ----------
    out : Path
        Folder of the run.
    settings : dict
        What the run's files depend on, as plain JSON.

    Raises
    ------
    ValueError
        As `Journal`.
    """
    journal = out / FOLDER / "journal.jsonl"
    if out.exists() and not out.is_dir():
        check.fail("out", "a folder", repr(str(out)), "there is a file of that name")
    above = next((parent for parent in out.absolute().parents if parent.exists()), None)
    if above and not above.is_dir():
        check.fail("out", "a folder", repr(str(out)), f"{str(above)!r} is a file")
    if journal.is_file():
        with open(journal, "rb") as file:
            before = (_parsed(file.readline()) or {}).get("settings", {})
        if changed := differences(before, settings):
            expected = "a new folder, or one with a run of the same settings"
            check.fail("out", expected, f"{str(out)!r} with another run ({'; '.join(changed)})")
    elif out.is_dir():
        strange = [path.name for path in out.iterdir() if path.name != FOLDER]
        if strange:
            got = f"{str(out)!r} with {len(strange)} entries, e.g. {sorted(strange)[0]!r}"
            check.fail("out", "a new or empty folder, or one with a run of audiomix", got)


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return what a line of the journal holds; None for one that a kill has cut off."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _is_whole(out: Path, entry: dict[str, Any]) -> bool:
    path = out / entry["row"]["file_name"]
    stems = all((out / stem).is_file() for stem in entry["row"]["stems"])
    return stems and path.is_file() and path.stat().st_size == entry["bytes"]


def _lock(file: IO[bytes], out: Path) -> None:
    """Hold the journal for this process; the lock goes when the process does, however it ends."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stopped = RunStopped(f"{out}: another process is at work in this folder")
        stopped.errno = errno.EBUSY
        raise stopped from None
