"""The sounds of a beat mix: originals and warped partners in their places, before their gains."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from .. import check
from ..audio import level
from ..clips import Clips, fit_length, silence_padding
from ..parts import place
from ..plan import ORIGINAL
from .align import BeatAlignment
from .plan import BeatPlan

__all__ = ["check_sound", "match_loudness", "render_tracks"]

# A partner 40 dB below the original holds no music but its noise: it is lifted no further.
_MOST_GAIN_DB = 40.0


def render_tracks(own: Clips, source: Clips, plan: BeatPlan) -> tuple[Tensor, Tensor]:
    """Return what is added in a beat mix: each original, and its partner in its place, both before their gains.

    Parameters
    ----------
    own : Clips
        The originals, waveforms (B, C, T) or (B, T).
    source : Clips
        Where partners come from, as long as they are.
    plan : BeatPlan
        Its `parts` say what sounds where. No gradient flows through what is warped or shifted.

    Returns
    -------
    own, partner : Tensor, shape (B, ..., N), in float32 at least
        N is T, or more where a cross-fade is kept whole. Nothing is cut yet.
    """
    dtype = torch.promote_types(own.x.dtype, torch.float32)
    size, total = own.size, plan.total_size(own.size)
    originals = fit_length(silence_padding(own.x, own.lengths), total).to(dtype)
    partners: Tensor | None = None  # made when the first is warped, which takes more memory than all else
    warped = dict[int, Tensor]()
    for i in range(len(own)):
        for part in plan.parts(i):
            alone = replace(part, gain=1.0)
            if part.source != ORIGINAL:
                clip = source.clip(part.source).to(dtype)
                placed = place(alone, clip if part.warp is None else clip.detach(), size, total)
                partners = originals.new_zeros(originals.shape) if partners is None else partners
                partners[i] = placed
            elif part.warp is not None:
                warped[i] = place(alone, originals[i, ..., :size].detach(), size, total)
    if warped:
        originals = torch.stack([warped.get(i, original) for i, original in enumerate(originals)])
    return originals, originals.new_zeros(originals.shape) if partners is None else partners


def check_sound(name: str, clips: Clips) -> None:
    """Raise where sounds hold NaN or infinity; what stands behind their lengths is never heard and may.

    Parameters
    ----------
    name : str
        What the sounds are called in the message.
    clips : Clips
        The sounds, (B, ..., T).

    Raises
    ------
    ValueError
        A sample that is NaN or infinite; its place is named.
    """
    low, high = clips.x.detach().aminmax()
    if not (math.isfinite(float(low)) and math.isfinite(float(high))):
        check.finite(name, silence_padding(clips.x.detach(), clips.lengths))


def match_loudness(own: Tensor, partner: Tensor, rate: int, alignment: BeatAlignment | None) -> float:
    """Return the factor that brings a partner to the original's loudness, measured where both sound.

    Parameters
    ----------
    own, partner : Tensor, shape (..., T)
        What is valid of them.
    rate : int
        Sampling rate in Hz.
    alignment : BeatAlignment, optional
        Without one both are measured as wholes.

    Returns
    -------
    float
        Amplitude, within 40 dB of 1; 1 where one of them is silent, which has no level.
    """
    spans = [slice(0, sound.shape[-1]) for sound in (own, partner)]
    if alignment is not None:
        times = alignment.target, alignment.source
        spans = [slice(round(t[0] * rate), round(t[-1] * rate)) for t in times]
    lufs = [level.lufs(x[..., span].float(), rate) for x, span in zip((own, partner), spans)]
    if not all(math.isfinite(one) for one in lufs):
        return 1.0
    return float(level.from_db(max(-_MOST_GAIN_DB, min(_MOST_GAIN_DB, lufs[0] - lufs[1]))))
