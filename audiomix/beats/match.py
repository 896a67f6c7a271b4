"""Which two pieces may meet, and by how much the partner is then stretched: tempo folding, metre, key.

The partner's rate is ``fold * bpm / partner_bpm``: with fold 1/2 one beat of the partner lies on two of the original,
with 2 two on one. Of the folds the one whose rate is nearest to 1 is taken, in ratio.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .. import check
from .grid import BeatGrid
from .key import KEYS, parse, shift_to

__all__ = ["FOLDS", "MOST_STRETCH", "POLYRHYTHMS", "Features", "Match", "Rule", "features", "match", "may_meet"]

FOLDS = (0.5, 1.0, 2.0)
POLYRHYTHMS = (1 / 3, 2 / 3, 1.5, 3.0)
# Up to here no tempo lies within reach of two folds (the nearest, 3/2 and 2, are a ratio of 4/3 apart).
MOST_STRETCH = 0.14

Align = Literal["auto", "downbeat", "beat"]
Keys = Literal["any", "compatible", "shift"]


@dataclass(frozen=True)
class Rule:
    """Who may meet whom.

    Parameters
    ----------
    max_stretch : float
        Largest departure of the partner's rate from 1, over all and beat by beat; 0.08 is 8 %.
    polyrhythm : bool
        Also fold by 1/3, 2/3, 3/2 and 3.
    align : str
        ``downbeat``: both know where their bars begin, and their metres agree. ``beat``: any beat on any beat.
        ``auto``: by downbeat where both know it (metres must agree then), else by beat.
    keys : str
        ``any``; ``compatible``: the same key, its relative or a neighbour on the circle of fifths; ``shift``: the
        partner is shifted to such a key, by at most 2 semitones. Where a key is unknown only ``any`` lets it meet.
    bucket_bpm : float, optional
        Instead of folding and stretching: whole tempi that fall into the same bucket of this width, as MusicLDM has it:
        the beats but one over the time from the first to the last, in bpm, rounded.
    """

    max_stretch: float = 0.08
    polyrhythm: bool = False
    align: Align = "auto"
    keys: Keys = "any"
    bucket_bpm: float | None = None

    def __post_init__(self) -> None:
        slip = "a fraction: 8 % is 0.08; beyond 14 % a stretch is heard, and folds would overlap"
        check.number("max_stretch", self.max_stretch, 0, MOST_STRETCH, slip=slip)
        check.choice("align", self.align, ["auto", "downbeat", "beat"])
        check.choice("keys", self.keys, ["any", "compatible", "shift"])
        if self.bucket_bpm is not None:
            check.number("bucket_bpm", self.bucket_bpm, 1e-3)

    @property
    def folds(self) -> tuple[float, ...]:
        """Beats of the partner for one of the original, in ascending order."""
        if self.bucket_bpm is not None:
            return (1.0,)
        return tuple(sorted((*FOLDS, *POLYRHYTHMS))) if self.polyrhythm else FOLDS


@dataclass(frozen=True, eq=False)
class Features:
    """What decides who may meet, of many pieces: arrays (N,).

    Parameters
    ----------
    bpm : array of float
        NaN for a piece without a tempo.
    metre : array of int
        Beats in a bar; 0 where the bar phase is unknown.
    signature : array of int
        Fifths of the key's signature, 0..11; -1 where the key is unknown.
    mean : array of float, optional
        Beats but one over the time from the first to the last, bpm: the published tempo, which outliers move. `bpm`
        where it is not given.
    """

    bpm: np.ndarray
    metre: np.ndarray
    signature: np.ndarray
    mean: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.bpm)

    def at(self, index: np.ndarray) -> "Features":
        """Return those of some pieces."""
        mean = None if self.mean is None else self.mean[index]
        return Features(self.bpm[index], self.metre[index], self.signature[index], mean)

    def buckets(self, width: float) -> np.ndarray:
        """Return the number of each piece's bucket of whole tempi; NaN without a tempo."""
        return np.floor(np.rint(self.bpm if self.mean is None else self.mean) / width)


@dataclass(frozen=True)
class Match:
    """How two pieces meet: `fold`, the partner's mean `rate`, what is aligned (`unit`), and the shift in semitones."""

    fold: float
    rate: float
    unit: Literal["downbeat", "beat"]
    semitones: int = 0


def features(grids: Iterable[BeatGrid | None]) -> Features:
    """Return what decides who may meet; a missing grid is a piece without a tempo. Grids are looked at one by one."""
    rows = [_feature(grid) for grid in grids]
    bpm, metre, fifths, mean = zip(*rows) if rows else ((), (), (), ())
    whole = np.array(metre, dtype=np.int64), np.array(fifths, dtype=np.int64)
    return Features(np.array(bpm, dtype=np.float64), *whole, mean=np.array(mean, dtype=np.float64))


