"""Who may be mixed with whom in a data set of any size.

Partners come from the items of the same split and the same fold, unless asked otherwise by name; an item is never its
own partner. Clips of one group (one recording, one speaker) may be partners. The partner depends on the seed, the item,
the copy and the set of candidates, not on order or workers. Each candidate is equally likely. Where items have roles
(see `.roles`), partners are those that may be; a noise without a split or fold belongs to all of them, and any noise
may be mixed into clips without one.

One index, O(n log n), is made per data set; a draw then costs O(log n), or a few tries where items have several labels.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice, pairwise
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ... import check, draw
from ...datasets.item import Item
from ...datasets.item_table import codes_of, order_by_id
from ...pairing import check_files
from .block import BlockDraw
from .generators import blocks
from .roles import is_noise, is_original, is_partner

__all__ = ["ACROSS", "PartnerIndex", "names_of", "require_labels"]

ACROSS = ("split", "fold")
# Tries before the allowed partners are counted out: a class with 99 % of the items costs a hundred tries.
_TRIES = 100
# Pools up to this size are counted out at once.
_SMALL = 32


# Columns that pairings besides those by class look at
_COLUMN = {"same_cluster": "cluster", "same_attribute": "attribute"}
_COMMON = ("same_class", *_COLUMN)

# Rows whose partners are drawn together; fewer are drawn one by one, which takes less time then.
_BLOCK, _FEW = 8192, 16
# Combinations of splits and folds up to which each has a place of its own.
_COUNTED = 1 << 20

Ints = NDArray[np.integer]
_Key = tuple[str | None, str | None]


class Pool:
    """Items that may be partners, sorted by id; and, by class, the positions of its items.

    Parameters
    ----------
    members : array of int
        Positions of the items.
    """

    def __init__(self, members: Ints) -> None:
        self.members = members
        self.of_class: dict[str, Ints] = {}


class _Numbers(Protocol):
    """Where random numbers come from."""

    def integer(self, high: int) -> int: ...

    def shuffle(self, values: Ints, count: int) -> list[int]: ...


class _TorchNumbers:
    """Random numbers of one generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def integer(self, high: int) -> int:
        """Draw a number below `high`."""
        return int(draw.integers(torch.tensor([high]), generator=self.generator))

    def shuffle(self, values: Ints, count: int) -> list[int]:
        """Return the first `count` of the values in random order."""
        order = draw.permutation(len(values), generator=self.generator)[:count].numpy()
        return [int(one) for one in values[order]]


