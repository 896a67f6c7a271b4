"""What a run depends on of its items, read from a list or from columns."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

from ..datasets.item import Item
from ..datasets.item_table import ItemTable
from .partners.roles import is_original

__all__ = ["ids_and_splits", "list_contents"]

# What few items have: a digest of the others is what it was before there were any.
_RARE = ("file", "start", "seconds", "role", "bpm", "key", "beats", "cluster", "attributes")
_NOT_SOUND = ("root", "line")


def list_contents(items: Sequence[Item]) -> Iterator[list[Any]]:
    """Yield what the files of a run depend on of each item."""
    names = [one.name for one in fields(Item) if one.name not in _NOT_SOUND]
    rare = [name for name in names if name in _RARE]
    if isinstance(items, ItemTable):  # most need not be looked at
        rare = [name for name in rare if name == "file" or items.has(name)]
    common, others = attrgetter(*(name for name in names if name not in _RARE)), attrgetter(*rare, "id")
    for item in items:
        yield [*common(item), *(value for value in others(item)[:-1] if value is not None)]


def ids_and_splits(items: Sequence[Item]) -> Iterable[tuple[str, str | None]]:
    """Return id and split of each original."""
    if isinstance(items, ItemTable) and not items.has("role"):
        codes, names = items.codes("split")
        splits = [*names, None]
        return zip(items.ids(), (splits[code] for code in codes))
    return ((item.id, item.split) for item in items if is_original(item))
