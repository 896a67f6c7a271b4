"""Groups of items that never repeat: each mix of a run has a set of sources of its own.

The groups of a whole run are drawn once, before it, and kept in four bytes a partner. They depend on the seed and on
the items of each pool (a split and fold), not on their order, the order of work or workers.

1. Items are put on a circle in random order. A group is an item and those so many places on; one set of distances gives
   m different groups, one led by each of the m items, and other distances give others, as in cyclic block designs. For
   pairs that is all there are, m (m - 1) / 2, where m is odd.
2. Groups that the rules forbid are drawn anew, all at once, until few draws succeed.
3. For what is left, each item's allowed partners are listed, and groups that are free are taken.
4. In small pools that still lack some, a maximum matching of items and allowed groups (Hopcroft and Karp 1973) finds as
   many as there can be.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from math import comb
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ... import check, draw
from ...datasets.item import Item
from ...datasets.item_table import codes_of, order_by_id
from .index import ACROSS
from .similarity import Bools, Ints, PairRule, can_mix_groups, can_mix_pairs, pair_rules

__all__ = ["MOST_SOURCES", "Pool", "UniqueGroups"]

# Items of the largest group: each pair of a group is looked at, and step 3 grows groups item by item.
MOST_SOURCES = 12
# Draws of step 2 go on while one in so many succeeds.
_WORTH = 50
# Pairs looked at in step 3 for one pool, each for so much as its embedding is long: some minutes.
_SEARCH = 100_000_000_000
# Pairs looked at together there.
_BLOCK = 2**23
# Partners that are tried before all of an item's are put in order.
_SAMPLE = 2048
# One group costs as much in step 3 as so many pairs looked at together, and one number in a loop as so many.
_GROUP_COST, _NUMBER_COST = 500, 20
# One item more in a group that grows as many.
_STEP_COST = 200_000
# Edges of the largest matching of step 4: some seconds and 100 MB.
_EDGES = 6_000_000


@dataclass(frozen=True)
class Pool:
    """Items that may be in one group, and how many groups are asked for.

    Parameters
    ----------
    name : str
        As in "split 'train', fold '1'".
    items : int
        How many.
    asked : int
        Groups that are asked for.
    possible : int
        How many different ones there can be at most.
    """

    name: str
    items: int
    asked: int
    possible: int

    @property
    def note(self) -> str:
        """Both numbers, in words."""
        return (
            f"{self.asked} different groups are asked for in {self.name} ({self.items} clips), {self.possible} possible"
        )


class UniqueGroups:
    """Draw a group of different items for each item and copy; no group comes twice, whoever leads it.

    Parameters
    ----------
    items : sequence of Item
        The clips of a data set.
    sources : int
        Items in a group, the item itself among them: 2 to 12. No set of items repeats; for 2, no pair does.
    copies : int
        Groups for each item.
    seed : int
        What the groups depend on, with the items.
    kind : str
        ``any``, ``different_class`` or ``same_class``: a group of items without, or with, a common class, two by two.
    across : iterable of str
        ``split`` and ``fold``: borders that groups may cross.
    captions : bool
        No two items of a group have a caption in common, but for case and punctuation.
    embeddings : array of shape (n, D), optional
        One an item: the cosine of any two in a group lies within the limits. One of zeros is like nothing: 0.
    min_similarity, max_similarity : float
        Limits of the similarity of embeddings or tags.
    tags : bool
        Limit the share of common tags instead (of all that two items have, those that both have; from 0 to 1).

    Attributes
    ----------
    pools : tuple of Pool
        What is asked and what is possible, counted before any work.
    short : dict of int to int
        How many groups those items have that lack some, by their positions.
    notes : tuple of str
        What a person should know of, in sentences.

    Raises
    ------
    TypeError, ValueError
        A wrong argument.

    Notes
    -----
    Every partner is equally likely. Where each item has as many groups as the others, and the rules forbid few, each
    is also a partner equally often. Pairs are found up to the last one there is in pools of some 1000 items or, without
    rules, of any size; in larger pools, and for larger groups, an item whose partners are nearly all taken may lack a
    group that another order of work had left to it. It is listed as `short` then.

    Examples
    --------
    >>> groups = UniqueGroups([Item("", name, caption=name) for name in "abcde"], copies=2)
    >>> len({frozenset((i, *groups.partners(i, copy))) for i in range(5) for copy in range(2)}), groups.short
    (10, {})
    """

    def __init__(
        self,
        items: Sequence[Item],
        *,
        sources: int = 2,
        copies: int = 1,
        seed: int = 0,
        kind: str = "any",
        across: Iterable[str] = (),
        captions: bool = True,
        embeddings: NDArray[np.floating[Any]] | None = None,
        min_similarity: float = -1.0,
        max_similarity: float = 1.0,
        tags: bool = False,
    ) -> None:
        if check.integer("sources", sources, 2) > MOST_SOURCES:
            check.fail("sources", f"2 to {MOST_SOURCES}", sources)
        self.sources, self.copies = sources, check.integer("copies", copies, 1)
        self._rules = pair_rules(items, kind, captions, embeddings, min_similarity, max_similarity, tags)
        borders = {check.choice("across", name, ACROSS) for name in across}
        self._members = _pools(items, borders, by_class=kind == "same_class")
        self.pools = tuple(self._count(name, members) for name, members in self._members.items())
        self._partners = np.full((len(items), copies, sources - 1), -1, np.int32)
        stopped = []
        for pool, (name, members) in zip(self.pools, self._members.items()):
            if pool.possible:
                generator = draw.generator_for(seed, "groups", sources, *name)
                groups = _GroupDraw(members, sources, copies, self._rules, generator)
                self._partners[members] = np.where(groups.partners < 0, -1, members[groups.partners])
                if groups.is_incomplete:
                    stopped.append(f"the search for groups in {pool.name} was stopped: it took too long")
        found = (self._partners[:, :, 0] >= 0).sum(axis=1)
        self.short = {i: int(found[i]) for m in self._members.values() for i in m.tolist() if found[i] < copies}
        lacking = [pool.note for pool in self.pools if pool.asked > pool.possible]
        notes = [_few(sentences) for sentences in (lacking, stopped) if sentences]
        if self.short:
            made = f"{len(self)} of {len(items) * copies} groups were made"
            notes.append(f"{made}: {len(self.short)} clips lack some, e.g. {self.reason(next(iter(self.short)))}")
        self.notes = tuple(notes)

    def partners(self, index: int, copy: int) -> tuple[int, ...]:
        """Return the others of an item's group in a copy: positions in `items`; nothing where it has no group."""
        found = self._partners[index, copy].tolist()
        return tuple(found) if found[0] >= 0 else ()

    def rows(self, index: Ints, copy: Ints) -> Ints:
        """Return the same for many items and copies: an array (N, sources - 1), of -1 where there is no group."""
        return self._partners[index, copy]

    def __len__(self) -> int:
        """Return how many groups there are."""
        return int((self._partners[:, :, 0] >= 0).sum())

    def reason(self, index: int) -> str:
        """Return why an item lacks groups; every rule that is against some other item is named."""
        pool, members = next((p, m) for p, m in zip(self.pools, self._members.values()) if index in m)
        made = f"{self.short[index]} of {self.copies} groups"
        if len(members) < self.sources:
            return f"{made}: {pool.name} has {len(members)} clips for groups of {self.sources}"
        left = members[members != index]
        texts = [f"{made}: of {len(left)} other clips in {pool.name}"]
        for rule in self._rules:
            ok = rule.pairs(np.full(len(left), index), left)
            texts += [] if ok.all() else [f"{int((~ok).sum())} {rule.reason}"]
            left = left[ok]
        return ", ".join(texts + ([f"no free group was found with the {len(left)} left"] if len(left) else []))

    def _count(self, name: tuple[str, ...], members: Ints) -> Pool:
        """Return what is asked of a pool, and how many groups there can be by its captions and by its classes."""
        text = ", ".join(f"{key} {value!r}" for key, value in zip(("split", "fold", "class"), name) if value)
        most = [comb(len(members), self.sources), *(rule.count_groups(members, self.sources) for rule in self._rules)]
        possible = min(number for number in most if number is not None)
        return Pool(text or "all", len(members), len(members) * self.copies, possible)


