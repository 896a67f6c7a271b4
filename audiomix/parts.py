"""Parts of a mix as sounds: where each source of a plan is heard. Stems, the audit and the laws read these."""

import math

import torch
from torch import Tensor

from .audio.stretch import warp
from .clips import fit_length
from .plan import ORIGINAL, Part, Plan
from .resize import METHODS, resize
from .roll import roll_rows

__all__ = ["mix_of_parts", "place", "stems"]

_METHODS = {"pitch": "stretch", "varispeed": "varispeed"}


def place(part: Part, clip: Tensor, size: int, total: int | None = None, valid: int | None = None) -> Tensor:
    """Return what a part adds to a mix: its piece at its gain, in its place, silence elsewhere.

    Parameters
    ----------
    part : Part
        Source, gain and place.
    clip : Tensor, shape (..., T')
        The source, silent behind its valid part.
    size : int
        Samples or frames of the original's axis, of which the part's places are fractions.
    total : int, optional
        Samples of the result, where a mix is longer than its original; `size` by default.
    valid : int, optional
        Samples of `clip` that are valid, for a part that loops or is warped; all by default.

    Returns
    -------
    Tensor, shape (..., total)
    """
    total = size if total is None else total
    if part.roll:
        within = None if valid is None else torch.tensor([valid / clip.shape[-1]], dtype=torch.float64)
        clip = roll_rows(clip[None], torch.tensor([part.roll], dtype=torch.float64), within)[0]
    clip = fit_length(clip, size) if part.fitted else clip
    valid = clip.shape[-1] if valid is None else valid
    stop = total if math.isinf(part.stop) else min(round(part.stop * size), total)
    if part.warp is not None and part.stretch in METHODS:
        (start, first), (stop, last) = (part.warp * torch.tensor([size, clip.shape[-1]])).round().long().tolist()
        sound = resize(clip[..., first:last], stop - start, part.stretch)
    elif part.warp is not None:
        start, sound = _warp(part, clip[..., :valid], size)
    else:
        start = round(part.start * size)
        sound = _read(part, clip, stop - start, valid)
    sound = sound[..., : max(0, stop - start)]
    sound = _fade(part, sound, size)
    sound = sound if part.gain == 1 else sound * part.gain
    if part.crossfade is not None:
        sound = sound * _crossfade(part, size, total)[start : start + sound.shape[-1]].to(sound)
    if part.band != (0.0, 1.0):
        low, high = (round(edge * clip.shape[-2]) for edge in part.band)
        bins = torch.arange(clip.shape[-2], device=clip.device)[:, None]
        sound = sound * ((bins >= low) & (bins < high))
    if part.cells is not None:
        gains = part.cells.over(clip.shape[-2] if clip.ndim > 1 else 1, size)
        gains = fit_length(gains, total)[:, start : start + sound.shape[-1]].to(sound)
        sound = torch.where(gains > 0, sound * (gains if clip.ndim > 1 else gains[0]), 0.0)
    if part.reverse_channels:
        sound = sound.flip(-2)
    if part.stem is not None:
        sound = sound * (torch.arange(len(sound), device=sound.device) == part.stem)[:, None, None]
    placed = clip.new_zeros(*clip.shape[:-1], total)
    placed[..., start : start + sound.shape[-1]] = sound
    return placed


def _read(part: Part, clip: Tensor, most: int, valid: int) -> Tensor:
    """Return the piece of the source as it is heard, before its gain and its fades."""
    if part.loop:
        first = round(part.piece[0] * valid)
        return clip[..., (first + torch.arange(max(0, most), device=clip.device)) % max(valid, 1)]
    begin, end = (round(edge * clip.shape[-1]) for edge in part.piece)
    return clip[..., begin:end]


def _warp(part: Part, clip: Tensor, size: int) -> tuple[int, Tensor]:
    """Return the sample of the mix at which a warped part begins, and its sound."""
    assert part.warp is not None
    rate = _rate(part, size)
    target, source = (part.warp * torch.tensor(part.seconds, dtype=torch.float64)).T.tolist()
    start = round(target[0] * rate)
    if part.stretch == "none":
        first = round(source[0] * rate)
        return start, clip[..., first : first + round((target[-1] - target[0]) * rate)]
    channels = clip if clip.ndim == 2 else clip[None]
    method = _METHODS[part.stretch]
    sound = warp(channels, rate, source, target, method=method, semitones=float(part.semitones))  # type: ignore[arg-type]
    return start, sound if clip.ndim == 2 else sound[0]


def _rate(part: Part, size: int) -> int:
    """Return the sampling rate in Hz at which the original's axis has `size` samples."""
    return round(size / part.seconds[0])


def _fade(part: Part, sound: Tensor, size: int) -> Tensor:
    if not part.fade_in and not part.fade_out:
        return sound
    faded = sound.clone()
    most = sound.shape[-1] // 2 if part.fade_in and part.fade_out else sound.shape[-1]
    for length, ends in ((part.fade_in, False), (part.fade_out, True)):
        width = min(round(length * size), most)
        if width:
            ramp = torch.sin(math.pi / 2 * (torch.arange(width, dtype=torch.float64) + 0.5) / width)
            ramp = ramp.square() if part.fade == "cosine" else ramp
            where = slice(sound.shape[-1] - width, None) if ends else slice(0, width)
            faded[..., where] *= (ramp.flip(0) if ends else ramp).to(sound)
    return faded


def _crossfade(part: Part, size: int, total: int) -> Tensor:
    assert part.crossfade is not None
    start, stop = (edge * part.seconds[0] * _rate(part, size) for edge in part.crossfade)
    angle = math.pi / 2 * ((torch.arange(total, dtype=torch.float64) - start) / (stop - start)).clamp(0, 1)
    return angle.cos() if part.source == ORIGINAL else angle.sin()


def stems(plan: Plan, index: int, own: Tensor, source: Tensor, *, valid: Tensor | None = None) -> dict[int, Tensor]:
    """Return what each source adds to one mix, (..., N) for `ORIGINAL` and for each row of `source` that is heard.

    They sum to the mix. Sources stand in the order of the plan's parts, the original first.

    Parameters
    ----------
    plan : Plan
        What was drawn for the batch.
    index : int
        Which mix.
    own : Tensor, shape (..., T)
        The original, silent behind its valid part.
    source : Tensor, shape (M, ..., T')
        Where partners come from, silent behind their valid parts.
    valid : Tensor, shape (M,), int64, optional
        Valid samples of `source`.
    """
    size = own.shape[-1]
    first, last = (round(edge * size) for edge in plan.window(index))
    total = max(size, last)
    found: dict[int, Tensor] = {}
    for part in plan.parts(index):
        clip = own if part.source == ORIGINAL else source[part.source]
        end = None if part.source == ORIGINAL or valid is None else int(valid[part.source])
        placed = place(part, clip, size, total, end)[..., first:last]
        found[part.source] = found[part.source] + placed if part.source in found else placed
    return found


def mix_of_parts(plan: Plan, index: int, own: Tensor, source: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Return one mix as the sum of its parts; arguments as for `stems`."""
    return torch.stack(list(stems(plan, index, own, source, valid=valid).values())).sum(0)
