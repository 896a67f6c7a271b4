"""How well two pieces go together at each offset and in each transposition: rhythm, harmony and spectral balance.

Source: ours, after Davies, Hamel, Yoshii and Goto, "AutoMashUpper: Automatic Creation of Multi-Song Music Mashups",
IEEE/ACM TASLP 22 (2014). Unlike in its public code all is divided by what lies in the overlap, each term keeps the
direction of time, and a transposition its sign; rhythm is compared, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from .features import SLOTS, BeatFeatures

__all__ = ["Likeness", "Mashability", "mashability", "weigh_change", "weigh_length"]

# Weights of rhythm, harmony and balance in the score; they sum to 1. Chosen by tests/bench/anchors.py --choose.
_WEIGHTS = (0.4, 0.4, 0.2)
# The score counts (overlap / longest overlap) ** _LENGTH times.
_LENGTH = 0.25
# Beats: a correlation over n of them counts n / (n + _SHRINK) times, for over a few it may be high by chance.
_SHRINK = 4.0
# Points less than this much above 0 are none: the rounding of sums.
_NOTHING = 1e-9


@dataclass(frozen=True)
class Mashability:
    """How well a partner goes with an original where it goes best.

    Parameters
    ----------
    score : float
        In [0, 1]: `Likeness.scores` at this place, times `weigh_length`, times `weigh_change`.
    beats : (int, int)
        Of the original and of the partner: the first two beats that lie on each other.
    length : int
        Overlap, in beats of the original.
    semitones : int
        By how much the partner has to be shifted.
    fold : float
        Beats of the partner for one of the original.
    """

    score: float
    beats: tuple[int, int]
    length: int
    semitones: int
    fold: float


class Likeness:
    """Two pieces at all offsets: their likeness in what overlaps, and how much that is.

    Points and shifts are those of `audiomix.beats.align.Lattice`: `per` points to a beat of the original, `per_partner`
    to one of the partner; a shift is the point of the original on which the partner begins. Between its N points a
    piece has N - 1 intervals.

    Parameters
    ----------
    a, b : BeatFeatures
        Of original and partner.
    per, per_partner : int
        Points to a beat of each.
    """

    def __init__(self, a: BeatFeatures, b: BeatFeatures, per: int = 1, per_partner: int = 1) -> None:
        slots = next(n for n in (4, 2, 1) if not (SLOTS // per) % n and not (SLOTS // per_partner) % n)
        self.per = per
        self._onsets = _read_onsets(a, per, slots), _read_onsets(b, per_partner, slots)
        both = (a, per), (b, per_partner)
        self._chroma = tuple(np.repeat(one.chroma.astype(np.float32), n, 0) for one, n in both)
        self._energy = tuple(np.repeat(one.energy.astype(np.float32), n, 0) for one, n in both)
        self.sizes = len(self._chroma[0]), len(self._chroma[1])
        self.shifts = np.arange(1 - self.sizes[1], self.sizes[0])
        self._start = np.maximum(0, self.shifts)
        self._stop = np.minimum(self.sizes[0], self.shifts + self.sizes[1])
        self.lengths = self._stop - self._start
        self._rhythm = self._correlate(*self._onsets, centred=True)[0]
        self._balance = self._balances()

    def rhythm(self) -> np.ndarray:
        """Return Pearson's correlation of the onsets at each shift, (S,)."""
        return self._rhythm

    def harmony(self, semitones: Sequence[int] = (0,)) -> np.ndarray:
        """Return the correlation of the chroma at each shift, the partner transposed by each of `semitones`; (K, S)."""
        return self._correlate(*self._chroma, rolls=[int(k) % 12 for k in semitones])

    def balance(self) -> np.ndarray:
        """Return how evenly the sum of both fills three bands at each shift, (S,): 1 alike, 0 all in one."""
        return self._balance

    def scores(self, semitones: Sequence[int] = (0,)) -> np.ndarray:
        """Return the score at each shift in each transposition, in [0, 1]; (K, S). The length does not count yet."""
        return _combine(self.rhythm(), self.harmony(semitones), self.balance(), self.lengths / self.per)

    def window_scores(self, own: np.ndarray, theirs: np.ndarray, length: int, semitones: int = 0) -> np.ndarray:
        """Return the score of windows of `length` points from points `own` (I,) and `theirs` (J,) on; (I, J)."""
        at, other = (points[:, None] + np.arange(length) for points in (own, theirs))
        onsets = self._onsets[0][at], self._onsets[1][other]
        rhythm = _match_windows(*(x - x.mean(1, keepdims=True) for x in onsets))
        harmony = _match_windows(self._chroma[0][at], np.roll(self._chroma[1], semitones, 1)[other])
        energy = self._energy[0][at].sum(1)[:, None] + self._energy[1][other].sum(1)[None]
        return _combine(rhythm, harmony, _evenness(energy), length / self.per)

    def _correlate(
        self, a: np.ndarray, b: np.ndarray, *, centred: bool = False, rolls: Sequence[int] = (0,)
    ) -> np.ndarray:
        """Return the correlation over the overlap at each shift, (len(rolls), S); 0 where one of them is silent.

        Centred: of each column its mean over the overlap is taken away.
        """
        from scipy.fft import irfft, next_fast_len, rfft

        size = next_fast_len(sum(self.sizes), real=True)
        one, two = rfft(a, size, axis=0), rfft(b, size, axis=0).conj()
        dot = np.stack([irfft((one * np.roll(two, k, 1)).sum(1), size) for k in rolls])[:, self.shifts]
        square, other = self._sums((a**2).sum(1, keepdims=True), (b**2).sum(1, keepdims=True))
        square, other = square[:, 0], other[:, 0]
        if centred:
            mean, theirs = self._sums(a, b)
            dot -= (mean * theirs).sum(1) / self.lengths
            square, other = (s - (m**2).sum(1) / self.lengths for s, m in ((square, mean), (other, theirs)))
        least = _NOTHING * np.array([max(float((x**2).sum()), 1.0) for x in (a, b)])
        heard = (square > least[0]) & (other > least[1])
        return np.where(heard, dot / np.sqrt(np.where(heard, square * other, 1.0)), 0.0).clip(-1, 1)

    def _sums(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of each column over the overlap at each shift: of the original, of the partner; (S, D)."""
        mine, theirs = (np.pad(np.cumsum(one, 0, dtype=np.float64), ((1, 0), (0, 0))) for one in (a, b))
        first, last = self._start, self._stop
        return mine[last] - mine[first], theirs[last - self.shifts] - theirs[first - self.shifts]

    def _balances(self) -> np.ndarray:
        mine, theirs = self._sums(*self._energy)
        return _evenness(mine + theirs)


def weigh_length(length: Any, longest: float) -> Any:
    """Return by what a score counts for overlaps of some lengths: a root of their share of the longest one.

    Parameters
    ----------
    length : number or array
        Of overlaps, in any unit.
    longest : float
        Of the longest overlap that two such pieces may have.
    """
    return (length / max(longest, 1e-9)) ** _LENGTH


def weigh_change(rate: float, semitones: int) -> float:
    """Return by what a score counts where the partner is changed: by the ratio by which its tempo is, and its pitch.

    Parameters
    ----------
    rate : float
        Of the partner; above 1 it is played faster.
    semitones : int
        By which it is transposed.

    Examples
    --------
    >>> weigh_change(1.0, 0), weigh_change(1.25, 0), round(weigh_change(1.0, -2), 3)
    (1.0, 0.8, 0.891)
    """
    return float(min(rate, 1 / rate) * 2 ** (-abs(semitones) / 12))


def mashability(
    a: BeatFeatures,
    b: BeatFeatures,
    *,
    fold: float = 1.0,
    rate: float = 1.0,
    semitones: Sequence[int] = (0,),
    beats: float = 1.0,
) -> Mashability | None:
    """Return how well partner `b` goes with original `a`, and where: the best of all offsets and transpositions.

    Parameters
    ----------
    a, b : BeatFeatures
        Of original and partner, from `measure`.
    fold : float
        Beats of the partner for one of the original, e.g. that of an `audiomix.beats.match.Match`.
    rate : float
        How much faster the partner is played, e.g. that of an `audiomix.beats.match.Match`.
    semitones : sequence of int
        Transpositions of the partner that are tried; all are ``range(-5, 7)``. The first of those that are equal.
    beats : float
        Least overlap, in beats of the original.

    Returns
    -------
    Mashability or None
        None where there is no such overlap.
    """
    q = Fraction(fold).limit_denominator(3)
    if not len(a) or not len(b):
        return None
    both = Likeness(a, b, q.numerator, q.denominator)
    # a beat of the partner lies on one of the original
    shift = both.shifts
    start = np.maximum(shift, 0)
    steps = np.arange(q.numerator * q.denominator)
    own = (start[:, None] + steps) % q.numerator == 0
    theirs = (start[:, None] + steps - shift[:, None]) % q.denominator == 0
    meet = own & theirs
    possible = meet.any(1) & (both.lengths >= max(beats, 0) * q.numerator)
    if not possible.any():
        return None
    value = np.where(possible, both.scores(semitones) * weigh_length(both.lengths, min(both.sizes)), -1.0)
    k, s = np.unravel_index(int(value.argmax()), value.shape)
    first = int(start[s] + meet[s].argmax())
    pair = first // q.numerator, (first - int(shift[s])) // q.denominator
    shift_by = int(semitones[int(k)])
    score = float(value[k, s]) * weigh_change(rate, shift_by)
    return Mashability(score, pair, int(both.lengths[s]) // q.numerator, shift_by, float(fold))


def _combine(rhythm: np.ndarray, harmony: np.ndarray, balance: np.ndarray, beats: Any) -> np.ndarray:
    """Return the score: the mean of rhythm and harmony (correlations, brought to [0, 1]) and balance, by weight."""
    sure = beats / (beats + _SHRINK)
    one, two, three = _WEIGHTS
    score = one * (1 + sure * rhythm) / 2 + two * (1 + sure * harmony) / 2 + three * balance
    return score.clip(0, 1)  # type: ignore[no-any-return]


def _match_windows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the correlation of windows (I, L, D) with windows (J, L, D); (I, J); 0 where one is silent."""
    one, two = a.reshape(len(a), -1), b.reshape(len(b), -1)
    lengths = np.linalg.norm(one, axis=1)[:, None] * np.linalg.norm(two, axis=1)[None]
    return np.where(lengths > _NOTHING, one @ two.T / np.maximum(lengths, _NOTHING), 0.0).clip(-1, 1)


def _evenness(energy: np.ndarray) -> np.ndarray:
    """Return how evenly energies (..., 3) fill the bands: 1 alike, 0 all in one."""
    share = energy / np.maximum(energy.sum(-1, keepdims=True), 1e-12)
    return 1 - share.std(-1) / np.std([1.0, 0.0, 0.0])  # type: ignore[no-any-return]


def _read_onsets(one: BeatFeatures, per: int, slots: int) -> np.ndarray:
    """Return the onsets at `slots` places of each point, (N, slots * K)."""
    read = one.onsets[:, :: SLOTS // per // slots].astype(np.float32)
    return read.reshape(len(one) * per, -1)
