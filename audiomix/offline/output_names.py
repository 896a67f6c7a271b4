"""Names of what is written: as the source is named, and no two of them equal."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from ..datasets.item import Item
from ..datasets.walk import is_audio

__all__ = ["Names", "is_inner", "split_folder"]

# Bytes of a name's last part: file systems take 255, of which the copy, suffixes and the temporary name need some.
_LONGEST = 150


class Names:
    """Give each item's output its name: the item's path without suffix, and the number of the copy.

    ``dog/bark.wav`` becomes ``dog/bark-0``; with splits, each has a folder: ``test/dog/bark-0``. Where two items would
    share a name (``x.wav`` and ``x.flac``, or ``X`` and ``x``, which some file systems do not tell apart) both get a
    hash of their ids, so that a name depends on the items and not on their order.

    Parameters
    ----------
    items : iterable of Item
        All items of the run.

    Examples
    --------
    >>> names = Names([Item("", "a/x.wav"), Item("", "b/x.wav"), Item("", "b/x.ogg")])
    >>> names(Item("", "a/x.wav"), 0), names(Item("", "b/x.wav"), 1)
    ('a/x-0', 'b/x-b7432939-1')
    """

    def __init__(self, items: Iterable[Item]) -> None:
        seen: set[str] = set()
        self._shared: set[str] = set()
        for item in items:
            key = _stem(item).lower()
            (self._shared if key in seen else seen).add(key)

    def __call__(self, item: Item, copy: int) -> str:
        """Return an output's path in the folder of the run, without suffix.

        Parameters
        ----------
        item : Item
            One of the items of the run.
        copy : int
            Number of the copy, from 0.
        """
        stem = _stem(item)
        return f"{stem}-{_hash(item.id)}-{copy}" if stem.lower() in self._shared else f"{stem}-{copy}"


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


def _stem(item: Item) -> str:
    """Return the split and the relative path, without suffix, hidden or outer folders, and overlong names."""
    parts = [part for part in os.path.splitext(item.id)[0].split("/") if part not in ("", ".", "..")]
    if not item.split:
        return "/".join(map(_part, parts))
    if len(parts) > 1 and parts[0] == item.split:  # a folder, not a file that is named like its split
        parts = parts[1:]
    return "/".join([split_folder(item.split), *map(_part, parts)])


def _part(part: str) -> str:
    """Return one part of a path: not hidden, and not too long for a file system."""
    part = "_" + part.lstrip(".") if part.startswith(".") else part
    if len(part.encode()) <= _LONGEST:
        return part
    return part.encode()[:_LONGEST].decode(errors="ignore") + "-" + _hash(part)


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
