"""The journal of a run: which files are done, so that a run that was killed goes on where it stopped.

``OUT/.audiomix/journal.jsonl`` is append-only. Its first line holds the settings: a run with other settings is refused
in the same folder. Every other line is one mix that was written whole: fingerprints (size, time, hash) of its files and
of the sources that it was made of, and its row of the manifest. The last line of a mix counts. A line that a kill has
cut off is dropped; its mix is rendered again, to the same bytes. So is one whose files are not what they were.

``OUT/.audiomix/index.jsonl`` has a line for each of these: where it stands in the journal, how long it is, and all of
it but the row, which is nine tenths. A run that goes on reads the index and the end of the journal that it does not
know of, and so does who looks for one row. It is written after the journal, and only believed where the journal is as
it says; otherwise the journal is read, and the index made anew.
"""

import errno
import json
import os
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any

from filelock import FileLock, Timeout

from .. import check
from ..audio import io
from ..audio.remote.copies import forget_listings
from ..datasets.item import Item
from ..datasets.item_table import ItemTable
from ..identity import differences
from .cache import is_changed
from .remote.store import Store, store_of

__all__ = ["FOLDER", "FOUND", "Journal", "RunStopped", "check_free", "find_row", "stop_on_oserror"]

# Folder of the journal, within that of the run.
FOLDER = ".audiomix"
# Of the settings, those that come from the sources: which there are, and what was found in them.
FOUND = ("source", "beats")
_SLIP = "refresh=True (--refresh) makes anew what depends on them"
# Lines of a journal that are compared with what its index says of them, beside the first and the last.
_COMPARED = 30
# Sources that a message names.
_NAMED = 5


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
    items : sequence of Item
        The sources.
    refresh : bool
        Drop the mixes whose sources have changed since, so that they are made anew; all mixes where files were added,
        taken away or renamed, as partners depend on that. False refuses such a folder.

    Attributes
    ----------
    seconds : float
        Duration of all files that are done, in seconds; who adds a file adds to it.
    unknown : int
        Mixes that are done of which an earlier version did not note what their sources were.
    failed : set of str
        Ids of the files that could not be read as partners of mixes that are done.

    Raises
    ------
    ValueError
        The folder holds something else, or another run; the message says what differs. Sources have changed.
    RunStopped
        The folder cannot be written, or another process is at work in it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as out, Journal(out, {"seed": 0}, total=2) as journal:
    ...     journal.add(1, {"files": {}}, '{"file_name": "b.flac", "stems": [], "seconds": 2.5}')
    ...     0 in journal, 1 in journal, [row["file_name"] for row in journal.rows()]
    (False, True, ['b.flac'])
    """

    def __init__(
        self,
        out: str | Path,
        settings: dict[str, Any],
        total: int,
        items: Sequence[Item] = (),
        *,
        refresh: bool = False,
    ) -> None:
        self.out, self.total, self.refresh = Path(out), total, refresh
        self._store = store_of(self.out)  # where files are sent that are whole
        self.seconds, self.unknown, self.failed = 0.0, 0, set[str]()
        self._at = array("q", [-1]) * total  # where in the journal each file's line begins; -1 where it is not done
        path = self.out / FOLDER / "journal.jsonl"
        known = self.out / FOLDER / "index.jsonl"
        ignored = FOUND if refresh else FOUND[1:]  # changed beats are those of sounds that are named below
        check_free(self.out, settings, items, ignore=ignored)
        with ExitStack() as stack, stop_on_oserror(self.out, begun=path.exists()):
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_lock(self.out))
            # again: another process may have been at work until now
            before = check_free(self.out, settings, items, ignore=ignored)
            if before is not None and refresh and differences(before, settings):
                rows = [entry["row"] for entry in _entries(path)]
                self._drop([name for row in rows for name in (row["file_name"], *row["stems"])])
                before = None
            if before is None:
                known.unlink(missing_ok=True)
                self._begin(path, settings)
            self._file: IO[bytes] = stack.enter_context(open(path, "r+b"))
            self._index: IO[bytes] = stack.enter_context(open(known, "a+b"))
            self._load(items if before is not None else ())
            forget_listings()  # sources may change from here on
            check_free(self.out, settings)
            self.remove_unfinished()
            self._stack = stack.pop_all()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._stack:
            if self._store is not None:
                with nullcontext() if error is None else suppress(OSError), stop_on_oserror(self.out):
                    self._store.push_now(self.out)

    def __contains__(self, index: int) -> bool:
        return self._at[index] >= 0

    def __len__(self) -> int:
        return sum(at >= 0 for at in self._at)

    def add(self, index: int, state: dict[str, Any], row: str) -> None:
        """Note that a mix was written.

        Parameters
        ----------
        index : int
            Number of the mix in the run.
        state : dict
            Fingerprints of its files and sources; see `audiomix.offline.write.Outcome`.
        row : str
            Its row of the manifest, as JSON.

        Raises
        ------
        RunStopped
            The disk is full.
        """
        self.failed.update(state.get("failed", ()))
        facts = json.dumps({"index": index, **state}, ensure_ascii=False)[:-1]
        with stop_on_oserror(self.out):
            self._at[index] = at = self._file.seek(0, os.SEEK_END)
            line = f'{facts}, "row": {row}}}\n'.encode()
            self._file.write(line)
            self._file.flush()
            self._index.write(_index_line(at, len(line), facts, json.loads(row)["seconds"]))
            self._index.flush()
            if self._store is not None:
                self._store.push(self.out)

    def remove_unfinished(self) -> None:
        """Remove half-written files of processes that were killed; none may be at work."""
        for left in self.out.rglob(".tmp-*"):
            left.unlink(missing_ok=True)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the manifest's rows of all files that are done, in the order of the run.

        Raises
        ------
        RunStopped
            The journal was damaged.
        """
        for index, at in enumerate(self._at):
            if at >= 0:
                yield self.row(index)

    def row(self, index: int) -> dict[str, Any]:
        """Return the manifest's row of a mix that is done, given by its number; nothing else is read.

        Raises
        ------
        RunStopped
            The journal was damaged.
        """
        self._file.seek(self._at[index])
        entry = _mix(self._file.readline(), self.total)
        if entry is None or entry["index"] != index:
            self._index.truncate(0)  # the journal is read anew then
            raise RunStopped(f"{self.out}: the journal was damaged. What is done is kept; the same command goes on")
        return entry["row"]

    def _begin(self, path: Path, settings: dict[str, Any]) -> None:
        with io.atomic_file(path) as new:
            new.write(json.dumps({"settings": settings}, ensure_ascii=False).encode() + b"\n")
        if self._store is not None:
            self._store.push_whole(self.out)

    def _load(self, items: Sequence[Item]) -> None:
        """Find the mixes that are done: those in the journal whose files are as it says, and so are their sources."""
        find = items.find if isinstance(items, ItemTable) else {item.id: item for item in items}.get
        self._file.readline()  # the settings
        begin = self._file.tell()
        changed: dict[int, tuple[list[str], list[str]]] = {}  # by mix: its sources that have changed, and its files
        seconds = array("d", bytes(8 * self.total))
        end = begin
        self._index.truncate(self._find_index_end(begin))
        self._index.seek(0)
        for line in self._index:
            entry = _index_entry(line)
            assert entry is not None
            end = entry["at"] + entry["length"]
            if entry["index"] >= 0:
                self._take(entry, find, changed, seconds)
        self._file.seek(end)
        line, at = b"\n", end
        for line in self._file:
            entry = _mix(line, self.total) if line.endswith(b"\n") else None
            length = len(line) + (not line.endswith(b"\n"))
            kept: dict[str, Any] = {"index": -1}  # no mix
            if entry is not None:
                kept = {k: v for k, v in entry.items() if k != "row" or "files" not in entry}
                self._take({**entry, "at": at, "seconds": entry["row"]["seconds"]}, find, changed, seconds)
            known = 0.0 if entry is None else entry["row"]["seconds"]
            self._index.write(_index_line(at, length, json.dumps(kept, ensure_ascii=False)[:-1], known))
            at += length
        self._index.flush()
        self.seconds = sum(seconds)
        if not line.endswith(b"\n"):  # cut off by a kill: what is added begins a line of its own
            self._file.seek(0, os.SEEK_END)
            self._file.write(b"\n")
        if changed and not self.refresh:
            moved = _list_names({name for found, _ in changed.values() for name in found})
            got = f"{moved}, changed since {len(changed)} mixes in {str(self.out)!r} were made"
            check.fail("source", "the files that the run was begun with", got, _SLIP)
        if changed:
            self._drop([name for _, files in changed.values() for name in files])

    def _take(
        self,
        entry: dict[str, Any],
        find: Callable[[str], Item | None],
        changed: dict[int, tuple[list[str], list[str]]],
        seconds: "array[float]",
    ) -> None:
        """Note what a line of the journal tells of a mix; the last one of a mix counts."""
        index, whole = entry["index"], _is_whole(self.out, entry, self._store)
        names = _find_changes(entry, find, self.refresh) if whole else []
        changed.pop(index, None)
        if names:
            changed[index] = names, [*entry["files"]]
        self._at[index] = entry["at"] if whole and not names else -1
        self.failed.update(entry.get("failed", ()) if index in self else ())
        seconds[index] = entry["seconds"] if index in self else 0.0
        self.unknown += whole and "files" not in entry

    def _find_index_end(self, begin: int) -> int:
        """Return up to where the index tells of the journal's lines from `begin` on; 0 where it does not.

        Some of the lines are looked at. A line of the index that a kill has cut off is left out.
        """
        self._index.seek(0)
        size, end, places = 0, begin, array("q")
        for line in self._index:
            if not line.endswith(b"\n"):
                break
            entry = _index_entry(line, self.total)
            if entry is None or entry["at"] != end:
                return 0
            places.extend((entry["at"], entry["length"], entry["index"]))
            end, size = entry["at"] + entry["length"], size + len(line)
        if end > self._file.seek(0, os.SEEK_END):
            return 0
        count = len(places) // 3
        for k in {*range(0, count, max(1, count // _COMPARED)), *range(max(0, count - 1), count)}:
            at, length, index = places[3 * k : 3 * k + 3]
            self._file.seek(at)
            line = self._file.read(length)
            found = _mix(line, self.total)
            if line.find(b"\n") != length - 1 or (-1 if found is None else found["index"]) != index:
                return 0
        return size

    def _drop(self, names: Sequence[str]) -> None:
        """Remove files of mixes that are made anew; first the tables, which tell of them."""
        if self._store is not None:
            tables = [name for name in self._store.sizes if PurePosixPath(name).name == "metadata.jsonl"]
            self._store.remove([*tables, *names])
        for path in (self.out / "metadata.jsonl", *self.out.glob("*/metadata.jsonl"), *(self.out / n for n in names)):
            if path.resolve().is_relative_to(self.out.resolve()):  # the journal may be somebody else's
                path.unlink(missing_ok=True)


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


def check_free(
    out: Path, settings: dict[str, Any], items: Sequence[Item] = (), *, ignore: Sequence[str] = ()
) -> dict[str, Any] | None:
    """Raise unless a folder is new, empty, or of a run with these settings; nothing is written.

    Parameters
    ----------
    out : Path
        Folder of the run.
    settings : dict
        What the run's files depend on, as plain JSON.
    items : sequence of Item
        The sources: the message names those of the run in the folder that are not among them.
    ignore : sequence of str
        Settings that may differ.

    Returns
    -------
    dict, optional
        The settings of the run in the folder; None where there is none.

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
            before = (_parse(file.readline()) or {}).get("settings")
            before = before if isinstance(before, dict) else {}
        hints = dict.fromkeys(["source", "grids"], f": {_SLIP}")
        if changed := differences(before, settings, ignore=ignore, hints=hints):
            if items and before.get("source") != settings.get("source"):
                gone = {name for entry in _entries(journal) for name in entry.get("sources", {})}
                gone -= {item.id for item in items}
                changed += [f"without its files {_list_names(gone)}"] if gone else []
            expected = "a new folder, or one with a run of the same settings"
            check.fail("out", expected, f"{str(out)!r} with another run ({'; '.join(changed)})")
        return before
    if out.is_dir():
        strange = [path.name for path in out.iterdir() if path.name != FOLDER]
        if strange:
            got = f"{str(out)!r} with {len(strange)} entries, e.g. {sorted(strange)[0]!r}"
            check.fail("out", "a new or empty folder, or one with a run of audiomix", got)
    return None


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return what a line of the journal holds; None for one that a kill has cut off."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _mix(line: bytes, total: int = sys.maxsize) -> dict[str, Any] | None:
    """Return what a line of the journal tells of a mix; None where it is damaged: the mix is made again."""
    entry = _parse(line) or {}
    row, index = entry.get("row"), entry.get("index")
    if not isinstance(row, dict) or not isinstance(index, int) or not 0 <= index < total:
        return None
    kinds = {"file_name": str, "stems": list, "seconds": (int, float)}
    right = all(isinstance(row.get(name), kind) for name, kind in kinds.items())  # type: ignore[arg-type]
    states = all(isinstance(entry.get(name, {}), dict) for name in ("files", "sources", "failed"))
    return entry if right and states and ("files" in entry or "bytes" in entry) else None


def _index_line(at: int, length: int, facts: str, seconds: float) -> bytes:
    """Return a line of the index: where a line of the journal stands, and what it tells but for the row."""
    return f'{{"at": {at}, "length": {length}, "seconds": {seconds!r}, {facts[1:]}}}\n'.encode()


def _index_entry(line: bytes, total: int = sys.maxsize) -> dict[str, Any] | None:
    """Return what a line of the index tells; None for one that a kill has cut off."""
    entry = _parse(line) if line.endswith(b"\n") else None
    whole = entry is not None and all(isinstance(entry.get(name), int) for name in ("at", "length", "index"))
    return entry if entry is not None and whole and -1 <= entry["index"] < total else None


def find_row(out: Path, name: str) -> dict[str, Any] | None:
    """Return the row of one mix of a run; the journal is not read for it where its index is whole.

    Parameters
    ----------
    out : Path
        Folder of the run.
    name : str
        The mix: its path in that folder, with its suffix or without.

    Returns
    -------
    dict, optional
        As `Journal.rows` yields it; None where the run has no such mix.
    """
    journal, found = out / FOLDER / "journal.jsonl", None
    with open(journal, "rb") as file, open(out / FOLDER / "index.jsonl", "rb") as index:
        text = json.dumps(name, ensure_ascii=False)[1:-1].encode()
        at = len(file.readline())
        for line in index:
            entry = _index_entry(line)
            if entry is None:
                break
            at = entry["at"] + entry["length"]
            if text in line and any(name in (one, os.path.splitext(one)[0]) for one in entry.get("files", ())):
                file.seek(entry["at"])
                found = (_mix(file.readline()) or {}).get("row", found)
        file.seek(at)
        for line in file:  # what the index does not know of
            row = (_mix(line) or {}).get("row")
            if row and name in (row["file_name"], os.path.splitext(row["file_name"])[0]):
                found = row
    return found


def _entries(journal: Path) -> Iterator[dict[str, Any]]:
    """Yield what a journal tells of mixes, one each."""
    with open(journal, "rb") as file:
        yield from (entry for entry in map(_mix, file) if entry is not None)


def _list_names(names: Iterable[str]) -> str:
    """Return names for a message, the first few of many."""
    ordered = sorted(names)
    more = f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
    return ", ".join(map(repr, ordered[:_NAMED])) + more


def _is_whole(out: Path, entry: dict[str, Any], store: Store | None = None) -> bool:
    """Say whether the files of a mix are what they were; of one by an earlier version only sizes were noted.

    In a store only sizes are compared: a name appears there when all is sent, and the journal tells of it after that.
    """
    if store is not None:
        states = {name: state or [-1] for name, state in entry.get("files", {}).items()}
        return bool(states) and all(store.sizes.get(name) == state[0] for name, state in states.items())
    if "files" in entry:
        return not any(is_changed(out / name, state) for name, state in entry["files"].items())
    path = out / entry["row"]["file_name"]
    stems = all((out / stem).is_file() for stem in entry["row"]["stems"])
    return stems and path.is_file() and path.stat().st_size == entry["bytes"]


def _find_changes(entry: dict[str, Any], find: Callable[[str], Item | None], refresh: bool) -> list[str]:
    """Return the sources of a mix that have changed; to refresh it, also those that could not be read."""
    states = {**entry.get("sources", {}), **(entry.get("failed", {}) if refresh else {})}
    return [
        name for name, state in states.items()
        if (item := find(name)) and is_changed(item.path, state, listed=True)
    ]  # fmt: skip


@contextmanager
def _lock(out: Path) -> Iterator[None]:
    """Hold a run's folder for this process; the lock goes when the process does, however it ends."""
    try:
        with FileLock(out / FOLDER / "lock", timeout=0):
            yield
    except Timeout:
        stopped = RunStopped(f"{out}: another process is at work in this folder")
        stopped.errno = errno.EBUSY
        raise stopped from None
