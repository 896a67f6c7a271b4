"""Decode and resample once: a memory-mapped int16 file that every run reads from.

A store is a folder with ``samples.npy``, int16 of shape (N, T), and ``index.json``: ids, true lengths, rate, the files
that could not be read with their reasons, a hash of each file's bytes, and one of all. Its name holds a hash of what it
was made from (paths, sizes, modification times, rate, seconds), so a changed data set gets a store of its own. It is
built under a temporary name and renamed when it is whole; building it again gives the same bytes. What a killed process
left is removed by the next.
"""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audiomix import check
from audiomix.audio import io
from audiomix.offline.parallel import in_order, run_tasks

from ..console import progress_bar
from ..datasets import Dataset, Item, check_copies
from ..training.json_file import damaged, read_json

__all__ = ["Store", "clip_size", "open_store"]

_FORMAT = 2  # part of the key: a change of layout makes old stores invisible
# A spawned worker imports torch first, which takes seconds that decoding has to win back.
_PARALLEL_FROM = 2000


@dataclass(frozen=True, eq=False)
class Store:
    """Decoded clips.

    Parameters
    ----------
    path : Path
        The store's folder.
    dataset : Dataset
        The N items that could be read.
    lengths : Tensor, shape (N,), int64
        Valid samples of each clip; behind them is padding.
    errors : dict of str to str
        What could not be read: id and reason.
    rate, size : int
        Rate in Hz, and samples of a padded clip.
    digest : str
        Hash of the bytes of all files: the same wherever they lie.
    hashes : tuple of N str
        Hash of the bytes of each clip's file.
    """

    path: Path
    dataset: Dataset
    lengths: Tensor
    errors: dict[str, str]
    rate: int
    size: int
    digest: str
    hashes: tuple[str, ...]
    _samples: Tensor
    _rows: Tensor

    @property
    def samples(self) -> Tensor:
        """All clips, int16 of shape (N, T), mono: the memory-mapped file itself unless some could not be read."""
        return self._samples[self._rows] if self.errors else self._samples

    def read(self, indices: Tensor) -> Tensor:
        """Return the clips at `indices` (of `dataset`), int16 of shape (B, T), mono."""
        return self._samples[self._rows[indices]]


def clip_size(rate: int, seconds: float) -> int:
    """Return the samples of a clip of `seconds`."""
    return max(1, round(check.number("seconds", seconds, 1e-3) * check.rate("rate", rate)))


def open_store(
    dataset: Dataset, folder: Path, *, rate: int, seconds: float, quiet: bool = False, workers: int | None = None
) -> Store:
    """Return the store of `dataset` in `folder`, building it if it is not there.

    Parameters
    ----------
    dataset : Dataset
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
        The store is damaged, or the data set's folds share clips: see `recipes.datasets.check_copies`.
    """
    rate, size = check.rate("rate", rate), clip_size(rate, seconds)
    if workers is None:
        workers = (os.cpu_count() or 1) if len(dataset) >= _PARALLEL_FROM else 1
    path = Path(folder) / f"{dataset.name}-{rate}-{_key(dataset, rate, size)}"
    torn = path.is_dir() and any(path.iterdir())  # asked first: a store that another process builds comes whole
    if not (path / "index.json").is_file():
        if torn:
            damaged(path / "index.json", "there, beside the samples", "no such file", _way(path))
        _build(dataset, path, rate, size, quiet, workers)
    store = _opened(dataset, path, size)
    check_copies(store.dataset, store.hashes, quiet=quiet)
    return store


def _way(path: Path) -> str:
    return f"remove the folder {path}: it is built again"


def _opened(dataset: Dataset, path: Path, size: int) -> Store:
    index = read_json(path / "index.json", "rate", "ids", "lengths", "errors", "digest", way=_way(path))
    ids = [item.id for item in dataset.items]
    if index["ids"] != ids or not isinstance(index["lengths"], list) or len(index["lengths"]) != len(ids):
        damaged(path / "index.json", f"the names and lengths of {len(ids)} clips", "others", _way(path))
    samples = _mapped(path, (len(ids), size))
    # a store of an earlier version has none: its files are as they were, or its name would be another
    hashes = index.get("hashes") or ["" if item.id in index["errors"] else _hash(item.path) for item in dataset.items]
    if len(hashes) != len(ids):
        damaged(path / "index.json", f"the hashes of {len(ids)} files", f"{len(hashes)}", _way(path))
    kept = torch.tensor(index["lengths"]).nonzero().flatten()
    return Store(
        path=path,
        dataset=dataset.only(kept.tolist()),
        lengths=torch.tensor(index["lengths"])[kept],
        errors=index["errors"],
        rate=index["rate"],
        size=samples.shape[1],
        digest=index["digest"],
        hashes=tuple(hashes[i] for i in kept.tolist()),
        _samples=torch.from_numpy(samples),
        _rows=kept,
    )


