"""Where a partner is laid on an original: `AnchorSampler` draws the two beats that lie on each other."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch

from .. import draw
from ..draw import Generator
from .align import (
    Anchors,
    BeatAlignment,
    Lattice,
    Ranges,
    align_beats,
    align_shifted,
    can_glide,
    cut_before_anchor,
    find_ranges,
    glide,
    metre_of,
)
from .grid import BeatGrid
from .match import Match, MatchRule, match_or_reason

__all__ = ["AnchorSampler", "Placement"]

# Anchors that are drawn and tried before all are gone through.
_TRIES = 32
# MusicLDM's least overlap, in samples of its 16 kHz.
_LEAST_SECONDS = 100 / 16000
# Times and numbers of beats that differ by rounding alone count as equal.
_ROUNDING = 1e-9

_Labels = tuple[np.ndarray, np.ndarray]


class Placement(NamedTuple):
    """How a partner is laid on an original.

    Parameters
    ----------
    alignment : BeatAlignment
        What of the partner sounds when.
    match : Match
        How the two are matched.
    """

    alignment: BeatAlignment
    match: Match


@dataclass(frozen=True)
class AnchorSampler:
    """Draws the two beats that are laid on each other, uniformly among all that work.

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
    """

    rule: MatchRule
    min_bars: float = 2.0
    keep: Literal["original", "overlap", "anchor"] = "original"
    mode: Literal["overlay", "crossfade"] = "overlay"
    bars: int = 4
    drifting: bool = False

    def sample(
        self, a: BeatGrid | None, b: BeatGrid | None, seconds: tuple[float, float], generator: Generator = None
    ) -> Placement | str:
        """Draw an anchor and lay partner `b` on original `a`, or return the reason why that is not possible.

        Parameters
        ----------
        a, b : BeatGrid or None
            Smoothed; None where the beats are unknown.
        seconds : (float, float)
            How long original and partner last.
        generator : torch.Generator, optional
            On the CPU; None means torch's global one.
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
        if len(anchors) <= _TRIES:
            numbers = draw.permutation(len(anchors), generator=generator)
        else:
            numbers = draw.integers(torch.full((_TRIES,), len(anchors)), generator=generator)
        for number in numbers.tolist():
            alignment = self._align(lattice, *anchors[number], seconds)
            if alignment is not None:
                return Placement(alignment, match)
        if len(anchors) > _TRIES:
            alignment = self._search(lattice, labels, seconds, generator)
            if alignment is not None:
                return Placement(alignment, match)
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
            alignment = align_shifted(lattice.a, lattice.b, i, j, seconds=seconds)
            return cut_before_anchor(alignment) if self.keep == "anchor" else alignment
        alignment, (first, last) = align_beats(lattice, i, j, seconds=seconds, max_stretch=most)
        first = i if self.keep == "anchor" else first
        if last <= first or last - first < self._least_beats(lattice) - _ROUNDING:
            return None
        return cut_before_anchor(alignment) if self.keep == "anchor" else alignment

    def _search(
        self, lattice: Lattice, labels: _Labels, seconds: tuple[float, float], generator: Generator
    ) -> BeatAlignment | None:
        """Go through all anchors, shift by shift, and draw one of those that work; None where none does."""
        if self.drifting:
            return None  # all that are among its anchors work
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
        return self._align(lattice, i, (i * lattice.per - shift) // lattice.per_partner, seconds)

    def _find_working(self, lattice: Lattice, shift: int, own: np.ndarray) -> np.ndarray:
        """Return which anchors of one shift, given as beats of the original, work: int32, as there may be many."""
        beats, most = self._least_beats(lattice), self.rule.max_stretch
        if self.mode == "crossfade":
            return own[can_glide(lattice, shift, own, int(beats), most)].astype(np.int32)
        begin, stop = lattice.runs(shift, most)
        point = own * lattice.per
        index = point - lattice.span(shift)[0]
        long = stop[index] - (point if self.keep == "anchor" else begin[index])
        return own[(long > 0) & (long >= beats * lattice.per - _ROUNDING)].astype(np.int32)


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
