"""Where a partner is laid on an original: `AnchorSampler` chooses the two beats that lie on each other."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch

from .. import check, draw
from ..draw import Generator
from .align import (
    Anchors,
    BeatAlignment,
    Lattice,
    Ranges,
    align_beats,
    align_by_shift,
    can_glide,
    cut_before_anchor,
    find_ranges,
    glide,
    metre_of,
)
from .grid import BeatGrid
from .mashability.features import BeatFeatures
from .mashability.score import Likeness, weigh_change, weigh_length
from .match import Match, MatchRule, match_or_reason

__all__ = ["ANCHORS", "AnchorSampler", "Placement"]

ANCHORS = ("random", "similar", "longest", "downbeat")

# Anchors that are drawn and tried before all are gone through.
_TRIES = 32
# MusicLDM's least overlap, in samples of its 16 kHz.
_LEAST_SECONDS = 100 / 16000
# Times and numbers of beats that differ by rounding alone count as equal.
_ROUNDING = 1e-9
# Bars from the end of the original, and from the start of the partner, within which a chosen cross-fade begins.
_FADE_BARS = 16

_Labels = tuple[np.ndarray, np.ndarray]
Features = tuple[BeatFeatures, BeatFeatures]


class Placement(NamedTuple):
    """How a partner is laid on an original.

    Parameters
    ----------
    alignment : BeatAlignment
        What of the partner sounds when.
    match : Match
        How the two are matched.
    score : float, optional
        How well they go together there, in [0, 1], as `Mashability.score`. None: not measured.
    """

    alignment: BeatAlignment
    match: Match
    score: float | None = None


@dataclass(frozen=True)
class AnchorSampler:
    """Chooses the two beats that are laid on each other, among all that work.

    Parameters
    ----------
    rule : MatchRule
        Which pieces are compatible.
    min_bars : float
        Least overlap, in bars of the original.
    keep : str
        With ``anchor`` nothing sounds before the anchor.
    mode : str
        ``overlay`` or ``crossfade``.
    bars : int
        Length of a cross-fade.
    drifting : bool
        Shift the partner only.
    anchor : str
        ``random`` and ``downbeat`` (whose rule has to be ``align="downbeat"``): each is equally likely. ``longest``:
        the longest overlap, or the cross-fade that leaves most of the two. ``similar``: where the likeness of the two,
        times a root of that length, is largest. Of those that are equal one is drawn. All cross-fades begin in the
        second half of the original and in the first of the partner, where that is possible.
    """

    rule: MatchRule
    min_bars: float = 2.0
    keep: Literal["original", "overlap", "anchor"] = "original"
    mode: Literal["overlay", "crossfade"] = "overlay"
    bars: int = 4
    drifting: bool = False
    anchor: Literal["random", "similar", "longest", "downbeat"] = "random"

    def sample(
        self,
        a: BeatGrid | None,
        b: BeatGrid | None,
        seconds: tuple[float, float],
        generator: Generator = None,
        features: Features | None = None,
    ) -> Placement | str:
        """Choose an anchor and lay partner `b` on original `a`, or return the reason why that is not possible.

        Parameters
        ----------
        a, b : BeatGrid or None
            Smoothed; None where the beats are unknown.
        seconds : (float, float)
            How long original and partner last.
        generator : torch.Generator, optional
            On the CPU; None means torch's global one.
        features : (BeatFeatures, BeatFeatures), optional
            Of original and partner, measured with these grids; ``similar`` needs them. With them the score is told.
        """
        match = match_or_reason(a, b, self.rule)
        if a is None or b is None or isinstance(match, str):
            return str(match)
        beats = len(a), len(b)
        if not self.drifting:  # which is MusicLDM's, and counts beats as it was published
            a, b = a.close(seconds[0]), b.close(seconds[1])
        lattice = Lattice(a, b, match)
        labels = self._labels(lattice, beats)
        anchors = Anchors(labels, lambda own: self._ranges(lattice, own, seconds))
        bars = self.bars if self.mode == "crossfade" else self.min_bars
        wanted = f"an overlap of {bars:g} bar{'' if bars == 1 else 's'} of {metre_of(a)} beats"
        if not len(anchors):
            return f"too short: no {match.unit}s of the two give {wanted}"
        if self.anchor == "similar" and features is None:
            check.fail("features", "those of both, from audiomix.beats.mashability.measure", None, error=TypeError)
        scores = _Scores(lattice, None if features is None else _likeness(lattice, features), match.semitones)
        found = self._choose(lattice, labels, seconds, generator, scores)
        alignment = None if found is None else self._align(lattice, *found, seconds)
        if found is not None and alignment is not None:
            score = self._score(lattice, found, scores)
            return Placement(alignment, match, score and score * weigh_change(match.rate, match.semitones))
        in_bar = "" if match.unit == "beat" else " and bars begin together"
        most = f"{100 * self.rule.max_stretch:.3g} %"
        return f"nowhere {wanted} in which every beat needs a stretch of at most {most}{in_bar}"

    def _labels(self, lattice: Lattice, beats: tuple[int, int]) -> _Labels:
        """Return which beats may be laid on which: downbeats; in a piece without any, others.

        Only the first `beats` of each grid: what `BeatGrid.close` adds is the end of the sound, where nothing begins.
        """
        labels = lattice.labels()
        if self.drifting and lattice.bar:  # the published loader never draws the last downbeat
            return _without_last(labels[0]), _without_last(labels[1])
        if not all((one[:count] >= 0).any() for one, count in zip(labels, beats)):
            labels = lattice.labels(any_position=True)
        own, theirs = (np.where(np.arange(len(one)) < count, one, -1) for one, count in zip(labels, beats))
        return own, theirs

    def _least_beats(self, lattice: Lattice) -> float:
        """Return the least overlap, in beats of the original; all of a cross-fade."""
        return (self.bars if self.mode == "crossfade" else self.min_bars) * metre_of(lattice.a)

    def _ranges(self, lattice: Lattice, own: np.ndarray, seconds: tuple[float, float]) -> Ranges:
        """Return which beats of the partner may be laid on beats `own` so that enough overlaps."""
        beats = self._least_beats(lattice)
        if self.mode != "crossfade" and self.drifting:
            return self._drifting_ranges(lattice, own, math.ceil(beats - _ROUNDING), seconds)
        from_anchor = self.mode == "crossfade" or self.keep == "anchor"
        return find_ranges(lattice, own, beats, from_anchor=from_anchor)

    def _drifting_ranges(self, lattice: Lattice, own: np.ndarray, beats: int, seconds: tuple[float, float]) -> Ranges:
        """Return the same where the partner is only shifted, for an overlap of whole beats."""
        a, b = lattice.a.array, lattice.b.array
        if self.keep == "anchor":
            least = np.maximum(a[np.minimum(own + beats, len(a) - 1)] - a[own], _LEAST_SECONDS)
            possible = (own + beats < len(a)) & (a[own] <= seconds[0] - _LEAST_SECONDS)
            last = np.searchsorted(b, seconds[1] - least + _ROUNDING, "right") - 1
            return [(np.zeros(len(own)), np.where(possible, last, -1))]
        return [
            (
                np.searchsorted(b, a[own] - high - _ROUNDING, "left"),
                np.searchsorted(b, a[own] - low + _ROUNDING, "right") - 1,
            )
            for low, high in _shifts(a, seconds, beats)
        ]

    def _align(self, lattice: Lattice, i: int, j: int, seconds: tuple[float, float]) -> BeatAlignment | None:
        """Lay beat j on beat i; None where they do not keep together for long enough."""
        most = self.rule.max_stretch
        if self.mode == "crossfade":
            beats = self.bars * metre_of(lattice.a)
            if not can_glide(lattice, lattice.shift_of(i, j), np.array([i]), beats, most).all():
                return None
            return glide(lattice, i, j, beats=beats, seconds=seconds)
        if self.drifting:
            alignment = align_by_shift(lattice.a, lattice.b, i, j, seconds=seconds)
            return cut_before_anchor(alignment) if self.keep == "anchor" else alignment
        alignment, (first, last) = align_beats(lattice, i, j, seconds=seconds, max_stretch=most)
        first = i if self.keep == "anchor" else first
        if last <= first or last - first < self._least_beats(lattice) - _ROUNDING:
            return None
        return cut_before_anchor(alignment) if self.keep == "anchor" else alignment

    def _choose(
        self,
        lattice: Lattice,
        labels: _Labels,
        seconds: tuple[float, float],
        generator: Generator,
        scores: "_Scores",
    ) -> tuple[int, int] | None:
        """Return two beats that may be laid on each other; None where no two work."""
        pick = self._draw
        if self.anchor in ("similar", "longest"):
            pick = self._best_fade if self.mode == "crossfade" else self._best_shift
            scores = scores if self.anchor == "similar" else _Scores(lattice)
        for some in (_late(labels), labels) if self.mode == "crossfade" else (labels,):
            found = pick(lattice, some, seconds, generator, scores)
            if found is not None:
                return found
        return self._search(lattice, labels, generator)

    def _draw(
        self,
        lattice: Lattice,
        labels: _Labels,
        seconds: tuple[float, float],
        generator: Generator,
        scores: "_Scores",
    ) -> tuple[int, int] | None:
        """Draw two beats that work, in some tries."""
        anchors = Anchors(labels, lambda own: self._ranges(lattice, own, seconds))
        if len(anchors) <= _TRIES:
            numbers = draw.permutation(len(anchors), generator=generator)
        else:
            numbers = draw.integers(torch.full((_TRIES,), len(anchors)), generator=generator)
        pairs = (anchors[number] for number in numbers.tolist())
        return next((pair for pair in pairs if self._align(lattice, *pair, seconds) is not None), None)

    def _search(self, lattice: Lattice, labels: _Labels, generator: Generator) -> tuple[int, int] | None:
        """Go through all anchors, shift by shift, and draw one of those that work; None where none does."""
        if self.drifting:
            return None  # all that are among its anchors work, and one was drawn
        found = [
            (shift, self._find_working(lattice, shift, own))
            for shift, own in lattice.shifts(labels, self._least_beats(lattice))
        ]
        found = [(shift, own) for shift, own in found if len(own)]
        ends = np.cumsum([len(own) for _, own in found])
        if not len(ends):
            return None
        number = int(draw.integers(torch.tensor([int(ends[-1])]), generator=generator))
        row = int(np.searchsorted(ends, number, side="right"))
        shift, own = found[row]
        i = int(own[number - int(ends[row])])  # counted from the row's end
        return i, lattice.partner_of(shift, i)

    def _find_working(self, lattice: Lattice, shift: int, own: np.ndarray) -> np.ndarray:
        """Return which anchors of one shift, given as beats of the original, work: int32, as there may be many."""
        if self.mode == "crossfade":
            beats, most = int(self._least_beats(lattice)), self.rule.max_stretch
            return own[can_glide(lattice, shift, own, beats, most)].astype(np.int32)
        return own[self._overlaps(lattice, shift, own) > 0].astype(np.int32)

    def _overlaps(self, lattice: Lattice, shift: int, own: np.ndarray) -> np.ndarray:
        """Return how many points overlap around each anchor of one shift; (K,), 0 where that is not enough."""
        point, (first, last) = own * lattice.per, lattice.span(shift)
        if self.drifting:
            begin, stop = np.full(len(own), first), np.full(len(own), last)
        else:
            begin, stop = (run[point - first] for run in lattice.runs(shift, self.rule.max_stretch))
        long = stop - (point if self.keep == "anchor" else begin)
        return np.where(long >= self._least_beats(lattice) * lattice.per - _ROUNDING, long, 0)

    def _best_shift(
        self,
        lattice: Lattice,
        labels: _Labels,
        seconds: tuple[float, float],
        generator: Generator,
        scores: "_Scores",
    ) -> tuple[int, int] | None:
        """Return the anchor whose overlap is worth most; the first of the beats that are laid on each other there."""
        shifts, longest = scores.shifts, scores.longest
        span = np.minimum(len(lattice.own), shifts + len(lattice.theirs)) - 1 - np.maximum(0, shifts)
        score = scores.of_shifts()
        value = score * weigh_length(span, longest)
        best, found = 0.0, None
        for s in _order(value, generator):
            if value[s] <= best:  # what overlaps of a shift is no more than its span
                break
            shift = int(shifts[s])
            own = lattice.pairs(shift, labels)
            if self.drifting and len(own):
                theirs = lattice.partner_of(shift, own)
                own = own[np.any([(x <= theirs) & (theirs <= y) for x, y in self._ranges(lattice, own, seconds)], 0)]
            if not len(own):
                continue
            long = self._overlaps(lattice, shift, own)
            k = int(long.argmax())
            worth = float(score[s] * weigh_length(long[k], longest))
            if worth > best:
                best, found = worth, (int(own[k]), lattice.partner_of(shift, int(own[k])))
        return found

    def _best_fade(
        self,
        lattice: Lattice,
        labels: _Labels,
        seconds: tuple[float, float],
        generator: Generator,
        scores: "_Scores",
    ) -> tuple[int, int] | None:
        """Return the cross-fade that is worth most, of those near the original's end and the partner's start."""
        metre, beats, fold = metre_of(lattice.a), int(self._least_beats(lattice)), lattice.fold
        own, theirs = (np.flatnonzero(one >= 0) for one in labels)
        last, their_last = len(lattice.a) - 1 - beats, math.floor(len(lattice.b) - 1 - beats * fold + _ROUNDING)
        own = own[(own <= last) & (own > last - _FADE_BARS * metre)]
        theirs = theirs[(theirs <= their_last) & (theirs < _FADE_BARS * metre * fold)]
        if not len(own) or not len(theirs):
            return None
        value = scores.of_fades(own, theirs, beats)
        value[labels[0][own][:, None] != labels[1][theirs][None]] = 0
        most = self.rule.max_stretch
        for k in _order(value.ravel(), generator):
            i, j = int(own[k // len(theirs)]), int(theirs[k % len(theirs)])
            if value.flat[k] > 0 and can_glide(lattice, lattice.shift_of(i, j), np.array([i]), beats, most).all():
                return i, j
        return None

    def _score(self, lattice: Lattice, pair: tuple[int, int], scores: "_Scores") -> float | None:
        """Return what an anchor is worth; None where likeness is not known."""
        if scores.likeness is None:
            return None
        shift, own = lattice.shift_of(*pair), np.array(pair[:1])
        if self.mode == "crossfade":
            return float(scores.of_fades(own, np.array(pair[1:]), int(self._least_beats(lattice)))[0, 0])
        at = np.searchsorted(scores.shifts, shift)
        length = float(self._overlaps(lattice, shift, own)[0])
        inside = at < len(scores.shifts) and scores.shifts[at] == shift
        return float(scores.of_shifts()[at] * weigh_length(length, scores.longest)) if inside else 0.0


class _Scores:
    """What anchors are worth: by their likeness times a root of the length, or by the length alone."""

    def __init__(self, lattice: Lattice, likeness: Likeness | None = None, semitones: int = 0) -> None:
        self.lattice, self.likeness, self.semitones = lattice, likeness, semitones
        sizes = len(lattice.own) - 1, len(lattice.theirs) - 1
        self.shifts, self.longest = np.arange(1 - sizes[1], sizes[0]), min(sizes)

    def of_shifts(self) -> np.ndarray:
        """Return the score of each shift, whatever its length; (S,)."""
        if self.likeness is None:
            return np.ones(len(self.shifts))
        return self.likeness.scores([self.semitones])[0]  # type: ignore[no-any-return]

    def of_fades(self, own: np.ndarray, theirs: np.ndarray, beats: int) -> np.ndarray:
        """Return what cross-fades from beats `own` (I,) and `theirs` (J,) on are worth; (I, J)."""
        grid, fold = self.lattice, self.lattice.fold
        both = len(grid.a) - 1, (len(grid.b) - 1) / fold
        kept = own[:, None] + beats + both[1] - theirs[None] / fold  # of the original, and of the partner
        worth = weigh_length(kept, sum(both))
        if self.likeness is not None:
            places = own * grid.per, theirs * grid.per_partner
            worth = worth * self.likeness.window_scores(*places, beats * grid.per, self.semitones)
        return worth


def _late(labels: _Labels) -> _Labels:
    """Return labels without those in the first half of the original and in the second of the partner."""
    own, theirs = labels[0].copy(), labels[1].copy()
    own[: len(own) // 2], theirs[-(-len(theirs) // 2) :] = -1, -1
    return own, theirs


def _order(value: np.ndarray, generator: Generator) -> np.ndarray:
    """Return the places of values (N,), the largest first; those that are equal in a drawn order."""
    drawn = draw.permutation(len(value), generator=generator).numpy()
    return drawn[np.argsort(-value[drawn].round(9), kind="stable")]


def _likeness(lattice: Lattice, features: Features) -> Likeness:
    """Return the likeness of two pieces on their lattice; a drifting mix does not count the beat that closes a loop."""
    own, theirs = (one.first(len(grid) - 1) for one, grid in zip(features, (lattice.a, lattice.b)))
    return Likeness(own, theirs, lattice.per, lattice.per_partner)


def _without_last(labels: np.ndarray) -> np.ndarray:
    """Return labels (N,) without the last beat that has one."""
    kept = labels.copy()
    kept[np.flatnonzero(labels >= 0)[-1:]] = -1
    return kept


def _shifts(a: np.ndarray, seconds: tuple[float, float], beats: int) -> list[tuple[float, float]]:
    """Return by which seconds the partner may be shifted so that `beats` beats after the first lie in the overlap."""
    low, high = _LEAST_SECONDS - seconds[1], seconds[0] - _LEAST_SECONDS
    if low > high:
        return []
    edges = np.unique(np.concatenate([a, a - seconds[1], [0.0, seconds[0] - seconds[1], low, high]]).clip(low, high))
    points = np.sort(np.concatenate([edges, (edges[1:] + edges[:-1]) / 2]))  # between edges nothing changes
    first = np.searchsorted(a, np.maximum(points, 0.0) - _ROUNDING, "left")
    last = np.searchsorted(a, np.minimum(points + seconds[1], seconds[0]) + _ROUNDING, "right") - 1
    good = np.concatenate([[False], last - first >= beats, [False]])
    begin, stop = np.flatnonzero(good[1:] & ~good[:-1]), np.flatnonzero(good[:-1] & ~good[1:]) - 1
    return [(float(points[p]), float(points[q])) for p, q in zip(begin, stop)]
