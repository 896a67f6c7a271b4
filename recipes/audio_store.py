"""Decode and resample once: a memory-mapped int16 file that every run reads from.

A store is a folder with ``samples.npy``, int16 of shape (N, T), and ``index.json``: ids, true lengths, rate, and the
files that could not be read with their reasons. Its name holds a hash of what it was made from (paths, sizes,
modification times, rate, seconds), so a changed data set gets a store of its own. It is built under a temporary name
and renamed when it is whole; building it again gives the same bytes.
"""

import hashlib
import json
import multiprocessing
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audiomix import check, io

from .console import progress_bar
from .datasets import Dataset

__all__ = ["Store", "open_store"]

_FORMAT = 1  # part of the key: a change of layout makes old stores invisible
# A spawned worker imports torch first, seconds that decoding 5 s clips at 6 ms each has to win back.
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
    """

    path: Path
    dataset: Dataset
    lengths: Tensor
    errors: dict[str, str]
    rate: int
    size: int
    _samples: Tensor
    _rows: Tensor

    @property
    def samples(self) -> Tensor:
        """All clips, int16 of shape (N, T), mono: the memory-mapped file itself unless some could not be read."""
        return self._samples[self._rows] if self.errors else self._samples

    def read(self, indices: Tensor) -> Tensor:
        """Return the clips at `indices` (of `dataset`), int16 of shape (B, T), mono."""
        return self._samples[self._rows[indices]]


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
    audiomix.io.AudioError
        Not one file could be read.
    """
    rate, size = check.rate("rate", rate), max(1, round(check.number("seconds", seconds, 1e-3) * rate))
    if workers is None:
        workers = (os.cpu_count() or 1) if len(dataset) >= _PARALLEL_FROM else 1
    path = Path(folder) / f"{dataset.name}-{rate}-{_key(dataset, rate, size)}"
    if not (path / "index.json").is_file():
        _build(dataset, path, rate, size, quiet, workers)
    return _opened(dataset, path)


def _opened(dataset: Dataset, path: Path) -> Store:
    index = json.loads((path / "index.json").read_text(encoding="utf-8"))
    kept = torch.tensor(index["lengths"]).nonzero().flatten()
    samples = np.load(path / "samples.npy", mmap_mode="c")  # copy on write: the file itself cannot be changed
    return Store(
        path=path,
        dataset=dataset.only(kept.tolist()),
        lengths=torch.tensor(index["lengths"])[kept],
        errors=index["errors"],
        rate=index["rate"],
        size=samples.shape[1],
        _samples=torch.from_numpy(samples),
        _rows=kept,
    )


def _key(dataset: Dataset, rate: int, size: int) -> str:
    digest = hashlib.blake2b(json.dumps([_FORMAT, rate, size]).encode(), digest_size=6)
    for item in dataset.items:
        try:
            stat = item.path.stat()
            state = [stat.st_size, stat.st_mtime_ns]
        except OSError:
            state = []  # missing: listed as an error when the store is built
        digest.update(json.dumps([item.id, str(item.path.absolute()), *state]).encode())
    return digest.hexdigest()


def _build(dataset: Dataset, path: Path, rate: int, size: int, quiet: bool, workers: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".tmp-{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    part.mkdir()
    try:
        lengths, errors = _decode_all(dataset, part / "samples.npy", rate, size, quiet, workers)
        if len(errors) == len(dataset):
            raise io.AudioError(f"none of {len(dataset)} files could be read, the first: {next(iter(errors.values()))}")
        ids = [item.id for item in dataset.items]
        index = {"rate": rate, "ids": ids, "lengths": lengths, "errors": errors}
        (part / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        try:
            os.replace(part, path)
        except OSError:
            if not (path / "index.json").is_file():  # else another process was first, with the same bytes
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _decode_all(
    dataset: Dataset, file: Path, rate: int, size: int, quiet: bool, workers: int
) -> tuple[list[int], dict[str, str]]:
    """Write the samples; return the length of each clip, 0 for a file that cannot be read, and the reasons by id."""
    out = np.lib.format.open_memmap(file, mode="w+", dtype=np.int16, shape=(len(dataset), size))
    lengths, errors = [0] * len(dataset), {}
    with progress_bar(quiet=quiet) as bar, _mapper(workers) as mapped:
        decoded = mapped(partial(_decode, rate=rate, size=size), [item.path for item in dataset.items])
        for i, result in enumerate(bar.track(decoded, len(dataset), description=f"decoding {dataset.name}")):
            if isinstance(result, str):
                errors[dataset.items[i].id] = result
                continue
            out[i, : len(result)] = result
            lengths[i] = len(result)
    out.flush()
    return lengths, errors


@contextmanager
def _mapper(workers: int) -> Iterator[Callable[..., Iterator]]:
    if workers == 1:
        yield map
        return
    # spawned: a fork would copy torch's threads in an undefined state
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield partial(pool.map, chunksize=16)


def _decode(path: Path, *, rate: int, size: int) -> np.ndarray | str:
    """Return the clip's samples, at most `size`, or why it cannot be read."""
    try:
        clip = io.read(path, rate=rate, channels=1)
    except io.AudioError as error:
        return str(error)
    return io.quantise(clip.samples[0, :size]).numpy().astype(np.int16)