def _feature(grid: BeatGrid | None) -> tuple[float, int, int, float]:
    if grid is None:
        return np.nan, 0, -1, np.nan
    bpm = grid.bpm
    metre = grid.metre if grid.phase_known and grid.metre is not None else 0
    mean = np.nan if bpm is None else 60 * (len(grid) - 1) / (grid.times[-1] - grid.times[0])
    return np.nan if bpm is None else bpm, metre, -1 if grid.key is None else _fifths(grid.key), mean


def may_meet(a: Features, b: Features, rule: Rule) -> np.ndarray:
    """Return (len(a), len(b)), True where an original of `a` may meet a partner of `b`."""
    with np.errstate(invalid="ignore"):
        if rule.bucket_bpm is not None:
            own, theirs = (f.buckets(rule.bucket_bpm) for f in (a, b))
            tempo = own[:, None] == theirs[None, :]
        else:
            rate = np.asarray(rule.folds)[:, None, None] * a.bpm[:, None] / b.bpm[None, :]
            tempo = (np.abs(rate - 1) <= rule.max_stretch + 1e-9).any(0)
    own, theirs = a.metre[:, None], b.metre[None, :]
    known = (own > 0) & (theirs > 0)
    bars = {"beat": np.ones_like(known), "downbeat": known & (own == theirs), "auto": ~known | (own == theirs)}
    fit = tempo & bars[rule.align]
    if rule.keys == "any":
        return fit
    own, theirs = a.signature[:, None], b.signature[None, :]
    known = (own >= 0) & (theirs >= 0)
    apart = (own - theirs) % 12
    return fit & known & ((rule.keys == "shift") | (np.minimum(apart, 12 - apart) <= 1))


def match(a: BeatGrid, b: BeatGrid, rule: Rule) -> Match | str:
    """Return how partner `b` meets original `a`, or the reason why it may not.

    Examples
    --------
    >>> a, b = BeatGrid([0.0, 0.5, 1.0]), BeatGrid([0.0, 1.02, 2.04])
    >>> found = match(a, b, Rule())
    >>> found.fold, round(found.rate, 3), found.unit
    (0.5, 1.02, 'beat')
    >>> match(a, BeatGrid([0.0, 0.7, 1.4]), Rule())
    'tempi do not fit: 120.0 and 85.7 bpm (a rate of 1.400; at most 8 % are allowed)'
    """
    own, theirs = a.bpm, b.bpm
    if own is None or theirs is None:
        return f"no tempo: beats of the original: {len(a)}, of the partner: {len(b)}"
    fold = min(rule.folds, key=lambda q: abs(np.log(q * own / theirs)))
    rate = fold * own / theirs
    one, two = features([a]), features([b])
    if not may_meet(one, two, Rule(rule.max_stretch, rule.polyrhythm, "beat", bucket_bpm=rule.bucket_bpm)).all():
        if rule.bucket_bpm is not None and one.mean is not None and two.mean is not None:
            means = f"{one.mean[0]:.1f} and {two.mean[0]:.1f} bpm"
            return f"tempi do not fit: {means} (buckets of {rule.bucket_bpm:g} bpm)"
        wanted = f"at most {100 * rule.max_stretch:.3g} % are allowed"
        return f"tempi do not fit: {own:.1f} and {theirs:.1f} bpm (a rate of {rate:.3f}; {wanted})"
    metres = int(one.metre[0]), int(two.metre[0])
    if rule.align != "beat" and 0 not in metres and metres[0] != metres[1]:
        return f"metres differ: {metres[0]} and {metres[1]} beats in a bar"
    if rule.align == "downbeat" and 0 in metres:
        return "bar phase unknown: the tracker gave no positions in the bar"
    if not may_meet(one, two, rule).all():
        return f"keys do not fit: {a.key or 'unknown'} and {b.key or 'unknown'}"
    semitones = 0
    if rule.keys == "shift" and a.key is not None and b.key is not None:
        semitones = shift_to(a.key, b.key)
    by_bar = rule.align != "beat" and 0 not in metres
    return Match(fold, rate, "downbeat" if by_bar else "beat", semitones)


def _fifths(key: str) -> int:
    """Return the place of a key's signature on the circle of fifths, C major and A minor at 0."""
    place = KEYS.index(parse(key))
    return 7 * (place + 3 * (place >= 12)) % 12  # a minor key's relative major is 3 semitones up
