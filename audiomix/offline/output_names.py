"""Names of what is written: as the source is named, and no two of them equal."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ..audio.remote.urls import is_url
from ..datasets.item import Item
from ..datasets.item_table import ItemTable
from ..datasets.walk import is_audio
from .partners.roles import is_original

__all__ = ["Names", "ids_and_splits", "is_inner", "split_folder"]

# Bytes of a name's last part: file systems take 255, of which the copy, suffixes and the temporary name need some.
_LONGEST = 150


class Names:
    """Give each item's output its name: the item's path without suffix, and the number of the copy.

    ``dog/bark.wav`` becomes ``dog/bark-0``; with splits, each has a folder: ``test/dog/bark-0``. Where two items would
    share a name (``x.wav`` and ``x.flac``, or ``X`` and ``x``, which some file systems do not tell apart) both get a
    hash of their ids, so that a name depends on the items and not on their order.

    Parameters
    ----------
    items : iterable of (id, split)
        Those of all items of the run. Eight bytes of each are kept for a while.

    Examples
    --------
    >>> names = Names([("a/x.wav", None), ("b/x.wav", None), ("b/x.ogg", None)])
    >>> names(Item("", "a/x.wav"), 0), names(Item("", "b/x.wav"), 1)
    ('a/x-0', 'b/x-b7432939-1')
    """

    def __init__(self, items: Iterable[tuple[str, str | None]]) -> None:
        keys = bytearray()
        for name, split in items:
            keys += _digest(_stem(name, split).lower())
        in_order = np.frombuffer(keys, ">i8").astype(np.int64)
        del keys
        in_order.sort()
        self._shared = {*in_order[1:][in_order[1:] == in_order[:-1]].tolist()}

    def __call__(self, item: Item, copy: int) -> str:
        """Return an output's path in the folder of the run, without suffix.

        Parameters
        ----------
        item : Item
            One of the items of the run.
        copy : int
            Number of the copy, from 0.
        """
        stem = _stem(item.id, item.split)
        shared = bool(self._shared) and _key(stem.lower()) in self._shared
        return f"{stem}-{_hash(item.id)}-{copy}" if shared else f"{stem}-{copy}"


def ids_and_splits(items: Sequence[Item]) -> Iterable[tuple[str, str | None]]:
    """Return id and split of each original, as `Names` takes them.

    Parameters
    ----------
    items : sequence of Item
        A list, or an `ItemTable`, of which no item is made.
    """
    if isinstance(items, ItemTable) and not items.has("role"):
        codes, names = items.codes("split")
        splits = [*names, None]
        return zip(items.ids(), (splits[code] for code in codes))
    return ((item.id, item.split) for item in items if is_original(item))


def split_folder(split: str) -> str:
    """Return the name of the folder that a split's files are in.

    Parameters
    ----------
    split : str
        Name of the split, as the manifest has it.

    Examples
    --------
    >>> split_folder("train"), split_folder("a/b")
    ('train', 'a_b')
    """
    return _part(split.replace("/", "_"))


def is_inner(name: Any) -> bool:
    """Return whether a text is the path of a sound within a folder: names in files of others may lead out of it.

    Parameters
    ----------
    name : Any
        What a table says.

    Examples
    --------
    >>> is_inner("train/a.flac"), is_inner("../a.flac"), is_inner("/a.flac"), is_inner(None)
    (True, False, False, False)
    """
    if not isinstance(name, str) or "\0" in name or not is_audio(name):
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and not any(one.startswith(".") for one in path.parts)


def _key(text: str) -> int:
    """Return a number for a name: of 10 million names two share one by chance once in 400,000 runs."""
    return int.from_bytes(_digest(text), "big", signed=True)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()


def _stem(name: str, split: str | None) -> str:
    """Return the split and the relative path, without suffix, hidden or outer folders, and overlong names."""
    name = name.partition("://")[2] if is_url(name) else name
    folder, _, last = name.rpartition("/")
    if not last or last[0] == ".":  # the last part may be left out, or has no suffix
        return _join([*_parts(os.path.splitext(name)[0])], split)
    stem = last.rpartition(".")[0] or last
    return _folder(folder, split) + (stem if len(stem) <= _LONGEST and stem.isascii() else _part(stem))


@lru_cache(maxsize=1024)
def _folder(folder: str, split: str | None) -> str:
    """Return what stands before the last part of a name, with a slash at its end if there is anything."""
    return _join([*_parts(folder), ""], split)


def _parts(path: str) -> Iterator[str]:
    return (part for part in path.split("/") if part not in ("", ".", ".."))


def _join(parts: list[str], split: str | None) -> str:
    if not split:
        return "/".join(map(_part, parts))
    if len(parts) > 1 and parts[0] == split:  # a folder, not a file that is named like its split
        parts = parts[1:]
    return "/".join([split_folder(split), *map(_part, parts)])


def _part(part: str) -> str:
    """Return one part of a path: not hidden, and not too long for a file system."""
    part = "_" + part.lstrip(".") if part.startswith(".") else part
    if len(part.encode()) <= _LONGEST:
        return part
    return part.encode()[:_LONGEST].decode(errors="ignore") + "-" + _hash(part)


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
