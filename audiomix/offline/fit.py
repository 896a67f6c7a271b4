"""Bring two decoded sounds to one number of channels and to the length that was asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..audio import io
from ..audio.io import Clip
from .cache import SILENT, is_silent

__all__ = ["LENGTHS", "Pair", "fit_pair", "join_pairs"]

LENGTHS = ("original", "shortest", "longest")


@dataclass(frozen=True, eq=False)
class Pair:
    """Original and partners, as the mixer gets them.

    Parameters
    ----------
    x, other, lengths, other_lengths
        Arguments of the mixer.
    rate : int
        In Hz.
    offsets : tuple of float
        Where in their files the original and each partner start, in seconds.
    notes : tuple of tuple of str
        What was odd about each of these sounds.
    read_s : tuple of (float or None)
        How much of each partner was read, in seconds; None of one that was read whole.
    rooms : tuple of (str or None)
        Names of the rooms that the original and each partner are in; empty where the run has none.
    """

    x: Tensor
    other: Tensor
    lengths: Tensor | None
    rate: int
    offsets: tuple[float, ...]
    other_lengths: Tensor | None = None
    notes: tuple[tuple[str, ...], ...] = ()
    read_s: tuple[float | None, ...] = (None,)
    rooms: tuple[str | None, ...] = ()


def join_pairs(pairs: Sequence[Pair]) -> Pair:
    """Return one original with the partners of all pairs, padded to one length."""
    if len(pairs) == 1:
        return pairs[0]
    first, sizes = pairs[0], [pair.other.shape[-1] for pair in pairs]
    other = torch.cat([io.fit_length(pair.other, max(sizes)) for pair in pairs])
    offsets = (first.offsets[0], *(pair.offsets[1] for pair in pairs))
    notes = (first.notes[0], *(pair.notes[1] for pair in pairs))
    read_s = tuple(pair.read_s[0] for pair in pairs)
    return Pair(first.x, other, first.lengths, first.rate, offsets, torch.tensor(sizes), notes, read_s)


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
    clip = _channels(clip, channels or len(clip.samples))
    partner = _channels(partner, len(clip.samples))
    x, other, notes = clip.samples, partner.samples, (clip.notes, partner.notes)
    size = _size(length, x.shape[-1], other.shape[-1], clip.rate)
    room = other.shape[-1] if whole_partner else size  # its beats decide which part of it is heard
    x, offset = _crop(x, size, 0.0 if start else at[0])
    other, partner_offset = _crop(other, room, 0.0 if partner_start else at[1])
    lengths = None if x.shape[-1] == size or length == "longest" else torch.tensor([x.shape[-1]])
    if length == "longest" and not whole_partner:  # silence is part of the shorter one: the weight stays as drawn
        other = io.fit_length(other, size)
    offsets = (start + offset / clip.rate, partner_start + partner_offset / clip.rate)
    return Pair(io.fit_length(x, size)[None], other[None], lengths, clip.rate, offsets, notes=notes)


def _size(length: str | float, own: int, other: int, rate: int) -> int:
    if isinstance(length, float):
        return max(1, round(length * rate))
    return {"original": own, "shortest": min(own, other), "longest": max(own, other)}[length]


def _crop(samples: Tensor, size: int, at: float) -> tuple[Tensor, int]:
    """Cut (C, T) to at most `size` samples, `at` (0 to 1) of the way through it; also where, in samples.

    A piece that happens to be silent is drawn again, from those with a sound in them; not where it is to be the start.
    """
    spare = samples.shape[-1] - size
    if spare <= 0:
        return samples, 0
    start = int(at * (spare + 1))
    if at and is_silent(samples[:, start : start + size]) and not is_silent(samples):
        sounding = (samples.abs() > SILENT).any(0).nonzero().flatten()
        into = int(at * 997 % 1 * size)  # how far into the piece that sound is; 997 makes it another draw than `at`
        start = min(max(int(sounding[int(at * len(sounding))]) - into, 0), spare)
    return samples[:, start : start + size], start


def _channels(clip: Clip, channels: int) -> Clip:
    """Fit channels: mono is repeated; everything else goes through the mean of its channels."""
    if len(clip.samples) not in (1, channels):
        clip = io.to_channels(clip, 1)
    return io.to_channels(clip, channels)
