"""Groups of items that never repeat: each mix of a run has a set of sources of its own.

The groups of a whole run are drawn once, before it, and kept in four bytes a partner. They depend on the seed and on
the items of each pool (a split and fold), not on their order, the order of work or workers. See `.groups` for how.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import check, draw
from ...datasets.item import Item
from .groups import Groups
from .index import ACROSS
from .similarity import Ints, Rules, Sets, read_embeddings

__all__ = ["Pool", "UniquePairs", "read_embeddings"]

# Items of a pool of which it is said in detail why they lack groups, and pairs that are looked at for it.
_DETAILED, _PAIRS = 1000, 20_000_000


@dataclass(frozen=True)
class Pool:
    """Items that may meet: how many groups are asked for, and how many different ones there can be at most."""

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


class UniquePairs:
    """Draw a group of different items for each item and copy; no group comes twice, whoever leads it.

    Parameters
    ----------
    items : sequence of Item
    sources : int
        Items in a group, the item itself among them: 2 to 5. No set of items repeats; for 2, no pair does.
    copies : int
        Groups for each item.
    seed : int
    kind : str
        ``any``, ``different_class`` or ``same_class``: a group of items without, or with, a common class, two by two.
    across : iterable of str
        ``split`` and ``fold``: borders that groups may cross.
    captions : bool
        No two items of a group have a caption in common, but for case and punctuation.
    embeddings : array of shape (n, D), optional
        One an item: the cosine of any two in a group lies within the limits. One of zeros is like nothing: 0.
    min_similarity, max_similarity : float
        Of embeddings or tags.
    tags : bool
        Limit the share of common tags instead (of all that two items have, those that both have; from 0 to 1).
    strict : bool
        Refuse to give fewer groups than are asked for where a pool has not enough of them; else it is noted.

    Attributes
    ----------
    pools : tuple of Pool
        What is asked and what is possible, counted before any work.
    short : dict
        Why an item lacks groups, by its position.
    notes : tuple of str
        What a person should know of, in sentences.

    Raises
    ------
    TypeError, ValueError
        A wrong argument; with `strict`, more groups than there can be.

    Notes
    -----
    Every partner is equally likely. Where each item has as many groups as the others, and the rules forbid few, each
    is also a partner equally often. Pairs are found up to the last one there is in pools of some 1000 items or, without
    rules, of any size; in larger pools, and for larger groups, an item whose partners are nearly all taken may lack a
    group that another order of work had left to it. It is listed as `short` then.

    Examples
    --------
    >>> pairs = UniquePairs([Item("", name, caption=name) for name in "abcde"], copies=2)
    >>> len({frozenset((i, *pairs.partners(i, copy))) for i in range(5) for copy in range(2)}), pairs.short
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
        strict: bool = False,
    ) -> None:
        if check.integer("sources", sources, 2) > 5:
            check.fail("sources", "2 to 5", sources)
        self.sources, self.copies = sources, check.integer("copies", copies, 1)
        self._rules = Rules(items, kind, captions, embeddings, min_similarity, max_similarity, tags)
        borders = {check.choice("across", name, ACROSS) for name in across}
        pools = _pools(items, borders, self._rules if kind == "same_class" else None)
        self.pools = tuple(self._counted(name, members, kind) for name, members in pools.items())
        lacking = [pool for pool in self.pools if pool.asked > pool.possible]
        if strict and lacking:
            check.fail("copies", "so few that each mix has sources of its own", copies, _few([p.note for p in lacking]))
        self._partners = np.full((len(items), copies, sources - 1), -1, np.int32)
        self.short: dict[int, str] = {}
        stopped = []
        for pool, (name, members) in zip(self.pools, pools.items()):
            if pool.possible:
                generator = draw.generator_for(seed, "groups", sources, *name)
                groups = Groups(members, sources, copies, self._rules, generator)
                self._partners[members] = np.where(groups.partners < 0, -1, members[groups.partners])
                stopped += [f"the search for groups in {pool.name} was stopped: it took too long"] * groups.stopped
            self._note_short(pool, members)
        self.notes = self._notes(lacking, stopped)

    def partners(self, index: int, copy: int) -> tuple[int, ...]:
        """Return whom an item meets in a copy: positions in `items`; nothing where there is no group left for it."""
        found = self._partners[index, copy].tolist()
        return tuple(found) if found[0] >= 0 else ()

    def __len__(self) -> int:
        """Return how many groups there are."""
        return int((self._partners[:, :, 0] >= 0).sum())

    def _counted(self, name: tuple[str, ...], members: Ints, kind: str) -> Pool:
        said = ", ".join(f"{key} {value!r}" for key, value in zip(("split", "fold", "class"), name) if value)
        rules = self._rules
        most: list[int | None] = [comb(len(members), self.sources)]
        if rules.captions is not None:
            most.append(_different(rules.captions, members, self.sources))
        if rules.classes is not None and kind == "different_class":
            most.append(_different(rules.classes, members, self.sources))
        return Pool(said or "all", len(members), len(members) * self.copies, min(m for m in most if m is not None))

    def _note_short(self, pool: Pool, members: Ints) -> None:
        """Say why items lack groups; every law that is against some is named."""
        found = (self._partners[members, :, 0] >= 0).sum(axis=1)
        detailed = min(_DETAILED, 1 + int(_PAIRS / (len(members) * self._rules.cost)))
        for at, i in enumerate(np.flatnonzero(found < self.copies).tolist()):
            made = f"{found[i]} of {self.copies} groups"
            if len(members) < self.sources:
                self.short[int(members[i])] = (
                    f"{made}: {pool.name} has {len(members)} clips for groups of {self.sources}"
                )
            elif at >= detailed:
                self.short[int(members[i])] = f"{made}: no more were found in {pool.name}"
            else:
                against = self._rules.why(int(members[i]), members)
                laws = "".join(f", {number} {said}" for said, number in against.items())
                left = len(members) - 1 - sum(against.values())
                free = f", no free group was found with the {left} left" if left else ""
                self.short[int(members[i])] = f"{made}: of {len(members) - 1} other clips in {pool.name}{laws}{free}"

    def _notes(self, lacking: list[Pool], stopped: list[str]) -> tuple[str, ...]:
        notes = [_few(said) for said in ([pool.note for pool in lacking], stopped) if said]
        if self.short:
            why = next(iter(self.short.values()))
            made = f"{len(self)} of {self._partners.shape[0] * self.copies} groups were made"
            notes.append(f"{made}: {len(self.short)} clips lack some, e.g. {why}")
        return tuple(notes)


