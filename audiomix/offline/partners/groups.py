"""Groups of different items, none of them twice: for each of m items as many as there are copies.

1. Items are put on a circle in random order. A group is an item and those so many places on; one set of distances gives
   m different groups, one led by each item, and other distances give others, as in cyclic block designs. For pairs that
   is all there are, m (m - 1) / 2, where m is odd.
2. Groups that the rules forbid are drawn anew, all at once, until few draws succeed.
3. For what is left, each item's allowed partners are listed, and groups that are free are taken.
4. In small pools that still lack some, a maximum matching of items and allowed groups (Hopcroft and Karp 1973) finds as
   many as there can be.
"""

from collections.abc import Iterator
from itertools import chain, combinations, islice
from math import comb

import numpy as np
import torch
from numpy.typing import NDArray

from ... import draw
from .similarity import Ints, Rules

__all__ = ["Groups"]

# Draws of step 2 go on while one in so many succeeds.
_WORTH = 50
# Pairs looked at in step 3 for one pool, each for so much as its embedding is long: some minutes.
_SEARCH = 100_000_000_000
# Pairs looked at together there.
_BLOCK = 2**23
# Partners that are tried before all of an item's are put in order.
_SAMPLE = 2048
# Edges of the largest matching of step 4: some seconds and 100 MB.
_EDGES = 6_000_000


