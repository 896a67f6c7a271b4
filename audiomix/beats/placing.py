"""Lay one piece on another: draw the anchor, and say why it cannot be done where it cannot."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from .. import draw
from ..draw import Generator
from .align import Alignment, anchors, cut_before, glide, lay, shifted
from .grid import BeatGrid
from .meeting import Match, Rule, match

__all__ = ["Laid", "Placing"]

# Anchors that are tried before a pair counts as one that cannot be aligned.
_TRIES = 32
# MusicLDM's least overlap, in samples of its 16 kHz.
_LEAST_SECONDS = 100 / 16000
_USUAL_METRE = 4


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
        """Draw an anchor and lay partner b on original a, or return why it cannot be done.

        Parameters
        ----------
        a, b : BeatGrid or None
            Smoothed.
        seconds : (float, float)
            How long the two sound.
        generator : torch.Generator, optional
        """
        if a is None or b is None:
            return f"no beats of the {'original' if a is None else 'partner'} are known"
        found = match(a, b, self.rule)
        if isinstance(found, str):
            return found
        pairs = self._anchors(a, b, found)
        if not len(pairs):
            return f"too short: no {found.unit}s of the two give {self._wanted(a)}"
        for k in draw.permutation(len(pairs), generator=generator)[:_TRIES].tolist():
            i, j = pairs[k].tolist()
            alignment = self._laid(a, b, found, i, j, seconds)
            if alignment is not None:
                return Laid(alignment, found)
        most = f"{100 * self.rule.max_stretch:.3g} %"
        return f"no {self._wanted(a)} in a row in which every beat needs a stretch of at most {most}"

    def _wanted(self, a: BeatGrid) -> str:
        bars = self.bars if self.mode == "crossfade" else self.min_bars
        return f"an overlap of {bars:g} bars of {a.metre or _USUAL_METRE} beats"

    def _anchors(self, a: BeatGrid, b: BeatGrid, found: Match) -> np.ndarray:
        if self.mode == "crossfade":
            pairs = anchors(a, b, found, 0)
            beats = self._fade_beats(a)
            fits = (pairs[:, 0] + beats <= len(a) - 1) & (pairs[:, 1] + beats * found.fold <= len(b) - 1)
            return pairs[fits]
        pairs = anchors(a, b, found, self.min_bars)
        if self.drifting and found.unit == "downbeat" and len(pairs):  # the published loader never draws the last one
            pairs = pairs[(pairs[:, 0] < a.downbeats[-1]) & (pairs[:, 1] < b.downbeats[-1])]
        return pairs

    def _fade_beats(self, a: BeatGrid) -> int:
        return self.bars * (a.metre or _USUAL_METRE)

    def _laid(
        self, a: BeatGrid, b: BeatGrid, found: Match, i: int, j: int, seconds: tuple[float, float]
    ) -> Alignment | None:
        most = self.rule.max_stretch + 1e-9
        if self.mode == "crossfade":
            alignment = glide(a, b, found, i, j, beats=self._fade_beats(a), seconds=seconds)
            assert alignment.own is not None
            rates = [*_rates(alignment.target, alignment.source), *_rates(alignment.own[:, 0], alignment.own[:, 1])]
            return alignment if np.abs(np.array(rates) - 1).max() <= most else None
        if self.drifting:
            alignment = shifted(a, b, i, j, seconds=seconds)
            alignment = cut_before(alignment) if self.keep == "anchor" else alignment
            return alignment if alignment.target[-1] - alignment.target[0] > _LEAST_SECONDS else None
        alignment, bars = lay(a, b, found, i, j, seconds=seconds, max_stretch=self.rule.max_stretch)
        if self.keep == "anchor":
            bars = float(np.sum(a.array >= a.times[i]) - 1 - np.sum(a.array > alignment.target[-1])) / (
                a.metre or _USUAL_METRE
            )
            alignment = cut_before(alignment)
        return alignment if bars >= self.min_bars - 1e-9 and len(alignment.target) > 1 else None


def _rates(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    return np.diff(source) / np.diff(target)
