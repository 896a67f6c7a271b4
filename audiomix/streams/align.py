r"""Two streams of frames on one clock: frames are stacked or interpolated by time, never by count.

Frame i of a stream at `rate` frames a second covers the time :math:`[i / r, (i + 1) / r)`; its time is the centre,
:math:`t_i = (i + 1/2) / r`. A stream of N frames lasts N / r seconds. Stacking k frames keeps this exactly: frame j of
the stack covers what frames jk to jk + k - 1 cover.
"""

import math
from typing import NamedTuple, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import check

__all__ = ["Frames", "check_durations", "frame_rate", "frames_within", "resample_frames", "stack_frames"]

# Lengths come from products of rates: a frame is not lost to the rounding of float64
_ROUNDING = 1e-9
# Frames of the picture that two decoders may differ by, however short the clip (mixers.md: off-by-one is common)
_SLACK = 2


class Frames(NamedTuple):
    """A stream of frames (B, N, D), and how many of them are valid in each clip (int64, on the CPU), or None."""

    x: Tensor
    lengths: Tensor | None


def stack_frames(x: Tensor, by: int, lengths: Tensor | None = None) -> Frames:
    """Put `by` consecutive frames side by side: (B, M, D) at 100 frames/s become (B, M / 4, 4 D) at 25 by ``by=4``.

    Parameters
    ----------
    x : Tensor, shape (B, M, D), floating point
        Left unchanged.
    by : int
        Frames of `x` in one frame of the result.
    lengths : Tensor, shape (B,), optional
        Valid frames; what lies behind counts as zeros.

    Returns
    -------
    Frames
        ``x`` of shape (B, ceil(M / by), by D) and ``lengths``, rounded up. The remainder of the last frame is zeros,
        as AV-HuBERT has it (Shi et al., ICLR 2022).

    Raises
    ------
    ValueError, TypeError
        `x` is not a stream of frames, `by` not a whole number of at least 1, `lengths` do not fit.

    See Also
    --------
    audiomix.resample_frames : for rates that are no whole multiples.

    Examples
    --------
    >>> stack_frames(torch.arange(5.0).view(1, 5, 1), 2).x
    tensor([[[0., 1.],
             [2., 3.],
             [4., 0.]]])
    """
    _stream("x", x)
    by = check.integer("by", by, 1)
    valid = None if lengths is None else check.lengths("lengths", lengths, x.transpose(1, 2))
    return Frames(stack_rows(x, by, valid), None if valid is None else -(-valid // by))


def stack_rows(x: Tensor, by: int, lengths: Tensor | None) -> Tensor:
    """Stack what is checked already; see `stack_frames`."""
    batch, size, width = x.shape
    if lengths is not None:
        behind = torch.arange(size) >= lengths[:, None]
        x = x.masked_fill(behind[..., None].to(x.device), 0)
    count = -(-size // by)
    x = F.pad(x, (0, 0, 0, count * by - size)) if size % by else x
    return x.reshape(batch, count, by * width)


def resample_frames(
    x: Tensor, rate: float, to_rate: float, lengths: Tensor | None = None, *, size: int | None = None
) -> Frames:
    r"""Interpolate a stream linearly at the centres of frames of another rate.

    .. math:: y_j = (1 - f) x_{\lfloor p \rfloor} + f x_{\lfloor p \rfloor + 1}, \qquad
              p = (j + 1/2)\, r / r' - 1/2, \quad f = p - \lfloor p \rfloor

    Before the centre of the first frame and behind that of the last valid one the frame is held.

    Parameters
    ----------
    x : Tensor, shape (B, M, D), floating point
        Left unchanged. The same tensor comes back where the rates are equal and `size` is M or None.
    rate, to_rate : float
        Frames a second of `x` and of the result.
    lengths : Tensor, shape (B,), optional
        Valid frames; those behind are never read.
    size : int, optional
        Frames of the result; by default those whose centres lie within the M frames.

    Returns
    -------
    Frames
        ``x`` of shape (B, size, D) and ``lengths``: the frames whose centres lie within the valid part.

    Raises
    ------
    ValueError, TypeError
        `x` is not a stream of frames, or a rate or the lengths do not fit.

    Notes
    -----
    A lower rate takes two frames out of `rate / to_rate` and leaves the rest unheard (nothing is averaged, so changes
    faster than half the new rate alias): from 100 to 25 frames/s use `stack_frames`, or smooth first.

    See Also
    --------
    audiomix.stack_frames : for rates that are whole multiples.

    Examples
    --------
    >>> resample_frames(torch.arange(4.0).view(1, 4, 1), 25, 50).x[0, :, 0]
    tensor([0.0000, 0.2500, 0.7500, 1.2500, 1.7500, 2.2500, 2.7500, 3.0000])
    """
    _stream("x", x)
    rate, to_rate = frame_rate("rate", rate), frame_rate("to_rate", to_rate)
    valid = None if lengths is None else check.lengths("lengths", lengths, x.transpose(1, 2))
    count = math.ceil(x.shape[1] * (to_rate / rate) - 0.5 - _ROUNDING)
    size = max(1, count) if size is None else check.integer("size", size, 1)
    kept = None if valid is None else frames_within(valid, rate, to_rate).clamp(max=size)
    return Frames(resample_rows(x, rate, to_rate, valid, size), kept)


def resample_rows(x: Tensor, rate: float, to_rate: float, valid: Tensor | None, size: int) -> Tensor:
    """Interpolate what is checked already; see `resample_frames`."""
    if rate == to_rate and size == x.shape[1]:
        return x
    place = (torch.arange(size, dtype=torch.float64) + 0.5) * (rate / to_rate) - 0.5
    last = torch.tensor([x.shape[1] - 1]) if valid is None else (valid - 1).clamp(min=0)
    place = torch.minimum(place.clamp(min=0), last[:, None])  # (B, size), or (1, size) where all clips are alike
    low = place.floor().long()
    high = torch.minimum(low + 1, last[:, None])
    return _between(x, low, high, place - low)


def frames_within(lengths: Tensor, rate: float, to_rate: float) -> Tensor:
    """Return how many frames at `to_rate` have their centres within `lengths` frames at `rate`; int64."""
    return (lengths.double() * (to_rate / rate) - 0.5 - _ROUNDING).ceil().long().clamp(min=0)


def frame_rate(name: str, value: float) -> float:
    """Return a rate in frames a second; a sampling rate is the usual slip."""
    too_many = isinstance(value, (int, float)) and value > 1000
    slip = "frames a second, not samples: 16000 samples/s with a hop of 160 are 100" if too_many else ""
    return check.number(name, value, 0.01, 1000, slip=slip)


def whole_ratio(rate: float, other_rate: float) -> int:
    """Return how many frames at `other_rate` go into one at `rate`, or raise where that is no whole number."""
    by = round(other_rate / rate)
    if by < 1 or abs(other_rate / rate - by) > 1e-6:
        slip = "swapped?" if round(rate / other_rate) > 1 else "align='interpolate' takes any two rates"
        check.fail("other_rate", f"a whole multiple of rate={rate:g} to stack frames", f"{other_rate:g}", slip)
    return by


def check_durations(own: Tensor, theirs: Tensor, rate: float, other_rate: float, tolerance: float, hint: str) -> None:
    """Raise where two streams of one clip do not last equally long.

    Parameters
    ----------
    own, theirs : Tensor, shape (B,), int64
        Valid frames of the two streams.
    rate, other_rate : float
        Frames a second.
    tolerance : float
        Share of the longer duration by which they may differ; two frames at `rate` are always forgiven.
    hint : str
        The slip to name where none is recognised.
    """
    misfit = _misfit(own / rate, theirs / other_rate, tolerance, _SLACK / rate)
    if bool((misfit <= 0).all()):
        return
    row = int(misfit.argmax())
    n, m = int(own[row]), int(theirs[row])
    allowed = max(tolerance * max(n / rate, m / other_rate), _SLACK / rate)
    expected = f"as long as x up to {allowed:.3g} s"
    got = f"{m / other_rate:.4g} s ({m} frames at {other_rate:g}/s) in row {row}, where x lasts {n / rate:.4g} s "
    slip = hint
    if rate != other_rate and bool((_misfit(own / other_rate, theirs / rate, tolerance, _SLACK / rate) <= 0).all()):
        slip = f"rates swapped? rate={other_rate:g}, other_rate={rate:g}"
    elif n and not hint:
        slip = f"they fit at other_rate={m / n * rate:.4g}"
        slip = f"of another utterance? {slip}" if 0.5 < m / n * rate / other_rate < 2 else slip
    check.fail("other", expected, f"{got}({n} frames at {rate:g}/s)", slip)


def not_frames(name: str, x: Tensor) -> NoReturn:
    """Say what a tensor is that is no stream of frames (B, N, D)."""
    shape = tuple(x.shape)
    slip = {
        2: "waveforms (B, T), or pooled already (B, D)? a stream is features before pooling",
        4: "spectrograms (B, C, F, N)? x[:, 0].transpose(1, 2)",
        5: "pictures? run the front end first",
    }.get(x.ndim, "")
    if x.ndim == 3:  # one frame
        wave = x.shape[2] > 4000
        slip = "waveforms (B, 1, T)? features are wanted" if wave else "pooled already? a stream keeps its frames"
    check.fail(name, "a stream of frames (B, N, D), N > 1", f"shape {shape}", slip)


def _stream(name: str, x: Tensor) -> Tensor:
    if check.floating(name, x).ndim != 3:
        not_frames(name, x)
    return check.batch(name, x)


def _between(x: Tensor, low: Tensor, high: Tensor, share: Tensor) -> Tensor:
    """Return frames between those at `low` and `high`; indices (B, size), or (1, size) for all clips."""
    low, high = low.to(x.device), high.to(x.device)
    if len(low) == 1:
        a, b = x.index_select(1, low[0]), x.index_select(1, high[0])
    else:
        row = torch.arange(len(x), device=x.device)[:, None]
        a, b = x[row, low], x[row, high]
    wide = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
    share = share.to(x.device, wide)[..., None].expand(len(x), -1, 1)
    return torch.lerp(a.to(wide), b.to(wide), share).to(x.dtype)


def _misfit(a: Tensor, b: Tensor, tolerance: float, slack: float) -> Tensor:
    a, b = a.double(), b.double()
    return (a - b).abs() - torch.maximum(a, b).mul(tolerance).clamp(min=slack) - _ROUNDING
