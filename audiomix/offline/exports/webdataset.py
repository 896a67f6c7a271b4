"""Shards for webdataset: tar files with one sample after another, ``KEY.flac``, ``KEY.json``, and ``KEY.txt``.

The key is the file's name without suffix, dots in it as underscores: webdataset splits a name at its first dot. The
row of the manifest is the JSON; the caption, where there is one, is the text; stems are ``KEY.stem0.flac``. With
splits each has its own shards: ``train-000000.tar``.
"""

import json
import tarfile
from contextlib import ExitStack
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

from ..output_names import split_folder
from .export import Export

__all__ = ["key_of", "write"]


def key_of(name: str) -> str:
    """Return the key of a sample: the path of its file without suffix, dots as underscores.

    Parameters
    ----------
    name : str
        The file, relative to the folder of the run.

    Examples
    --------
    >>> key_of("train/a.b/1.5s-0.flac")
    'train/a_b/1_5s-0'
    """
    return str(PurePosixPath(name).with_suffix("")).replace(".", "_")


def write(job: Export) -> list[str]:
    """Write the form; return notes.

    Parameters
    ----------
    job : Export
        What is written, and where.
    """
    shards: dict[str, _Shards] = {}
    seen: set[str] = set()
    with ExitStack() as stack:
        for row in job.rows():
            split = split_folder(row["split"]) if row["split"] else "data"
            if split not in shards:
                shards[split] = stack.enter_context(_Shards(job, split))
            key = key_of(row["file_name"])
            while key in seen:  # a.b and a_b
                key += "_"
            seen.add(key)
            shards[split].add(key, row)
    return []


class _Shards:
    """The shards of one split, one after the other."""

    def __init__(self, job: Export, split: str) -> None:
        self.job, self.split, self.number, self.size = job, split, 0, 0
        self.tar: tarfile.TarFile | None = None

    def __enter__(self) -> "_Shards":
        return self

    def __exit__(self, *error: Any) -> None:
        if self.tar is not None:
            self.tar.close()

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Add a sample; a new shard is begun where the last one is full."""
        if self.tar is None or self.size >= self.job.shard_bytes:
            self.__exit__()
            self.tar = tarfile.open(self.job.folder / f"{self.split}-{self.number:06d}.tar", "w")  # noqa: SIM115
            self.number, self.size = self.number + 1, 0
        suffix = PurePosixPath(row["file_name"]).suffix
        parts = {f"{key}{suffix}": (self.job.output.path / row["file_name"]).read_bytes()}
        parts[f"{key}.json"] = json.dumps(row, ensure_ascii=False).encode()
        if row["caption"]:
            parts[f"{key}.txt"] = row["caption"].encode()
        for number, stem in enumerate(row["stems"]):
            parts[f"{key}.stem{number}{suffix}"] = (self.job.output.path / stem).read_bytes()
        for name, data in parts.items():
            head = tarfile.TarInfo(name)
            head.size, head.mode = len(data), 0o644  # no time and no owner: equal samples are equal shards
            self.tar.addfile(head, BytesIO(data))
            self.size += len(data)
