"""Lay one piece on another: draw the anchor, and say why it cannot be done where it cannot."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch

from .. import draw
from ..draw import Generator
from .align import Alignment, Anchors, Lattice, cut_before, glide, in_glide, lay, metre_of, reach, shifted
from .grid import BeatGrid
from .match import Match, Rule, match

__all__ = ["Laid", "Placing", "met"]

# Anchors that are drawn and tried before all are gone through.
_TRIES = 32
# MusicLDM's least overlap, in samples of its 16 kHz.
_LEAST_SECONDS = 100 / 16000

_Labels = tuple[np.ndarray, np.ndarray]
_Ranges = list[tuple[np.ndarray, np.ndarray]]


class Laid(NamedTuple):
    """Two grids laid on each other, and how they meet."""

    alignment: Alignment
    match: Match


@dataclass(frozen=True)
class Placing:
    """How pieces are laid on each other.

    Parameters
    ----------
    rule : Rule
        Who may meet whom.
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

    rule: Rule
    min_bars: float = 2.0
    keep: Literal["original", "overlap", "anchor"] = "original"
    mode: Literal["overlay", "crossfade"] = "overlay"
    bars: int = 4
    drifting: bool = False

    def place(
        self, a: BeatGrid | None, b: BeatGrid | None, seconds: tuple[float, float], generator: Generator = None
    ) -> Laid | str:
        """Draw an anchor, uniformly among those that work, and lay partner b on original a; or return why not.

        Parameters
        ----------
        a, b : BeatGrid or None
            Smoothed.
        seconds : (float, float)
            How long the two sound.
        generator : torch.Generator, optional
        """
        found = met(a, b, self.rule)
        if a is None or b is None or isinstance(found, str):
            return str(found)
        lattice = Lattice(a, b, found)
        labels, anchors = self._anchors(lattice, seconds)
        if not len(anchors):
            return f"too short: no {found.unit}s of the two give {self._wanted(a)}"
        if len(anchors) <= _TRIES:
            numbers = draw.permutation(len(anchors), generator=generator)
        else:
            numbers = draw.integers(torch.full((_TRIES,), len(anchors)), generator=generator)
        for number in numbers.tolist():
            alignment = self._laid(lattice, *anchors[number], seconds)
            if alignment is not None:
                return Laid(alignment, found)
        alignment = self._searched(lattice, labels, seconds, generator) if len(anchors) > _TRIES else None
        if alignment is not None:
            return Laid(alignment, found)
        bar = "" if found.unit == "beat" else " and bars begin together"
        most = f"{100 * self.rule.max_stretch:.3g} %"
        return f"nowhere {self._wanted(a)} in which every beat needs a stretch of at most {most}{bar}"

    def _wanted(self, a: BeatGrid) -> str:
        bars = self.bars if self.mode == "crossfade" else self.min_bars
        return f"an overlap of {bars:g} bar{'' if bars == 1 else 's'} of {metre_of(a)} beats"

    def _anchors(self, lattice: Lattice, seconds: tuple[float, float]) -> tuple[_Labels, Anchors]:
        """Return what may be laid on each other so that enough overlaps: downbeats; in a piece without any, others."""
        labels = lattice.labels()
        if self.drifting and lattice.bar:  # the published loader never draws the last downbeat
            labels = _without_last(labels[0]), _without_last(labels[1])
        elif not all((one >= 0).any() for one in labels):
            labels = lattice.labels(any_position=True)
        return labels, self._among(lattice, labels, seconds)

    def _among(self, lattice: Lattice, labels: _Labels, seconds: tuple[float, float]) -> Anchors:
        if self.mode == "crossfade":
            return Anchors(labels, reach(lattice, self._fade_beats(lattice), from_anchor=True))
        if self.drifting:
            return Anchors(labels, lambda own: self._drifting_reach(lattice, own, seconds))
        return Anchors(labels, reach(lattice, self._least_beats(lattice), from_anchor=self.keep == "anchor"))

    def _fade_beats(self, lattice: Lattice) -> int:
        return self.bars * metre_of(lattice.a)

    def _least_beats(self, lattice: Lattice) -> float:
        return self.min_bars * metre_of(lattice.a)

    def _laid(self, lattice: Lattice, i: int, j: int, seconds: tuple[float, float]) -> Alignment | None:
        if self.mode == "crossfade":
            beats = self._fade_beats(lattice)
            if not in_glide(lattice, lattice.shift(i, j), np.array([i]), beats, self.rule.max_stretch).all():
                return None
            return glide(lattice, i, j, beats=beats, seconds=seconds)
        if self.drifting:
            alignment = shifted(lattice.a, lattice.b, i, j, seconds=seconds)
            return cut_before(alignment) if self.keep == "anchor" else alignment
        alignment, (first, last) = lay(lattice, i, j, seconds=seconds, max_stretch=self.rule.max_stretch)
        first = i if self.keep == "anchor" else first
        if last <= first or last - first < self._least_beats(lattice) - 1e-9:
            return None
        return cut_before(alignment) if self.keep == "anchor" else alignment

    def _searched(
        self, lattice: Lattice, labels: _Labels, seconds: tuple[float, float], generator: Generator
    ) -> Alignment | None:
        """Go through all anchors, shift by shift, and draw one of those that work; None where none does."""
        if self.drifting:
            return None  # all that are among its anchors work
        beats = self._fade_beats(lattice) if self.mode == "crossfade" else self._least_beats(lattice)
        working = [(shift, self._working(lattice, shift, own)) for shift, own in lattice.shifts(labels, beats)]
        working = [(shift, own) for shift, own in working if len(own)]
        ends = np.cumsum([len(own) for _, own in working])
        if not len(ends):
            return None
        number = int(draw.integers(torch.tensor([int(ends[-1])]), generator=generator))
        row = int(np.searchsorted(ends, number, side="right"))
        shift, own = working[row]
        i = int(own[number - int(ends[row])])  # counted from the row's end
        return self._laid(lattice, i, (i * lattice.per - shift) // lattice.per_partner, seconds)

    def _working(self, lattice: Lattice, shift: int, own: np.ndarray) -> np.ndarray:
        """Return which anchors of one shift, given as beats of the original, work: int32, as there may be many."""
        most = self.rule.max_stretch
        if self.mode == "crossfade":
            return own[in_glide(lattice, shift, own, self._fade_beats(lattice), most)].astype(np.int32)
        begin, stop = lattice.runs(shift, most)
        point = own * lattice.per
        place = point - lattice.span(shift)[0]
        long = stop[place] - (point if self.keep == "anchor" else begin[place])
        return own[(long > 0) & (long >= self._least_beats(lattice) * lattice.per - 1e-9)].astype(np.int32)

    def _drifting_reach(self, lattice: Lattice, own: np.ndarray, seconds: tuple[float, float]) -> _Ranges:
        """Return which beats of the partner may be laid on beats `own`, as `reach` does, where it is only shifted."""
        a, b = lattice.a.array, lattice.b.array
        beats = math.ceil(self._least_beats(lattice) - 1e-9)
        if self.keep == "anchor":
            least = np.maximum(a[np.minimum(own + beats, len(a) - 1)] - a[own], _LEAST_SECONDS)
            possible = (own + beats < len(a)) & (a[own] <= seconds[0] - _LEAST_SECONDS)
            last = np.searchsorted(b, seconds[1] - least + 1e-9, "right") - 1
            return [(np.zeros(len(own)), np.where(possible, last, -1))]
        return [
            (np.searchsorted(b, a[own] - high - 1e-9, "left"), np.searchsorted(b, a[own] - low + 1e-9, "right") - 1)
            for low, high in _shifts(a, seconds, beats)
        ]


def met(a: BeatGrid | None, b: BeatGrid | None, rule: Rule) -> Match | str:
    """Return how partner `b` meets original `a`, or the reason why it may not; None is a piece of unknown beats."""
    for grid, side in ((a, "original"), (b, "partner")):
        if grid is None:
            return f"no beats of the {side} are known"
        if grid.bpm is None:
            return f"no tempo: the {side} has {len(grid)} beat{'' if len(grid) == 1 else 's'}"
    assert a is not None
    assert b is not None
    return match(a, b, rule)


def _without_last(labels: np.ndarray) -> np.ndarray:
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
    first = np.searchsorted(a, np.maximum(points, 0.0) - 1e-9, "left")
    last = np.searchsorted(a, np.minimum(points + seconds[1], seconds[0]) + 1e-9, "right") - 1
    good = np.concatenate([[False], last - first >= beats, [False]])
    begin, stop = np.flatnonzero(good[1:] & ~good[:-1]), np.flatnonzero(good[:-1] & ~good[1:]) - 1
    return [(float(points[p]), float(points[q])) for p, q in zip(begin, stop)]
