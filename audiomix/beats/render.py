"""The sounds of a beat mix: originals and warped partners in their places, before their gains."""

import math
from typing import Any

import torch
from torch import Tensor

from .. import check
from ..audio import level
from ..audio.blend import fitted, overlap, silenced
from ..audio.stretch import warp
from .align import Alignment
from .plan import BeatPlan

__all__ = ["check_sound", "matching", "tracks"]

# A partner 40 dB below the original holds no music but its noise: it is lifted no further.
_MOST_GAIN_DB = 40.0

# Fades where a partner enters and leaves, in seconds: long enough not to click.
_FADE = 0.02
_METHODS: dict[str, Any] = {"pitch": "stretch", "varispeed": "varispeed"}


def tracks(
    x: Tensor,
    plan: BeatPlan,
    rate: int,
    stretch: str = "pitch",
    *,
    other: Tensor | None = None,
    lengths: Tensor | None = None,
    other_lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return what is added in a beat mix: each original, and its partner in its place, both before their gains.

    Parameters
    ----------
    x : Tensor, shape (B, C, T) or (B, T)
    plan : BeatPlan
    rate : int
        Hz.
    stretch : str
        ``pitch``, ``varispeed`` or ``none``.
    other, lengths, other_lengths
        As for a mixer.

    Returns
    -------
    own, partner : Tensor, shape (B, ..., N)
        N is T, or more where a cross-fade is kept whole. Nothing is cut yet.
    """
    source, source_lengths = (x, lengths) if other is None else (other, other_lengths)
    size = plan.size(x.shape[-1])
    own = silenced(x, lengths)
    if size != x.shape[-1] or len(plan.own_warp):
        own = torch.stack([_own(own[i], plan, i, rate, stretch, size) for i in range(len(x))])
    partners = x.new_zeros(*x.shape[:-1], size)
    covered = overlap(x, plan.partner, lengths, other, other_lengths)[1].tolist()
    for i, j in enumerate(plan.partner.tolist()):
        if not plan.why[i]:
            end = None if source_lengths is None else int(source_lengths[j])
            sound, start = _partner(source[j][..., :end].detach(), plan, i, rate, stretch, size)
            partners[i, ..., start : start + sound.shape[-1]] = sound
        elif plan.weight[i] < 1:
            partners[i, ..., : covered[i]] = source[j, ..., : covered[i]]
    return own, partners


def check_sound(name: str, x: Tensor, lengths: Tensor | None) -> None:
    """Raise where (B, ..., T) holds NaN or infinity; what it holds behind `lengths` is never heard."""
    low, high = x.detach().aminmax()
    if not (math.isfinite(float(low)) and math.isfinite(float(high))):
        check.finite(name, silenced(x.detach(), lengths))


def matching(own: Tensor, partner: Tensor, rate: int, alignment: Alignment | None) -> float:
    """Return the factor that brings a partner to the original's loudness, measured where both sound.

    Parameters
    ----------
    own, partner : Tensor, shape (..., T)
        What is valid of them.
    rate : int
        Hz.
    alignment : Alignment, optional
        Without one both are measured as wholes.
    """
    spans = [slice(0, sound.shape[-1]) for sound in (own, partner)]
    if alignment is not None:
        times = alignment.target, alignment.source
        spans = [slice(round(t[0] * rate), round(t[-1] * rate)) for t in times]
    heard = [level.lufs(x[..., span].float(), rate) for x, span in zip((own, partner), spans)]
    if not all(math.isfinite(one) for one in heard):  # silence has no level: it stays as it is
        return 1.0
    return float(level.from_db(max(-_MOST_GAIN_DB, min(_MOST_GAIN_DB, heard[0] - heard[1]))))


def _own(x: Tensor, plan: BeatPlan, i: int, rate: int, stretch: str, size: int) -> Tensor:
    """Return an original as it is heard before its gain: all of it, or faded out at a gliding tempo; (..., size)."""
    if not len(plan.own_warp) or not len(plan.own_warp[i]):
        return fitted(x, size)
    target, source = (plan.own_warp[i] * plan.seconds[i, 0]).T.tolist()
    sound = fitted(_warped(x, rate, source, target, stretch), size)
    return sound * _curve(plan, i, rate, size).cos().to(sound)


def _partner(x: Tensor, plan: BeatPlan, i: int, rate: int, stretch: str, size: int) -> tuple[Tensor, int]:
    """Return a warped partner (..., N') with its fades but before its gain, and the sample at which it enters."""
    target, source = (plan.warp[i] * plan.seconds[i]).T.tolist()
    start = round(target[0] * rate)
    if stretch == "none":
        first = round(source[0] * rate)
        sound = x[..., first : first + round((target[-1] - target[0]) * rate)]
    else:
        sound = _warped(x, rate, source, target, stretch, float(plan.semitones[i]))
    sound = sound[..., : max(0, size - start)]
    if plan.fade[i, 1] > 0:
        curve = _curve(plan, i, rate, size)[start : start + sound.shape[-1]]
        return sound * curve.sin().to(sound), start
    return _faded(sound, round(_FADE * rate)), start


def _warped(
    x: Tensor, rate: int, source: list[float], target: list[float], stretch: str, semitones: float = 0.0
) -> Tensor:
    """Warp (C, T) or (T,)."""
    channels = x if x.ndim == 2 else x[None]
    sound = warp(channels, rate, source, target, method=_METHODS[stretch], semitones=semitones)
    return sound if x.ndim == 2 else sound[0]


def _curve(plan: BeatPlan, i: int, rate: int, size: int) -> Tensor:
    """Return the angle of an equal-power cross-fade at each sample, 0 to pi / 2; (size,), float64."""
    start, stop = (plan.fade[i] * plan.seconds[i, 0] * rate).tolist()
    time = torch.arange(size, dtype=torch.float64)
    return math.pi / 2 * ((time - start) / (stop - start)).clamp(0, 1)


def _faded(sound: Tensor, size: int) -> Tensor:
    """Fade a sound in and out over `size` samples."""
    size = min(size, sound.shape[-1] // 2)
    if size == 0:
        return sound
    ramp = torch.sin(math.pi / 2 * (torch.arange(size, dtype=torch.float64) + 0.5) / size).square().to(sound)
    return torch.cat([sound[..., :size] * ramp, sound[..., size:-size], sound[..., -size:] * ramp.flip(0)], -1)