class PartnerIndex:
    """Draw partners for the items of a data set.

    Parameters
    ----------
    items : sequence of Item
        The clips of a data set.
    kind : str
        ``any``; ``different_class``, ``same_class``: a partner without, or with, a common class; ``same_cluster``,
        ``same_attribute``: one of the same cluster, or with a common attribute.
    across : iterable of str
        ``split`` and ``fold``: borders that partners may cross.

    Raises
    ------
    ValueError
        A border or kind that is unknown, or a kind that needs labels where there are none.

    Examples
    --------
    >>> items = [Item("", "a", "x"), Item("", "b", "x"), Item("", "c", "y")]
    >>> sorted(items[i].id for i in PartnerIndex(items, "different_class").partners(2, copy=0, seed=0))
    ['a', 'b']
    """

    def __init__(self, items: Sequence[Item], kind: str = "any", across: Iterable[str] = ()) -> None:
        self.items, self.kind = items, check_files("pairing", kind)
        self.weights: Sequence[float] | None = None
        self.across = {check.choice("across", name, ACROSS) for name in across}
        require_labels("pairing", items, kind)
        # whether partners have a name in common: a class, a cluster, an attribute
        self.common = kind in _COMMON
        self._make_pools()
        if len(items) and not any(len(pool.members) for pool in self.pools.values()):
            borders = [name for name in ACROSS if codes_of(items, name)[1]]
            options = " ".join(f"--across {name}" for name in borders)
            slip = f"other names of splits or folds? {options} crosses them" if borders else ""
            check.fail("partners", "clips that some original may be mixed with", "none", slip)

    def partners(self, index: int, *, copy: int, seed: int, count: int = 8) -> list[int]:
        """Draw up to `count` different partners for one item: the first is used, the others where it cannot be read.

        Parameters
        ----------
        index : int
            Position of the item in `items`.
        copy, seed : int
            What the draw depends on, with the item's id.
        count : int
            How many; there are fewer where there are fewer candidates, and none where there is no candidate.

        Returns
        -------
        list of int
            Positions in `items`.
        """
        return self.draw_alone(index, copy, seed, count)

    def draw_alone(self, index: int, copy: int, seed: int, count: int) -> list[int]:
        """Draw as `partners` does where no other class says who fits best."""
        generator = draw.generator_for(seed, "partner", self.items[index].id, copy)
        return self.draw_with(_TorchNumbers(generator), index, count)

    def draw_partners(
        self, rows: Iterable[tuple[int, int]], *, seed: int, count: int = 8
    ) -> Iterator[list[int]]:
        """Yield what `partners` returns for many items and copies, in a tenth of the time.

        Parameters
        ----------
        rows : iterable of (index, copy)
            Taken some thousand at a time.
        seed, count : int
            As for `partners`.
        """
        if type(self).partners is not PartnerIndex.partners:
            yield from (self.partners(index, copy=copy, seed=seed, count=count) for index, copy in rows)
            return
        for block in blocks(rows, _BLOCK):
            if len(block) < _FEW:
                yield from (self.partners(index, copy=copy, seed=seed, count=count) for index, copy in block)
            else:
                yield from self._block.draw(block, seed, count)

    @cached_property
    def _block(self) -> BlockDraw:
        return BlockDraw(self)

    def draw_with(self, numbers: _Numbers, index: int, count: int) -> list[int]:
        """Draw as `partners` does, with numbers from elsewhere."""
        pool = self.pool(index)
        drawn: dict[int, None] = {}
        for found in islice(self._draws(index, pool, numbers), _TRIES if self.is_large(pool) else 0):
            if found is not None:
                drawn[found] = None
            if len(drawn) == count:
                return [*drawn]
        return self._complete(index, pool, list(drawn), count, numbers)

    def is_large(self, pool: Pool) -> bool:
        """Say whether partners are drawn from a pool before all are counted out."""
        return len(pool.members) > _SMALL

    def pool(self, index: int) -> Pool:
        """Return the items that an item may be mixed with, as far as splits and folds go."""
        return self.pools[self.keys[self.key_of[index]]]

    def may_meet(self, index: int, other: int) -> bool:
        """Say whether an item may be mixed with another, as far as roles, splits and folds go."""
        items = self.items
        key, their_key = self._key(items[index]), self._key(items[other])
        return is_partner(items[other]) and _may_meet(key, their_key, is_noise(items[other]))

    def members(self, index: int) -> Ints:
        """Return all that `may_meet` an item, sorted by id; itself may be among them."""
        return self.pool(index).members

    def group(self, index: int, *, copy: int, seed: int) -> int:
        """Return how many of the partners belong together in one mix."""
        return 1

    def at_seed(self, seed: int) -> "PartnerIndex":
        """Return the index for another seed: itself, where partners are drawn when they are asked for."""
        return self

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of, in sentences."""
        return ()

    def pool_of(self, item: Item) -> tuple[str, str]:
        """Return the name of the set of items that `item` may be mixed with: what is worth decoding together."""
        split, fold = self._key(item)
        return split or "", fold or ""

    def _key(self, item: Item) -> _Key:
        return (None if "split" in self.across else item.split, None if "fold" in self.across else item.fold)

    def order(self, numbers: Sequence[int]) -> Ints:
        """Return the places of items in `numbers` in the order of the sets that they may be mixed with."""
        names = [(split or "", fold or "") for split, fold in self.keys]
        place_of = {name: place for place, name in enumerate(sorted({*names}))}
        place = np.array([place_of[name] for name in names])
        return np.argsort(place[self.key_of[np.asarray(numbers)]], kind="stable")

    def _make_pools(self) -> None:
        """Sort the items into pools: who has which split and fold, and may be a partner."""
        items, order = self.items, order_by_id(self.items)
        columns = [codes_of(items, name) if name not in self.across else (None, []) for name in ACROSS]
        (split, splits), (fold, folds) = columns
        found, first, self.key_of = _number_keys(columns, len(items))
        self.keys: list[_Key] = [
            (
                None if split is None or split[i] < 0 else splits[split[i]],
                None if fold is None or fold[i] < 0 else folds[fold[i]],
            )
            for i in first.tolist()
        ]
        roles, names = codes_of(items, "role")
        noise, original = ((roles == names.index(name)) if name in names else None for name in ("noise", "original"))
        # by split and fold, and whether they are noise: the partners, in the order of their ids
        groups: dict[tuple[int, bool], Ints] = {}
        for is_loud in (False, True):
            if (is_loud and noise is None) or not len(items):
                continue
            taken = order if noise is None else order[noise[order] == is_loud]
            taken = taken if original is None else taken[~original[taken]]
            which = self.key_of[taken]
            places = np.argsort(which, kind="stable")
            edges = np.searchsorted(which[places], np.arange(len(found) + 1))
            for number, (one, two) in enumerate(pairwise(edges)):
                if two > one:
                    groups[number, is_loud] = taken[places[one:two]]
        self.pools: dict[_Key, Pool] = {}
        rank = np.empty(len(items), order.dtype)
        rank[order] = np.arange(len(items), dtype=order.dtype)
        pooled = {*np.unique(self.key_of if noise is None else self.key_of[~noise]).tolist()}
        for number in sorted(pooled, key=lambda n: (str(self.keys[n]),)):
            meet = [m for (other, loud), m in groups.items() if _may_meet(self.keys[number], self.keys[other], loud)]
            members = meet[0] if len(meet) == 1 else np.concatenate([*meet, np.zeros(0, order.dtype)])
            if len(meet) != 1:
                members = members[np.argsort(rank[members])]
            pool = self.pools[self.keys[number]] = Pool(members)
            if self.kind != "any":
                pool.of_class = self._by_name(members)

    def _by_name(self, members: Ints) -> dict[str, Ints]:
        """Return the members of a pool that have a name, by the name, in their order."""
        codes, names = self.names
        if codes is not None:
            own = codes[members]
            places = np.argsort(own, kind="stable")
            edges = np.searchsorted(own[places], np.arange(-1, len(names) + 1))
            # a noise without a class is of no other's class
            by_number = zip(["", *names], edges, edges[1:])
            return {name: members[places[one:two]] for name, one, two in by_number if two > one}
        found: dict[str, list[int]] = {}
        for i in members.tolist():
            for name in names_of(self.items[i], self.kind) or ("",):
                found.setdefault(name, []).append(i)
        return {name: np.array(numbers, members.dtype) for name, numbers in found.items()}

    @cached_property
    def names(self) -> tuple[Ints | None, list[str]]:
        """The number of each item's name and the names, where no item has several: -1 where it has none."""
        if self.kind == "any":
            return None, []
        column = _COLUMN.get(self.kind, "label")
        codes, values = codes_of(self.items, "attributes" if column == "attribute" else column)
        names = [[one] if isinstance(one, str) else [*one] for one in values]
        if any(len(one) > 1 for one in names):
            return None, []
        numbers: dict[str, int] = {}
        table = np.array([numbers.setdefault(one[0], len(numbers)) if one else -1 for one in names] + [-1], np.int32)
        return table[codes], [*numbers]

    def _draws(self, index: int, pool: Pool, numbers: _Numbers) -> Iterator[int | None]:
        """Yield draws without end, each uniform over the allowed partners, or None for a try that failed."""
        names = names_of(self.items[index], self.kind)
        own = set(names)
        lists = [pool.members]
        if self.common:
            lists = [pool.of_class[name] for name in names if name in pool.of_class] or [pool.members[:0]]
        ends = [sum(map(len, lists[: n + 1])) for n in range(len(lists))]
        while ends[-1]:
            ticket = numbers.integer(ends[-1])
            which = bisect_left(ends, ticket + 1)
            other = int(lists[which][ticket - (ends[which - 1] if which else 0)])
            common = 1 if self.kind == "any" else len(own.intersection(names_of(self.items[other], self.kind)))
            if other == index or (self.kind == "different_class" and common):
                yield None
            elif self.common and common > 1:  # it stands in `common` lists: keep one time in so many
                yield other if numbers.integer(common) == 0 else None
            else:
                yield other

    def _complete(self, index: int, pool: Pool, drawn: list[int], count: int, numbers: _Numbers) -> list[int]:
        """Complete `drawn` from a list of all allowed partners: for small pools, small classes and very uneven ones."""
        own = set(names_of(self.items[index], self.kind))
        every = self._candidates(pool, own)
        rest = every[~np.isin(every, [index, *drawn])]
        return drawn + numbers.shuffle(rest, count - len(drawn))

    def _candidates(self, pool: Pool, own: set[str]) -> Ints:
        """List who has (or lacks: different_class) a common name, by walking only the lists of their names."""
        if self.kind == "any":
            return pool.members
        lists = [ids for name, ids in pool.of_class.items() if (name in own) == self.common]
        if not lists:
            return pool.members[:0]
        codes, names = self.names
        if codes is not None and self.common:
            return lists[0]
        if codes is not None:
            return pool.members if not own else pool.members[codes[pool.members] != names.index(next(iter(own)))]
        found = sorted({i for ids in lists for i in ids.tolist()}, key=lambda i: self.items[i].id)
        if not self.common:
            found = [i for i in found if own.isdisjoint(names_of(self.items[i], self.kind))]
        return np.array(found, pool.members.dtype)


