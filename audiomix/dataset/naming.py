"""Names of what is written: as the source is named, and never two alike."""

import hashlib
import os
from collections.abc import Iterable

from .manifest import Item

__all__ = ["Names"]

# Bytes of a name's last part: file systems take 255, of which the copy, suffixes and the temporary name need some.
_LONGEST = 150


class Names:
    """Give each item's output its name: the item's path without suffix, and the number of the copy.

    ``dog/bark.wav`` becomes ``dog/bark-0``; with splits, each has a folder: ``test/dog/bark-0``. Where two items would
    share a name (``x.wav`` and ``x.flac``, or ``X`` and ``x``, which some file systems do not tell apart) both get a
    hash of their ids, so that a name depends on the items and not on their order.

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
        """Return the path in the output folder, without suffix."""
        stem = _stem(item)
        return f"{stem}-{_hash(item.id)}-{copy}" if stem.lower() in self._shared else f"{stem}-{copy}"


def _stem(item: Item) -> str:
    """Return the split and the relative path, without suffix, hidden or outer folders, and overlong names."""
    parts = [part for part in os.path.splitext(item.id)[0].split("/") if part not in ("", ".", "..")]
    if item.split:
        parts = [item.split.replace("/", "_"), *(parts[1:] if parts[0] == item.split else parts)]
    return "/".join(_short("_" + part.lstrip(".") if part.startswith(".") else part) for part in parts)


def _short(part: str) -> str:
    if len(part.encode()) <= _LONGEST:
        return part
    return part.encode()[:_LONGEST].decode(errors="ignore") + "-" + _hash(part)


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
