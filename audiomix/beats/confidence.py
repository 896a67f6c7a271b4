"""How likely tracked beats are right: one scale for all trackers, estimated from the sound and the beats alone.

A pair of pieces is mixed in time if the beats of both are right. Whether they are, other views of the same sound tell:
where the onsets are strong in the low, middle and high bands each by itself, and where slow or fast tempi are likelier
beforehand, the built-in tracker finds the same beats in music with a clear beat, and others where there is none (mutual
agreement: Zapata et al., "Multi-feature beat tracking", IEEE/ACM TASLP 22(4), 2014). Sounds that tick without being
music, as clocks do, have no low onsets and nothing between the ticks.

The four numbers go into a logistic model. ``python tests/bench/confidence.py --fit`` prints its constants and says
what they were fitted on; without ``--fit`` it measures them on clips of other sources.
"""

import math
from dataclasses import replace

import numpy as np
from torch import Tensor

from .grid import BeatGrid
from .silence import drop_silent
from .sound.bar_pointer import fit_beats
from .sound.channel import mono
from .sound.onsets import RATE, STEP, band_onsets, mel_bands, sum_onsets

__all__ = [
    "EVIDENCE", "MIN_CONFIDENCE", "collect_evidence", "estimate_confidence", "find_other_beats", "hold_to_sound",
    "measure_evidence",
]  # fmt: skip

# Least confidence with which beats are mixed unless another is asked for.
MIN_CONFIDENCE = 0.6
# What is measured, see `measure_evidence`, and what it counts: from tests/bench/confidence.py --fit.
EVIDENCE = ("bands", "priors", "low", "between")
_WEIGHTS = (3.62, 5.49, 3.82, 1.98)
_BIAS = -3.83
# Fewer beats tell nothing.
_LEAST = 4
# Of a long piece excerpts are looked at, spread from its first beat to its last: seconds of each, and how many.
_EXCERPT, _EXCERPTS = 20.0, 3
# Beats before the first and behind the last one that are looked at too: silence further off tells nothing.
_ROOM = 2.0
# Two beats are the same within this many seconds, as in a mix that is in time.
_SAME = 0.05
# Tempi that are thought likelier, and how much that counts a frame; the tracker's own are 120 and 0.03.
_SLOW, _FAST, _PRIOR = 75.0, 170.0, 0.2
_LOW_BANDS = 8  # of the mel bands: to about 0.5 kHz
# log10 of shares: with more low onsets, or more between the beats, a sound is not more musical, nor less with less
_LOW_RANGE, _BETWEEN_RANGE = (-3.0, -0.5), (-1.0, -0.5)


def hold_to_sound(grid: BeatGrid, samples: Tensor, rate: int) -> BeatGrid:
    """Return what a tracker found, without beats where the sound is silent, and with its confidence.

    Parameters
    ----------
    grid : BeatGrid
        What was found; a confidence that it has is replaced.
    samples : Tensor, shape (C, T) or (T,), floating point
        The sound.
    rate : int
        In Hz.
    """
    grid = drop_silent(grid, samples, rate)
    return replace(grid, confidence=estimate_confidence(grid, samples, rate))


def estimate_confidence(grid: BeatGrid, samples: Tensor, rate: int) -> float | None:
    """Return the probability that beats are right for mixing, or None where there are no beats.

    Right: nine in ten lie within 35 ms of a beat or half-beat, and the other way round, so that half and double tempo
    and the off-beat count as right. It does not depend on level, offset, polarity or the number of channels. 0 with
    fewer than four beats. Of a piece of more than a minute three excerpts of 20 s are looked at.

    Parameters
    ----------
    grid : BeatGrid
        Beats that were found in the sound, by whomever.
    samples : Tensor, shape (C, T) or (T,), floating point
        The sound.
    rate : int
        In Hz.

    Examples
    --------
    >>> import torch
    >>> from audiomix.beats import BeatGrid
    >>> noise = torch.randn(8 * 16000, generator=torch.Generator().manual_seed(0))
    >>> estimate_confidence(BeatGrid([0.5 * i for i in range(16)]), noise, 16000) < 0.1
    True
    """
    if not len(grid):
        return None
    evidence = collect_evidence(grid, samples, rate)
    return 0.0 if evidence is None else 1 / (1 + math.exp(-(_BIAS + float(evidence @ _WEIGHTS))))


def collect_evidence(grid: BeatGrid, samples: Tensor, rate: int) -> np.ndarray | None:
    """Return what `measure_evidence` says of where the beats are, the mean of excerpts; None with too few beats.

    Parameters
    ----------
    grid, samples, rate
        As for `estimate_confidence`.
    """
    rows = []
    for start, stop in _excerpts(grid, samples.shape[-1] / rate):
        beats = grid.between(start, stop).array
        if len(beats) >= _LEAST:
            bands = mel_bands(mono(samples[..., round(start * rate) : round(stop * rate)], rate, RATE))
            rows.append(measure_evidence(beats, bands, find_other_beats(bands)))
    return np.asarray(np.mean(rows, 0)) if rows else None


