"""The parts of a mix: what each source adds, one limiter gain for all, and whole numbers that sum exactly."""

import math

import torch
from torch import Tensor

from .. import check
from ..audio import io, level
from ..captions.plan import ScenePlan
from ..mixer import Mixer
from ..plan import Plan
from .fit import Pair

__all__ = ["FULL", "limiter", "stems_of", "whole_numbers"]

FULL = 32768
# Samples that are scaled at a time, in float64.
_BLOCK = 1 << 20


def stems_of(mixer: Mixer, pair: Pair, plan: Plan, mixed: Tensor) -> list[Tensor]:
    """Return the parts of the mix: of a scene, one for each source; else the original's, and the rest of it."""
    if isinstance(plan, ScenePlan):
        return _of_scene(mixer, pair, plan, mixed)
    silence = _silence(pair.x)
    size = mixed.shape[-1]
    rest = mixer.mix(silence, plan, other=pair.other, lengths=pair.lengths)[..., :size]
    if rest.untyped_storage().data_ptr() in [t.untyped_storage().data_ptr() for t in (silence, pair.other)]:
        rest = rest.clone(memory_format=torch.contiguous_format)  # it is written to below
    own = mixer.mix(pair.x, plan, other=_silence(pair.other), lengths=pair.lengths)[..., :size]
    low, high = rest.add_(own).sub_(mixed).aminmax()
    far, loudest = max(-float(low), float(high)), max(abs(float(v)) for v in mixed.aminmax())
    if not far <= 1e-4 + 1e-5 * loudest:  # NaN is not
        check.fail("stems", "left out for a mixer whose mix is not a sum of its sources", type(mixer).__name__)
    torch.sub(mixed, own, out=rest)
    return [own[0], rest[0]]


def _of_scene(mixer: Mixer, pair: Pair, plan: ScenePlan, mixed: Tensor) -> list[Tensor]:
    """Return each source's part of a scene; what rounding leaves goes to the last, so that they sum to the mix."""
    stems = [track[..., : mixed.shape[-1]] for track in mixer.stems(pair.x, plan, 0, other=pair.other)]  # type: ignore[operator]
    return [io.fit_length(stem, mixed.shape[-1]) for stem in stems]


def _silence(x: Tensor) -> Tensor:
    """Return zeros in the shape of `x` that take no memory."""
    return x.new_zeros(1).expand_as(x)


def limiter(sounds: list[Tensor]) -> tuple[float, float]:
    """Return the one gain in dB, and as a factor, that brings all sounds below full scale.

    Each stem may be rounded up by half a step, so the ceiling leaves room for their sum.
    """
    room = 1 if len(sounds) == 1 else 2
    gain = level.limiter_gain(*sounds, ceiling=(FULL - room) / FULL)
    if gain == 1:
        return 0.0, 1.0
    gain_db = 20 * math.log10(gain)
    return gain_db, 10 ** (gain_db / 20)  # from the decibels, so that the manifest's number gives the same bits


def whole_numbers(sound: Tensor, factor: float) -> Tensor:
    """Return ``factor * sound`` (C, T) as whole numbers, scaled in float64, a block at a time."""
    whole = torch.empty(sound.shape, dtype=torch.int32)
    for start in range(0, sound.shape[-1], _BLOCK):
        block = slice(start, start + _BLOCK)
        piece = sound[:, block]
        whole[:, block] = io.quantise(piece if factor == 1 else piece.double() * factor)
    return whole
