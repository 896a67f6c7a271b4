"""Partners of many items at once, where each has one class, cluster or attribute; of others one after the other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datasets.item import Item
from ...datasets.item_table import ids_of
from .generators import first_words, seeds_for, shuffle, to_uniform

__all__ = ["BlockDraw", "first_distinct", "partner_seeds"]

# Tries more than partners are wanted, for items that meet themselves or their class.
_SPARE = 4
# Words of a generator that are made at once, and pools whose partners are counted out need so many.
_ALL, _FEW = 624, 32

Ints = NDArray[np.integer]


class BlockDraw:
    """Draws what `PartnerIndex.partners` does, for many rows at once.

    Parameters
    ----------
    index : PartnerIndex
        Who may meet whom.
    """

    def __init__(self, index: Any) -> None:
        self.index = index
        codes, names = index.names
        self.codes = codes  # None where an item may have several names, or none is looked at
        self.is_simple = index.kind == "any" or codes is not None
        # all lists that partners are drawn from, one after the other; where each begins, and how long it is
        lists: list[Ints] = []
        self.list_of = np.full((len(index.keys), len(names) + 1 if index.common else 1), -1, np.int32)
        for row, key in enumerate(index.keys):
            if not self.is_simple or (pool := index.pools.get(key)) is None:
                continue
            for column in range(self.list_of.shape[1]):
                found = pool.members
                if index.common:
                    found = pool.of_class.get(names[column] if column < len(names) else "\0", found[:0])
                if len(found) or not index.common:
                    self.list_of[row, column] = len(lists)
                    lists.append(found)
        self.size = np.array([len(one) for one in lists] + [0], np.int64)
        self.lists = lists

    def draw(self, rows: Sequence[tuple[int, int]], seed: int, count: int) -> list[list[int]]:
        """Return the partners of each (index, copy)."""
        seeds = partner_seeds(self.index.items, rows, seed)
        done: dict[int, list[int]] = {}
        if self.is_simple:
            done = self._draw_simple(np.array([i for i, _ in rows]), seeds, count)
        left = [k for k in range(len(rows)) if k not in done]
        for first in range(0, len(left), 1024):
            done |= self._draw_each(rows, left[first : first + 1024], seeds, seed, count)
        return [done[k] for k in range(len(rows))]

    def _draw_simple(self, own: Ints, seeds: NDArray[np.uint32], count: int) -> dict[int, list[int]]:
        """Return the partners of those rows that have enough after a few tries, by their places."""
        index, tries = self.index, count + _SPARE
        if 2 * tries > _ALL:
            return {}
        column = self.codes[own] if index.common and self.codes is not None else np.zeros(len(own), np.int32)
        which = self.list_of[index.key_of[own], column]
        # a small pool's partners are counted out
        rows = np.flatnonzero((which >= 0) & self._is_large(own) & (self.size[which] > 0))
        if not len(rows):
            return {}
        uniform = to_uniform(first_words(seeds[rows], 2 * tries)).T
        size = self.size[which[rows]]
        tickets = np.minimum((uniform * size[:, None]).astype(np.int64), size[:, None] - 1)
        other = np.empty(tickets.shape, np.int64)
        kinds = which[rows]
        places = np.argsort(kinds, kind="stable")
        found, edges = np.unique(kinds[places], return_index=True)
        for number, one, two in zip(found.tolist(), edges, [*edges[1:], len(places)]):
            other[places[one:two]] = self.lists[number][tickets[places[one:two]]]
        mine = own[rows][:, None]
        good = other != mine
        if index.kind == "different_class" and self.codes is not None:
            good &= (self.codes[other] != self.codes[mine]) | (self.codes[mine] < 0)
        chosen, enough = first_distinct(other, good, count)
        return dict(zip(rows[enough].tolist(), chosen.tolist()))

    def _is_large(self, own: Ints) -> NDArray[np.bool_]:
        index = self.index
        large = [(pool := index.pools.get(key)) is not None and index.is_large(pool) for key in index.keys]
        return np.array(large)[index.key_of[own]]

    def _draw_each(
        self, rows: Sequence[tuple[int, int]], places: list[int], seeds: NDArray[np.uint32], seed: int, count: int
    ) -> dict[int, list[int]]:
        """Return the partners of some rows, given by their places, drawn one after the other."""
        large = self._is_large(np.array([rows[k][0] for k in places])).any()
        words = first_words(seeds[places], _ALL if large else _FEW).T.tolist()
        done = {}
        for k, own in zip(places, words):
            index, copy = rows[k]
            try:
                done[k] = self.index.draw_with(_WordNumbers(own), index, count)
            except IndexError:  # more numbers are needed than were made
                done[k] = self.index.draw_alone(index, copy, seed, count)
        return done


def partner_seeds(
    items: Sequence[Item], rows: Sequence[tuple[int, int]], seed: int, name: str = "partner"
) -> NDArray[np.uint32]:
    """Return the seeds of the generators that partners of items are drawn with; see `seeds_for`.

    Parameters
    ----------
    items : sequence of Item
        The clips of a data set.
    rows : sequence of (index, copy)
        Which of them.
    seed, name : int and str
        As for `seeds_for`.
    """
    ids = ids_of(items, [index for index, _ in rows])
    return seeds_for(seed, name, zip(ids, (copy for _, copy in rows)))


class _WordNumbers:
    """Random numbers made of a generator's first words."""

    def __init__(self, words: list[int]) -> None:
        self.words, self.at = words, 0

    def integer(self, high: int) -> int:
        """Return a number below `high`."""
        first, second = self.words[self.at], self.words[self.at + 1]
        self.at += 2
        uniform = (first & 0x1FFFFF) * 2.0**-21 + second * 2.0**-53
        return min(int(uniform * high), high - 1)

    def shuffle(self, values: Ints, count: int) -> list[int]:
        """Return the first `count` of the values in random order."""
        return [int(one) for one in shuffle(self.words[self.at :], values, count)]


def first_distinct(
    other: NDArray[np.int64], good: NDArray[np.bool_], count: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the first `count` different numbers of each row that are good, and which rows have so many.

    Parameters
    ----------
    other : array, shape (N, K)
        Numbers in the order in which they were drawn.
    good : array, shape (N, K)
        Which of them count.
    count : int
        How many are wanted.

    Returns
    -------
    chosen : array, shape (M, count)
        Of those rows that have so many.
    enough : array, shape (N,)
    """
    good = good.copy()
    for k in range(1, other.shape[1]):
        good[:, k] &= ~((other[:, :k] == other[:, k : k + 1]) & good[:, :k]).any(axis=1)
    good &= np.cumsum(good, axis=1) <= count
    enough = good.sum(axis=1) == count
    return other[enough][good[enough]].reshape(-1, count), enough
