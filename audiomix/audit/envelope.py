"""How a source's gain goes over time: on, off, between (a fade), and the sample at which it is cut."""

from typing import NamedTuple

import torch
from torch import Tensor

from .gains import Plateau, Windows

__all__ = ["Envelopes", "envelopes"]

# A window is on the plateau within 2 % of its gain, and off below 2 % of it; or within so many standard deviations.
_NEAR, _SIGMAS = 0.02, 5.0
# A window that is less certain than this share of the gain says nothing: its neighbours speak for it.
_VAGUE = 0.1
# A cut explains an edge where it leaves less than this share of what the plain fit of the windows around it leaves, or
# than this share of their energy.
_CUT = 1e-3
_OFF, _ON, _MOVING, _UNKNOWN = 0, 1, 2, 3


class Envelopes(NamedTuple):
    """Gains at every sample (S, T); windows in which a gain holds still, and in which it is known (W, S), bool."""

    shapes: Tensor
    steady: Tensor
    known: Tensor


def envelopes(mix: Tensor, tracks: Tensor, windows: Windows, levels: list[Plateau], window: int) -> Envelopes:
    """Return each source's gain at every sample, in which windows it holds still, and in which it is known at all.

    Parameters
    ----------
    mix : Tensor, shape (C, T)
        Samples of the mix.
    tracks : Tensor, shape (S, C, T)
        The S sources at their places in the mix.
    windows : Windows
        As fitted in windows of `window` samples.
    levels : list of Plateau
        The gain at which each source stands for most of the time.
    window : int
        Samples of a window.

    Returns
    -------
    Envelopes
        Gains are straight lines from window to window in fades, and steps at cuts. Where nothing is known (the source
        is silent there, or drowned) the nearest window that is known speaks.
    """
    size = mix.shape[-1]
    shapes, steady, known = [], [], []
    for i, one in enumerate(levels):
        gains, state, sure = _states(windows.gains[:, i], windows.std[:, i], one.gain)
        still = (state == _ON) | (state == _OFF) | ~sure  # where a source is silent itself, nothing of it moves
        shape = _lines(gains, size, window)
        for left, right in _edges(state):
            still[left : right + 1] = False  # the cut itself may lie in any of them
            # one window further out: of one that holds the cut the state may be wrong
            left, right = _outward(state, left, -1), _outward(state, right, 1)
            at = _find_cut(mix, tracks, windows.gains, left, right, window)
            first, last = left * window + window // 2, min(size, right * window + window // 2)
            if at is not None:
                shape[first:at], shape[at:last] = gains[left], gains[right]
        shapes.append(shape)
        steady.append(still)
        known.append(sure)
    return Envelopes(torch.stack(shapes), torch.stack(steady, 1), torch.stack(known, 1))


def _states(gains: Tensor, std: Tensor, level: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return cleaned gains (W,), the state of every window, and where it is known."""
    state = torch.full((len(gains),), _UNKNOWN)
    if level == 0:
        return torch.zeros_like(gains), torch.full_like(state, _OFF), torch.zeros_like(state, dtype=torch.bool)
    relative, unsure = gains / level, std / abs(level)
    near = (_SIGMAS * unsure).clamp(min=_NEAR)
    known = unsure < _VAGUE
    state[known] = _MOVING
    state[known & (relative.abs() <= near)] = _OFF
    state[known & ((relative - 1).abs() <= near)] = _ON
    values = torch.where(state == _ON, 1.0, torch.where(state == _OFF, 0.0, relative.clamp(min=0)))
    nearest = _nearest(known)
    values = values[nearest] if nearest is not None else torch.ones_like(values)
    state = state[nearest] if nearest is not None else torch.full_like(state, _ON)
    return values * level, state, known


def _nearest(known: Tensor) -> Tensor | None:
    """Return for every window the nearest one that is known."""
    at = known.nonzero().flatten()
    if not len(at):
        return None
    every = torch.arange(len(known))
    right = torch.searchsorted(at, every).clamp(max=len(at) - 1)
    left = (right - 1).clamp(min=0)
    return torch.where((every - at[left]).abs() <= (at[right] - every).abs(), at[left], at[right])


def _lines(gains: Tensor, size: int, window: int) -> Tensor:
    """Return straight lines between the centres of the windows (W,), at every sample (size,); level at both ends."""
    place = (torch.arange(window, dtype=torch.float64) + 0.5) / window - 0.5  # from the centre of a window
    half = window // 2
    padded = torch.cat([gains[:1], gains, gains[-1:]])
    slopes = padded.diff()[:, None]
    lines = gains.new_empty(len(gains), window)
    lines[:, :half] = gains[:, None] + slopes[:-1] * place[:half]
    lines[:, half:] = gains[:, None] + slopes[1:] * place[half:]
    return lines.flatten()[:size]


def _edges(state: Tensor) -> list[tuple[int, int]]:
    """Return windows (left, right) between which a source is switched on or off: next to each other or one apart."""
    # of 0, 1, 2 and 3 only off and on sum to 1
    near = state[:-1] + state[1:] == _OFF + _ON
    apart = (state[:-2] + state[2:] == _OFF + _ON) & (state[1:-1] == _MOVING)
    edges = [(left, left + step) for step, found in ((1, near), (2, apart)) for left in found.nonzero()[:, 0].tolist()]
    return sorted(edges)


def _outward(state: Tensor, at: int, step: int) -> int:
    """Return the next window, where it is in the same state."""
    there = 0 <= at + step < len(state) and state[at + step] == state[at]
    return at + step if there else at


def _find_cut(mix: Tensor, tracks: Tensor, gains: Tensor, left: int, right: int, window: int) -> int | None:
    """Return the sample before which the gains of window `left` hold and from which on those of `right` do."""
    first, last = left * window, min(mix.shape[-1], (right + 1) * window)
    part = tracks[..., first:last].double()
    rest = [mix[:, first:last].double() - (part * gains[w][:, None, None]).sum(0) for w in (left, right)]
    before, after = (r.square().sum(0) for r in rest)  # (N,)
    total = before.cumsum(0) - before + after.flip(0).cumsum(0).flip(0)  # cut at n: `before` holds for samples below n
    at = int(total.argmin())
    energy = float(mix[:, first:last].double().square().sum())
    return first + at if float(total[at]) <= _CUT * energy else None
