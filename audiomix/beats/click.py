"""Clicks on the beats, so that one can hear whether a grid is right."""

import math

import torch

from .. import check
from ..audio.io import Clip
from ..audio.level import from_db, limiter_gain
from .grid import BeatGrid

__all__ = ["add_clicks"]

# An octave between beats and downbeats, in Hz; lower at rates below 5 kHz, which could not hold the higher one.
_BEAT, _DOWNBEAT = 1000.0, 2000.0
_LOWEST_RATE = 5000
# Seconds: shorter than the closest beats of a grid are apart (0.1), so that clicks never overlap.
_DURATION = 0.03
# Time constant of a click's decay in seconds: 52 dB down at its end.
_DECAY = 0.005


def add_clicks(clip: Clip, grid: BeatGrid, *, level_db: float = -6.0) -> Clip:
    """Return a sound with a click on each beat, an octave higher on downbeats.

    ``y = g (x + a sum_b c(t - t_b))`` with ``c(t) = cos(2 pi f t) exp(-t / 5 ms)``: a click is loudest at its first
    sample, which is sample ``round(t_b * rate)``. f is 1 kHz, on downbeats 2 kHz; where the bar phase is unknown all
    beats sound alike.

    Parameters
    ----------
    clip : Clip
        The sound; it is not written to.
    grid : BeatGrid
        Its beats. One that is rounded to the sample behind the end makes no click.
    level_db : float
        Peak of the clicks, a, in dB relative to full scale, -60 to 0. One gain g over all of the result keeps its peak
        at 1 where sound and click together would exceed it.

    Raises
    ------
    TypeError, ValueError
        A level out of range, or beats more than 0.1 s behind the end of the sound.

    Examples
    --------
    >>> marked = add_clicks(Clip(torch.zeros(1, 8000), 8000), BeatGrid([0.25, 0.75]))
    >>> marked.samples.abs().gt(0.4).nonzero()[:, 1][0]
    tensor(2000)
    """
    amplitude = float(from_db(check.number("level_db", level_db, -60, 0, slip="dB relative to full scale")))
    samples = check.floating("clip.samples", clip.samples)
    grid = grid.check_within(clip.seconds, "grid")
    size = samples.shape[-1]
    track = torch.zeros(size, dtype=samples.dtype)
    downbeats = set(grid.downbeats.tolist())
    beat, downbeat = (amplitude * _click(f, clip.rate).to(samples.dtype) for f in (_BEAT, _DOWNBEAT))
    for i, seconds in enumerate(grid.times):
        start = round(seconds * clip.rate)
        piece = track[start : start + len(beat)]
        piece += (downbeat if i in downbeats else beat)[: len(piece)]
    marked = samples + track
    return Clip(marked.mul_(limiter_gain(marked)), clip.rate)


def _click(frequency: float, rate: int) -> torch.Tensor:
    """Return one click of amplitude 1, float64."""
    t = torch.arange(round(_DURATION * rate), dtype=torch.float64) / rate
    pitch = frequency * min(1.0, rate / _LOWEST_RATE)
    return torch.cos(2 * math.pi * pitch * t) * torch.exp(-t / _DECAY)
