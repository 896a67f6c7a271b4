"""Where a sound is silent: there are no beats before the music, behind it, and in long pauses."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .grid import BeatGrid
from .sound import one_channel

__all__ = ["drop_silent", "find_silences"]

_BLOCK = 0.01  # seconds
_SILENT = 1e-3  # of the loudest block: 60 dB below it
_NEAR = 0.05  # seconds: a beat this near to a sound belongs to it
_LONGEST = 2.0  # beats: a longer pause has no beats


def find_silences(samples: Tensor, rate: int) -> list[tuple[float, float]]:
    """Return where a sound is silent, from when to when in seconds: 60 dB below its loudest 10 ms.

    Parameters
    ----------
    samples : Tensor, shape (C, T) or (T,), floating point
        Samples of one sound; level and offset do not matter.
    rate : int
        In Hz.

    Examples
    --------
    >>> find_silences(torch.cat([torch.zeros(400), torch.randn(400), torch.zeros(200)]), 1000)
    [(0.0, 0.4), (0.8, 1.0)]
    """
    one = one_channel(samples)[0]
    block = max(1, round(_BLOCK * rate))
    padded = torch.nn.functional.pad(one, (0, -len(one) % block))
    # the deviation from the block's mean: beside a piece that has a mean the silence is not 0 once the whole is centred
    level = padded.view(-1, block).std(1, correction=0)
    silent = (level <= _SILENT * level.max()).numpy()
    steps = np.flatnonzero(np.diff(np.r_[False, silent, False].astype(np.int8))) * block
    return [(float(a / rate), float(min(b, len(one)) / rate)) for a, b in steps.reshape(-1, 2)]


def drop_silent(grid: BeatGrid, samples: Tensor, rate: int) -> BeatGrid:
    """Return the grid without beats where there is no music: before it, behind it, and in pauses of over two beats.

    Parameters
    ----------
    grid : BeatGrid
        Found in the sound.
    samples : Tensor, shape (C, T) or (T,), floating point
        The sound.
    rate : int
        In Hz.
    """
    times = grid.array
    if not len(times):
        return grid
    beat, length = 60.0 / (grid.bpm or 120.0), samples.shape[-1] / rate
    kept = np.ones(len(times), dtype=bool)
    for start, stop in find_silences(samples, rate):
        outside = start <= 0 or stop >= length
        if outside or stop - start > _LONGEST * beat:
            low, high = (start if start <= 0 else start + _NEAR), (stop if stop >= length else stop - _NEAR)
            kept &= ~((times >= low) & (times <= high))
    if kept.all():
        return grid
    positions = None if grid.positions is None else tuple(np.asarray(grid.positions)[kept].tolist())
    return replace(grid, times=tuple(times[kept].tolist()), positions=positions)
