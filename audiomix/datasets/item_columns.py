"""Items of a manifest as columns: what a block of its rows is read into."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from .blocks import Coded
from .item import Item

__all__ = ["ItemColumns", "items_of"]

# Fields that are a tuple, empty where nothing is said.
_TUPLES = ("captions", "tags")


@dataclass(frozen=True)
class ItemColumns:
    """Items that have come from a table and have no names of pieces yet.

    Parameters
    ----------
    root : str
        Of all.
    paths : Coded
        Their ids.
    fields : mapping of str to Coded
        Other fields of `Item` by their names; those that are left out have no value.
    start, seconds : array of float, shape (N,)
        NaN where there is none.
    lines : array of int, shape (N,)
        Where each stands.
    """

    root: str
    paths: Coded
    fields: Mapping[str, Coded]
    start: NDArray[np.float64]
    seconds: NDArray[np.float64]
    lines: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lines)

    def items(self) -> Iterator[Item]:
        """Yield the items."""

        def spread(name: str) -> "list[object] | repeat[object]":
            missing = () if name in _TUPLES else None
            return self.fields[name].spread(missing) if name in self.fields else repeat(missing)

        def numbers(column: NDArray[np.float64]) -> "list[float | None] | repeat[None]":
            if np.isnan(column).all():
                return repeat(None)
            return [None if number != number else number for number in column.tolist()]

        return map(
            Item, repeat(self.root), self.paths.spread(), spread("label"), repeat(None),
            *map(spread, ("split", "fold", "group", "licence", "attribution", "captions", "tags", "role")),
            *map(spread, ("bpm", "key", "beats")), repeat(None), numbers(self.start), numbers(self.seconds),
            spread("cluster"), spread("attributes"), self.lines.tolist(),
        )  # type: ignore[arg-type]  # fmt: skip


def items_of(block: ItemColumns | list[Item]) -> Iterable[Item]:
    """Return the items of a block, whatever it is held as.

    Parameters
    ----------
    block : ItemColumns or list of Item
        As `audiomix.datasets.block_reader.read_blocks` yields them.
    """
    return block.items() if isinstance(block, ItemColumns) else block