def _number_keys(columns: Sequence[tuple[Ints | None, list[str]]], size: int) -> tuple[Ints, Ints, NDArray[np.int32]]:
    """Return the distinct combinations of what rows have in columns, ascending; a row of each; and which each row has.

    Parameters
    ----------
    columns : sequence of (array of int or None, list of str)
        The number of each row's value, -1 where it has none, and the values; None where a column is not looked at.
    size : int
        How many rows there are.
    """
    count = 1
    for _, values in columns:
        count *= len(values) + 1
    key: NDArray[Any] = np.zeros(size, np.int32 if count < 2**31 else np.int64)
    for codes, values in columns:
        key *= len(values) + 1
        if codes is not None:
            key += codes
            key += 1
    if count > _COUNTED:
        found, first, which = np.unique(key, return_index=True, return_inverse=True)
        return found, first, which.reshape(-1).astype(np.int32)
    first = np.full(count, -1, np.int64)  # few: nothing needs to be put in order
    for start in range(0, size, _BLOCK):
        part = key[start : start + _BLOCK]
        first[part] = np.arange(start, start + len(part))
    found = np.flatnonzero(first >= 0)
    number = np.zeros(count, np.int32)
    number[found] = np.arange(len(found))
    return found, first[found], number[key]


def names_of(item: Item, kind: str) -> tuple[str, ...]:
    """Return the names by which a pairing compares items: classes, the cluster, or attributes.

    Parameters
    ----------
    item : Item
        A clip.
    kind : str
        The pairing.
    """
    if kind == "same_cluster":
        return () if item.cluster is None else (item.cluster,)
    return item.attributes or () if kind == "same_attribute" else item.classes


def require_labels(name: str, items: Sequence[Item], kind: str) -> None:
    """Raise where items lack the classes that a pairing looks at; a noise without a class differs from all others.

    Clusters and attributes need not be known of all: an item without has no partner.
    """
    if kind == "any":
        return
    if kind in _COLUMN:
        if not any(names_of(item, kind) for item in items):
            what = _COLUMN[kind]
            slip = f"a column {what} of a manifest; --{what}-column names another"
            check.fail(name, f"another one where no {what} is known", repr(kind), slip)
        return
    without = [item for item in items if not item.classes and (kind == "same_class" or is_original(item))]
    if without:
        slip = f"which classes are they, {without[0].id} for one?"
        check.fail(name, "'any' where there are no labels", repr(kind), slip)


def _may_meet(key: _Key, other: _Key, noise: bool) -> bool:
    """Say whether clips of two borders may be mixed: noise also where one of the two knows of no border."""
    return key == other or (noise and all(a == b or None in (a, b) for a, b in zip(key, other)))