def find_other_beats(bands: np.ndarray) -> list[np.ndarray]:
    """Return the beats that other views of a sound give, in seconds: five arrays.

    Those of the low, of the middle and of the high bands alone, and those of all bands where slow and where fast tempi
    are thought likelier.

    Parameters
    ----------
    bands : array, shape (80, N)
        The sound, from `audiomix.beats.sound.onsets.mel_bands`.
    """
    rows = band_onsets(bands)
    biased = [fit_beats(sum_onsets(rows), usual=usual, prior=_PRIOR) for usual in (_SLOW, _FAST)]
    return [STEP * frames for frames in (*map(fit_beats, rows), *biased)]


def measure_evidence(beats: np.ndarray, bands: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """Return what the confidence is estimated from, one number for each name in `EVIDENCE`.

    Parameters
    ----------
    beats : array, shape (K,), K >= 4
        Beat times in seconds.
    bands : array, shape (80, N)
        The sound, from `audiomix.beats.sound.onsets.mel_bands`.
    others : list of array
        From `find_other_beats`.

    Returns
    -------
    array, shape (4,)
        ``bands``: agreement with the beats of the low, middle and high bands, the mean of the three. ``priors``: with
        those where slow or fast tempi are thought likelier, the mean of both. ``low``: log10 of the share of the low
        bands in the energy that comes with the beats. ``between``: log10 of the mean energy between the beats over
        that on them. Of the last two no more than -0.5 counts, and of the last no less than -1: drums alone are music.
    """
    agreements = [_agreement(beats, other) for other in others]
    energy = bands.astype(np.float64) ** 2
    frames = np.rint(beats / STEP).astype(np.int64)
    shares = (_low_share(energy, frames), _LOW_RANGE), (_share_between(energy.sum(0), frames), _BETWEEN_RANGE)
    logs = [float(np.clip(math.log10(share + 1e-6), *edges)) for share, edges in shares]
    return np.array([np.mean(agreements[:3]), np.mean(agreements[3:]), *logs])


def _excerpts(grid: BeatGrid, seconds: float) -> list[tuple[float, float]]:
    """Return what of a sound is looked at, from when to when, in seconds: where the beats are, or pieces of that."""
    if len(grid) < _LEAST:
        return []
    room = _ROOM * (grid.times[-1] - grid.times[0]) / (len(grid) - 1)
    start, stop = max(0.0, grid.times[0] - room), min(seconds, grid.times[-1] + room)
    if stop - start <= _EXCERPT * _EXCERPTS:
        return [(start, stop)]
    return [(one, one + _EXCERPT) for one in np.linspace(start, stop - _EXCERPT, _EXCERPTS).tolist()]


def _agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Return the share of beats that lie on a beat or half-beat of the other sequence, in that which has fewer."""
    return min(_share_near(a, b), _share_near(b, a))


def _share_near(times: np.ndarray, others: np.ndarray) -> float:
    """Return the share of times, within the others, that lie on one of them or in the middle between two."""
    if len(others) < 2:
        return 0.0
    halves = np.sort(np.concatenate([others, (others[1:] + others[:-1]) / 2]))
    inside = times[(times >= halves[0] - _SAME) & (times <= halves[-1] + _SAME)]
    if not len(inside):
        return 0.0
    after = np.searchsorted(halves, inside).clip(1, len(halves) - 1)
    apart = np.minimum(np.abs(inside - halves[after - 1]), np.abs(halves[after] - inside))
    return float(np.mean(apart <= _SAME))


def _low_share(energy: np.ndarray, beats: np.ndarray) -> float:
    """Return the share of low bands in what is louder up to 60 ms behind beats than 30 to 60 ms before them."""
    last = energy.shape[1] - 1
    behind = np.max([energy[:, (beats + k).clip(0, last)] for k in range(7)], 0)
    before = np.mean([energy[:, (beats - k).clip(0, last)] for k in range(3, 7)], 0)
    rise = np.maximum(behind - before, 0).sum(1)
    return float(rise[:_LOW_BANDS].sum() / max(float(rise.sum()), 1e-30))


def _share_between(energy: np.ndarray, beats: np.ndarray) -> float:
    """Return the mean energy of the frames between beats over that of those from 10 ms before to 70 ms behind one."""
    energy, beats = energy[beats[0] : beats[-1] + 1], beats - beats[0]
    near = np.zeros(len(energy), dtype=bool)
    for k in range(-1, 8):
        near[(beats + k).clip(0, len(energy) - 1)] = True
    return float(energy[~near].mean() / max(float(energy[near].mean()), 1e-30)) if not near.all() else 1.0
