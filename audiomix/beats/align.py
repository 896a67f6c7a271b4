"""Two grids laid on each other: which beats may be anchors, and the map from the original's time to the partner's."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .grid import BeatGrid
from .match import Match

__all__ = ["Alignment", "Anchors", "Lattice", "cut_before", "glide", "in_glide", "lay", "metre_of", "reach", "shifted"]

# Beats in a bar where the metre is unknown.
_USUAL_METRE = 4

# For beats of the original, the ranges (first, last) of the partner's beats that may be laid on each of them.
Reach = Callable[[np.ndarray], list[tuple[np.ndarray, np.ndarray]]]


def metre_of(grid: BeatGrid) -> int:
    """Return the beats in a bar, four where they are unknown."""
    return grid.metre or _USUAL_METRE


@dataclass(frozen=True, eq=False)
class Alignment:
    """What sounds when: at `target` seconds of the original, `source` seconds of the partner; linear in between.

    Parameters
    ----------
    target, source : arrays (K,), K >= 2
        Ascending, seconds.
    anchor : (float, float)
        The two beats that were laid on each other, seconds.
    fade : (float, float), optional
        Of a cross-fade: from when to when, in seconds of `target`.
    own : array (K, 2), optional
        Of a cross-fade: the map of the original, (target, source) seconds.
    """

    target: np.ndarray
    source: np.ndarray
    anchor: tuple[float, float]
    fade: tuple[float, float] | None = None
    own: np.ndarray | None = None

    @property
    def rate(self) -> float:
        """Mean rate of the partner; above 1 it is played faster."""
        return float((self.source[-1] - self.source[0]) / (self.target[-1] - self.target[0]))


class Lattice:
    """Two grids on one count: `per` points to a beat of the original, on which all beats of both lie.

    A shift is the point of the original on which the partner's first beat lies. At a shift, point k is ``own[k]``
    seconds of the original and ``theirs[k - shift]`` seconds of the partner.

    Where downbeats are aligned, two pieces are apart in their bars at a point that is a downbeat of either, unless both
    are equally far into their bars, counted in points modulo the greatest common divisor of their bars' lengths. So at
    fold 1 downbeats lie on downbeats; at fold 2 each downbeat of the original lies on one of the partner, whose other
    downbeats halve the original's bars; at fold 1/2 the other way round.
    """

    def __init__(self, a: BeatGrid, b: BeatGrid, match: Match) -> None:
        fold = Fraction(match.fold).limit_denominator(3)
        self.a, self.b, self.fold = a, b, match.fold
        self.per, self.per_partner = fold.numerator, fold.denominator
        self.own, self.theirs = _refined(a.array, self.per), _refined(b.array, self.per_partner)
        by_bar = match.unit == "downbeat" and a.positions is not None and b.positions is not None
        self.bar = math.gcd(metre_of(a) * self.per, metre_of(b) * self.per_partner) if by_bar else 0
        if by_bar:
            (self._first, self._into), (self._their_first, self._their_into) = (
                _bars(a, self.per, self.bar), _bars(b, self.per_partner, self.bar)
            )  # fmt: skip

    def shift(self, i: int, j: int) -> int:
        """Return the shift at which beat j of the partner lies on beat i of the original."""
        return i * self.per - j * self.per_partner

    def span(self, shift: int) -> tuple[int, int]:
        """Return the first and the last point that both have; the last may lie before the first."""
        return max(0, shift), min(len(self.own), shift + len(self.theirs)) - 1

    def apart(self, shift: int) -> np.ndarray:
        """Return for each point of the span whether the two are apart in their bars."""
        first, last = self.span(shift)
        if not self.bar:
            return np.zeros(last + 1 - first, dtype=bool)
        mine, other = slice(first, last + 1), slice(first - shift, last + 1 - shift)
        return (self._first[mine] | self._their_first[other]) & (self._into[mine] != self._their_into[other])

    def together(self, shift: int, max_stretch: float) -> np.ndarray:
        """Return for each step of the span whether the partner's rate is within the limit, and both ends in bar."""
        first, last = self.span(shift)
        step, other = np.diff(self.own[first : last + 1]), np.diff(self.theirs[first - shift : last + 1 - shift])
        fits = np.abs(other / step - 1) <= max_stretch + 1e-9
        apart = self.apart(shift)
        return fits & ~apart[:-1] & ~apart[1:]

    def runs(self, shift: int, max_stretch: float) -> tuple[np.ndarray, np.ndarray]:
        """Return for each point of the span from which to which point they keep together around it."""
        first, last = self.span(shift)
        ends = np.flatnonzero(~self.together(shift, max_stretch))  # the step behind this point breaks
        points = np.arange(last + 1 - first)
        begin = np.concatenate([[0], ends + 1])[np.searchsorted(ends, points, "left")]
        stop = np.concatenate([ends, [last - first]])[np.searchsorted(ends, points, "left")]
        return first + begin, first + stop

    def labels(self, *, any_position: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return a label for each beat of either: those of one label may be laid on each other; -1 for none.

        Downbeats on downbeats where bars are aligned; with `any_position` all beats that are equally far into their
        bars, for pieces that have no downbeats inside.
        """
        if not self.bar:
            return np.zeros(len(self.a), dtype=np.int64), np.zeros(len(self.b), dtype=np.int64)
        into, other = self._into[:: self.per], self._their_into[:: self.per_partner]
        if any_position:
            return into, other
        return np.where(self._first[:: self.per], 0, -1), np.where(self._their_first[:: self.per_partner], 0, -1)

    def shifts(self, labels: tuple[np.ndarray, np.ndarray], beats: float) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the shifts at which `beats` beats of the original overlap and beats of one label meet: and which."""
        own, theirs = labels
        index = np.flatnonzero(own >= 0)
        for shift in range(-len(self.theirs) + 1, len(self.own)):
            first, last = self.span(shift)
            if last - first < beats * self.per - 1e-9:
                continue
            beat, rest = np.divmod(index * self.per - shift, self.per_partner)
            inside = (rest == 0) & (beat >= 0) & (beat < len(theirs))
            meet = index[inside][theirs[beat[inside]] == own[index[inside]]]
            if len(meet):
                yield shift, meet


class Anchors:
    """All pairs of beats that may be laid on each other, without listing them: O(N + M) for grids of N and M beats.

    Parameters
    ----------
    labels : (array, array)
        From `Lattice.labels`.
    reach : callable
        From the original's beats (K,) to ranges of the partner's beats, as `reach` gives them.
    """

    def __init__(self, labels: tuple[np.ndarray, np.ndarray], reach: Reach) -> None:
        rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        lists: list[np.ndarray] = []
        offset = 0
        for label in np.unique(labels[0][labels[0] >= 0]):
            own, theirs = (np.flatnonzero(one == label) for one in labels)
            lists.append(theirs)
            for first, last in reach(own):
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


def reach(lattice: Lattice, beats: float, *, from_anchor: bool = False) -> Reach:
    """Return which beats of the partner give an overlap of at least `beats` beats of the original, for `Anchors`.

    Counted between the first and the last beat that both have; with `from_anchor` from the anchor on.
    """
    last, theirs, fold = len(lattice.a) - 1, len(lattice.b) - 1, lattice.fold

    def found(own: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return ranges of the partner's beats, both ends included, for beats `own` of the original."""
        # min(i, j / fold) beats lie before the anchor, min(last - i, (theirs - j) / fold) behind it
        if from_anchor:
            low, high = np.zeros(len(own)), np.full(len(own), theirs - beats * fold)
            possible = last - own >= beats - 1e-9
        else:
            low, high = (beats - last + own) * fold, theirs + (own - beats) * fold
            possible = np.full(len(own), min(last, theirs / fold) >= beats - 1e-9)
        return [(low - 1e-9, np.where(possible, high + 1e-9, -1.0))]

    return found


def lay(
    lattice: Lattice, i: int, j: int, *, seconds: tuple[float, float], max_stretch: float
) -> tuple[Alignment, tuple[float, float]]:
    """Lay beat j of the partner on beat i of the original, and all others beat by beat on theirs.

    Parameters
    ----------
    lattice : Lattice
        Of the smoothed grids of original and partner.
    i, j : int
        The anchor.
    seconds : (float, float)
        How long the two sound.
    max_stretch : float
        The map ends where from one beat to the next the partner's rate departs further from 1, and before the first
        beat where the two are apart in their bars.

    Returns
    -------
    alignment : Alignment
        Where one of the grids ends it goes on for up to one beat, at the rate it had, as far as both sound.
    places : (float, float)
        From which to which place it goes, in beats of the original, from beat to beat.
    """
    a, shift, per = lattice.a, lattice.shift(i, j), lattice.per
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
        target, source = _extended(target, source, head, tail, 60.0 / (a.bpm or 60.0), seconds)
    return Alignment(target, source, (a.times[i], lattice.b.times[j])), (first / per, last / per)


def shifted(a: BeatGrid, b: BeatGrid, i: int, j: int, *, seconds: tuple[float, float]) -> Alignment:
    """Lay beat j on beat i and play the partner at its own tempo: it drifts away from there (MusicLDM)."""
    shift = a.times[i] - b.times[j]
    target = np.array([max(0.0, shift), min(seconds[0], shift + seconds[1])])
    return Alignment(target, target - shift, (a.times[i], b.times[j]))


def cut_before(alignment: Alignment) -> Alignment:
    """Return the alignment from its anchor on."""
    start = alignment.anchor[0]
    kept = alignment.target > start + 1e-9
    target = np.concatenate([[start], alignment.target[kept]])
    source = np.concatenate([[alignment.anchor[1]], alignment.source[kept]])
    return Alignment(target, source, alignment.anchor)


def in_glide(lattice: Lattice, shift: int, own: np.ndarray, beats: int, max_stretch: float) -> np.ndarray:
    """Return for anchors `own` (K,) at one shift whether both keep within the limit, and in bar, through a `glide`."""
    start, end = lattice.span(shift)
    point = own * lattice.per
    apart = np.concatenate([[0], np.cumsum(lattice.apart(shift))])
    stop = np.minimum(point + beats * lattice.per, end)
    left = np.flatnonzero((point + beats * lattice.per <= end) & (apart[stop + 1 - start] == apart[point - start]))
    for u in (np.arange(beats) + 0.5) / beats:  # beat by beat: few anchors are left after some
        first = point[left]
        mine = lattice.own[first + lattice.per] - lattice.own[first]
        theirs = lattice.theirs[first + lattice.per - shift] - lattice.theirs[first - shift]
        length = (1 - u) * mine + u * theirs
        left = left[np.maximum(np.abs(mine / length - 1), np.abs(theirs / length - 1)) <= max_stretch + 1e-9]
        point = point + lattice.per
        if not len(left):
            break
    found = np.zeros(len(own), dtype=bool)
    found[left] = True
    return found


def glide(lattice: Lattice, i: int, j: int, *, beats: int, seconds: tuple[float, float]) -> Alignment:
    """Go from one piece into the other over `beats` beats from i and j on, the tempo gliding from one to the other.

    The length of the m-th beat is that of the original times (1 - u) and that of the partner times u, with
    u = (m + 1/2) / beats: where both keep time, the length of a beat moves evenly. Before that the original plays
    unchanged, behind it the partner.
    """
    points = (i + np.arange(beats + 1)) * lattice.per
    own, theirs = lattice.own[points], lattice.theirs[points - lattice.shift(i, j)]
    u = (np.arange(beats) + 0.5) / beats
    joint = own[0] + np.concatenate([[0.0], np.cumsum((1 - u) * np.diff(own) + u * np.diff(theirs))])
    end = joint[-1] + seconds[1] - theirs[-1]
    target = joint if end <= joint[-1] + 1e-6 else np.append(joint, end)
    source = theirs if end <= joint[-1] + 1e-6 else np.append(theirs, seconds[1])
    mine = np.stack([joint, own], 1)
    if own[0] > 1e-6:
        mine = np.concatenate([[[0.0, 0.0]], mine])
    anchor = lattice.a.times[i], lattice.b.times[j]
    return Alignment(target, source, anchor, (float(joint[0]), float(joint[-1])), mine)


def _refined(times: np.ndarray, per: int) -> np.ndarray:
    return np.interp(np.arange((len(times) - 1) * per + 1) / per, np.arange(len(times)), times)


def _bars(grid: BeatGrid, per: int, bar: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each point of a grid whether it is a downbeat, and how far into the bar it is, modulo `bar` points."""
    assert grid.positions is not None
    point = np.arange((len(grid) - 1) * per + 1)
    into = (np.asarray(grid.positions)[point // per] - 1) * per + point % per
    return into == 0, into % bar


def _extended(
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
