"""Read once what every run needs, into memory-mapped arrays: decoded clips here, mouths and sounds for lip reading.

A store is a folder with a file for each array and ``index.json``, which says what is in them. Its name holds a hash of
what it was made from (paths, sizes, modification times, options), so a changed data set gets a store of its own. It is
built under a temporary name and renamed when it is whole; building it again gives the same bytes, whatever the number
of processes. What a killed process left is removed by the next.

The store of decoded clips has ``samples.npy``, int16 of shape (N, T), and in its index ids, true lengths, rate, the
files that could not be read with their reasons, notes on odd ones, a hash of each file's bytes, and one of all.
"""

import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from audiomix import check, identity
from audiomix.audio import io
from audiomix.datasets.dataset import Dataset
from audiomix.datasets.item import Item
from audiomix.offline.cache import enough_memory
from audiomix.offline.parallel import WorkerDied, in_order, run_tasks, usable_cores

from ..console import progress_bar, say
from ..training.run_folder import fail_damaged, read_json
from .copies import check_copies
from .protocol import check_parts
from .rows import FileRows

__all__ = ["ArrayFile", "SourceRows", "Store", "clip_size", "map_arrays", "open_index", "open_store", "source_key"]

_FORMAT = 3  # part of the key: a change of layout makes old stores invisible
# A spawned worker imports torch first, which takes seconds that decoding has to win back.
_PARALLEL_FROM = 2000


class ArrayFile(NamedTuple):
    """An array of a store: rows of one shape, those of one source after those of another."""

    file: str  # name of its file; one that ends in ``.npy`` has NumPy's header, and one row for each source
    dtype: str  # NumPy's, with the byte order
    row: tuple[int, ...]  # shape of one row


class SourceRows(NamedTuple):
    """What a store keeps of one source."""

    rows: tuple[np.ndarray, ...]  # its rows of each array, of shape (rows, ...)
    facts: dict[str, Any]  # what the index has on it
    error: str = ""  # why it cannot be read; empty where it can


def source_key(kind: Sequence[Any], sources: Iterable[tuple[str, Path, Sequence[Any]]]) -> str:
    """Return the hash of what a store is made from, for its name.

    `kind` are format and options, for JSON; `sources` id, file and options of each source.
    """

    def states() -> Iterator[list[Any]]:
        """Yield id, path, size, time and options of each source."""
        for name, path, options in sources:
            try:
                stat = path.stat()
                state = [stat.st_size, stat.st_mtime_ns]
            except OSError:
                state = []  # missing: listed as an error when the store is built
            yield [name, str(path.absolute()), *state, *options]

    return identity.digest(chain([kind], states()), size=6)


def map_arrays(path: Path, arrays: Sequence[ArrayFile], rows: int) -> list[Tensor]:
    """Return the arrays of the store at `path`, each with so many rows, as they lie on the disk, if all is there.

    They are copied on write: the files themselves cannot be changed.

    Raises
    ------
    ValueError
        A file is missing, cut, or of another shape.
    """
    found = []
    for array in arrays:
        file, shape, dtype = path / array.file, (rows, *array.row), np.dtype(array.dtype)
        wanted = f"{dtype} samples of shape {shape}"
        try:
            npy = file.suffix == ".npy"
            values = np.load(file, mmap_mode="c") if npy else np.memmap(file, dtype, "c").reshape(shape)
        except (ValueError, EOFError, FileNotFoundError) as error:
            fail_damaged(file, wanted, f"something else ({error})", _way(path))
        if values.shape != shape or values.dtype != dtype:
            fail_damaged(file, wanted, f"{values.dtype} of shape {values.shape}", _way(path))
        found.append(torch.from_numpy(values))
    return found


