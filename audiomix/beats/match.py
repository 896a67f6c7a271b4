"""Which two pieces of music can be mixed on the beat: tempo, metre and key; and how to find partners among many.

The partner's rate is ``fold * bpm / partner_bpm``: with fold 1/2 one beat of the partner lies on two of the original,
with 2 two on one. Of the folds the one whose rate is nearest to 1 is taken, in ratio.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from .. import check
from .confidence import MIN_CONFIDENCE
from .grid import BeatGrid
from .key import KEYS, parse, shift_to
from .trackers import TracksBeats

__all__ = [
    "MAX_STRETCH", "BeatIndex", "BeatQuery", "Match", "MatchFeatures", "MatchRule", "compatible", "match_or_reason",
]  # fmt: skip

_OCTAVES = (0.5, 1.0, 2.0)
_POLYRHYTHMS = (1 / 3, 2 / 3, 1.5, 3.0)
# Up to here no tempo lies within reach of two folds (the nearest, 3/2 and 2, are a ratio of 4/3 apart).
MAX_STRETCH = 0.14
# Rates and tempi that differ by rounding alone count as equal.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class MatchRule:
    """Which pieces are compatible.

    Parameters
    ----------
    max_stretch : float
        Largest departure of the partner's rate from 1, over all and from beat to beat, in [0, 0.14]; 0.08 is 8 %.
    polyrhythm : bool
        Also fold tempi by 1/3, 2/3, 3/2 and 3.
    align : str
        ``downbeat``: both know where their bars begin, and their metres agree. ``beat``: any beat on any beat.
        ``auto``: by downbeat where both know it (metres must agree then), else by beat.
    keys : str
        ``any``; ``compatible``: the same key, its relative or a neighbour on the circle of fifths; ``shift``: the
        partner is shifted to such a key, by at most 2 semitones. A piece of unknown key is compatible under ``any``
        only.
    bucket_bpm : float, optional
        Instead of folding and stretching: whole tempi that fall into the same bucket of this width in bpm, as MusicLDM
        has it. The tempo is then the number of beats but one over the time from the first to the last, rounded.
    octaves : bool
        Fold tempi by 1/2 and 2.
    min_confidence : float
        Least `BeatGrid.confidence`, in [0, 1]; a piece whose beats are less sure counts as one without a tempo.

    Raises
    ------
    ValueError
        An option out of its range.
    """

    max_stretch: float = 0.08
    polyrhythm: bool = False
    align: Literal["auto", "downbeat", "beat"] = "auto"
    keys: Literal["any", "compatible", "shift"] = "any"
    bucket_bpm: float | None = None
    octaves: bool = True
    min_confidence: float = MIN_CONFIDENCE

    def __post_init__(self) -> None:
        slip = "a fraction: 8 % is 0.08; beyond 14 % a stretch is heard, and folds would overlap"
        check.number("max_stretch", self.max_stretch, 0, MAX_STRETCH, slip=slip)
        check.choice("align", self.align, ["auto", "downbeat", "beat"])
        check.choice("keys", self.keys, ["any", "compatible", "shift"])
        check.fraction("min_confidence", self.min_confidence)
        if self.bucket_bpm is not None:
            check.number("bucket_bpm", self.bucket_bpm, 1e-3)

    @property
    def folds(self) -> tuple[float, ...]:
        """Beats of the partner for one of the original, in ascending order."""
        if self.bucket_bpm is not None:
            return (1.0,)
        folds = _OCTAVES if self.octaves else (1.0,)
        return tuple(sorted((*folds, *_POLYRHYTHMS))) if self.polyrhythm else folds


@dataclass(frozen=True)
class BeatQuery:
    """What a mixer asks of whoever finds the beats of files: ``Needs.notes["beats"]``.

    Parameters
    ----------
    tracker : str or object
        Who finds the beats, with its options: ``auto``, ``madmom:network=beat``; see `audiomix.track_beats`.
    keys : bool
        Whether the keys of the pieces are wanted too.
    rule : MatchRule
        Which pieces can be partners.
    by_score : bool
        Whether partners are ranked by their mashability, so that it has to be measured.
    """

    tracker: str | TracksBeats = "auto"
    keys: bool = False
    rule: MatchRule = MatchRule()
    by_score: bool = False


@dataclass(frozen=True, eq=False)
class MatchFeatures:
    """What decides which pieces are compatible, for many pieces at once.

    Parameters
    ----------
    bpm : array, shape (N,), float
        Tempi in beats a minute; NaN for a piece without a tempo.
    metre : array, shape (N,), int
        Beats in a bar; 0 where the bar phase is unknown.
    signature : array, shape (N,), int
        Fifths of the key's signature, 0..11; -1 where the key is unknown.
    mean : array, shape (N,), float, optional
        The published tempo of `MatchRule.bucket_bpm` before it is rounded, which a pause in the piece lowers; `bpm`
        where it is not given.
    """

    bpm: np.ndarray
    metre: np.ndarray
    signature: np.ndarray
    mean: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.bpm)

    @classmethod
    def of(cls, grids: Iterable[BeatGrid | None], min_confidence: float = 0.0) -> "MatchFeatures":
        """Return the features of pieces; None is a piece without a tempo. Grids are read one by one.

        Parameters
        ----------
        grids : iterable of BeatGrid or None
            Of the pieces.
        min_confidence : float
            Less sure beats count as none.
        """
        rows = [_features_of(grid if grid is None or grid.is_sure(min_confidence) else None) for grid in grids]
        bpm, metre, fifths, mean = zip(*rows) if rows else ((), (), (), ())
        whole = np.array(metre, dtype=np.int64), np.array(fifths, dtype=np.int64)
        return cls(np.array(bpm, dtype=np.float64), *whole, mean=np.array(mean, dtype=np.float64))

    def at(self, index: np.ndarray) -> "MatchFeatures":
        """Return those of some pieces, given by their numbers (K,), int."""
        mean = None if self.mean is None else self.mean[index]
        return MatchFeatures(self.bpm[index], self.metre[index], self.signature[index], mean)

    def buckets(self, width: float) -> np.ndarray:
        """Return the number of each piece's bucket of `width` bpm, (N,), float; NaN without a tempo."""
        return np.floor(np.rint(self.bpm if self.mean is None else self.mean) / width)