class Groups:
    """Groups led by each of a pool's items.

    Parameters
    ----------
    members : array of int
        The items of the pool, for `rules`.
    sources, copies : int
        Items in a group, and groups for each item.
    rules : Rules
    generator : torch.Generator

    Attributes
    ----------
    partners : array of int32, shape (m, copies, sources - 1)
        Positions in `members`; -1 where there is no group.
    """

    def __init__(self, members: Ints, sources: int, copies: int, rules: Rules, generator: torch.Generator) -> None:
        self.members, self.size, self.rules, self.generator = members, len(members), rules, generator
        self.others, self.copies = sources - 1, copies
        self._rows = np.full((self.size * copies, self.others), -1, np.int32)
        self._left = float(_SEARCH)
        self._around()
        self._again()
        if self._open().size:
            self._search()
        if self._open().size:
            self._match(sources)

    @property
    def partners(self) -> NDArray[np.int32]:
        """Return who each item meets in each copy."""
        return self._rows.reshape(self.size, self.copies, self.others)

    @property
    def stopped(self) -> bool:
        """Say whether too much would have had to be looked at to find all groups."""
        return self._left < 0

    def listed(self, leads: Ints) -> Iterator[tuple[int, Ints]]:
        """Yield items with those that each may meet, until too much has been looked at."""
        rows = self.rules.of_all(self.members)
        known: dict[bytes | int, Ints] = {}
        step = max(min(64, _BLOCK // self.size), 1)
        for start in range(0, len(leads), step):
            if self._left < 0:
                return
            block = leads[start : start + step].tolist()
            marks = [self.rules.signature(int(self.members[lead])) for lead in block]
            names = [lead if mark is None else mark for lead, mark in zip(block, marks)]
            if len(known) > 1000:
                known = {name: known[name] for name in names if name in known}
            fresh = {name: lead for name, lead in zip(names, block) if name not in known}
            self._left -= len(fresh) * self.size * self.rules.cost
            if fresh:
                found = rows(self.members[list(fresh.values())])
                known.update((name, np.flatnonzero(row)) for name, row in zip(fresh, found))
            yield from ((lead, known[name][known[name] != lead]) for lead, name in zip(block, names))

    def _may(self, a: Ints, b: Ints) -> NDArray[np.bool_]:
        return self.rules.allowed(self.members[a], self.members[b])

    def _open(self) -> Ints:
        return np.flatnonzero(self._rows[:, 0] < 0)

    def _fit(self, lead: Ints, rows: Ints) -> NDArray[np.bool_]:
        """Say which groups are of different items that may all meet."""
        all_of = np.column_stack([lead, rows])
        ok = np.ones(len(rows), np.bool_)
        for i, j in combinations(range(all_of.shape[1]), 2):
            at = np.flatnonzero(ok)
            ok[at] = self._may(all_of[at, i], all_of[at, j])
        return ok

    def _keys(self, lead: Ints, rows: Ints) -> NDArray[np.uint64]:
        """Return a number for each group, whatever its order; two groups with one number only cost one of them."""
        key = np.zeros(len(rows), np.uint64)
        exact = self.size ** (self.others + 1) < 2**64
        for column in np.sort(np.column_stack([lead, rows]), axis=1).astype(np.uint64).T:
            key = key * np.uint64(self.size if exact else 0x9E3779B97F4A7C15) + column
            if not exact:
                key ^= key >> np.uint64(29)
        return key

    def _around(self) -> None:
        """Step 1: the same distances for all items on a circle."""
        order = draw.permutation(self.size, generator=self.generator).numpy()
        rows = self.partners
        for copy, steps in enumerate(self._distances()):
            for column, step in enumerate(steps):
                rows[order, copy, column] = np.roll(order, -step)
        filled = np.flatnonzero(self._rows[:, 0] >= 0)
        self._rows[filled[~self._fit(filled // self.copies, self._rows[filled])]] = -1
        filled = np.flatnonzero(self._rows[:, 0] >= 0)
        self._used = np.sort(self._keys(filled // self.copies, self._rows[filled]))

    def _distances(self) -> list[list[int]]:
        """Draw distances of which no two give one group: all different, or all different up to a turn of the circle."""
        if self.others == 1:
            half = draw.permutation((self.size - 1) // 2, generator=self.generator)[: self.copies] + 1
            back = draw.bernoulli(0.5, len(half), generator=self.generator)
            return [[self.size - int(step) if turned else int(step)] for step, turned in zip(half, back)]
        seen: dict[tuple[int, ...], list[int]] = {}
        for _ in range(10 * self.copies + 50):
            steps = (draw.permutation(self.size - 1, generator=self.generator)[: self.others] + 1).tolist()
            ends = sorted([0, *steps])
            gaps = [(b - a) % self.size for a, b in zip(ends, ends[1:] + ends[:1])]
            turns = {tuple(gaps[i:] + gaps[:i]) for i in range(len(gaps))}
            if len(turns) == len(gaps):  # else two items lead one group
                seen.setdefault(min(turns), steps)
            if len(seen) == self.copies:
                break
        return list(seen.values())

    def _again(self) -> None:
        """Step 2: draw what is missing anew, all at once."""
        todo = self._open()
        while todo.size:
            high = torch.full((todo.size * self.others,), self.size)
            rows = draw.integers(high, generator=self.generator).numpy().reshape(-1, self.others)
            at = np.flatnonzero(self._fit(todo // self.copies, rows))
            taken = at[self._take(todo[at], rows[at])]
            if len(taken) * _WORTH < todo.size:
                return
            todo = np.delete(todo, taken)

    def _take(self, slots: Ints, rows: Ints) -> Ints:
        """Keep those groups that are new, each once; return which."""
        keys, first = np.unique(self._keys(slots // self.copies, rows), return_index=True)
        known = self._known(keys)
        # a stable sort merges two sorted runs in one pass
        self._used = np.sort(np.concatenate([self._used, keys[~known]]), kind="stable")
        new = np.sort(first[~known])
        self._rows[slots[new]] = rows[new]
        return new

    def _known(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        if not len(self._used):
            return np.zeros(len(keys), np.bool_)
        at = np.minimum(np.searchsorted(self._used, keys), len(self._used) - 1)
        return self._used[at] == keys

    def _search(self) -> None:
        """Step 3: list the partners of those that lack groups, one after the other in random order."""
        lacking = np.unique(self._open() // self.copies)
        late: set[int] = set()
        order = draw.permutation(len(lacking), generator=self.generator).numpy()
        for lead, found in self.listed(lacking[order]):
            self._left -= len(found) / 16
            if len(found) <= _SAMPLE or not self._from(lead, self._sample(found), late):
                self._from(lead, self._mixed(found), late)

    def _sample(self, found: Ints) -> Ints:
        drawn = draw.integers(torch.full((_SAMPLE,), len(found)), generator=self.generator).numpy()
        return self._mixed(found[np.unique(drawn)])

    def _mixed(self, found: Ints) -> Ints:
        self._left -= len(found) * 20
        return found[draw.permutation(len(found), generator=self.generator).numpy()]

    def _from(self, lead: int, found: Ints, late: set[int]) -> bool:
        """Take groups of `lead` with some of `found` until none is missing or left; `late` are the new keys."""
        groups = self._grown((), found)
        slots = lead * self.copies + np.flatnonzero(self.partners[lead, :, 0] < 0)
        while slots.size and self._left > 0:
            some = np.array(list(islice(groups, 64)), np.int64).reshape(-1, self.others)
            if not len(some):
                return False
            self._left -= 64 * 500  # a group costs as much here as so many pairs looked at together
            keys = self._keys(np.full(len(some), lead), some)
            new = np.flatnonzero(~self._known(keys) & [key not in late for key in keys.tolist()])[: slots.size]
            self._rows[slots[: len(new)]] = some[new]
            late.update(keys[new].tolist())
            slots = slots[len(new) :]
        return not slots.size

    def _grown(self, chosen: tuple[int, ...], found: Ints) -> Iterator[tuple[int, ...]]:
        """Yield all groups of `chosen` and some of `found`, of which each may meet all chosen."""
        if len(chosen) == self.others - 1:
            yield from ((*chosen, int(other)) for other in found)
            return
        for i, other in enumerate(found.tolist()):
            rest = found[i + 1 :]
            self._left -= len(rest) * 20
            yield from self._grown((*chosen, other), rest[self._may(np.full(len(rest), other), rest)])

    def _match(self, sources: int) -> None:
        """Step 4: as many groups as there can be, in a pool whose groups can be counted out."""
        from scipy import sparse

        number = comb(self.size, sources)
        if number * sources * self.copies > _EDGES:
            return
        flat = np.fromiter(chain.from_iterable(combinations(range(self.size), sources)), np.int64, number * sources)
        groups = flat.reshape(-1, sources)[draw.permutation(number, generator=self.generator).numpy()]
        groups = groups[self._fit(groups[:, 0], groups[:, 1:])]
        if len(groups) <= len(self._rows) - len(self._open()):
            return
        slots = (groups[:, :, None] * self.copies + np.arange(self.copies)).ravel()
        columns = np.repeat(np.arange(len(groups)), sources * self.copies)
        shape = (len(self._rows), len(groups))
        graph = sparse.csr_array((np.ones(len(slots), np.int8), (slots, columns)), shape=shape)
        matched = sparse.csgraph.maximum_bipartite_matching(graph, perm_type="column")
        if (matched >= 0).sum() > len(self._rows) - len(self._open()):
            self._rows[:] = -1
            done = np.flatnonzero(matched >= 0)
            whole = groups[matched[done]]
            rest = whole[whole != (done // self.copies)[:, None]].reshape(-1, self.others)
            mixed = draw.uniform(0, 1, rest.size, generator=self.generator).numpy().reshape(rest.shape)
            self._rows[done] = np.take_along_axis(rest, mixed.argsort(axis=1), axis=1)