def open_index(
    path: Path,
    arrays: Sequence[ArrayFile],
    sources: Sequence[tuple[str, Any]],
    compute: Callable[[Any], SourceRows],
    index: Callable[[Path, list[dict[str, Any]], dict[str, str]], dict[str, Any]],
    *,
    keys: Sequence[str],
    title: str,
    what: str = "files",
    workers: int | None = None,
    parallel_from: int = 1,
    quiet: bool = False,
) -> dict[str, Any]:
    """Return the content of a store's ``index.json``, building the store if it is not there.

    Parameters
    ----------
    path : Path
        The store's folder; it appears when it is whole.
    arrays : sequence of ArrayFile
        What it holds.
    sources : sequence of (str, Any)
        Id of each source, and what `compute` is called with.
    compute : callable
        Returns the rows of a source; it must be picklable where there are several processes.
    index : callable
        ``index(folder, facts, errors)`` returns the content of ``index.json``: `folder` has the arrays, `facts` those
        of each source, and `errors` the reasons of those that cannot be read, by id.
    keys : sequence of str
        What must be in ``index.json``.
    title, what : str
        What is done, for the progress bar; what the sources are, for messages.
    workers : int, optional
        Processes that compute: by default one for each core from `parallel_from` sources on, else none beside this one.
    parallel_from : int
        See `workers`.
    quiet : bool
        Show no progress.

    Raises
    ------
    audiomix.audio.io.AudioError
        Not one source could be read, or the disk is full.
    ChildProcessError
        A process was killed.
    ValueError
        The index is damaged, or missing beside other files of the store.
    """
    if (found := _read_index(path, keys)) is not None:
        return found
    if workers is None:
        workers = usable_cores() if len(sources) >= parallel_from else 1
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(path.parent)
    part = path.with_name(f".tmp-{path.name}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
    part.mkdir()
    try:
        with _disk_errors(path, arrays, len(sources)):
            made = (_compute, compute)
            results = in_order(
                run_tasks(partial, made, sources, workers=workers, chunk=16, ahead=64, name=itemgetter(0))
            )
            with closing(results), progress_bar(quiet=quiet) as bar:
                computed = bar.track((result.get() for result in results), len(sources), description=title)
                facts, errors = _write_arrays(part, arrays, [name for name, _ in sources], computed)
            if len(errors) == len(sources):
                first = next(iter(errors.values()))
                raise io.AudioError(f"none of {len(sources)} {what} could be read, the first: {first}")
            content = json.dumps(index(part, facts, errors), indent=1) + "\n"
            (part / "index.json").write_text(content, encoding="utf-8")
        try:
            os.replace(part, path)
        except OSError:
            if not (path / "index.json").is_file():  # else another process was first, with the same bytes
                raise
    except WorkerDied as error:
        reason = f"a process that reads the clips was ended from outside: too little memory for {workers}?"
        raise ChildProcessError(f"{reason} the same command goes on") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return read_json(path / "index.json", *keys, way=_way(path))


def _compute(compute: Callable[[Any], SourceRows], source: tuple[str, Any]) -> SourceRows:
    return compute(source[1])


def _read_index(path: Path, keys: Sequence[str]) -> dict[str, Any] | None:
    """Return what ``index.json`` of a store says, or None where there is no store."""
    torn = path.is_dir() and any(path.iterdir())  # asked first: a store that another process builds comes whole
    if (path / "index.json").is_file():
        return read_json(path / "index.json", *keys, way=_way(path))
    if torn:
        fail_damaged(path / "index.json", "there, beside the samples", "no such file", _way(path))
    return None


def _way(path: Path) -> str:
    return f"remove the folder {path}: it is built again"


def _write_arrays(
    folder: Path, arrays: Sequence[ArrayFile], ids: Sequence[str], sources: Iterable[SourceRows]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Write the rows of each source behind those of the one before; return the facts and the errors."""
    facts: list[dict[str, Any]] = []
    errors: dict[str, str] = {}
    with ExitStack() as stack:
        # Written, not mapped: on a full disk a mapping ends the process instead of raising.
        files = [stack.enter_context(open(folder / array.file, "wb")) for array in arrays]
        for array, file in zip(arrays, files):
            if array.file.endswith(".npy"):
                header = {"descr": array.dtype, "fortran_order": False, "shape": (len(ids), *array.row)}
                np.lib.format.write_array_header_1_0(file, header)
        for name, source in zip(ids, sources):
            for array, file, values in zip(arrays, files, source.rows):
                file.write(values.astype(array.dtype, copy=False).tobytes())
            facts.append(source.facts)
            if source.error:
                errors[name] = source.error
    return facts, errors


def _remove_left(folder: Path) -> None:
    """Remove what processes of this machine that were killed left of their stores."""
    if os.name != "posix":
        return  # elsewhere a process cannot be asked about without ending it
    pattern = re.compile(rf"\.tmp-.*-{re.escape(socket.gethostname())}-(\d+)-[0-9a-f]{{8}}")
    for left in folder.glob(".tmp-*"):
        match = pattern.fullmatch(left.name)
        if match is None:
            continue
        try:
            os.kill(int(match[1]), 0)
        except ProcessLookupError:
            shutil.rmtree(left, ignore_errors=True)
        except PermissionError:
            continue  # alive, and another user's


@contextmanager
def _disk_errors(path: Path, arrays: Sequence[ArrayFile], count: int) -> Iterator[None]:
    """Say which store could not be written and, where each source has one row, how large it would have been."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        size = sum(count * np.dtype(a.dtype).itemsize * math.prod(a.row) for a in arrays if a.file.endswith(".npy"))
        needed = f"; it takes {size / 1e6:.0f} MB" if size else ""
        reason = f"{error.strerror or error}{needed}: another folder with --store?"
        raise io.AudioError(f"{path}: the store cannot be written: {reason}") from error


@dataclass(frozen=True, eq=False)
class Store:
    """Decoded clips."""

    path: Path  # the store's folder
    dataset: Dataset  # the N items that could be read
    lengths: Tensor  # (N,), int64: valid samples of each clip; behind them is padding
    errors: dict[str, str]  # what could not be read: id and reason
    rate: int  # in Hz
    size: int  # samples of a padded clip
    digest: str  # hash of the bytes of all files: the same wherever they lie
    hashes: tuple[str, ...]  # hash of the bytes of each clip's file
    rows: FileRows  # all clips, int16 of shape (N, T), mono

    @property
    def samples(self) -> Tensor:
        """All clips, read into memory, int16 of shape (N, T), mono."""
        return self.rows[:]

    def read(self, indices: Tensor) -> Tensor:
        """Return the clips at `indices` of `dataset`, shape (B,), int64, as int16 of shape (B, T), mono."""
        return self.rows[indices]


def clip_size(rate: int, seconds: float) -> int:
    """Return the samples of a clip of so many seconds at a rate in Hz.

    >>> clip_size(8000, 0.5)
    4000
    """
    return max(1, round(check.number("seconds", seconds, 1e-3) * check.rate("rate", rate)))


def open_store(
    dataset: Dataset, folder: Path, *, rate: int, seconds: float, quiet: bool = False, workers: int | None = None
) -> Store:
    """Return the store of the decoded clips of a data set, building it if it is not there.

    Parameters
    ----------
    dataset : Dataset
        The clips.
    folder : Path
        Where stores live.
    rate : int
        Resample to this rate, in Hz.
    seconds : float
        Cut or zero-pad each clip to this length, at its end.
    quiet : bool
        Show no progress.
    workers : int, optional
        Processes that decode: by default one for each core from 2000 files on, else none beside this one.

    Raises
    ------
    audiomix.audio.io.AudioError
        Not one file could be read, or the disk is full.
    ValueError
        The store is damaged, or the data set's folds share clips: see `recipes.data.copies.check_copies`.
    """
    rate, size = check.rate("rate", rate), clip_size(rate, seconds)
    sources = ((i.id, Path(i.path), [] if i.start is None else [i.start, i.seconds]) for i in dataset.items)
    path = Path(folder) / f"{dataset.name}-{rate}-{source_key([_FORMAT, rate, size], sources)}"
    arrays, clips = [ArrayFile("samples.npy", "<i2", (size,))], [(item.id, item) for item in dataset.items]
    index = open_index(
        path,
        arrays,
        clips,
        partial(_decode, rate=rate, size=size),
        partial(_index, rate, [name for name, _ in clips]),
        keys=("rate", "ids", "lengths", "errors", "digest"),
        title=f"decoding {dataset.name}",
        workers=workers,
        parallel_from=_PARALLEL_FROM,
        quiet=quiet,
    )
    store = _open(dataset, path, arrays, index)
    kinds = Counter(note.partition(":")[0] for notes in index.get("notes", {}).values() for note in notes)
    if kinds and not quiet:
        most = "; ".join(f"{note} ({number})" for note, number in kinds.most_common(5))
        say(f"notes on clips, all in {path / 'index.json'}: {most}")
    check_copies(store.dataset, store.hashes, quiet=quiet)
    return store


def _index(rate: int, ids: list[str], _: Path, facts: list[dict[str, Any]], errors: dict[str, str]) -> dict[str, Any]:
    lengths, hashes = ([fact[name] for fact in facts] for name in ("length", "hash"))
    digest = hashlib.blake2b(bytes.fromhex("".join(hashes)), digest_size=16).hexdigest()
    notes = {name: list(fact["notes"]) for name, fact in zip(ids, facts) if fact["notes"]}
    return {
        "rate": rate, "ids": ids, "lengths": lengths, "errors": errors, "notes": notes, "digest": digest,
        "hashes": hashes,
    }  # fmt: skip


def _open(dataset: Dataset, path: Path, arrays: Sequence[ArrayFile], index: dict[str, Any]) -> Store:
    ids, file = [item.id for item in dataset.items], path / "index.json"
    if index["ids"] != ids or not isinstance(index["lengths"], list) or len(index["lengths"]) != len(ids):
        fail_damaged(file, f"the names and lengths of {len(ids)} clips", "others", _way(path))
    (samples,) = map_arrays(path, arrays, len(ids))  # is all there?
    # a store of an earlier version has none: its files are as they were, or its name would be another
    hashes = index.get("hashes") or ["" if item.id in index["errors"] else _hash(item.path) for item in dataset.items]
    if len(hashes) != len(ids):
        fail_damaged(file, f"the hashes of {len(ids)} files", f"{len(hashes)}", _way(path))
    kept = torch.tensor(index["lengths"]).nonzero().flatten()
    return Store(
        path=path,
        dataset=check_parts(dataset.only(kept.tolist())),
        lengths=torch.tensor(index["lengths"])[kept],
        errors=index["errors"],
        rate=index["rate"],
        size=samples.shape[1],
        digest=index["digest"],
        hashes=tuple(hashes[i] for i in kept.tolist()),
        rows=FileRows(path / arrays[0].file, _npy_offset(path / arrays[0].file), "<i2", tuple(samples.shape[1:]), kept),
    )


def _npy_offset(file: Path) -> int:
    """Return the bytes of the header of a ``.npy`` file."""
    with open(file, "rb") as opened:
        np.lib.format.read_magic(opened)
        np.lib.format.read_array_header_1_0(opened)
        return opened.tell()


def _decode(item: Item, *, rate: int, size: int) -> SourceRows:
    """Return a row of samples, zero behind the clip's end; its length, and the hash of its file's bytes."""
    samples, hashed, error = np.zeros(0, np.int16), "", ""
    notes: tuple[str, ...] = ()
    try:
        with enough_memory(item.path, " to read it"):
            clip = io.read(item.path, rate=rate, channels=1, start=item.start or 0.0, seconds=item.seconds)
        hashed, notes = _hash(item.path), clip.notes
        samples = io.quantise(clip.samples[0, :size]).numpy().astype(np.int16)
    except (io.AudioError, OSError) as reason:
        error = str(reason)
    row = np.pad(samples, (0, size - len(samples)))[None]
    return SourceRows((row,), {"length": len(samples), "hash": hashed, "notes": notes}, error)


def _hash(path: str) -> str:
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
