"""Two grids laid on each other: which beats may be anchors, and the map from the original's time to the partner's."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import numpy as np

from .grid import BeatGrid
from .match import Match

__all__ = [
    "Anchors",
    "BeatAlignment",
    "Lattice",
    "align_beats",
    "align_by_shift",
    "can_glide",
    "cut_before_anchor",
    "find_ranges",
    "glide",
    "metre_of",
]

# Beats in a bar where the metre is unknown.
_USUAL_METRE = 4
# Rates and numbers of beats that differ by rounding alone count as equal.
_ROUNDING = 1e-9
# Where from beat to beat more than so many usual beats pass, there are none: a pause.
_PAUSE = 2.5

# For K beats of the original, ranges of the partner's beats: arrays (K,) of the first and of the last of each.
Ranges = list[tuple[np.ndarray, np.ndarray]]

_Beats = TypeVar("_Beats", int, np.ndarray)


def metre_of(grid: BeatGrid) -> int:
    """Return the beats in a bar, four where they are unknown."""
    return grid.metre or _USUAL_METRE


@dataclass(frozen=True, eq=False)
class BeatAlignment:
    """What of the partner sounds when: at `target` seconds of the original, `source` seconds of the partner.

    The map is linear between its knots.

    Parameters
    ----------
    target, source : array, shape (K,), K >= 2
        The knots in seconds, ascending.
    anchor : (float, float)
        The beat of the original and the beat of the partner that were laid on each other, in seconds.
    fade : (float, float), optional
        Of a cross-fade: from when to when it lasts, in seconds of `target`.
    own : array, shape (K, 2), optional
        Of a cross-fade: the map of the original onto itself, (target, source) in seconds.
    """

    target: np.ndarray
    source: np.ndarray
    anchor: tuple[float, float]
    fade: tuple[float, float] | None = None
    own: np.ndarray | None = None


class Lattice:
    """Two grids on one count: `per` points to a beat of the original, on which all beats of both lie.

    A shift is the point of the original on which the partner's first beat lies. At a shift, point k is ``own[k]``
    seconds of the original and ``theirs[k - shift]`` seconds of the partner.

    Where downbeats are aligned, the bars of two pieces conflict at a point that is a downbeat of either, unless both
    are equally far into their bars, counted in points modulo the greatest common divisor of their bars' lengths. So at
    fold 1 downbeats lie on downbeats; at fold 2 each downbeat of the original lies on one of the partner, whose other
    downbeats halve the original's bars; at fold 1/2 the other way round.

    Parameters
    ----------
    a, b : BeatGrid
        Of original and partner, smoothed.
    match : Match
        How the two are matched.
    """

    def __init__(self, a: BeatGrid, b: BeatGrid, match: Match) -> None:
        fold = Fraction(match.fold).limit_denominator(3)
        self.a, self.b, self.fold = a, b, match.fold
        self.per, self.per_partner = fold.numerator, fold.denominator
        self.own, self.theirs = _subdivide(a.array, self.per), _subdivide(b.array, self.per_partner)
        self._pauses = _find_pauses(self.own), _find_pauses(self.theirs)
        by_bar = match.unit == "downbeat" and a.positions is not None and b.positions is not None
        self.bar = math.gcd(metre_of(a) * self.per, metre_of(b) * self.per_partner) if by_bar else 0
        if by_bar:
            self._first, self._into = _bars(a, self.per, self.bar)
            self._their_first, self._their_into = _bars(b, self.per_partner, self.bar)

    def shift_of(self, i: int, j: int) -> int:
        """Return the shift at which beat j of the partner lies on beat i of the original."""
        return i * self.per - j * self.per_partner

    def partner_of(self, shift: int, own: _Beats) -> _Beats:
        """Return the partner's beats that lie on beats `own` of the original at one shift."""
        return (own * self.per - shift) // self.per_partner

    def span(self, shift: int) -> tuple[int, int]:
        """Return the first and the last point that both have; the last may lie before the first."""
        return max(0, shift), min(len(self.own), shift + len(self.theirs)) - 1

    def conflicts(self, shift: int) -> np.ndarray:
        """Return for each point of the span whether the bars of the two conflict; bool."""
        first, last = self.span(shift)
        if not self.bar:
            return np.zeros(last + 1 - first, dtype=bool)
        mine, other = slice(first, last + 1), slice(first - shift, last + 1 - shift)
        return (self._first[mine] | self._their_first[other]) & (self._into[mine] != self._their_into[other])

    def pauses(self, shift: int) -> np.ndarray:
        """Return for each step of the span, from a point to the next, whether either piece pauses there; bool."""
        first, last = self.span(shift)
        own, theirs = self._pauses
        return np.asarray(own[first:last] | theirs[first - shift : last - shift])

    def runs(self, shift: int, max_stretch: float) -> tuple[np.ndarray, np.ndarray]:
        """Return for each point of the span from which to which point the two keep together around it.

        They do where from point to point the partner's rate departs from 1 by at most `max_stretch`, neither pauses,
        and their bars do not conflict.
        """
        first, last = self.span(shift)
        step, other = np.diff(self.own[first : last + 1]), np.diff(self.theirs[first - shift : last + 1 - shift])
        fits = (np.abs(other / step - 1) <= max_stretch + _ROUNDING) & ~self.pauses(shift)
        conflicts = self.conflicts(shift)
        ends = np.flatnonzero(~(fits & ~conflicts[:-1] & ~conflicts[1:]))  # the step behind this point breaks
        points = np.arange(last + 1 - first)
        begin = np.concatenate([[0], ends + 1])[np.searchsorted(ends, points, "left")]
        stop = np.concatenate([ends, [last - first]])[np.searchsorted(ends, points, "left")]
        return first + begin, first + stop

    def labels(self, *, any_position: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return a label for each beat of the original and of the partner, int; -1 for none.

        Beats of one label may be laid on each other: downbeats on downbeats where bars are aligned, else any on any.

        Parameters
        ----------
        any_position : bool
            Where bars are aligned: all beats that are equally far into their bars, for pieces without downbeats.
        """
        if not self.bar:
            return np.zeros(len(self.a), dtype=np.int64), np.zeros(len(self.b), dtype=np.int64)
        into, other = self._into[:: self.per], self._their_into[:: self.per_partner]
        if any_position:
            return into, other
        return np.where(self._first[:: self.per], 0, -1), np.where(self._their_first[:: self.per_partner], 0, -1)

    def shifts(self, labels: tuple[np.ndarray, np.ndarray], beats: float) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the shifts at which beats of one label lie on each other, with those beats of the original (K,).

        Parameters
        ----------
        labels : (array, array)
            From `labels`.
        beats : float
            Least overlap, in beats of the original.
        """
        for shift in range(-len(self.theirs) + 1, len(self.own)):
            first, last = self.span(shift)
            if last - first < beats * self.per - _ROUNDING:
                continue
            pairs = self.pairs(shift, labels)
            if len(pairs):
                yield shift, pairs

    def pairs(self, shift: int, labels: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return the beats of the original on which, at one shift, beats of their label lie; (K,), int.

        Parameters
        ----------
        shift : int
            Point of the original on which the partner's first beat lies.
        labels : (array, array)
            From `labels`.
        """
        own, theirs = labels
        index = np.flatnonzero(own >= 0)
        beat, rest = np.divmod(index * self.per - shift, self.per_partner)
        inside = (rest == 0) & (beat >= 0) & (beat < len(theirs))
        return index[inside][theirs[beat[inside]] == own[index[inside]]]


class Anchors:
    """All pairs of beats that may be laid on each other, without listing them: O(N + M) for grids of N and M beats.

    Parameters
    ----------
    labels : (array, array)
        From `Lattice.labels`.
    ranges_of : callable
        From beats (K,) of the original to the ranges of the partner's beats that may be laid on each of them, as
        `find_ranges` gives them.
    """

    def __init__(self, labels: tuple[np.ndarray, np.ndarray], ranges_of: Callable[[np.ndarray], Ranges]) -> None:
        rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        lists: list[np.ndarray] = []
        offset = 0
        for label in np.unique(labels[0][labels[0] >= 0]):
            own, theirs = (np.flatnonzero(one == label) for one in labels)
            lists.append(theirs)
            for first, last in ranges_of(own):
                low = np.searchsorted(theirs, first, "left")
                high = np.searchsorted(theirs, last, "right")
                rows.append((own, offset + low, np.maximum(high - low, 0)))
            offset += len(theirs)
        nothing = np.zeros(0, dtype=np.int64)
        columns = zip(*rows) if rows else ((), (), ())
        self._theirs = np.concatenate([nothing, *lists])
        self._own, self._low, count = (np.concatenate([nothing, *column]) for column in columns)
        self._ends = np.cumsum(count)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, number: int) -> tuple[int, int]:
        """Return one pair (i, j) by its number."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        row = int(np.searchsorted(self._ends, number, side="right"))
        before = int(self._ends[row - 1]) if row else 0
        return int(self._own[row]), int(self._theirs[self._low[row] + number - before])


def find_ranges(lattice: Lattice, own: np.ndarray, beats: float, *, from_anchor: bool = False) -> Ranges:
    """Return which beats of the partner may be laid on beats of the original so that enough overlaps.

    Parameters
    ----------
    lattice : Lattice
        The two grids.
    own : array, shape (K,), int
        Beats of the original.
    beats : float
        Least overlap, in beats of the original, between the first and the last beat that both have.
    from_anchor : bool
        Count from the anchor on.

    Returns
    -------
    list of (array, array), each (K,)
        First and last beat of the partner, both included; there may be none, where the last lies before the first.
    """
    last, theirs, fold = len(lattice.a) - 1, len(lattice.b) - 1, lattice.fold
    # min(i, j / fold) beats lie before the anchor, min(last - i, (theirs - j) / fold) behind it
    if from_anchor:
        low, high = np.zeros(len(own)), np.full(len(own), theirs - beats * fold)
        possible = last - own >= beats - _ROUNDING
    else:
        low, high = (beats - last + own) * fold, theirs + (own - beats) * fold
        possible = np.full(len(own), min(last, theirs / fold) >= beats - _ROUNDING)
    return [(low - _ROUNDING, np.where(possible, high + _ROUNDING, -1.0))]


def align_beats(
    lattice: Lattice, i: int, j: int, *, seconds: tuple[float, float], max_stretch: float
) -> tuple[BeatAlignment, tuple[float, float]]:
    """Lay beat j of the partner on beat i of the original, and all others beat by beat on theirs.

    Parameters
    ----------
    lattice : Lattice
        The two grids.
    i, j : int
        The anchor.
    seconds : (float, float)
        How long original and partner last.
    max_stretch : float
        The map ends where from one beat to the next the partner's rate departs further from 1, and before the first
        beat where the bars of the two conflict.

    Returns
    -------
    alignment : BeatAlignment
        Where one of the grids ends it goes on for up to one beat, at the rate it had, as far as both sound.
    places : (float, float)
        From which to which place it goes, in beats of the original, from beat to beat.
    """
    a, shift, per = lattice.a, lattice.shift_of(i, j), lattice.per
    start, end = lattice.span(shift)
    begin, stop = lattice.runs(shift, max_stretch)
    first, last = int(begin[i * per - start]), int(stop[i * per - start])
    point = np.arange(first, last + 1)
    knots = (point % per == 0) | ((point - shift) % lattice.per_partner == 0) | (point == first) | (point == last)
    target, source = lattice.own[point[knots]], lattice.theirs[point[knots] - shift]
    if last > first:
        rates = np.diff(source) / np.diff(target)
        head = float(rates[0]) if first == start else None
        tail = float(rates[-1]) if last == end else None
        target, source = _extend(target, source, head, tail, 60.0 / (a.bpm or 60.0), seconds)
    return BeatAlignment(target, source, (a.times[i], lattice.b.times[j])), (first / per, last / per)


def align_by_shift(a: BeatGrid, b: BeatGrid, i: int, j: int, *, seconds: tuple[float, float]) -> BeatAlignment:
    """Lay beat j on beat i and play the partner at its own tempo: it drifts away from there (MusicLDM).

    Parameters
    ----------
    a, b : BeatGrid
        Of original and partner.
    i, j : int
        The anchor.
    seconds : (float, float)
        How long original and partner last.
    """
    shift = a.times[i] - b.times[j]
    target = np.array([max(0.0, shift), min(seconds[0], shift + seconds[1])])
    return BeatAlignment(target, target - shift, (a.times[i], b.times[j]))


def cut_before_anchor(alignment: BeatAlignment) -> BeatAlignment:
    """Return the alignment from its anchor on."""
    start = alignment.anchor[0]
    kept = alignment.target > start + _ROUNDING
    target = np.concatenate([[start], alignment.target[kept]])
    source = np.concatenate([[alignment.anchor[1]], alignment.source[kept]])
    return BeatAlignment(target, source, alignment.anchor)


def can_glide(lattice: Lattice, shift: int, own: np.ndarray, beats: int, max_stretch: float) -> np.ndarray:
    """Return for anchors at one shift whether a `glide` from them keeps both in time and in bar; (K,), bool.

    Parameters
    ----------
    lattice : Lattice
        The two grids.
    shift : int
        Point of the original on which the partner's first beat lies.
    own : array, shape (K,), int
        Beats of the original.
    beats : int
        Length of the cross-fade.
    max_stretch : float
        Largest departure of the rates of original and partner from 1, beat by beat.
    """
    start, end = lattice.span(shift)
    point = own * lattice.per
    conflicts = np.concatenate([[0], np.cumsum(lattice.conflicts(shift))])
    stop = np.minimum(point + beats * lattice.per, end)
    in_bar = conflicts[stop + 1 - start] == conflicts[point - start]
    pauses = np.concatenate([[0], np.cumsum(lattice.pauses(shift))])
    going = pauses[stop - start] == pauses[point - start]
    left = np.flatnonzero((point + beats * lattice.per <= end) & in_bar & going)
    for u in (np.arange(beats) + 0.5) / beats:  # beat by beat: few anchors are left after some
        first = point[left]
        mine = lattice.own[first + lattice.per] - lattice.own[first]
        theirs = lattice.theirs[first + lattice.per - shift] - lattice.theirs[first - shift]
        length = (1 - u) * mine + u * theirs
        left = left[np.maximum(np.abs(mine / length - 1), np.abs(theirs / length - 1)) <= max_stretch + _ROUNDING]
        point = point + lattice.per
        if not len(left):
            break
    found = np.zeros(len(own), dtype=bool)
    found[left] = True
    return found


def glide(lattice: Lattice, i: int, j: int, *, beats: int, seconds: tuple[float, float]) -> BeatAlignment:
    """Go from one piece into the other from beats i and j on, the tempo gliding from one to the other.

    The length of the m-th beat is that of the original times (1 - u) and that of the partner times u, with
    u = (m + 1/2) / beats: where both keep time, the length of a beat moves evenly. Before that the original plays
    unchanged, behind it the partner.

    Parameters
    ----------
    lattice : Lattice
        The two grids.
    i, j : int
        The anchor, where the cross-fade begins.
    beats : int
        Length of the cross-fade.
    seconds : (float, float)
        How long original and partner last.
    """
    points = (i + np.arange(beats + 1)) * lattice.per
    own, theirs = lattice.own[points], lattice.theirs[points - lattice.shift_of(i, j)]
    u = (np.arange(beats) + 0.5) / beats
    joint = own[0] + np.concatenate([[0.0], np.cumsum((1 - u) * np.diff(own) + u * np.diff(theirs))])
    end = joint[-1] + seconds[1] - theirs[-1]
    target, source = joint, theirs
    if end > joint[-1] + 1e-6:
        target, source = np.append(joint, end), np.append(theirs, seconds[1])
    mine = np.stack([joint, own], 1)
    if own[0] > 1e-6:
        mine = np.concatenate([[[0.0, 0.0]], mine])
    anchor = lattice.a.times[i], lattice.b.times[j]
    return BeatAlignment(target, source, anchor, (float(joint[0]), float(joint[-1])), mine)


def _subdivide(times: np.ndarray, per: int) -> np.ndarray:
    """Return times with `per` points to a beat."""
    return np.interp(np.arange((len(times) - 1) * per + 1) / per, np.arange(len(times)), times)


def _find_pauses(points: np.ndarray) -> np.ndarray:
    """Return for each step from point to point whether it is much longer than usual; bool."""
    steps = np.diff(points)
    return steps > _PAUSE * np.median(steps) if len(steps) else np.zeros(0, dtype=bool)


def _bars(grid: BeatGrid, per: int, bar: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each point of a grid whether it is a downbeat, and how far into the bar it is, modulo `bar` points."""
    assert grid.positions is not None
    point = np.arange((len(grid) - 1) * per + 1)
    into = (np.asarray(grid.positions)[point // per] - 1) * per + point % per
    return into == 0, into % bar


def _extend(
    target: np.ndarray,
    source: np.ndarray,
    head: float | None,
    tail: float | None,
    beat: float,
    seconds: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Go on at the rates of the ends for up to one beat, within both sounds."""
    if head is not None:
        room = min(beat, target[0], source[0] / head)
        if room > 1e-3:
            target, source = np.append(target[0] - room, target), np.append(source[0] - room * head, source)
    if tail is not None:
        room = min(beat, seconds[0] - target[-1], (seconds[1] - source[-1]) / tail)
        if room > 1e-3:
            target, source = np.append(target, target[-1] + room), np.append(source, source[-1] + room * tail)
    return np.maximum(target, 0.0), np.maximum(source, 0.0)
