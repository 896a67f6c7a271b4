"""Crops and filterbanks computed once: memory-mapped files that every training reads from.

A store is a folder with ``crops.u8``, uint8 of shape (P, 48, 56) for all P pictures of all clips one after another,
``sounds.f32``, float32 of shape (P, 104), and ``index.json``: ids, pictures of each clip, their times, the clips that
could not be read with their reasons, and a hash of both files. Its name holds a hash of what it was made from (paths,
sizes and modification times of the videos, boxes), so another box or a changed folder gets a store of its own.

While it is built, each clip is a file of its own in a folder beside it: a build that was killed goes on where it
stopped. The folder is renamed when it is whole. Building again gives the same bytes, whatever the number of processes.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from audiomix.audio import io, video
from audiomix.offline.parallel import WorkerDied, in_order, run_tasks

from ..console import progress_bar
from ..training.hardware import threads
from .features import RATE, SIZE, SOUND, Box, Boxes, box_of, crop, filterbanks
from .grid import Utterance

__all__ = ["Store", "open_store"]

_FORMAT = 1  # part of the key: a change of features or layout makes old stores invisible
_PARALLEL_FROM = 60  # clips: from here on decoding in processes wins back the seconds in which they import torch


@dataclass(frozen=True, eq=False)
class Store:
    """Crops and filterbanks of the clips that could be read.

    Parameters
    ----------
    path : Path
    ids : list of str
    offsets : Tensor, shape (len(ids) + 1,), int64
        Pictures before each clip.
    times : list of list of float
        For each clip, when each of its pictures begins and, last, when the last one ends: seconds from the first.
    crops : Tensor, shape (P, 48, 56), uint8
    sounds : Tensor, shape (P, 104), float32
    errors : dict of str to str
        What could not be read: id and reason.
    digest : str
        Hash of all crops and filterbanks.
    """

    path: Path
    ids: list[str]
    offsets: Tensor
    times: list[list[float]]
    crops: Tensor
    sounds: Tensor
    errors: dict[str, str]
    digest: str


def open_store(
    utterances: Sequence[Utterance], folder: Path, boxes: Boxes, *, workers: int | None = None, quiet: bool = False
) -> Store:
    """Return the store of these clips in `folder`, building it if it is not there.

    Parameters
    ----------
    utterances : sequence of Utterance
    folder : Path
        Where stores live.
    boxes : Box or dict of str to Box
        Where the mouth is: in all clips, or in each by its id.
    workers : int, optional
        Processes that decode: by default one for each core from 60 clips on, else none beside this one.
    quiet : bool
        Show no progress.

    Raises
    ------
    audiomix.audio.io.AudioError
        Not one clip could be read: the first reason is told.
    """
    path = Path(folder) / f"av-{_key(utterances, boxes)}"
    if not (path / "index.json").is_file():
        if workers is None:
            workers = (os.cpu_count() or 1) if len(utterances) >= _PARALLEL_FROM else 1
        _build(utterances, path, boxes, workers, quiet)
    return _opened(path)


def _opened(path: Path) -> Store:
    index = json.loads((path / "index.json").read_text(encoding="utf-8"))
    total = sum(index["pictures"])

    def mapped(name: str, kind: Any, shape: tuple[int, ...]) -> Tensor:
        # copy on write: the file itself cannot be changed
        return torch.from_numpy(np.memmap(path / name, kind, "c", shape=(total, *shape)))

    return Store(
        path=path,
        ids=index["ids"],
        offsets=torch.tensor([0, *index["pictures"]]).cumsum(0),
        times=index["times"],
        crops=mapped("crops.u8", np.uint8, SIZE),
        sounds=mapped("sounds.f32", np.float32, (SOUND,)),
        errors=index["errors"],
        digest=index["digest"],
    )


def _key(utterances: Sequence[Utterance], boxes: Boxes) -> str:
    digest = hashlib.blake2b(json.dumps([_FORMAT, RATE, SIZE, SOUND]).encode(), digest_size=6)
    for item in utterances:
        stat = item.video.stat()
        state = [stat.st_size, stat.st_mtime_ns, str(box_of(boxes, item.id))]
        digest.update(json.dumps([item.id, str(item.video.absolute()), *state]).encode())
    return digest.hexdigest()


def _build(utterances: Sequence[Utterance], path: Path, boxes: Boxes, workers: int, quiet: bool) -> None:
    parts = path.with_name(f".parts-{path.name}")
    parts.mkdir(parents=True, exist_ok=True)
    jobs = [(item.id, item.video, box_of(boxes, item.id), parts / f"{item.id}.safetensors") for item in utterances]
    errors: dict[str, str] = {}
    with progress_bar(quiet=quiet) as bar, threads(1):
        for (name, *_), reason in zip(jobs, bar.track(_computed(jobs, workers), len(jobs), description="mouths")):
            if reason:
                errors[name] = reason
    if len(errors) == len(jobs):
        shutil.rmtree(parts, ignore_errors=True)
        raise io.AudioError(f"none of {len(jobs)} clips could be read, the first: {next(iter(errors.values()))}")
    whole = path.with_name(f".tmp-{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        whole.mkdir()
        _join(whole, [(name, part) for name, *_, part in jobs if name not in errors], errors)
        os.replace(whole, path)
    except OSError:
        if not (path / "index.json").is_file():  # else another process was first, with the same bytes
            raise
    finally:
        shutil.rmtree(whole, ignore_errors=True)
    shutil.rmtree(parts, ignore_errors=True)


def _computed(jobs: list[tuple[str, Path, Box | None, Path]], workers: int) -> Iterator[str]:
    results = in_order(run_tasks(partial, (_compute,), jobs, workers=workers, ahead=64, name=lambda job: job[0]))
    with closing(results):
        try:
            for result in results:
                yield result.get()
        except WorkerDied:
            ended = f"a process that reads the clips was ended from outside: too little memory for {workers}?"
            raise ChildProcessError(f"{ended} the same command goes on") from None


def _compute(job: tuple[str, Path, Box | None, Path]) -> str:
    """Write a clip's part, unless it is there; return why it cannot be, or nothing."""
    _, source, box, part = job
    if _whole(part):
        return ""
    try:
        if box is None:
            raise ValueError(f"{source}: the box file names no box for it")
        tensors = _features(source, box)
    except (io.AudioError, ValueError) as error:
        return str(error)
    with io.atomic_file(part) as file:
        file.write(save(tensors))
    return ""


