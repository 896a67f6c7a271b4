"""Two grids laid on each other: which beats may be anchors, and the map from the original's time to the partner's."""

from dataclasses import dataclass

import numpy as np

from .grid import BeatGrid
from .meeting import Match

__all__ = ["Alignment", "anchors", "cut_before", "glide", "lay", "shifted"]

# Beats in a bar where the metre is unknown.
_USUAL_METRE = 4


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


def anchors(a: BeatGrid, b: BeatGrid, match: Match, bars: float) -> np.ndarray:
    """Return all pairs (i, j) of beats that may be laid on each other so that at least `bars` bars overlap, (N, 2).

    Downbeats on downbeats where the match is by downbeat; else any beats. Counted in bars of the original (of four
    beats where its metre is unknown), between the first and last beat that both have.
    """
    if match.unit == "downbeat":
        own, theirs = a.downbeats, b.downbeats
    else:
        own, theirs = np.arange(len(a)), np.arange(len(b))
    before = np.minimum(own[:, None], theirs[None, :] / match.fold)
    behind = np.minimum(len(a) - 1 - own[:, None], (len(b) - 1 - theirs[None, :]) / match.fold)
    wanted = bars * (a.metre or _USUAL_METRE)
    i, j = np.nonzero(before + behind >= wanted - 1e-9)
    return np.stack([own[i], theirs[j]], 1)


def lay(
    a: BeatGrid, b: BeatGrid, match: Match, i: int, j: int, *, seconds: tuple[float, float], max_stretch: float
) -> tuple[Alignment, float]:
    """Lay beat j of the partner on beat i of the original, and all others beat by beat on theirs.

    Parameters
    ----------
    a, b : BeatGrid
        Smoothed grids of original and partner.
    match : Match
    i, j : int
        The anchor.
    seconds : (float, float)
        How long the two sound.
    max_stretch : float
        The map ends where from one beat to the next the partner's rate departs further from 1.

    Returns
    -------
    alignment : Alignment
        Where one of the grids ends it goes on for up to one beat, at the rate it had, as far as both sound.
    bars : float
        How many bars of the original it covers, from beat to beat.
    """
    place, target, source = _knots(a, b, match.fold, i, j)
    centre = int(np.flatnonzero(np.abs(place - i) < 1e-9)[0])
    rates = np.diff(source) / np.diff(target)
    fits = np.abs(rates - 1) <= max_stretch + 1e-9
    first, last = centre, centre
    while first > 0 and fits[first - 1]:
        first -= 1
    while last < len(fits) and fits[last]:
        last += 1
    bars = (place[last] - place[first]) / (a.metre or _USUAL_METRE)
    kept = slice(first, last + 1)
    target, source = target[kept], source[kept]
    if last > first:
        head = rates[first] if first == 0 else None
        tail = rates[last - 1] if last == len(fits) else None
        target, source = _extended(target, source, head, tail, 60.0 / (a.bpm or 60.0), seconds)
    return Alignment(target, source, (a.times[i], b.times[j])), float(bars)


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


def glide(
    a: BeatGrid, b: BeatGrid, match: Match, i: int, j: int, *, beats: int, seconds: tuple[float, float]
) -> Alignment:
    """Go from one piece into the other over `beats` beats from i and j on, the tempo gliding from one to the other.

    The length of the m-th beat is that of the original times (1 - u) and that of the partner times u, with
    u = (m + 1/2) / beats: where both keep time, the length of a beat moves evenly. Before that the original plays
    unchanged, behind it the partner.
    """
    index = np.arange(beats + 1)
    own = a.array[i + index]
    theirs = np.interp(j + index * match.fold, np.arange(len(b)), b.array)
    u = (index[:-1] + 0.5) / beats
    length = (1 - u) * np.diff(own) + u * np.diff(theirs)
    joint = own[0] + np.concatenate([[0.0], np.cumsum(length)])
    end = joint[-1] + seconds[1] - theirs[-1]
    target = joint if end <= joint[-1] + 1e-6 else np.append(joint, end)
    source = theirs if end <= joint[-1] + 1e-6 else np.append(theirs, seconds[1])
    mine = np.stack([joint, own], 1)
    if own[0] > 1e-6:
        mine = np.concatenate([[[0.0, 0.0]], mine])
    return Alignment(target, source, (a.times[i], b.times[j]), (float(joint[0]), float(joint[-1])), mine)


def _knots(a: BeatGrid, b: BeatGrid, fold: float, i: int, j: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each beat of either: its place in the original's count, its time there, and its time in the partner."""
    low = max(0.0, i - j / fold)
    high = min(len(a) - 1.0, i + (len(b) - 1 - j) / fold)
    own = np.arange(np.ceil(low - 1e-9), np.floor(high + 1e-9) + 1)
    theirs = i + (np.arange(len(b)) - j) / fold
    place = np.concatenate([own, theirs[(theirs >= low - 1e-9) & (theirs <= high + 1e-9)]])
    place = np.unique(np.round(place, 9))
    target = np.interp(place, np.arange(len(a)), a.array)
    source = np.interp(j + (place - i) * fold, np.arange(len(b)), b.array)
    return place, target, source


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
