"""Partners by mashability: of those whose tempo, metre and key fit, the ones that go best with each original."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ...beats.grid import BeatGrid
from ...beats.mashability.features import BeatFeatures
from ...beats.mashability.score import Mashability, mashability
from ...beats.match import MatchRule, match_or_reason
from ...datasets.item import Item
from ..providers.beats import BeatPartners

__all__ = ["Ranked", "ScorePartners", "rank"]

# Partners that are compared for each item: at 2 ms each, 64 ms.
_COMPARED = 32


class Ranked(NamedTuple):
    """A partner with its place and score.

    Parameters
    ----------
    name : str
        Whose partner id it is.
    score : float
        In [0, 1], of `audiomix.beats.mashability.Mashability`; 0 where the two have no overlap.
    place : Mashability, optional
        Where they go best.
    rate : float
        How much faster the partner is played, as a factor.
    """

    name: str
    score: float
    place: Mashability | None
    rate: float


def rank(
    own: str,
    others: Sequence[str],
    grids: Mapping[str, BeatGrid],
    features: Mapping[str, BeatFeatures],
    rule: MatchRule,
    semitones: Sequence[int] | None = None,
) -> list[Ranked]:
    """Return partners of an original, the best first; of those that are equal the first.

    Parameters
    ----------
    own : str
        Id of the original.
    others : sequence of str
        Ids of partners; those that do not fit are left out.
    grids, features : mapping
        By id. What is not in `features` counts as 0.
    rule : MatchRule
        Which tempi, metres and keys fit, and by how much a partner is shifted.
    semitones : sequence of int, optional
        Compare these transpositions of each partner instead.
    """
    found = []
    for name in others:
        match = match_or_reason(grids.get(own), grids.get(name), rule)
        if isinstance(match, str):
            continue
        place = None
        if own in features and name in features:
            shifts = (match.semitones,) if semitones is None else semitones
            place = mashability(features[own], features[name], fold=match.fold, rate=match.rate, semitones=shifts)
        found.append(Ranked(name, 0.0 if place is None else place.score, place, match.rate))
    return sorted(found, key=lambda one: -one.score)


class ScorePartners(BeatPartners):
    """Rank partners by mashability: of up to 32 that fit, drawn once an item, the best; the next copy has the next.

    Parameters
    ----------
    items, kind, across, grids, rule
        As `BeatPartners`.
    features : mapping of BeatFeatures
        By id, from `audiomix.offline.providers.features.measure_items`.
    """

    def __init__(
        self,
        items: Sequence[Item],
        kind: str,
        across: Sequence[str],
        grids: Mapping[str, BeatGrid],
        rule: MatchRule,
        features: Mapping[str, BeatFeatures],
    ) -> None:
        super().__init__(items, kind, across, grids, rule)
        self.grids, self.features, self.rule = grids, features, rule
        self._place = {item.id: i for i, item in enumerate(items)}

    def _draw_fitting(self, index: int, copy: int, seed: int, count: int) -> list[int]:
        """Return up to `count` different partners that fit, the best first; further copies begin further behind."""
        drawn = super()._draw_fitting(index, 0, seed, max(count, _COMPARED))
        return _from_copy(self._rank(index, drawn), copy, count)

    def _draw_fitting_block(self, rows: list[tuple[int, int]], seed: int, count: int) -> list[list[int]]:
        """Return the same for many items and copies: the partners of an item are compared once for all its copies."""
        own = [*dict.fromkeys(index for index, _ in rows)]
        drawn = super()._draw_fitting_block([(index, 0) for index in own], seed, max(count, _COMPARED))
        best = {index: self._rank(index, others) for index, others in zip(own, drawn)}
        return [_from_copy(best[index], copy, count) for index, copy in rows]

    def _rank(self, index: int, drawn: list[int]) -> list[int]:
        """Return partners of an item, the best first."""
        items = self.items
        ranked = rank(items[index].id, [items[i].id for i in drawn], self.grids, self.features, self.rule)
        return [self._place[one.name] for one in ranked]


def _from_copy(best: list[int], copy: int, count: int) -> list[int]:
    """Return up to `count` partners of a copy: that of the first begins with the best."""
    first = copy % len(best) if best else 0
    return (best[first:] + best[:first])[:count]
