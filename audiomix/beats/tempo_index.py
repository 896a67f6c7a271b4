"""Find partners in a corpus of any size: by binary search among sorted tempi, not by comparing all pairs."""

from collections.abc import Hashable, Sequence
from itertools import pairwise

import numpy as np

from .match import Features, Rule

__all__ = ["BeatIndex"]


class BeatIndex:
    """Who may meet whom in a corpus: O(n log n) to make, O(log n) to look up the partners of one piece.

    Parameters
    ----------
    features : Features
        Of n pieces.
    rule : Rule
    pools : sequence of n hashables, optional
        Pieces meet within their pool only (a split, a fold).

    Examples
    --------
    >>> from audiomix.beats.grid import BeatGrid
    >>> from audiomix.beats.match import features
    >>> bpm = (100, 104, 52, 140, 207)
    >>> index = BeatIndex(features([BeatGrid([0.0, 60 / b, 120 / b]) for b in bpm]), Rule())
    >>> index.candidates(0).tolist()
    [1, 2, 4]
    """

    def __init__(self, features: Features, rule: Rule, pools: Sequence[Hashable] | None = None) -> None:
        self.features, self.rule = features, rule
        self.pools = list(pools) if pools is not None else [None] * len(features)
        self._tempo = features.bpm if rule.bucket_bpm is None else features.buckets(rule.bucket_bpm)
        groups: dict[Hashable, dict[tuple[int, int], list[int]]] = {}
        for i in np.flatnonzero(np.isfinite(self._tempo)).tolist():
            groups.setdefault(self.pools[i], {}).setdefault(self._group(i), []).append(i)
        # by pool, then by metre and key: members in order of tempo, and their tempi
        self._groups = {
            pool: {name: self._sorted(members) for name, members in found.items()} for pool, found in groups.items()
        }

    def windows(self, i: int) -> list[np.ndarray]:
        """Return the pieces that may partner piece i, as disjoint slices of sorted lists; i itself may be in one."""
        tempo = self._tempo[i]
        if not np.isfinite(tempo):
            return []
        found = []
        for members, tempi in self._within_reach(i):
            for low, high in self._ranges(float(tempo)):
                first, last = np.searchsorted(tempi, low, "left"), np.searchsorted(tempi, high, "right")
                if last > first:
                    found.append(members[first:last])
        return found

    def candidates(self, i: int) -> np.ndarray:
        """Return all pieces that may partner piece i, ascending, without i."""
        windows = self.windows(i)
        every = np.sort(np.concatenate(windows)) if windows else np.empty(0, dtype=np.int64)
        return every[every != i]

    def pick(self, i: int, at: float) -> int | None:
        """Return the candidate `at` (0 to 1) of the way through all of them, piece i itself included if it is listed.

        Uniform `at` gives each the same chance. None where there is no candidate.
        """
        windows = self.windows(i)
        ends = np.cumsum([0, *(len(w) for w in windows)])
        if not ends[-1]:
            return None
        ticket = min(int(at * ends[-1]), int(ends[-1]) - 1)
        which = int(np.searchsorted(ends, ticket, side="right")) - 1
        return int(windows[which][ticket - ends[which]])

    def _group(self, i: int) -> tuple[int, int]:
        metre = 0 if self.rule.align == "beat" else int(self.features.metre[i])
        return metre, -1 if self.rule.keys == "any" else int(self.features.signature[i])

    def _sorted(self, members: list[int]) -> tuple[np.ndarray, np.ndarray]:
        index = np.array(members)
        order = np.argsort(self._tempo[index], kind="stable")
        return index[order], self._tempo[index][order]

    def _within_reach(self, i: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the groups that bar phase and key let piece i meet."""
        metre, own = self._group(i)
        found = []
        for (other_metre, theirs), group in self._groups.get(self.pools[i], {}).items():
            apart = (own - theirs) % 12
            in_key = self.rule.keys == "any" or (
                min(own, theirs) >= 0 and (self.rule.keys == "shift" or min(apart, 12 - apart) <= 1)
            )
            same = metre == other_metre
            in_time = same and metre > 0 if self.rule.align == "downbeat" else same or 0 in (metre, other_metre)
            if in_key and in_time:
                found.append(group)
        return found

    def _ranges(self, tempo: float) -> list[tuple[float, float]]:
        """Return the partners' tempi that folding and stretching reach, ascending and disjoint."""
        if self.rule.bucket_bpm is not None:
            return [(tempo, tempo)]
        most = self.rule.max_stretch + 1e-9
        ranges = [(fold * tempo / (1 + most), fold * tempo / (1 - most)) for fold in self.rule.folds]
        assert all(a[1] < b[0] for a, b in pairwise(ranges)), ranges  # Rule bounds max_stretch so that it holds
        return ranges