@dataclass(frozen=True)
class Match:
    """How a partner is matched to an original.

    Parameters
    ----------
    fold : float
        Beats of the partner for one of the original.
    rate : float
        The partner's mean rate; above 1 it is played faster.
    unit : str
        What is laid on each other: ``downbeat`` or ``beat``.
    semitones : int
        How the partner's pitch is shifted.
    """

    fold: float
    rate: float
    unit: Literal["downbeat", "beat"]
    semitones: int = 0


def compatible(a: MatchFeatures, b: MatchFeatures, rule: MatchRule) -> np.ndarray:
    """Return which pieces of `b` can be partners of which of `a`; (len(a), len(b)), bool.

    Parameters
    ----------
    a, b : MatchFeatures
        Of originals and of partners.
    rule : MatchRule
        Which pieces are compatible.
    """
    with np.errstate(invalid="ignore"):
        if rule.bucket_bpm is not None:
            own, theirs = (f.buckets(rule.bucket_bpm) for f in (a, b))
            tempo = own[:, None] == theirs[None, :]
        else:
            rate = np.asarray(rule.folds)[:, None, None] * a.bpm[:, None] / b.bpm[None, :]
            tempo = (np.abs(rate - 1) <= rule.max_stretch + _ROUNDING).any(0)
    bars = _metres_fit(a.metre[:, None], b.metre[None, :], rule)
    return tempo & bars & _keys_fit(a.signature[:, None], b.signature[None, :], rule)


