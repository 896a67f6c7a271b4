"""Partners with weights: how often each clip of a noise set is drawn."""

import os
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import torch

from ... import draw
from ...datasets.item import Item
from ...datasets.weights import weights_by_name
from .index import PartnerIndex, names_of

__all__ = ["WeightedPartners", "weigh_partners"]

# Numbers that are drawn together, and how often, before all candidates are counted out
_DRAWN, _ROUNDS = 32, 4


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
