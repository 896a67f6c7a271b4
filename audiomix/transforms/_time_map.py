"""Maps of time: where in the original each place of a changed clip was; for sound, spectrogram and labels alike.

A map is a table of knots (K, 2), each a place in the result and the place in the original that is heard there, as
fractions of the clip's valid part. Between two knots it is a line. Places in the result rise; two knots at one place
are a jump. What lies outside of [0, 1] in the original is silence.
"""

import torch
from torch import Tensor

__all__ = [
    "STILL", "between", "centres", "follow", "line_from_start", "move_frames", "pad_knots", "read_along",
    "read_between", "read_lines",
]  # fmt: skip

# The knots of the map that leaves everything in its place.
STILL = [[0.0, 0.0], [1.0, 1.0]]
# Fractions times a size are whole numbers up to the rounding of float64.
_ROUNDING = 1e-9


def pad_knots(knots: Tensor, count: int) -> Tensor:
    """Return maps (R, K, 2) with their last knot repeated, (R, count, 2).

    Parameters
    ----------
    knots : Tensor, shape (R, K, 2), float64
        The maps.
    count : int
        At least K.
    """
    return torch.cat([knots, knots[:, -1:].expand(-1, count - knots.shape[1], -1)], 1)


def follow(knots: Tensor, place: Tensor) -> Tensor:
    """Return where in the original places of the result were; (R, N), float64, outside of [0, 1] where nothing is.

    Parameters
    ----------
    knots : Tensor, shape (R, K, 2), float64
        One map a row.
    place : Tensor, shape (R, N), float64
        Fractions of the valid part of the result.

    Examples
    --------
    >>> faster = torch.tensor([[[0.0, 0.0], [1.0, 2.0]]]).double()
    >>> follow(faster, torch.tensor([[0.1, 0.4, 0.6]]).double())
    tensor([[0.2000, 0.8000, 1.2000]], dtype=torch.float64)
    """
    there, here = knots.to(place.device, non_blocking=True).unbind(-1)
    line = ((place[..., None] >= there[:, None, :]).sum(-1) - 1).clamp(0, knots.shape[1] - 2)
    x0, x1, y0, y1 = (side.gather(1, line + step) for side in (there, here) for step in (0, 1))
    return y0 + (y1 - y0) * (place - x0) / (x1 - x0).clamp(min=1e-12)


def centres(size: int, valid: Tensor, device: torch.device) -> Tensor:
    """Return the centres of `size` frames as fractions of the valid ones; (R, size), float64.

    Parameters
    ----------
    size : int
        Frames of the padded axis.
    valid : Tensor, shape (R,)
        Valid frames of each clip.
    device : torch.device
        Where to make them.
    """
    ends = valid.double().clamp(min=1e-12)[:, None].to(device, non_blocking=True)
    return (torch.arange(size, device=device, dtype=torch.float64) + 0.5) / ends


def move_frames(stream: Tensor, maps: Tensor, valid: Tensor) -> Tensor:
    """Return a stream of the originals, moved by one map after the other; zeros where nothing is heard.

    Each frame of the result has the frame of the original that is heard at its centre. The maps are composed before
    anything is read, so that there is one rounding.

    Parameters
    ----------
    stream : Tensor, shape (B, ..., N)
        Frame labels, or any other stream whose last axis is time.
    maps : Tensor, shape (B, M, K, 2), float64
        In the order in which the clips were changed.
    valid : Tensor, shape (B,), float64
        How much of the (padded) time axis each clip fills.
    """
    size, device = stream.shape[-1], stream.device
    frames = valid * size
    start = centres(size, frames, device)
    place, heard = start, torch.ones_like(start, dtype=torch.bool)
    for knots in maps.flip(1).unbind(1):
        place = follow(knots, place)
        heard &= (place >= -_ROUNDING) & (place < 1 + _ROUNDING)
    ends = frames[:, None].to(device, non_blocking=True)
    last = torch.ceil(ends - _ROUNDING) - 1
    index = torch.floor(place * ends + _ROUNDING).clamp(min=0).minimum(last.clamp(min=0)).long()
    padding = start >= 1
    index = torch.where(padding, torch.arange(size, device=device), index)
    shape = (len(stream), *[1] * (stream.ndim - 2), size)
    moved = stream.gather(-1, index.view(shape).expand_as(stream))
    return torch.where((heard | padding).view(shape), moved, 0)


def between(place: Tensor, valid: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return between which two frames places lie, (R, n) int64 each, and how near to the second; for `read_lines`.

    Parameters
    ----------
    place : Tensor, shape (R, n), float64
        In frames: 0 is the first. Beyond the first and the last valid one these are meant.
    valid : Tensor, shape (R,)
        Valid frames of each clip.
    dtype : torch.dtype
        Of the weights.
    """
    last = (valid - 1).clamp(min=0).double()[:, None].to(place.device, non_blocking=True)
    place = place.clamp(min=0).minimum(last)
    first = torch.floor(place)
    return first.long(), (first + 1).minimum(last).long(), (place - first).to(dtype)


def read_lines(x: Tensor, first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Return frames read between frames, by lines from each to the next; (R, ..., n).

    Parameters
    ----------
    x : Tensor, shape (R, ..., N)
        Time last.
    first, second, weight : Tensor, shape (R, n)
        See `between`.
    """
    wide = (*x.shape[:-1], first.shape[-1])
    first, second, weight = (
        table.view(len(x), *[1] * (x.ndim - 2), -1).expand(wide) for table in (first, second, weight)
    )
    return torch.lerp(x.gather(-1, first), x.gather(-1, second), weight)


def read_between(x: Tensor, place: Tensor, valid: Tensor) -> Tensor:
    """Return frames read between frames, by lines from each to the next; beyond the first and last valid one these.

    Parameters
    ----------
    x : Tensor, shape (R, ..., N)
        Time last.
    place : Tensor, shape (R, n), float64
        In frames: 0 is the first.
    valid : Tensor, shape (R,)
        Valid frames of each clip.
    """
    return read_lines(x, *between(place, valid, x.dtype))


def read_along(x: Tensor, knots: Tensor, valid: Tensor, floor: Tensor) -> Tensor:
    """Return spectrograms read along a map, `floor` where nothing is heard.

    Parameters
    ----------
    x : Tensor, shape (R, ..., N)
        Time last.
    knots : Tensor, shape (R, K, 2), float64
        One map a clip.
    valid : Tensor, shape (R,), int64
        Valid frames of each clip.
    floor : Tensor
        Silence, to be combined with `x`.
    """
    place = follow(knots, centres(x.shape[-1], valid, x.device))
    heard = ((place >= 0) & (place < 1)).view(len(place), *[1] * (x.ndim - 2), -1)
    ends = valid.double()[:, None].to(x.device, non_blocking=True)
    return torch.where(heard, read_between(x, place * ends - 0.5, valid), floor)


def line_from_start(factor: Tensor) -> Tensor:
    """Return the maps of clips that are `factor` times as fast from their start on; (R, 2, 2), float64.

    Parameters
    ----------
    factor : Tensor, shape (R,), float64
        Above 0.
    """
    knots = torch.tensor(STILL, dtype=torch.float64).repeat(len(factor), 1, 1)
    knots[:, 1, 1] = factor
    return knots
