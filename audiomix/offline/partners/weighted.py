"""Partners with weights: how often each clip of a noise set is drawn."""

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ... import draw
from ...datasets.item import Item
from ...datasets.weights import weights_by_name
from .block import first_distinct, partner_seeds
from .generators import blocks, first_words, to_uniform
from .index import PartnerIndex, names_of

__all__ = ["WeightedPartners", "weigh_partners"]

# Numbers that are drawn together, and how often, before all candidates are counted out
_DRAWN, _ROUNDS = 32, 4
# Rows that are looked at together, fewest that are, those whose candidates are counted out together, and of how many
_BLOCK, _FEW, _CHUNK, _COUNTED = 8192, 16, 1024, 32

Ints = NDArray[np.integer]


class WeightedPartners(PartnerIndex):
    """Draw partners in proportion to their weights; those with a weight of 0 never.

    Parameters
    ----------
    items : sequence of Item
        The clips of a data set.
    kind, across
        See `PartnerIndex`.
    weights : sequence of float
        One an item, at least 0.

    Examples
    --------
    >>> items = [Item("", "a"), Item("", "b", role="noise"), Item("", "c", role="noise")]
    >>> index = WeightedPartners(items, "any", (), weights=[1, 0, 2])
    >>> {index.partners(0, copy=copy, seed=0)[0] for copy in range(9)}
    {2}
    """

    def __init__(
        self, items: Sequence[Item], kind: str = "any", across: Iterable[str] = (), *, weights: Sequence[float]
    ) -> None:
        super().__init__(items, kind, across)
        self.weights: Sequence[float] = [float(weight) for weight in weights]
        self._edges: dict[tuple[str, str], tuple[list[int], list[float]]] = {}
        self._arrays: dict[tuple[str, str], tuple[Ints, NDArray[np.float64]]] = {}

    def partners(self, index: int, *, copy: int, seed: int, count: int = 8) -> list[int]:
        """Draw up to `count` different partners for one item, each among those that are left; see `PartnerIndex`."""
        members, edges = self._pool(index)
        generator = draw.generator_for(seed, "partner", self.items[index].id, copy)
        found: dict[int, None] = {}
        for _ in range(_ROUNDS if members else 0):
            for place in draw.uniform(0, edges[-1], _DRAWN, generator=generator).tolist():
                other = members[min(bisect_right(edges, place), len(members) - 1)]
                if other not in found and self._fits(index, other):
                    found[other] = None
                    if len(found) == count:
                        return list(found)
        rest = [other for other in members if other not in found and self._fits(index, other)]
        weights = torch.tensor([self.weights[other] for other in rest], dtype=torch.float64)
        order = draw.distinct(len(rest), min(count - len(found), len(rest)), weights=weights, generator=generator)
        return [*found, *(rest[k] for k in order.tolist())]

    def draw_partners(self, rows: Iterable[tuple[int, int]], *, seed: int, count: int = 8) -> Iterator[list[int]]:
        """Yield what `partners` returns for many items and copies, in less time; see `PartnerIndex.draw_partners`."""
        for block in blocks(rows, _BLOCK):
            done: dict[int, list[int]] = {}
            if len(block) >= _FEW and (self.kind == "any" or self.names[0] is not None):
                own, seeds = np.array([index for index, _ in block]), partner_seeds(self.items, block, seed)
                done = self._draw_block(own, seeds, count, 1)
                left = np.array([place for place in range(len(block)) if place not in done], dtype=np.int64)
                for first in range(0, len(left), _CHUNK):  # mostly those of few candidates
                    some = left[first : first + _CHUNK]
                    more = self._draw_block(own[some], seeds[some], count, _ROUNDS)
                    done |= {int(some[place]): found for place, found in more.items()}
            for place, (index, copy) in enumerate(block):
                yield done[place] if place in done else self.partners(index, copy=copy, seed=seed, count=count)

    def _draw_block(self, own: Ints, seeds: NDArray[np.uint32], count: int, rounds: int) -> dict[int, list[int]]:
        """Return the partners of those rows that have enough after so many rounds, or all that there are."""
        uniform = to_uniform(first_words(seeds, 2 * rounds * _DRAWN)).T
        keys, codes = self.key_of[own], self.names[0]
        done: dict[int, list[int]] = {}
        for key in np.unique(keys).tolist():
            places = np.flatnonzero(keys == key)
            members, edges = self._pool_arrays(int(own[places[0]]))
            if not len(members):
                done |= {place: [] for place in places.tolist()}
                continue
            mine = own[places][:, None]
            tickets = np.searchsorted(edges, uniform[places] * edges[-1], side="right")
            tickets = np.minimum(tickets, len(members) - 1)

            def fit(other: Ints, mine: Ints = mine) -> NDArray[np.bool_]:
                """Return what `_fits` does."""
                good = other != mine
                if codes is not None:
                    good &= ((codes[other] == codes[mine]) & (codes[mine] >= 0)) == self.common
                return good

            other = members[tickets]
            chosen, enough = first_distinct(other, fit(other), count)
            done |= dict(zip(places[enough].tolist(), chosen.tolist()))
            if rounds == _ROUNDS and len(members) <= _COUNTED:
                done |= _complete(places[~enough], members, tickets[~enough], fit(members[None], mine[~enough]), count)
        return done

    def _fits(self, index: int, other: int) -> bool:
        """Return whether an item may be mixed with another, of which the pool is known, by its kind of pairing."""
        if other == index:
            return False
        if self.kind == "any":
            return True
        names = (set(names_of(self.items[one], self.kind)) for one in (index, other))
        return bool(set.intersection(*names)) == self.common

    def _pool(self, index: int) -> tuple[list[int], list[float]]:
        """Return the candidates of an item with a weight above 0, and the sums of their weights up to each."""
        name = self.pool_of(self.items[index])
        if name not in self._edges:
            members = [int(other) for other in self.members(index) if self.weights[other] > 0]
            self._edges[name] = members, list(accumulate(self.weights[other] for other in members))
        return self._edges[name]

    def _pool_arrays(self, index: int) -> tuple[Ints, NDArray[np.float64]]:
        """Return what `_pool` does, as arrays."""
        name = self.pool_of(self.items[index])
        if name not in self._arrays:
            members, edges = self._pool(index)
            self._arrays[name] = np.array(members, dtype=np.int64), np.array(edges)
        return self._arrays[name]


