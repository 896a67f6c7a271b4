"""Pieces of noise: read from a place on, repeated where the noise ends; cut out, or added to clips.

On a CPU each clip is written once, slice by slice, while it is in the cache: an index for every sample would take twice
the memory of the samples. On other devices the indices are made there.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..clips import Clips, silence_padding
from ..graphs import by_row
from .blend import check_out

__all__ = ["add_pieces", "measure_blocks", "piece", "take_rows"]

# Bytes that are worked on at once where a step needs a copy of the clips
_BLOCK, _DEVICE_BLOCK = 2 << 20, 1 << 28
# One source of one row: its sound, the first sample, how many are valid, its gain
_Voice = tuple[Tensor, int, int, float]


def measure_blocks(
    own: Clips, make: Callable[[slice], Tensor], measure: Callable[[Tensor, Tensor | None], Tensor]
) -> Tensor:
    """Return what is measured of sounds that are made for some clips at a time, so that copies stay small; (B, ...).

    Parameters
    ----------
    own : Clips
        The clips; the sounds are as large, and as long.
    make : callable
        ``rows -> sounds``: for a slice of the clips.
    measure : callable
        ``(sounds, lengths) -> numbers``, one row a clip.
    """
    most = _BLOCK if own.x.device.type == "cpu" else _DEVICE_BLOCK
    step, ends = max(1, most // max(1, own.x[0].numel() * own.x.element_size())), own.lengths
    blocks = [slice(first, min(first + step, len(own))) for first in range(0, len(own), step)]
    return torch.cat([measure(make(rows), None if ends is None else ends[rows]) for rows in blocks])


def take_rows(clips: Clips, rows: slice | Tensor) -> Clips:
    """Return some of the clips, with their valid lengths.

    Parameters
    ----------
    clips : Clips
        The batch.
    rows : slice or Tensor, int64
        Which ones.
    """
    on_device = rows if isinstance(rows, slice) else rows.to(clips.x.device)
    return replace(clips, x=clips.x[on_device], lengths=None if clips.lengths is None else clips.lengths[rows])


def piece(source: Tensor, partner: Tensor, offset: Tensor, own: Tensor, theirs: Tensor, size: int) -> Tensor:
    """Return (B, ..., size): each clip's noise read from its offset, repeated where it ends, silent behind the clip.

    Parameters
    ----------
    source : Tensor, shape (M, ..., T')
        The noises.
    partner : Tensor, shape (B,), int64
        Which of them each clip gets.
    offset : Tensor, shape (B,), float64
        Where it is read from, as a fraction of its valid length.
    own, theirs : Tensor, shape (B,), int64
        Valid samples of each clip, and of its noise.
    size : int
        Samples of the result.
    """
    first = (offset * theirs).round().long()
    if by_row(source, source):
        pieces = source.new_empty(len(partner), *source.shape[1:-1], size)
        numbers = (t.tolist() for t in (partner, first, own, theirs))
        for row, j, start, end, have in zip(pieces.unbind(), *numbers):
            _write(row, end, [(source[j], start, have, 1.0)])
        return pieces
    rows, first, own, theirs = torch.stack([partner, first, own, theirs]).to(source.device, non_blocking=True)
    shape = (len(partner), *[1] * (source.ndim - 2), size)
    time = torch.arange(size, device=source.device)
    index = (first[:, None] + time) % theirs.clamp(min=1)[:, None]
    chosen = source[rows]
    found = chosen.gather(-1, index.view(shape).expand(*chosen.shape[:-1], size))
    heard = (time < own[:, None]) & (theirs > 0)[:, None]
    return found.masked_fill(~heard.view(shape), 0)


def add_pieces(
    own: Clips,
    source: Clips,
    rows: Tensor,
    offset: Tensor,
    gains: Tensor,
    *,
    out: Tensor | None = None,
    wide: bool = False,
) -> Tensor:
    """Return each clip with its noises added: ``g_0 x + sum_k g_k piece_k``, silent behind the clip.

    Parameters
    ----------
    own, source : Clips
        The clips, and the noises.
    rows : Tensor, shape (B, S), int64
        Which noises; negative where a clip has fewer.
    offset : Tensor, shape (B, S), float64
        Where each is read from, as a fraction of its valid length.
    gains : Tensor, shape (B, S + 1), float64
        Amplitudes of the clip and of its noises. What has none is not read: a NaN that is left out stays out.
    out : Tensor, shape of ``own.x``, optional
        Written and returned.
    wide : bool
        Return float32 at least, for measuring: in half precision the sum is rounded.
    """
    x, theirs = own.x, source.valid[rows.clamp(min=0)]
    if out is not None:
        check_out(out, x, source.x)
    dtype = torch.promote_types(x.dtype, torch.float32) if wide else x.dtype
    if by_row(x, source.x):
        mixed = torch.empty_like(x, dtype=dtype) if out is None else out
        numbers = (own.valid, rows, (offset * theirs).round().long(), theirs, gains)
        sides = zip(mixed.unbind(), x.unbind(), *(each.tolist() for each in numbers))
        for row, clip, end, chosen, starts, have, (gain, *each) in sides:
            voices = [(source.x[j], *one) for j, *one in zip(chosen, starts, have, each) if one[2] != 0]
            _write(row, end, [(clip, 0, end, gain), *voices])
        return mixed
    total = _scale(silence_padding(x, own.lengths), gains[:, 0])
    for k, chosen in enumerate(rows.clamp(min=0).unbind(1)):
        sound = piece(source.x, chosen, offset[:, k], own.valid, theirs[:, k], own.size)
        total = total + _scale(sound, gains[:, k + 1])
    mixed = total.to(dtype)
    return mixed if out is None else out.copy_(mixed)


def _scale(sound: Tensor, gain: Tensor) -> Tensor:
    """Return a batch at its gains, in float32 at least: half precision would round it twice."""
    wide = sound.to(torch.promote_types(sound.dtype, torch.float32))
    factor = gain.to(wide).view(-1, *[1] * (sound.ndim - 1))
    return torch.where(factor != 0, wide * factor, 0.0)


def _write(row: Tensor, end: int, voices: list[_Voice]) -> None:
    """Write the sum of some sounds, each from a place on and again and again, up to `end`, and silence behind."""
    half = row.dtype in (torch.float16, torch.bfloat16) and len(voices) > 1  # it would be rounded twice
    mixed = row.float() if half else row
    for number, (sound, start, have, gain) in enumerate(voices):
        at = 0
        while have and at < end:
            step = min(have - start, end - at)
            into, what = mixed[..., at : at + step], sound[..., start : start + step]
            if number:
                into.add_(what, alpha=gain)
            elif gain == 0:
                into.zero_()
            else:
                into.copy_(what)
                if gain != 1:
                    into.mul_(gain)
            at, start = at + step, 0
    mixed[..., end if voices[0][2] else 0 :] = 0
    if half:
        row.copy_(mixed)