def match_or_reason(a: BeatGrid | None, b: BeatGrid | None, rule: MatchRule) -> Match | str:
    """Return how partner `b` is matched to original `a`, or the reason why it cannot be.

    Parameters
    ----------
    a, b : BeatGrid or None
        The beats of original and partner; None where they are unknown.
    rule : MatchRule
        Which pieces are compatible.

    Examples
    --------
    >>> a, b = BeatGrid([0.0, 0.5, 1.0]), BeatGrid([0.0, 1.02, 2.04])
    >>> found = match_or_reason(a, b, MatchRule())
    >>> found.fold, round(found.rate, 3), found.unit
    (0.5, 1.02, 'beat')
    >>> match_or_reason(a, BeatGrid([0.0, 0.7, 1.4]), MatchRule())
    'tempi do not fit: 120.0 and 85.7 bpm (a rate of 1.400; at most 8 % are allowed)'
    """
    for grid, side in ((a, "original"), (b, "partner")):
        if grid is None:
            return f"no beats of the {side} are known"
        if grid.bpm is None:
            return f"no tempo: the {side} has {len(grid)} beat{'' if len(grid) == 1 else 's'}"
        if not grid.is_sure(rule.min_confidence):
            sure = f"a confidence of {grid.confidence:.2f}, at least {rule.min_confidence:g} is asked for"
            return f"the beats of the {side} are not sure: {sure}"
    assert a is not None
    assert b is not None
    own, theirs = float(a.bpm or 0.0), float(b.bpm or 0.0)
    fold = min(rule.folds, key=lambda q: abs(np.log(q * own / theirs)))
    rate = fold * own / theirs
    one, two = MatchFeatures.of([a]), MatchFeatures.of([b])
    if not compatible(one, two, replace(rule, align="beat", keys="any")).all():
        if rule.bucket_bpm is not None and one.mean is not None and two.mean is not None:
            return f"tempi do not fit: {one.mean[0]:.1f} and {two.mean[0]:.1f} bpm (buckets of {rule.bucket_bpm:g} bpm)"
        limit = f"at most {100 * rule.max_stretch:.3g} % are allowed"
        return f"tempi do not fit: {own:.1f} and {theirs:.1f} bpm (a rate of {rate:.3f}; {limit})"
    metres = int(one.metre[0]), int(two.metre[0])
    if rule.align != "beat" and 0 not in metres and metres[0] != metres[1]:
        return f"metres differ: {metres[0]} and {metres[1]} beats in a bar"
    if rule.align == "downbeat" and 0 in metres:
        return "bar phase unknown: the tracker gave no positions in the bar"
    if not compatible(one, two, rule).all():
        return f"keys do not fit: {a.key or 'unknown'} and {b.key or 'unknown'}"
    by_bar = rule.align != "beat" and 0 not in metres
    semitones = shift_to(a.key, b.key) if rule.keys == "shift" and a.key and b.key else 0
    return Match(fold, rate, "downbeat" if by_bar else "beat", semitones)


