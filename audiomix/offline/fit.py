"""Bring two decoded sounds to one number of channels and to the length that was asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..audio import io
from ..audio.io import Clip

__all__ = ["LENGTHS", "Pair", "fit_pair", "join_pairs"]

LENGTHS = ("original", "shortest", "longest")


@dataclass(frozen=True, eq=False)
class Pair:
    """Original and partners, as the mixer gets them, and where in their files they start, in seconds.

    `read_s` tells of each partner how much of it was read, in seconds; None of one that was read whole.
    """

    x: Tensor
    other: Tensor
    lengths: Tensor | None
    rate: int
    offsets: tuple[float, ...]
    other_lengths: Tensor | None = None
    read_s: tuple[float | None, ...] = (None,)


def join_pairs(pairs: Sequence[Pair]) -> Pair:
    """Return one original with the partners of all pairs, padded to one length."""
    if len(pairs) == 1:
        return pairs[0]
    first, sizes = pairs[0], [pair.other.shape[-1] for pair in pairs]
    other = torch.cat([io.fit_length(pair.other, max(sizes)) for pair in pairs])
    offsets = (first.offsets[0], *(pair.offsets[1] for pair in pairs))
    read_s = tuple(pair.read_s[0] for pair in pairs)
    return Pair(first.x, other, first.lengths, first.rate, offsets, torch.tensor(sizes), read_s)


def fit_pair(
    own: tuple[Clip, float],
    theirs: tuple[Clip, float],
    length: str | float,
    channels: int | None,
    at: list[float],
    *,
    whole_partner: bool = False,
) -> Pair:
    """Bring partner to original, whose rate it has: one number of channels, and the length that was asked for.

    Parameters
    ----------
    own, theirs : (Clip, float)
        The sounds, and where in their files they start, in seconds.
    length : str or float
        ``original``, ``shortest``, ``longest`` or seconds.
    channels : int or None
        None: as many as the original has.
    at : list of two floats
        Where what is too long is cut, 0 to 1 of the way through what is too much.
    whole_partner : bool
        Leave the partner as long as it is.
    """
    (clip, start), (partner, partner_start) = own, theirs
    x = _channels(clip.samples, channels or len(clip.samples))
    other = _channels(partner.samples, len(x))
    size = _size(length, x.shape[-1], other.shape[-1], clip.rate)
    room = other.shape[-1] if whole_partner else size  # its beats decide which part of it is heard
    x, offset = _cropped(x, size, 0.0 if start else at[0])
    other, partner_offset = _cropped(other, room, 0.0 if partner_start else at[1])
    lengths = None if x.shape[-1] == size or length == "longest" else torch.tensor([x.shape[-1]])
    if length == "longest" and not whole_partner:  # silence is part of the shorter one: the weight stays as drawn
        other = io.fit_length(other, size)
    offsets = (start + offset / clip.rate, partner_start + partner_offset / clip.rate)
    return Pair(io.fit_length(x, size)[None], other[None], lengths, clip.rate, offsets)


def _size(length: str | float, own: int, other: int, rate: int) -> int:
    if isinstance(length, float):
        return max(1, round(length * rate))
    return {"original": own, "shortest": min(own, other), "longest": max(own, other)}[length]


def _cropped(samples: Tensor, size: int, at: float) -> tuple[Tensor, int]:
    """Cut (C, T) to at most `size` samples, `at` (0 to 1) of the way through it; also where, in samples."""
    spare = samples.shape[-1] - size
    start = int(at * (spare + 1)) if spare > 0 else 0
    return samples[:, start : start + size], start


def _channels(samples: Tensor, channels: int) -> Tensor:
    """Fit channels: mono is repeated; everything else goes through the mean of its channels."""
    if len(samples) not in (1, channels):
        samples = samples.mean(0, keepdim=True)
    return io.fit_channels(samples, channels)
