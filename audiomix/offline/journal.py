"""The run's memory: which files are done, so that a run that was killed goes on where it stopped.

``OUT/.audiomix/journal.jsonl``, append-only. Its first line holds the settings: another run in the same folder is
refused. Every other line is one file that was written whole, with its size and its row of the manifest. A line that was
torn by a kill is dropped; its file is rendered again, to the same bytes.
"""

import json
import os
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from .. import check
from ..audio import io

__all__ = ["FOLDER", "Journal", "RunStopped", "check_free", "stopping"]

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

    Raises
    ------
    ValueError
        The folder holds something else, or another run; the message says what differs.
    RunStopped
        The folder cannot be written, or another process is at work in it.
    """

    def __init__(self, out: str | Path, settings: dict[str, Any], total: int) -> None:
        self.out, self.total = Path(out), total
        self.seconds = 0.0
        self._at = array("q", [-1]) * total  # offset of each file's line
        path = self.out / FOLDER / "journal.jsonl"
        check_free(self.out, settings)
        with stopping(self.out, begun=path.exists()):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                with io.atomic_file(path) as new:
                    new.write(json.dumps({"settings": settings}, ensure_ascii=False).encode() + b"\n")
            self._file: IO[bytes] = open(path, "r+b")  # noqa: SIM115 (closed by __exit__)
            _lock(self._file, self.out)
            self._load()
            for left in self.out.rglob(".tmp-*"):
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
        """Note that file `index` was written, with its size in bytes and its row (JSON)."""
        line = f'{{"index": {index}, "bytes": {size}, "row": {row}}}\n'.encode()
        with stopping(self.out):
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
        """Find the files that are done: noted, and there, with the size that was noted."""
        self._file.readline()
        at = end = self._file.tell()
        for line in self._file:
            at, end = end, end + len(line)
            entry = _parsed(line)
            if entry is None:
                continue
            if _whole(self.out, entry):
                self._at[entry["index"]] = at
                self.seconds += entry["row"]["seconds"]
        if not line_ended(self._file):
            self._file.seek(0, os.SEEK_END)
            self._file.write(b"\n")


def line_ended(file: IO[bytes]) -> bool:
    """Say whether a file ends with a line's end."""
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


class stopping:
    """Turn an OSError into RunStopped, with a sentence; `begun` says whether there is anything to go on with."""

    def __init__(self, path: str | Path, *, begun: bool = True) -> None:
        self.path, self.begun = path, begun

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, OSError) and not isinstance(error, RunStopped):
            reason = (error.strerror or str(error)).lower()
            where = error.filename or self.path
            then = "What is done is kept; the same command goes on" if self.begun else "Nothing was done"
            raise RunStopped(f"{where}: {reason}. {then}") from None


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:  # torn by a kill: that file is rendered again
        return None
    return entry if isinstance(entry, dict) and "row" in entry else None


def _whole(out: Path, entry: dict[str, Any]) -> bool:
    path = out / entry["row"]["file_name"]
    stems = all((out / stem).is_file() for stem in entry["row"]["stems"])
    return stems and path.is_file() and path.stat().st_size == entry["bytes"]


def check_free(out: Path, settings: dict[str, Any]) -> None:
    """Raise unless `out` is new, empty, or of a run with these settings; nothing is written.

    Raises
    ------
    ValueError
        As `Journal`.
    """
    journal, settings = out / FOLDER / "journal.jsonl", json.loads(json.dumps(settings))
    if out.exists() and not out.is_dir():
        check.fail("out", "a folder", repr(str(out)), "there is a file of that name")
    above = next((parent for parent in out.absolute().parents if parent.exists()), None)
    if above and not above.is_dir():
        check.fail("out", "a folder", repr(str(out)), f"{str(above)!r} is a file")
    if journal.is_file():
        with open(journal, "rb") as file:
            before = (_header(file.readline()) or {}).get("settings", {})
        differs = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
        if differs:
            what = "; ".join(f"{n}: {_short(before.get(n))} there, {_short(settings.get(n))} now" for n in differs)
            expected = "a new folder, or one with a run of the same settings"
            check.fail("out", expected, f"{str(out)!r} with another run ({what})")
    elif out.is_dir():
        strange = [p.name for p in out.iterdir() if p.name != FOLDER]
        if strange:
            got = f"{str(out)!r} with {len(strange)} entries, e.g. {sorted(strange)[0]!r}"
            check.fail("out", "a new or empty folder, or one with a run of audiomix", got)


def _header(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def _lock(file: IO[bytes], out: Path) -> None:
    """Hold the journal for this process; the lock goes when the process does, however it ends."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RunStopped(f"{out}: another process is at work in this folder") from None
