"""Partners of mixers of several sounds, and of captioned ones: whole groups, no set of sources twice in a run."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import draw
from ...datasets.item import Item
from .block import partner_seeds
from .generators import blocks, first_words, to_uniform
from .index import PartnerIndex
from .noise_groups import NoiseGroups
from .similarity import SimilarityLimits, pair_rules, read_embeddings
from .unique import UniqueGroups

__all__ = ["GroupPartners"]

# Groups for each mix beside its own, for where no scene can be made of that one; only where there are plenty.
_SPARE = 2
# Rows whose partners are looked up together.
_BLOCK = 8192


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

        # the sizes of the mixes of the last block, which are asked for one by one when its partners are
        self._size_of: dict[tuple[int, int, int], int] = {}
        # of each size its own: sets of different sizes differ
        self.groups = [make(n, copies, seed) for n in self.sizes]
        self.spares = [
            make(n, copies * _SPARE, seed + 1) if all(pool.possible >= 3 * pool.asked for pool in main.pools) else None
            for n, main in zip(self.sizes, self.groups)
        ]
        # eight bytes a group; two groups of one hash only cost a spare one
        index, copy = (one.ravel() for one in np.indices((len(items), copies)))
        self._taken = [
            np.sort(_hash_groups(index, main.rows(index, copy))) if spare is not None else np.zeros(0, np.uint64)
            for main, spare in zip(self.groups, self.spares)
        ]

    def partners(self, index: int, *, copy: int, seed: int, count: int = 8) -> list[int]:
        """Return the group of one item and copy, then its spare ones that no other mix has, one after the other."""
        k = self._size(index, copy, seed)
        found = list(self.groups[k].partners(index, copy))
        spare = self.spares[k]
        for number in range(_SPARE if spare is not None and found else 0):
            more = spare.partners(index, copy * _SPARE + number)  # type: ignore[union-attr]
            if more and not _have(self._taken[k], _hash_groups(np.array([index]), np.array([more]))).any():
                found += more
        return found

    def draw_partners(self, rows: Iterable[tuple[int, int]], *, seed: int, count: int = 8) -> Iterator[list[int]]:
        """Yield what `partners` returns for many items and copies, in less time; see `PartnerIndex.draw_partners`."""
        for block in blocks(rows, _BLOCK):
            self._size_of = dict(zip(((index, copy, seed) for index, copy in block), self._draw_sizes(block, seed)))
            index, copy = (np.array(one, dtype=np.int64) for one in zip(*block))
            size = np.array([self._size_of[index, copy, seed] for index, copy in block])
            found: list[list[int]] = [[] for _ in block]
            for k, (main, spare) in enumerate(zip(self.groups, self.spares)):
                places = np.flatnonzero(size == k)
                self._add(found, places, main.rows(index[places], copy[places]))
                for number in range(_SPARE if spare is not None else 0):
                    led = np.array([place for place in places.tolist() if found[place]], dtype=np.int64)
                    more = spare.rows(index[led], copy[led] * _SPARE + number)  # type: ignore[union-attr]
                    taken = _have(self._taken[k], _hash_groups(index[led], more))
                    self._add(found, led[~taken], more[~taken])
            yield from found

    @staticmethod
    def _add(found: list[list[int]], places: NDArray[np.integer], groups: NDArray[np.integer]) -> None:
        """Add groups to the partners of rows; those that begin with -1 are none."""
        for place, group in zip(places.tolist(), groups.tolist()):
            if group[0] >= 0:
                found[place] += group

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
        if (known := self._size_of.get((index, copy, seed))) is not None:
            return known
        generator = draw.generator_for(seed, "sources", self.items[index].id, copy)
        return int(draw.uniform(0, len(self.sizes), 1, generator=generator))

    def _draw_sizes(self, rows: Sequence[tuple[int, int]], seed: int) -> list[int]:
        """Return what `_size` does for many mixes."""
        if len(self.sizes) == 1:
            return [0] * len(rows)
        uniform = to_uniform(first_words(partner_seeds(self.items, rows, seed, "sources"), 2))[0]
        return (uniform * len(self.sizes)).astype(np.int64).tolist()


def _hash_groups(index: NDArray[np.integer], partners: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Return a number for each group, whoever leads it.

    Parameters
    ----------
    index : array of int, shape (N,)
        Who leads it.
    partners : array of int, shape (N, sources - 1)
        The others.
    """
    found = np.zeros(len(index), np.uint64)
    for column in np.sort(np.column_stack([index, partners]), axis=1).astype(np.uint64).T:
        found = (found ^ column) * np.uint64(0x9E3779B97F4A7C15)  # an odd number: nothing is lost
        found ^= found >> np.uint64(29)
    return found


def _have(numbers: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which of some numbers a sorted array has."""
    if not len(numbers):
        return np.zeros(len(wanted), np.bool_)
    at = np.minimum(np.searchsorted(numbers, wanted), len(numbers) - 1)
    return numbers[at] == wanted
