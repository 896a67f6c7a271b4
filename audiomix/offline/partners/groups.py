"""Partners of mixers of several sounds, and of captioned ones: whole groups, no set of sources twice in a run."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import draw
from ...datasets.item import Item
from .index import PartnerIndex
from .noise_groups import NoiseGroups
from .similarity import SimilarityLimits, pair_rules, read_embeddings
from .unique import UniqueGroups

__all__ = ["GroupPartners"]

# Groups for each mix beside its own, for where no scene can be made of that one; only where there are plenty.
_SPARE = 2


class GroupPartners(PartnerIndex):
    """Partners in groups that never repeat in a run, whatever their sizes.

    Parameters
    ----------
    items : sequence of Item
        The clips of a data set.
    kind : str
        ``any``, ``different_class`` or ``same_class``: a partner without, or with, a common class.
    across : iterable of str
        ``split`` and ``fold``: borders that partners may cross.
    sources : (int, int)
        Fewest and most in a group, the item itself among them: `audiomix.mixer.Needs.sources`. Groups of each size are
        drawn for every clip and copy, with two spare ones, at 4 bytes a partner: of 2 to 12 that is 0.8 kB a clip and
        copy.
    copies : int
        Mixes of each item.
    seed : int
        What the groups depend on, with the items.
    limits : SimilarityLimits
        How similar two items of a group may be.
    captions : bool
        Whether no two items of a group may have a caption in common.
    weights : sequence of float, optional
        How often each item is drawn as a partner, where items have roles.
    """

    def __init__(
        self,
        items: Sequence[Item],
        kind: str,
        across: Sequence[str],
        *,
        sources: tuple[int, int],
        copies: int,
        seed: int,
        limits: SimilarityLimits,
        captions: bool,
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(items, kind, across)
        self.weights = weights
        self._made: dict[str, Any] = {
            "sources": sources, "copies": copies, "limits": limits, "captions": captions, "weights": weights
        }  # fmt: skip
        given: dict[str, Any] = {
            "kind": kind, "across": across, "captions": captions, "tags": limits.tags,
            "min_similarity": limits.min_similarity, "max_similarity": limits.max_similarity,
            "embeddings": None if limits.embeddings is None else read_embeddings(limits.embeddings, items),
        }  # fmt: skip
        self.sizes = range(sources[0], sources[1] + 1)
        if any(item.role is not None for item in items):
            del given["across"]
            low, high = given.pop("min_similarity"), given.pop("max_similarity")
            rules = pair_rules(items, low=low, high=high, **given)

            def make(sources: int, copies: int, seed: int) -> UniqueGroups | NoiseGroups:
                return NoiseGroups(self, sources, copies, seed, rules, weights)
        else:

            def make(sources: int, copies: int, seed: int) -> UniqueGroups | NoiseGroups:
                return UniqueGroups(items, sources=sources, copies=copies, seed=seed, **given)

        # of each size its own: sets of different sizes differ
        self.groups = [make(n, copies, seed) for n in self.sizes]
        self.spares = [
            make(n, copies * _SPARE, seed + 1) if all(pool.possible >= 3 * pool.asked for pool in main.pools) else None
            for n, main in zip(self.sizes, self.groups)
        ]
        # eight bytes a group; two groups of one hash only cost a spare one
        self._taken = [
            np.sort(np.fromiter((_hash(i, main.partners(i, c)) for i in range(len(items)) for c in range(copies)), int))
            if spare is not None
            else np.zeros(0, int)
            for main, spare in zip(self.groups, self.spares)
        ]

    def partners(self, index: int, *, copy: int, seed: int, count: int = 8) -> list[int]:
        """Return the group of one item and copy, then its spare ones that no other mix has, one after the other."""
        k = self._size(index, copy, seed)
        found = list(self.groups[k].partners(index, copy))
        spare = self.spares[k]
        for number in range(_SPARE if spare is not None and found else 0):
            more = spare.partners(index, copy * _SPARE + number)  # type: ignore[union-attr]
            if more and not _has(self._taken[k], _hash(index, more)):
                found += more
        return found

    def group(self, index: int, *, copy: int, seed: int) -> int:
        """Return how many partners sound together in this mix."""
        return self.sizes[self._size(index, copy, seed)] - 1

    def at_seed(self, seed: int) -> "GroupPartners":
        """Return the groups of another seed: they are drawn anew."""
        return GroupPartners(self.items, self.kind, tuple(self.across), seed=seed, **self._made)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of, in sentences."""
        return tuple(dict.fromkeys(note for groups in self.groups for note in groups.notes))

    def _size(self, index: int, copy: int, seed: int) -> int:
        """Draw how many sources a mix has, as a place in `sizes`."""
        if len(self.sizes) == 1:
            return 0
        generator = draw.generator_for(seed, "sources", self.items[index].id, copy)
        return int(draw.uniform(0, len(self.sizes), 1, generator=generator))


def _hash(index: int, partners: Sequence[int]) -> int:
    """Return a number for a group, whoever leads it."""
    return hash(frozenset((index, *partners)))


def _has(numbers: Any, number: int) -> bool:
    """Return whether a sorted array has a number."""
    at = int(np.searchsorted(numbers, number))
    return at < len(numbers) and int(numbers[at]) == number