def _complete(
    places: Ints, members: Ints, tickets: Ints, fits: NDArray[np.bool_], count: int
) -> dict[int, list[int]]:
    """Return the partners of rows, by their places, of which all candidates were drawn, in the order of the draws.

    Parameters
    ----------
    places : array of int, shape (M,)
        The rows.
    members : array of int, shape (K,)
        The candidates.
    tickets : array of int, shape (M, T)
        Which of them were drawn.
    fits : array of bool, shape (M, K)
        Which may be partners.
    count : int
        How many are wanted.
    """
    hit = tickets[:, :, None] == np.arange(len(members))
    drawn, first = hit.any(axis=1), hit.argmax(axis=1)
    order = np.argsort(np.where(fits, first, tickets.shape[1]), axis=1, kind="stable")
    sizes = np.minimum(fits.sum(axis=1), count)
    whole = np.flatnonzero((drawn | ~fits).all(axis=1))
    return {int(places[k]): members[order[k, : sizes[k]]].tolist() for k in whole.tolist()}


def weigh_partners(
    items: Sequence[Item], partners: Sequence[Item], weights: Mapping[str, float], where: str | Path
) -> list[float]:
    """Return the weight of each item of a run, that of its file among the partners; see `weights_by_name`.

    Parameters
    ----------
    items : sequence of Item
        The data set and its partners, as `audiomix.offline.partners.roles.join_partners` returns them.
    partners : sequence of Item
        As `audiomix.offline.partners.roles.read_partners` returns them.
    weights : mapping of str to float
        By file or folder, relative to the set of partners.
    where : path
        The set of partners, for messages.
    """
    found = weights_by_name([item.file or item.id for item in partners], weights, where, "partner_weights")
    of_file = {os.path.realpath(item.path): weight for item, weight in zip(partners, found)}
    return [of_file.get(os.path.realpath(item.path), 1.0) for item in items]
