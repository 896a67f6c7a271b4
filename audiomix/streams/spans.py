"""Where the sound stands in a stream: frames drawn one by one or in pieces, as masks and as fractions of the clip."""

import torch
from torch import Tensor

from .. import draw
from ..draw import Generator

__all__ = ["compute_picture_share", "inside", "pieces", "single", "spans_of"]


def inside(spans: Tensor, size: int) -> Tensor:
    """Return which of `size` frames have their centres in one of the spans (B, S, 2); bool, (B, size)."""
    # the first frame with its centre at or behind an edge; edges of the frames themselves come back as they were
    edge = spans * size - 0.5
    edges = edge.long()  # not ceil: it wakes other threads for 2048 numbers, which costs more than the mix
    edges = (edges + (edge > edges)).clamp(0, size)  # (B, S, 2)
    step = torch.zeros(len(spans), size + 1, dtype=torch.int32, device=spans.device)
    one = torch.ones_like(edges[..., 0], dtype=torch.int32)
    step = step.scatter_add(1, edges[..., 0], one).scatter_add(1, edges[..., 1], -one)
    return step.cumsum(1)[:, :size] > 0


def spans_of(mask: Tensor) -> Tensor:
    """Return the runs of True in (B, N) as fractions of N: float64 (B, S, 2), S the most runs of a row, at least 1."""
    size = mask.shape[1]
    edge = torch.nn.functional.pad(mask.int(), (1, 1)).diff(dim=1)  # (B, N + 1): 1 where a run starts, -1 behind it
    row, start = (edge == 1).nonzero(as_tuple=True)
    _, stop = (edge == -1).nonzero(as_tuple=True)
    runs = (edge == 1).sum(1)
    index = torch.arange(len(row)) - (runs.cumsum(0) - runs).repeat_interleave(runs)
    most = max(1, int(runs.max()))
    spans = torch.zeros(len(mask) * most, 2, dtype=torch.float64)
    spans.index_copy_(0, row * most + index, torch.stack([start, stop], 1).double() / size)
    return spans.view(len(mask), most, 2)


def compute_picture_share(ratio: Tensor, count: Tensor, own: Tensor) -> Tensor:
    """Return the picture's share of `own` frames, `count` of which have it at `ratio`; float64, 1 where own is 0."""
    share = (own - count + ratio * count) / own.clamp(min=1)
    return torch.where(count == own, torch.where(own > 0, ratio, 1.0), torch.where(own > 0, share, 1.0)).clamp(0, 1)


def single(share: Tensor, own: Tensor, both: Tensor, size: int, *, exact: bool, generator: Generator = None) -> Tensor:
    """Draw frames among the first `both` of each row; bool, (B, size).

    Parameters
    ----------
    share : Tensor, shape (B,), float64
        Of the `own` frames of each row: their number, rounded, with `exact`; else the probability of each frame.
    own, both : Tensor, shape (B,), int64
        Valid frames, and how many of them there is sound for.
    """
    if exact:
        return _some(torch.minimum((share * own).round().long(), both), both, size, generator)
    u = draw.uniform(0, 1, len(share) * size, generator=generator).view(-1, size)
    return (torch.arange(size) < both[:, None]) & (u < share[:, None])


def pieces(wanted: Tensor, both: Tensor, size: int, piece: int, *, generator: Generator = None) -> Tensor:
    """Draw pieces of `piece` frames, without overlap, among the first `both` frames of each row; bool, (B, size).

    They hold ``round(wanted)`` frames together: the last one drawn is shorter. Every arrangement of the order of
    pieces and free frames is equally likely; pieces may touch.
    """
    count = torch.minimum(wanted.round().long(), both)
    number = -(-count // piece)
    # a slot holds a free frame or a whole piece
    slots = both - count + number
    chosen = _some(number, slots, size, generator)
    short = draw.integers(number, generator=generator)
    last = count - piece * (number - 1)  # frames of the shorter piece
    rank = chosen.cumsum(1) - 1  # which piece of the row it is
    width = torch.where(chosen, torch.where(rank == short[:, None], last[:, None], piece), 1)
    stop = torch.where(chosen, width.cumsum(1), 0)
    start = torch.where(chosen, stop - width, 0)
    step = torch.zeros(len(count), size + 1, dtype=torch.int64)
    one = torch.ones_like(start)
    return step.scatter_add(1, start, one).scatter_add(1, stop, -one).cumsum(1)[:, :size] > 0


def _some(count: Tensor, among: Tensor, size: int, generator: Generator) -> Tensor:
    """Draw `count` of the first `among` places of each row, all subsets equally likely; bool, (B, size)."""
    u = draw.uniform(0, 1, len(count) * size, generator=generator).view(-1, size)
    order = torch.where(torch.arange(size) < among[:, None], u, 2.0).argsort(1)
    return torch.zeros(len(count), size, dtype=torch.bool).scatter(1, order, torch.arange(size) < count[:, None])
