"""Which sequence of beats fits a curve of onsets best: Viterbi over tempo and place in the beat."""

import numpy as np

from .onsets import STEP

__all__ = ["CAP", "decode", "fit_beats"]

CAP = 4.0  # a very loud stroke is worth no more than this many standard deviations
# What a beat is worth: _GAIN z - _COST, with z the onset strength in standard deviations.
_GAIN = 2.0
_COST = 1.0
_STIFFNESS = 100.0  # Krebs, Böck, Widmer 2015, section 5

_NEVER = -1e30
# The most a beat may differ from the one before, as a ratio; beyond, `stiffness` forbids it anyway (e^-12).
_CHANGE = 0.12


def fit_beats(
    onsets: np.ndarray, *, tempi: tuple[float, float] = (55.0, 215.0), usual: float = 120.0, prior: float = 0.03
) -> np.ndarray:
    """Return the frames of the beats that fit a curve of onsets best; see `decode`.

    Parameters
    ----------
    onsets : array, shape (N,)
        Onset strength in standard deviations, one value each `STEP` seconds, from `audiomix.beats.sound.onsets`.
    tempi : (float, float)
        Slowest and fastest tempo that is looked for, in beats a minute.
    usual : float
        The tempo that is likeliest beforehand: the prior is a normal density of log2(bpm / usual) with a deviation of
        one octave.
    prior : float
        What that density counts, a frame.
    """
    shortest, longest = int(np.floor(60 / tempi[1] / STEP)), int(np.ceil(60 / tempi[0] / STEP))
    bpm = 60 / (np.arange(shortest, longest + 1) * STEP)
    bias = -prior / 2 * np.log2(bpm / usual) ** 2
    return decode(_GAIN * onsets.clip(max=CAP) - _COST, shortest, longest, bias, _STIFFNESS)


def decode(onsets: np.ndarray, shortest: int, longest: int, bias: np.ndarray, stiffness: float) -> np.ndarray:
    """Return the frames (ascending) of the best sequence of beats.

    The bar-pointer model with tempo changes at beats only (Krebs, Böck, Widmer 2015, sections 2 and 3), here with
    an observation that counts at the beat alone, so that the pointer need not be moved frame by frame: with
    V[t, i] the best score of a beat at frame t and the next one i frames later,

        V[t, j] = onsets[t] + max(bias[j] t,  max_i V[t - i, i] + bias[i] i - stiffness |j / i - 1|),

    the first of the two for a first beat (t < j). All t of a block as long as the shortest beat depend on earlier
    blocks only, so numpy takes a block at once.

    Parameters
    ----------
    onsets : (T,) array
        Log likelihood ratio of a beat in each frame.
    shortest, longest : int
        Beats, in frames.
    bias : (longest - shortest + 1,) array
        Log prior of each interval, a frame.
    stiffness : float
        Log penalty of a change of the interval by itself.

    Examples
    --------
    >>> curve = np.full(100, -1.0); curve[7::20] = 3.0
    >>> decode(curve, 15, 30, np.zeros(16), 100.0).tolist()
    [7, 27, 47, 67, 87]
    """
    frames = len(onsets)
    intervals = np.arange(shortest, longest + 1)
    change = _changes(intervals, stiffness) + (bias * intervals)[:, None]
    size = longest + shortest  # of the ring: all that a block looks back on, and the block
    ring = np.full((size, len(intervals)), _NEVER)
    came = np.full((frames, len(intervals)), -1, np.int16)
    best, last = -np.inf, (0, 0)
    for start in range(0, frames, shortest):
        now = np.arange(start, min(start + shortest, frames))
        back = now[:, None] - intervals  # (block, interval)
        before = np.where(back >= 0, ring[back % size, np.arange(len(intervals))], _NEVER)
        steps = before[:, :, None] + change
        came[now] = steps.argmax(1)
        score = np.take_along_axis(steps, came[now][:, None].astype(np.int64), 1)[:, 0]
        first = np.where(now[:, None] < intervals, bias * now[:, None], _NEVER)
        came[now] = np.where(first >= score, -1, came[now])
        ring[now % size] = onsets[now, None] + np.maximum(first, score)
        ends = np.where(now[:, None] + intervals >= frames, ring[now % size] + bias * (frames - now[:, None]), -np.inf)
        if ends.max() > best:
            best = float(ends.max())
            row, column = divmod(int(ends.argmax()), len(intervals))
            last = (start + row, column)
    return _walk_back(came, last, shortest)


def _changes(intervals: np.ndarray, stiffness: float) -> np.ndarray:
    """Log probability of interval j (column) after interval i (row), up to a constant."""
    ratio = intervals[None, :] / intervals[:, None] - 1
    return np.where(np.abs(ratio) <= _CHANGE, -stiffness * np.abs(ratio), _NEVER)


def _walk_back(came: np.ndarray, last: tuple[int, int], shortest: int) -> np.ndarray:
    frame, column = last
    found = [frame]
    while came[frame, column] >= 0:
        column = int(came[frame, column])
        frame -= shortest + column
        found.append(frame)
    return np.array(found[::-1], dtype=np.int64)