def _mapped(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Return the samples, as they lie on the disk, if all are there."""
    file, wanted = path / "samples.npy", f"int16 samples of shape {shape}"
    try:
        samples = np.load(file, mmap_mode="c")  # copy on write: the file itself cannot be changed
    except (ValueError, EOFError, FileNotFoundError) as error:
        damaged(file, wanted, f"something else ({error})", _way(path))
    if samples.shape != shape or samples.dtype != np.dtype("<i2"):
        damaged(file, wanted, f"{samples.dtype} of shape {samples.shape}", _way(path))
    return samples


def _key(dataset: Dataset, rate: int, size: int) -> str:
    digest = hashlib.blake2b(json.dumps([_FORMAT, rate, size]).encode(), digest_size=6)
    for item in dataset.items:
        try:
            stat = item.path.stat()
            state = [stat.st_size, stat.st_mtime_ns]
        except OSError:
            state = []  # missing: listed as an error when the store is built
        piece = [] if item.start is None else [item.start, item.seconds]
        digest.update(json.dumps([item.id, str(item.path.absolute()), *state, *piece]).encode())
    return digest.hexdigest()


def _build(dataset: Dataset, path: Path, rate: int, size: int, quiet: bool, workers: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(path.parent)
    part = path.with_name(f".tmp-{path.name}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
    part.mkdir()
    try:
        lengths, errors, hashes = _decode_all(dataset, part / "samples.npy", rate, size, quiet, workers)
        if len(errors) == len(dataset):
            raise io.AudioError(f"none of {len(dataset)} files could be read, the first: {next(iter(errors.values()))}")
        ids = [item.id for item in dataset.items]
        digest = hashlib.blake2b(bytes.fromhex("".join(hashes)), digest_size=16).hexdigest()
        index = {"rate": rate, "ids": ids, "lengths": lengths, "errors": errors, "digest": digest, "hashes": hashes}
        with _room(path, len(dataset) * size * 2):
            (part / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        try:
            os.replace(part, path)
        except OSError:
            if not (path / "index.json").is_file():  # else another process was first, with the same bytes
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


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
def _room(path: Path, needed: int) -> Iterator[None]:
    """Say which store could not be written, and how large it would have been."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        reason = f"{error.strerror or error}; it takes {needed / 1e6:.0f} MB: another folder with --store?"
        raise io.AudioError(f"{path}: the decoded audio cannot be written: {reason}") from error


def _decode_all(
    dataset: Dataset, file: Path, rate: int, size: int, quiet: bool, workers: int
) -> tuple[list[int], dict[str, str], list[str]]:
    """Write the samples; return each clip's length, 0 if it cannot be read, the reasons by id, and each file's hash."""
    lengths: list[int] = []
    errors: dict[str, str] = {}
    hashes: list[str] = []
    # Written, not mapped: on a full disk a mapping ends the process instead of raising.
    with _room(file.parent.parent, len(dataset) * size * 2), open(file, "wb") as out:
        header = {"descr": "<i2", "fortran_order": False, "shape": (len(dataset), size)}
        np.lib.format.write_array_header_1_0(out, header)
        work, items = (_decode, rate, size), dataset.items
        decoded = in_order(
            run_tasks(partial, work, items, workers=workers, chunk=16, ahead=64, name=lambda item: item.id)
        )
        with closing(decoded), progress_bar(quiet=quiet) as bar:
            for result in bar.track(decoded, len(dataset), description=f"decoding {dataset.name}"):
                item, (clip, hashed) = result.task, result.get()
                hashes.append(hashed)
                if isinstance(clip, str):
                    errors[item.id], clip = clip, np.zeros(0, np.int16)
                lengths.append(len(clip))
                out.write(np.pad(clip, (0, size - len(clip))).astype("<i2").tobytes())
    return lengths, errors, hashes


def _decode(rate: int, size: int, item: Item) -> tuple[np.ndarray | str, str]:
    """Return the clip's samples, at most `size`, or why it cannot be read; and the hash of the file's bytes."""
    try:
        clip = io.read(item.path, rate=rate, channels=1, start=item.start or 0.0, seconds=item.seconds)
        hashed = _hash(item.path)
    except (io.AudioError, OSError) as error:
        return str(error), ""
    return io.quantise(clip.samples[0, :size]).numpy().astype(np.int16), hashed


def _hash(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
