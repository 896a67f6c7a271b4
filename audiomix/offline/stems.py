"""The parts of a mix: what each source adds, one limiter gain for all, and whole numbers that sum exactly."""

import math

import torch
from torch import Tensor

from .. import check
from ..audio import io, level
from ..clips import fit_length, silence_padding
from ..mixer import Needs
from ..parts import stems
from ..plan import Plan
from .fit import Pair

__all__ = ["FULL", "limiter", "stems_of", "whole_numbers"]

FULL = 32768
# Samples that are scaled at a time, in float64.
_BLOCK = 1 << 20


def stems_of(pair: Pair, plan: Plan, mixed: Tensor, needs: Needs) -> list[Tensor]:
    """Return what each source adds to a mix, (C, N) each, the original's first; they sum to the mix.

    Parameters
    ----------
    pair : Pair
        The sounds as the mixer got them.
    plan : Plan
        What the mixer drew for them.
    mixed : Tensor, shape (C, N)
        The mix, which the stems have to sum to.
    needs : Needs
        Of the mixer.

    Raises
    ------
    ValueError
        The plan's parts do not sum to the mix.
    """
    own = silence_padding(pair.x, pair.lengths)[0]
    source = silence_padding(pair.other, pair.other_lengths)
    valid = torch.full((len(source),), pair.other.shape[-1]) if pair.other_lengths is None else pair.other_lengths
    parts = [fit_length(stem, mixed.shape[-1]) for stem in stems(plan, 0, own, source, valid=valid).values()]
    kept = plan.mixed_lengths(pair.lengths, pair.x.shape[-1])
    if kept is not None:
        for part in parts:
            part[..., int(kept[0]) :] = 0  # what was padded stays silent
    if len(parts) == 1 and len(plan.sources(0)):
        parts.append(torch.zeros_like(mixed))
    before = sum(parts[1:-1], start=parts[0]) if len(parts) > 1 else torch.zeros_like(mixed)
    exact = torch.equal(before + parts[-1], mixed)
    last = parts[-1] if exact else mixed - before  # what rounding leaves is the last one's, so that they sum exactly
    far = max(abs(float(v)) for v in (last - parts[-1]).aminmax())
    loudest = max(abs(float(v)) for v in mixed.aminmax())
    if not needs.summed or not far <= 1e-4 + 1e-5 * loudest:  # NaN is not
        check.fail("stems", "left out for a mixer whose mix is not a sum of its sources", type(plan).__name__)
    return [*parts[:-1], last]


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
