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
from itertools import chain, islice

import torch

from ... import check, draw
from ...datasets.item import Item
from ...pairing import check_files
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

_Key = tuple[str | None, str | None]


class _Pool:
    """Items that may be partners, sorted by id; and, by class, the positions of its items."""

    def __init__(self, members: list[int]) -> None:
        self.members = members
        self.of_class: dict[str, list[int]] = {}


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
        order = sorted(range(len(items)), key=lambda i: items[i].id)
        groups: dict[tuple[_Key, bool], list[int]] = {}
        for i in order:
            if is_partner(items[i]):
                groups.setdefault((self._key(items[i]), is_noise(items[i])), []).append(i)
        self._pools: dict[_Key, _Pool] = {}
        for key in dict.fromkeys(self._key(items[i]) for i in order if is_original(items[i])):
            found = [members for (other, noise), members in groups.items() if _may_meet(key, other, noise)]
            members = found[0] if len(found) == 1 else sorted(chain(*found), key=lambda i: items[i].id)
            pool = self._pools[key] = _Pool(members)
            for i in members if kind != "any" else ():
                for name in names_of(items[i], kind) or ("",):  # a noise without a class is of no other's class
                    pool.of_class.setdefault(name, []).append(i)
        if items and not any(pool.members for pool in self._pools.values()):
            borders = [name for name in ACROSS if any(getattr(item, name) is not None for item in items)]
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
        item = self.items[index]
        pool = self._pools[self._key(item)]
        generator = draw.generator_for(seed, "partner", item.id, copy)
        drawn: dict[int, None] = {}
        tries = _TRIES if len(pool.members) > _SMALL else 0
        for found in islice(self._draws(index, pool, generator), tries):
            if found is not None:
                drawn[found] = None
            if len(drawn) == count:
                break
        if len(drawn) == count:
            return list(drawn)
        return self._complete(index, pool, list(drawn), count, generator)

    def may_meet(self, index: int, other: int) -> bool:
        """Say whether an item may be mixed with another, as far as roles, splits and folds go."""
        items = self.items
        key, their_key = self._key(items[index]), self._key(items[other])
        return is_partner(items[other]) and _may_meet(key, their_key, is_noise(items[other]))

    def members(self, index: int) -> list[int]:
        """Return all that `may_meet` an item, sorted by id; itself may be among them."""
        return self._pools[self._key(self.items[index])].members

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

    def _draws(self, index: int, pool: _Pool, generator: torch.Generator) -> Iterator[int | None]:
        """Yield draws without end, each uniform over the allowed partners, or None for a try that failed."""
        item = self.items[index]
        names = names_of(item, self.kind)
        own = set(names)
        lists = [pool.members]
        if self.common:
            lists = [pool.of_class.get(name, []) for name in names] or [[]]
        ends = [sum(map(len, lists[: n + 1])) for n in range(len(lists))]
        total = torch.tensor([ends[-1]])
        while ends[-1]:
            ticket = int(draw.integers(total, generator=generator))
            which = bisect_left(ends, ticket + 1)
            other = lists[which][ticket - (ends[which - 1] if which else 0)]
            common = 1 if self.kind == "any" else len(own.intersection(names_of(self.items[other], self.kind)))
            if other == index or (self.kind == "different_class" and common):
                yield None
            elif self.common and common > 1:  # it stands in `common` lists: keep one time in so many
                keep = int(draw.integers(torch.tensor([common]), generator=generator)) == 0
                yield other if keep else None
            else:
                yield other

    def _complete(self, index: int, pool: _Pool, drawn: list[int], count: int, generator: torch.Generator) -> list[int]:
        """Complete `drawn` from a list of all allowed partners: for small pools, small classes and very uneven ones."""
        own = set(names_of(self.items[index], self.kind))
        rest = [i for i in self._candidates(pool, own) if i != index and i not in drawn]
        order = draw.permutation(len(rest), generator=generator).tolist()
        return drawn + [rest[k] for k in order[: count - len(drawn)]]

    def _candidates(self, pool: _Pool, own: set[str]) -> list[int]:
        """List who has (or lacks: different_class) a common name, by walking only the lists of their names."""
        if self.kind == "any":
            return pool.members
        lists = [ids for name, ids in pool.of_class.items() if (name in own) == self.common]
        found = sorted({i for ids in lists for i in ids}, key=lambda i: self.items[i].id)
        return found if self.common else [i for i in found if own.isdisjoint(names_of(self.items[i], self.kind))]


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
