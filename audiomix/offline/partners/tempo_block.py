"""Partners by tempo of many items at once: what `BeatPartners` draws one by one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...beats.match import BeatIndex
from .block import first_distinct
from .generators import first_words, shuffle, to_uniform

__all__ = ["TempoBlock"]

Ints = NDArray[np.integer]
# Numbers that are made for each row, at least.
_FIRST = 20


@dataclass(frozen=True)
class TempoBlock:
    """What partners by tempo are drawn from.

    Parameters
    ----------
    index : BeatIndex
        Whose entries fit.
    owner : array of int
        The item that each entry of the index is of.
    first : array of int, shape (items + 1,)
        Which of the entries is the first of each item.
    kind : array of int, shape (items,), optional
        The number of each item's class, -1 where it has none or several; None where classes are not looked at.
    common : bool
        Whether the classes of partners must be one, or differ.
    tries : int
        Draws before the partners that fit are counted out.
    others : callable
        Given windows and an item, returns all its partners in them, ascending.
    """

    index: BeatIndex
    owner: Ints
    first: Ints
    kind: Ints | None
    common: bool
    tries: int
    others: Callable[[list[Ints], int], list[int]]

    def draw(self, own: Ints, seeds: NDArray[np.uint32], count: int) -> dict[int, list[int]]:
        """Return up to `count` partners that fit, by the places of the rows; the others are to be drawn one by one.

        Parameters
        ----------
        own : array of int, shape (N,)
            The item of each row.
        seeds : array of uint32, shape (N,)
            Of the row's generator.
        count : int
            How many.
        """
        tries = min(self.tries, max(_FIRST, 2 * count))
        simple = self.first[own + 1] - self.first[own] == 1
        if self.kind is not None:
            simple &= self.kind[own] >= 0
        rows = np.flatnonzero(simple)
        if count > tries or not len(rows):
            return {}
        words = first_words(seeds[rows], 2 * tries)
        uniform = to_uniform(words).T
        done: dict[int, list[int]] = {row: [] for row in rows.tolist()}  # what no window is of
        for places, members, start, size in self.index.windows_of(self.first[own[rows]]):
            ends = np.cumsum(size, axis=1)
            total = ends[:, -1]
            few = np.flatnonzero(total <= 4 * count)
            for place in few[total[few] > 0].tolist():
                row = int(places[place])
                windows = [members[one : one + n] for one, n in zip(start[place].tolist(), size[place].tolist()) if n]
                others = self.others(windows, int(own[rows[row]]))
                done[int(rows[row])] = [int(one) for one in shuffle(words[:count, row].tolist(), others, count)]
            many = np.flatnonzero(total > 4 * count)
            if not len(many):
                continue
            picked = _pick(uniform[places[many]], ends[many], start[many], size[many])
            other = self.owner[members[picked]].astype(np.int64)
            mine = own[rows[places[many]]][:, None]
            good, known = other != mine, np.ones(len(many), np.bool_)
            if self.kind is not None:
                good &= (self.kind[other] == self.kind[mine]) == self.common
                known = (self.kind[other] >= 0).all(axis=1)
            chosen, enough = first_distinct(other, good & known[:, None], count)
            where = rows[places[many]]
            done |= dict(zip(where[enough].tolist(), chosen.tolist()))
            for row in where[~enough].tolist():
                del done[row]
        return done


def _pick(uniform: NDArray[np.float64], ends: Ints, start: Ints, size: Ints) -> Ints:
    """Return which members numbers in [0, 1) stand for: those of a row's windows one after the other.

    Parameters
    ----------
    uniform : array, shape (M, K)
        The numbers.
    ends, start, size : array of int, shape (M, W)
        Where each window ends when they are counted on, where it begins among the members, and how long it is.
    """
    total = ends[:, -1:]
    ticket = np.minimum((uniform * total).astype(np.int64), total - 1)
    # one search for all rows: those of each lie beyond those of the row before
    beyond = np.arange(len(ends))[:, None] * (int(total.max()) + 1)
    found = np.searchsorted((ends + beyond).ravel(), (ticket + beyond).ravel(), "right").reshape(ticket.shape)
    window = found - np.arange(len(ends))[:, None] * ends.shape[1]
    before = np.take_along_axis(ends - size, window, axis=1)
    return np.take_along_axis(start, window, axis=1) + ticket - before