class BeatIndex:
    """The compatible pieces of a corpus, by binary search among sorted tempi instead of comparing all pairs.

    O(n log n) to make, O(log n) to look up the partners of one piece.

    Parameters
    ----------
    features : MatchFeatures
        Of n pieces.
    rule : MatchRule
        Which pieces are compatible.
    pools : sequence of n hashables, optional
        Partners come from the same pool only (a split, a fold).

    Examples
    --------
    >>> bpm = (100, 104, 52, 140, 207)
    >>> index = BeatIndex(MatchFeatures.of([BeatGrid([0.0, 60 / b, 120 / b]) for b in bpm]), MatchRule())
    >>> index.candidates(0).tolist()
    [1, 2, 4]
    """

    def __init__(self, features: MatchFeatures, rule: MatchRule, pools: Sequence[Hashable] | None = None) -> None:
        self.features, self.rule = features, rule
        self.pools = list(pools) if pools is not None else [None] * len(features)
        self._tempo = features.bpm if rule.bucket_bpm is None else features.buckets(rule.bucket_bpm)
        self._compatible: dict[Hashable, list[tuple[np.ndarray, np.ndarray]]] = {}
        groups: dict[Hashable, dict[tuple[int, int], list[int]]] = {}
        for i in np.flatnonzero(np.isfinite(self._tempo)).tolist():
            groups.setdefault(self.pools[i], {}).setdefault(self._group(i), []).append(i)
        # by pool, then by metre and key: pieces in order of tempo, and their tempi
        self._groups = {
            pool: {name: self._sort_members(members) for name, members in found.items()}
            for pool, found in groups.items()
        }

    def windows(self, i: int) -> list[np.ndarray]:
        """Return the pieces that can be partners of piece i, as disjoint arrays of numbers; i itself may be in one."""
        tempo = float(self._tempo[i])
        if not np.isfinite(tempo):
            return []
        found = []
        low, high = zip(*self._tempo_ranges(tempo))
        for members, tempi in self._compatible_groups(i):
            first, last = np.searchsorted(tempi, low, "left").tolist(), np.searchsorted(tempi, high, "right").tolist()
            found += [members[one:two] for one, two in zip(first, last) if two > one]
        return found

    def windows_of(self, pieces: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield what `windows` returns for many pieces, those of one pool, metre and key together.

        Parameters
        ----------
        pieces : array of int, shape (N,)
            Their numbers. Those without a tempo are left out.

        Yields
        ------
        places : array of int, shape (M,)
            Which of the N they are.
        members : array of int, shape (K,)
            Those that their windows are parts of.
        first, size : array of int, shape (M, W)
            Where in `members` each window begins, and how long it is; 0 for one that `windows` does not return.
        """
        tempo, (numbers, _) = self._tempo[pieces], self._kinds
        kinds = np.where(np.isfinite(tempo), numbers[pieces], -1)
        for kind in np.unique(kinds[kinds >= 0]).tolist():
            places = np.flatnonzero(kinds == kind)
            groups = self._compatible_groups(int(pieces[places[0]]))
            if not groups:
                continue
            low, high = zip(*self._tempo_ranges(tempo[places]))
            begins = np.cumsum([0, *(len(members) for members, _ in groups)])

            def search(limits: Any, side: Literal["left", "right"], groups: Any = groups, begins: Any = begins) -> Any:
                """Return where in the members each limit stands, by piece and window."""
                found = [[np.searchsorted(tempi, at, side) for at in limits] for _, tempi in groups]
                return np.hstack([np.column_stack(one) + begin for begin, one in zip(begins, found)])

            first, last = search(low, "left"), search(high, "right")
            yield places, np.concatenate([members for members, _ in groups]), first, np.maximum(last - first, 0)

    @cached_property
    def _kinds(self) -> tuple[np.ndarray, dict[Any, int]]:
        """The number of each piece's pool, metre and key, and the numbers by these."""
        known: dict[Any, int] = {}
        keys = ((self.pools[i], *self._group(i)) for i in range(len(self.pools)))
        return np.fromiter((known.setdefault(key, len(known)) for key in keys), np.int32, len(self.pools)), known

    def candidates(self, i: int) -> np.ndarray:
        """Return all pieces that can be partners of piece i, ascending, without i."""
        windows = self.windows(i)
        every = np.sort(np.concatenate(windows)) if windows else np.empty(0, dtype=np.int64)
        return every[every != i]

    def _group(self, i: int) -> tuple[int, int]:
        """Return the metre and the key signature of a piece, as far as the rule asks for them."""
        metre = 0 if self.rule.align == "beat" else int(self.features.metre[i])
        return metre, -1 if self.rule.keys == "any" else int(self.features.signature[i])

    def _sort_members(self, members: list[int]) -> tuple[np.ndarray, np.ndarray]:
        index = np.array(members)
        order = np.argsort(self._tempo[index], kind="stable")
        return index[order], self._tempo[index][order]

    def _compatible_groups(self, i: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the groups whose metre and key are compatible with those of piece i."""
        metre, signature = self._group(i)
        key = self.pools[i], metre, signature
        if key not in self._compatible:
            self._compatible[key] = [
                group
                for (other_metre, other), group in self._groups.get(self.pools[i], {}).items()
                if _metres_fit(metre, other_metre, self.rule) and _keys_fit(signature, other, self.rule)
            ]
        return self._compatible[key]

    def _tempo_ranges(self, tempo: Any) -> list[tuple[Any, Any]]:
        """Return the partners' tempi that folding and stretching reach, ascending and disjoint; of one or of many."""
        if self.rule.bucket_bpm is not None:
            return [(tempo, tempo)]
        most = self.rule.max_stretch + _ROUNDING
        ranges = [(fold * tempo / (1 + most), fold * tempo / (1 - most)) for fold in self.rule.folds]
        # MatchRule bounds max_stretch so that it holds
        assert all(np.all(a[1] < b[0]) for a, b in pairwise(ranges)), ranges
        return ranges


def _features_of(grid: BeatGrid | None) -> tuple[float, int, int, float]:
    """Return tempo, metre, key signature and published tempo of one piece."""
    if grid is None:
        return np.nan, 0, -1, np.nan
    bpm = grid.bpm
    metre = grid.metre if grid.phase_known and grid.metre is not None else 0
    mean = np.nan if bpm is None else 60 * (len(grid) - 1) / (grid.times[-1] - grid.times[0])
    return np.nan if bpm is None else bpm, metre, -1 if grid.key is None else _fifths(grid.key), mean


def _metres_fit(own: Any, theirs: Any, rule: MatchRule) -> Any:
    """Return whether metres (numbers or arrays, 0 where the bar phase is unknown) fit; of their common shape."""
    known, same = np.minimum(own, theirs) > 0, np.equal(own, theirs)
    return {"beat": known | ~known, "downbeat": known & same, "auto": ~known | same}[rule.align]


def _keys_fit(own: Any, theirs: Any, rule: MatchRule) -> Any:
    """Return whether key signatures (numbers or arrays, in fifths, -1 where unknown) fit; of their common shape."""
    known, apart = np.minimum(own, theirs) >= 0, np.mod(np.subtract(own, theirs), 12)
    near = np.minimum(apart, 12 - apart) <= 1
    return {"any": known | ~known, "compatible": known & near, "shift": known}[rule.keys]


def _fifths(key: str) -> int:
    """Return the place of a key's signature on the circle of fifths, C major and A minor at 0."""
    place = KEYS.index(parse(key))
    return 7 * (place + 3 * (place >= 12)) % 12  # a minor key's relative major is 3 semitones up
