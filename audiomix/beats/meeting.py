"""Which two pieces may meet, and by how much the partner is then stretched: tempo folding, metre, key.

The partner's rate is ``fold * bpm / partner_bpm``: with fold 1/2 one beat of the partner lies on two of the original,
with 2 two on one. Of the folds the one whose rate is nearest to 1 is taken, in ratio.
"""

from collections.abc import Sequence
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
        Instead of all of this: whole tempi (bpm, rounded) that fall into the same bucket of this width, as MusicLDM has
        it. No folding.
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
    """

    bpm: np.ndarray
    metre: np.ndarray
    signature: np.ndarray

    def __len__(self) -> int:
        return len(self.bpm)


@dataclass(frozen=True)
class Match:
    """How two pieces meet: `fold`, the partner's mean `rate`, what is aligned (`unit`), and the shift in semitones."""

    fold: float
    rate: float
    unit: Literal["downbeat", "beat"]
    semitones: int = 0


def features(grids: Sequence[BeatGrid | None]) -> Features:
    """Return what decides who may meet; a missing grid is a piece without a tempo."""
    bpm = [np.nan if g is None or g.bpm is None else g.bpm for g in grids]
    metre = [0 if g is None or not len(g.downbeats) else g.metre or 0 for g in grids]
    fifths = [-1 if g is None or g.key is None else _fifths(g.key) for g in grids]
    return Features(np.array(bpm, dtype=np.float64), np.array(metre), np.array(fifths))


def may_meet(a: Features, b: Features, rule: Rule) -> np.ndarray:
    """Return (len(a), len(b)), True where an original of `a` may meet a partner of `b`."""
    with np.errstate(invalid="ignore"):
        if rule.bucket_bpm is not None:
            own, theirs = (np.floor(np.rint(f.bpm) / rule.bucket_bpm) for f in (a, b))
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
        return f"no tempo: {len(a)} and {len(b)} beats"
    fold = min(rule.folds, key=lambda q: abs(np.log(q * own / theirs)))
    rate = fold * own / theirs
    one, two = features([a]), features([b])
    if not may_meet(one, two, Rule(rule.max_stretch, rule.polyrhythm, "beat", bucket_bpm=rule.bucket_bpm)).all():
        wanted = f"at most {100 * rule.max_stretch:.3g} % are allowed"
        if rule.bucket_bpm is not None:
            wanted = f"buckets of {rule.bucket_bpm:g} bpm"
        return f"tempi do not fit: {own:.1f} and {theirs:.1f} bpm (a rate of {rate:.3f}; {wanted})"
    metres = int(one.metre[0]), int(two.metre[0])
    if rule.align != "beat" and 0 not in metres and metres[0] != metres[1]:
        return f"metres differ: {metres[0]} and {metres[1]} beats in a bar"
    if rule.align == "downbeat" and 0 in metres:
        return "bar phase unknown: the tracker gave no downbeats"
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