def _whole(part: Path) -> bool:
    if not part.is_file():
        return False
    try:
        load_file(part)
    except SafetensorError:
        return False  # a disk that was full, or a machine that stopped: computed again
    return True


def _features(source: Path, box: Box) -> dict[str, Tensor]:
    clip = video.read_video(source, gray=True, rate=RATE, channels=1)
    if clip.sound is None:
        raise io.AudioError(f"{source}: no sound: the mixed conditions need it")
    try:
        crops = crop(clip.frames, box)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    starts = ((clip.times - clip.sound_start) * RATE).round().long()
    since = clip.times - clip.times[0]
    times = torch.cat([since, since[-1:] + 1 / clip.rate])
    return {"crops": crops, "sounds": filterbanks(clip.sound.samples[0], starts), "times": times}


def _join(folder: Path, parts: list[tuple[str, Path]], errors: dict[str, str]) -> None:
    """Put the clips one after another, in their order, and write the index."""
    digest, pictures, times = hashlib.blake2b(digest_size=16), [], []
    with open(folder / "crops.u8", "wb") as crops, open(folder / "sounds.f32", "wb") as sounds:
        for _, part in parts:
            tensors = load_file(part)
            for file, name in ((crops, "crops"), (sounds, "sounds")):
                content = tensors[name].numpy().tobytes()
                digest.update(content)
                file.write(content)
            pictures.append(len(tensors["crops"]))
            times.append(tensors["times"].tolist())
    index = {
        "ids": [name for name, _ in parts],
        "pictures": pictures,
        "errors": errors,
        "digest": digest.hexdigest(),
        "times": times,
    }
    (folder / "index.json").write_text(json.dumps(index) + "\n", encoding="utf-8")
