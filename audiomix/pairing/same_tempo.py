"""A partner of nearly the same tempo, or of half or double: what `audiomix.BeatMix` asks of tempi, for any mixer.

The paper pairs music whose whole tempi fall into one bucket of 3 bpm. Here a tolerance takes the place of buckets, so
that 119.5 and 120.5 bpm meet at any rate, and tempi are folded.

Source: ours, after Chen et al., "MusicLDM: Enhancing Novelty in Text-to-Music Generation Using Beat-Synchronous Mixup
Strategies", ICASSP 2024.
"""

import numpy as np
import torch
from torch import Tensor

from .. import check
from ..beats.grid import BeatGrid
from ..beats.match import MAX_STRETCH, MatchFeatures, MatchRule, compatible
from ..draw import Generator
from ._notes import note_values, numbers
from ._pool import Pool, reads

__all__ = ["pair", "tempo_rule"]


@reads("bpm", "beats")
def pair(pool: Pool, generator: Generator, *, tolerance: float = 4.0, octaves: bool = True) -> tuple[Tensor, Tensor]:
    """Draw partners of nearly the same tempo, each equally likely.

    Parameters
    ----------
    pool : Pool
        The clips; their note is `bpm`, or `beats`, from which tempi are read where `bpm` does not tell. A clip without
        a tempo has no partner and is none.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    tolerance : float
        By how much the original's tempo may differ from the partner's, in per cent of the partner's, 0 to 14. At 4 %
        two pieces that begin together are half a beat apart after 12 beats.
    octaves : bool
        Tempi are alike too where one is about half of the other.

    Returns
    -------
    partner, found : Tensor, shape (size,)
        See `audiomix.pairing.pair`.

    Examples
    --------
    >>> from audiomix import MixUp
    >>> mixer = MixUp(pairing="same_tempo:tolerance=3")
    >>> plan = mixer(torch.randn(4, 1, 100), bpm=[120, 61, 90, 88]).plans[0]
    >>> plan.partner.tolist()
    [1, 0, 3, 2]
    """
    rule = tempo_rule(tolerance, octaves)
    own, theirs = (_features(tempo) for tempo in _tempi(pool))
    index = np.arange(pool.size)
    return pool.choose(lambda rows, may: torch.from_numpy(compatible(own.at(index[rows]), theirs, rule)), generator)


def tempo_rule(tolerance: float = 4.0, octaves: bool = True) -> MatchRule:
    """Return what is asked of two tempi, as the beats of files are matched by; the arguments are those of `pair`.

    >>> tempo_rule(8).max_stretch
    0.08
    """
    slip = "in per cent; beyond 14 % half and double tempo would not stand apart"
    most = check.number("tolerance", tolerance, 0, 100 * MAX_STRETCH, slip=slip) / 100
    return MatchRule(min(most, MAX_STRETCH), align="beat", octaves=octaves)


def _tempi(pool: Pool) -> tuple[Tensor, Tensor]:
    """Return the tempi of the clips and of the candidates, in bpm; float64, NaN where there is none."""
    sides: list[list[Tensor]] = []
    slip = "bpm=, one number a clip, or beats=, from which it is read"
    if pool.notes.bpm is not None:
        sides.append([torch.where(bpm > 0, bpm, torch.nan) for bpm in numbers(pool, "bpm", "same_tempo", slip)])
    if pool.notes.beats is not None or not sides:
        if pool.notes.beats is None:
            check.fail("bpm", "given for pairing 'same_tempo'", None, slip)
        beats = note_values(pool, "beats", "same_tempo", slip)
        names = ("beats", "other_beats")
        sides.append([_read_grids(name, side) for name, side in zip(names, beats)])
    own, theirs = sides[0]
    for more in sides[1:]:
        own, theirs = (torch.where(a.isnan(), b, a) for a, b in zip((own, theirs), more))
    return own, theirs


def _read_grids(name: str, beats: list[BeatGrid | list[float] | None]) -> Tensor:
    """Return the tempi of beats of each clip; NaN where there are not two."""
    grids = (None if one is None else BeatGrid.of(one, f"{name}[{i}]") for i, one in enumerate(beats))
    tempi = [None if grid is None else grid.bpm for grid in grids]
    return torch.tensor([torch.nan if bpm is None else bpm for bpm in tempi], dtype=torch.float64)


def _features(tempo: Tensor) -> MatchFeatures:
    """Return what tempi alone tell of pieces."""
    bpm = tempo.numpy()
    return MatchFeatures(bpm, np.zeros(len(bpm), np.int64), np.full(len(bpm), -1))
