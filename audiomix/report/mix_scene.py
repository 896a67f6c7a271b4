"""What a picture of a mix shows: original, partner and mix, and how much of each is heard where."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .. import check, draw
from ..audio.features import LogMel
from ..audio.io import Clip, resample, to_channels
from ..clips import fit_length
from ..mixed import Mixed
from ..mixer import Mixer
from ..needs import EMBEDDING, SPECTROGRAM, STREAM, WAVE
from ..parts import place
from ..plan import ORIGINAL, Part, Plan

__all__ = ["DOMAINS", "MixScene", "heard", "log_mel", "mix_features", "pieces"]

# What can be drawn of a mixer, the first choice first.
DOMAINS = (WAVE, SPECTROGRAM, STREAM, EMBEDDING)
# Bands of the log-mel spectrograms, and frames a second.
_BANDS, _FRAMES = 64, 100
# The softest level that is shown, in dB.
_FLOOR_DB = -80.0


@dataclass(frozen=True, eq=False)
class MixScene:
    """A mix of two clips in one domain.

    Parameters
    ----------
    domain : str
        ``wave``, ``spectrogram``, ``stream`` or ``embedding``.
    plan : Plan
        Of one clip; its partner is the only one of a second batch.
    own, partner, mixed : Tensor
        Waves (C, T), log-mel spectrograms (F, N), streams (N, D) or embeddings (D,).
    rate : float
        Samples or frames a second.
    target : Tensor, shape (2,), optional
        The label of the mix: shares of the original's and of the partner's.
    """

    domain: str
    plan: Plan
    own: Tensor
    partner: Tensor
    mixed: Tensor
    rate: float
    target: Tensor | None = None


def mix_features(mixer: Mixer, own: Clip, partner: Clip, domain: str, *, seed: int = 0) -> MixScene:
    """Mix what is computed from two sounds: log-mel spectrograms, streams of their frames, or their mean frames.

    Parameters
    ----------
    mixer : Mixer
        Of this domain.
    own, partner : Clip
        The sounds. The partner is brought to the rate and to the length of the original.
    domain : str
        ``spectrogram``; ``stream``, (N, D), the frames of a spectrogram; or ``embedding``, (D,), their mean.
    seed : int
        What is drawn depends on.

    Raises
    ------
    ValueError
        The mixer is of another domain, or refuses the clips.
    """
    if domain not in mixer.needs.domain:
        known = f"one that mixes {' or '.join(sorted(mixer.needs.domain))} for {type(mixer).__name__}"
        check.fail("domain", known, repr(domain))
    partner = resample(partner, own.rate)
    both = [log_mel(Clip(fit_length(clip.samples, own.samples.shape[-1]), own.rate)) for clip in (own, partner)]
    rows = {
        SPECTROGRAM: [spec[None, None] for spec in both],
        STREAM: [spec.T[None] for spec in both],
        EMBEDDING: [spec.mean(1)[None] for spec in both],
    }[domain]
    target = torch.eye(2)
    # schedules are drawn as they are in the middle of a training
    mixed: Mixed = mixer(
        rows[0], target[:1], other=rows[1], other_target=target[1:] if mixer.needs.target else None, progress=0.5,
        generator=draw.generator_for(seed, "picture"),
    )  # fmt: skip
    first, second, mix = (x[0, 0] if domain == SPECTROGRAM else x[0] for x in (*rows, mixed.x))
    found = mixed.target[0] if mixed.target is not None and mixed.target.shape == (1, 2) else None
    return MixScene(domain, mixed.plans[0], first, second, mix, _FRAMES, found)


def log_mel(clip: Clip) -> Tensor:
    """Return the log-mel spectrogram of the channels' mean, (64, N) in dB, a hundred frames a second, above -80 dB."""
    size = 2 ** max(5, round(math.log2(0.064 * clip.rate)))
    bands = min(_BANDS, size // 8)
    spec = LogMel(clip.rate, n_fft=size, hop=max(1, round(clip.rate / _FRAMES)), n_mels=bands, floor_db=_FLOOR_DB)
    return spec(to_channels(clip, 1).samples.float())[0]


def heard(scene: MixScene) -> tuple[Tensor, Tensor]:
    """Return at which gain original and partner are heard at each place of the mix; both as large as the mix.

    A wave has one row of gains, (1, T). Where a part is warped its gain is that of all its length.
    """
    mixed = scene.mixed
    bands, size = (1, scene.own.shape[-1]) if scene.domain == WAVE else _grid(scene)
    total = mixed.shape[-1] if scene.domain == WAVE else size
    first = round(scene.plan.window(0)[0] * size)
    found = torch.zeros(2, bands, total)
    for part in scene.plan.parts(0):
        ones = torch.ones(bands, size)
        placed = place(_steady(part), ones, size, max(size, first + total))[..., first : first + total]
        found[0 if part.source == ORIGINAL else 1] += placed
    return found[0], found[1]


def _grid(scene: MixScene) -> tuple[int, int]:
    """Return bands and frames of what is mixed, time last."""
    if scene.domain == EMBEDDING:
        return scene.own.shape[0], 1
    return (scene.own.shape[0], scene.own.shape[1]) if scene.domain == SPECTROGRAM else (1, scene.own.shape[0])


def _steady(part: Part) -> Part:
    """Return a part that is heard from `start` to `stop`, whatever of its source that is."""
    if part.warp is None:
        stop = min(part.stop, part.start + part.piece[1] - part.piece[0]) if not part.loop else part.stop
        return replace(part, fitted=True, loop=True, piece=(0.0, 1.0), stop=stop, roll=0.0)
    return replace(
        part, warp=None, stretch="none", loop=True, piece=(0.0, 1.0), roll=0.0,
        start=float(part.warp[0, 0]), stop=min(part.stop, float(part.warp[-1, 0])),
    )  # fmt: skip


def pieces(scene: MixScene, source: str) -> list[tuple[float, float]]:
    """Return what is heard of the ``original`` or of the ``partner``, as fractions of its time axis, each once."""
    found, sizes = [], (scene.own.shape[-1], scene.partner.shape[-1])
    for part in scene.plan.parts(0):
        if part.gain and not part.loop and (part.source == ORIGINAL) == (source == "original"):
            start, stop = part.piece if part.warp is None else part.warp[[0, -1], 1].tolist()
            scale = sizes[0] / sizes[1] if part.fitted and source == "partner" else 1.0
            found.append((start * scale, min(stop * scale, 1.0)))
    return list(dict.fromkeys(span for span in found if span != (0.0, 1.0)))