def _pools(items: Sequence[Item], across: set[str], rules: Rules | None) -> dict[tuple[str, ...], Ints]:
    """Return the positions of items that may meet, sorted by id: by split and fold, and class where each has one."""
    single = rules is not None and all(len(item.classes) == 1 for item in items)
    found: dict[tuple[str, ...], list[int]] = {}
    for i in sorted(range(len(items)), key=lambda i: items[i].id):
        item = items[i]
        border = ("" if "split" in across else item.split or "", "" if "fold" in across else item.fold or "")
        found.setdefault((*border, *(item.classes if single else ())), []).append(i)
    return {name: np.array(members) for name, members in found.items()}


def _different(sets: Sets, members: Ints, count: int) -> int | None:
    """Return how many groups have no two items of one part: the elementary symmetric polynomial of the sizes."""
    sizes = sets.counts(members)
    if sizes is None:
        return None
    ones = sum(size == 1 for size in sizes)
    ways = [comb(ones, k) for k in range(count + 1)]
    for size in sizes:
        if size > 1:
            ways = [way + (size * ways[k - 1] if k else 0) for k, way in enumerate(ways)]
    return ways[count]


def _few(notes: Iterable[str]) -> str:
    found: Iterator[str] = iter(notes)
    first = [note for _, note in zip(range(3), found)]
    more = sum(1 for _ in found)
    return "; ".join(first) + (f"; and {more} more such" if more else "")