def _pools(items: Sequence[Item], across: set[str], *, by_class: bool) -> dict[tuple[str, ...], Ints]:
    """Return the items of one split and fold (and class, where each has one), as positions sorted by id."""
    single = by_class and all(len(item.classes) == 1 for item in items)
    (split, splits), (fold, folds) = (
        (np.full(len(items), -1), []) if name in across else codes_of(items, name) for name in ACROSS
    )
    splits, folds = [*splits, ""], [*folds, ""]
    found: dict[tuple[str, ...], list[int]] = {}
    for i in order_by_id(items).tolist():
        name = (splits[split[i]], folds[fold[i]], *(items[i].classes if single else ()))
        found.setdefault(name, []).append(i)
    return {name: np.array(members) for name, members in found.items()}


def _few(sentences: Sequence[str]) -> str:
    more = len(sentences) - 3
    return "; ".join(sentences[:3]) + (f"; and {more} more such" if more > 0 else "")


class _GroupDraw:
    """The groups of one pool: `partners` (m, copies, sources - 1), positions in `members`; -1 where there is none."""

    def __init__(
        self, members: Ints, sources: int, copies: int, rules: list[PairRule], generator: torch.Generator
    ) -> None:
        self.members, self.size, self.rules, self.generator = members, len(members), rules, generator
        self.others, self.copies = sources - 1, copies
        self._rows = np.full((self.size * copies, self.others), -1, np.int32)  # row i * copies + copy is led by item i
        self._budget = float(_SEARCH)
        self._fill_circle()
        self._redraw()
        if self._open().size:
            self._search()
        if self._open().size:
            self._match(sources)

    @property
    def partners(self) -> NDArray[np.int32]:
        """The others of each item's group in each copy."""
        return self._rows.reshape(self.size, self.copies, self.others)

    @property
    def is_incomplete(self) -> bool:
        """Whether too much would have had to be looked at to find all groups."""
        return self._budget < 0

    def _open(self) -> Ints:
        """Return the rows without a group."""
        return np.flatnonzero(self._rows[:, 0] < 0)

    def _are_allowed(self, leads: Ints, rows: Ints) -> Bools:
        """Return which groups are of different items that may all be mixed."""
        return can_mix_groups(self.rules, self.members[np.column_stack([leads, rows])])

    def _keys(self, leads: Ints, rows: Ints) -> NDArray[np.uint64]:
        """Return a number for each group, whatever its order; two groups with one number only cost one of them."""
        key = np.zeros(len(rows), np.uint64)
        exact = self.size ** (self.others + 1) < 2**64
        for column in np.sort(np.column_stack([leads, rows]), axis=1).astype(np.uint64).T:
            key = key * np.uint64(self.size if exact else 0x9E3779B97F4A7C15) + column
            if not exact:
                key ^= key >> np.uint64(29)
        return key

    def _is_used(self, keys: NDArray[np.uint64]) -> Bools:
        if not len(self._used):
            return np.zeros(len(keys), np.bool_)
        at = np.minimum(np.searchsorted(self._used, keys), len(self._used) - 1)
        return self._used[at] == keys

    def _fill_circle(self) -> None:
        """Step 1: the same distances for all items on a circle."""
        order = draw.permutation(self.size, generator=self.generator).numpy()
        rows = self.partners
        for copy, steps in enumerate(self._distances()):
            for column, step in enumerate(steps):
                rows[order, copy, column] = np.roll(order, -step)
        filled = np.flatnonzero(self._rows[:, 0] >= 0)
        ok = self._are_allowed(filled // self.copies, self._rows[filled])
        self._rows[filled[~ok]] = -1
        self._used = np.sort(self._keys(filled[ok] // self.copies, self._rows[filled[ok]]))

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

    def _redraw(self) -> None:
        """Step 2: draw what is missing anew, all at once; a group that is allowed and new is taken."""
        todo = self._open()
        while todo.size:
            high = torch.full((todo.size * self.others,), self.size)
            rows = draw.integers(high, generator=self.generator).numpy().reshape(-1, self.others)
            at = np.flatnonzero(self._are_allowed(todo // self.copies, rows))
            keys, first = np.unique(self._keys(todo[at] // self.copies, rows[at]), return_index=True)
            new = ~self._is_used(keys)
            # a stable sort merges two sorted runs in one pass
            self._used = np.sort(np.concatenate([self._used, keys[new]]), kind="stable")
            taken = at[np.sort(first[new])]
            self._rows[todo[taken]] = rows[taken]
            if len(taken) * _WORTH < todo.size:
                return
            todo = np.delete(todo, taken)

    def _search(self) -> None:
        """Step 3: list the partners of those that lack groups, one after the other in random order."""
        lacking = np.unique(self._open() // self.copies)
        used = set(self._used.tolist())
        order = draw.permutation(len(lacking), generator=self.generator).numpy()
        for lead, found in self._with_partners(lacking[order]):
            if len(found) > _SAMPLE:
                sample = draw.integers(torch.full((_SAMPLE,), len(found)), generator=self.generator).numpy()
                if self._take(lead, self._shuffle(found[np.unique(sample)]), used):
                    continue
            self._take(lead, self._shuffle(found), used)

    def _with_partners(self, leads: Ints) -> Iterator[tuple[int, Ints]]:
        """Yield items with those that each may be mixed with, until too much has been looked at."""
        rows_of = [rule.with_all(self.members) for rule in self.rules]
        cost = self.size * (1 + sum(rule.cost for rule in self.rules))
        step = max(min(64, _BLOCK // self.size), 1)
        for start in range(0, len(leads), step):
            if self._budget < 0:
                return
            block = leads[start : start + step]
            self._budget -= len(block) * cost
            allowed = np.ones((len(block), self.size), np.bool_)
            allowed[np.arange(len(block)), block] = False
            for rows in rows_of:
                allowed &= rows(self.members[block])
            for lead, row in zip(block.tolist(), allowed):
                yield lead, np.flatnonzero(row)

    def _shuffle(self, found: Ints) -> Ints:
        self._budget -= len(found) * _NUMBER_COST
        return found[draw.permutation(len(found), generator=self.generator).numpy()]

    def _take(self, lead: int, found: Ints, used: set[int]) -> bool:
        """Take groups of `lead` with some of `found` until none is missing; return False where they do not suffice."""
        rows = lead * self.copies + np.flatnonzero(self.partners[lead, :, 0] < 0)
        groups = self._grow((), found)
        for row in rows.tolist():
            for group in groups:
                self._budget -= _GROUP_COST
                key = int(self._keys(np.array([lead]), np.array([group]))[0])
                if key not in used:
                    used.add(key)
                    self._rows[row] = group
                    break
                if self._budget < 0:
                    return True
            else:
                return False
        return True

    def _grow(self, chosen: tuple[int, ...], found: Ints) -> Iterator[tuple[int, ...]]:
        """Yield all groups of `chosen` and some of `found`, of which each may be mixed with all chosen."""
        if len(chosen) == self.others - 1:
            yield from ((*chosen, int(other)) for other in found)
            return
        for i, other in enumerate(found.tolist()):
            if self._budget < 0:
                return
            rest = found[i + 1 :]
            self._budget -= _STEP_COST + len(rest) * _NUMBER_COST
            ok = can_mix_pairs(self.rules, np.full(len(rest), self.members[other]), self.members[rest])
            yield from self._grow((*chosen, other), rest[ok])

    def _match(self, sources: int) -> None:
        """Step 4: as many groups as there can be, in a pool whose groups can be counted out."""
        from scipy import sparse

        number = comb(self.size, sources)
        if number * sources * self.copies > _EDGES:
            return
        filled = len(self._rows) - len(self._open())
        flat = np.fromiter(chain.from_iterable(combinations(range(self.size), sources)), np.int64, number * sources)
        groups = flat.reshape(-1, sources)[draw.permutation(number, generator=self.generator).numpy()]
        groups = groups[self._are_allowed(groups[:, 0], groups[:, 1:])]
        if len(groups) <= filled:
            return
        rows = (groups[:, :, None] * self.copies + np.arange(self.copies)).ravel()
        columns = np.repeat(np.arange(len(groups)), sources * self.copies)
        shape = (len(self._rows), len(groups))
        graph = sparse.csr_array((np.ones(len(rows), np.int8), (rows, columns)), shape=shape)
        matched = sparse.csgraph.maximum_bipartite_matching(graph, perm_type="column")
        if (matched >= 0).sum() > filled:
            self._rows[:] = -1
            done = np.flatnonzero(matched >= 0)
            whole = groups[matched[done]]
            rest = whole[whole != (done // self.copies)[:, None]].reshape(-1, self.others)
            mixed = draw.uniform(0, 1, rest.size, generator=self.generator).numpy().reshape(rest.shape)
            self._rows[done] = np.take_along_axis(rest, mixed.argsort(axis=1), axis=1)
