"""Groups of an original and noises: each original meets different noises while there are some, then they come again.

Of a long noise another piece is heard each time, so a few noises may serve many mixes.
"""

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np
import torch
from numpy.typing import NDArray

from ... import draw
from ...datasets.item import Item
from .index import PartnerIndex
from .roles import is_original
from .similarity import Ints, PairRule, can_mix_groups
from .unique import Pool

__all__ = ["NoiseGroups"]

# Groups that are drawn together, how often, and up to how many are counted out where that did not suffice.
_DRAWN, _TRIES, _COUNTED = 64, 16, 100_000


class NoiseGroups:
    """Draw a group of partners for each original and copy, where items have roles; as `UniqueGroups` otherwise.

    Parameters
    ----------
    index : PartnerIndex
        Knows the items and who may meet whom.
    sources : int
        Items in a group, the original itself among them.
    copies, seed : int
        As for `UniqueGroups`.
    rules : sequence of PairRule
        What holds for any two items of a group.
    weights : sequence of float, optional
        How often each item is drawn; those with 0 never. No group comes twice while there are others, which evens
        weights out where there are few noises.

    Attributes
    ----------
    pools : tuple of Pool
        How many groups are asked for, and how many there can be at most.
    notes : tuple of str
        What a person should know of, in sentences.
    """

    def __init__(
        self,
        index: PartnerIndex,
        sources: int,
        copies: int,
        seed: int,
        rules: Sequence[PairRule],
        weights: Sequence[float] | None = None,
    ) -> None:
        self._weights = None if weights is None else np.array(weights, dtype=np.float64)
        items, self._rules, self._others = index.items, rules, sources - 1
        self._partners = np.full((len(items), copies, self._others), -1, np.int32)
        taken: set[frozenset[int]] = set()
        originals = sorted((i for i, item in enumerate(items) if is_original(item)), key=lambda i: items[i].id)
        short, repeated, possible = [], 0, 0
        for i in originals:
            members = np.array(index.members(i), dtype=np.int64)
            members = members if self._weights is None else members[self._weights[members] > 0]
            possible += comb(int((members != i).sum()), self._others)
            found = self._groups(i, items[i], members, copies, seed, taken)
            repeated += max(0, copies - len(found)) if len(found) else 0
            self._partners[i] = np.resize(found, (copies, self._others)) if len(found) else -1
            short += [i] * (not len(found))
        self.pools = (Pool("all", len(items), len(originals) * copies, possible),)
        notes = [f"{repeated} mixes have the same partners as another copy of their clip"] if repeated else []
        if short:
            notes.append(f"{len(short)} clips lack {self._others} partners, e.g. {items[short[0]].id}")
        self.notes = tuple(notes)

    def partners(self, index: int, copy: int) -> tuple[int, ...]:
        """Return the others of an item's group in a copy: positions in the items; nothing where it has no group."""
        found = self._partners[index, copy].tolist()
        return tuple(found) if found[0] >= 0 else ()

    def rows(self, index: Ints, copy: Ints) -> Ints:
        """Return the same for many items and copies: an array (N, sources - 1), of -1 where there is no group."""
        return self._partners[index, copy]

    def _groups(
        self, i: int, item: Item, members: Ints, copies: int, seed: int, taken: set[frozenset[int]]
    ) -> NDArray[np.integer]:
        """Return up to `copies` groups of partners of one item, and add them to those that are taken."""
        generator = draw.generator_for(seed, "groups", self._others, item.id)
        found: list[list[int]] = []

        def take(groups: Ints) -> bool:
            lead = np.full((len(groups), 1), i)
            for group in groups[can_mix_groups(self._rules, np.hstack([lead, groups]))].tolist():
                if len(found) < copies and (whole := frozenset((i, *group))) not in taken:
                    taken.add(whole)
                    found.append(group)
            return len(found) == copies

        for _ in range(_TRIES if len(members) >= self._others else 0):
            if self._weights is None:
                rows = draw.integers(torch.full((_DRAWN * self._others,), len(members)), generator=generator)
            else:
                weights = torch.from_numpy(self._weights[members])
                rows = draw.categorical(weights, _DRAWN * self._others, generator=generator)
            if take(members[rows.numpy().reshape(-1, self._others)]):
                break
        if len(found) < copies and 0 < comb(len(members), self._others) <= _COUNTED:
            every = np.array(list(combinations(members.tolist(), self._others)))
            take(every[draw.permutation(len(every), generator=generator).numpy()])
        return np.array(found, dtype=np.int64).reshape(-1, self._others)
