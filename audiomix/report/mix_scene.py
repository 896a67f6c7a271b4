"""What a picture of a mix shows: original, partner and mix, and how much of each is heard where."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .. import check, draw
from ..audio.features import LogMel
from ..audio.io import Clip, resample, to_channels
from ..clips import fit_length
from ..mixed import Mixed
from ..mixer import Mixer
from ..needs import EMBEDDING, SPECTROGRAM, STEMS, STREAM, WAVE
from ..parts import place
from ..plan import ORIGINAL, Part, Plan

__all__ = [
    "DOMAINS", "MixScene", "gains", "log_mel", "mix_features", "mix_stems", "mix_waves", "pieces", "shows_both",
    "span_of", "split_stems", "steady_part",
]  # fmt: skip

# What can be drawn of a mixer, the first choice first.
DOMAINS = (WAVE, SPECTROGRAM, STEMS, STREAM, EMBEDDING)
# Where a sound is cut into two stems that sum to it, in Hz.
_SPLIT = 1000.0
# Of a part whose gains alone are looked at: any of its source will do, whatever channel it comes from.
_WHOLE: dict[str, Any] = {
    "fitted": True, "loop": True, "piece": (0.0, 1.0), "roll": 0.0, "reverse_channels": False, "warp": None,
    "stretch": "none",
}  # fmt: skip
# Bands of the log-mel spectrograms, and frames a second.
_BANDS, _FRAMES = 64, 100
# Two clips are alike where what differs has so much of their amplitude.
_ALIKE = 0.01
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
    stem : int, optional
        Which stem of two songs this is.
    """

    domain: str
    plan: Plan
    own: Tensor
    partner: Tensor
    mixed: Tensor
    rate: float
    target: Tensor | None = None
    stem: int | None = None


def mix_waves(mixer: Mixer, own: Clip, partner: Clip, *, seed: int = 0, **notes: Any) -> MixScene:
    """Mix two sounds as they are.

    Parameters
    ----------
    mixer : Mixer
        Of waves; one with a rate is made for that of the original.
    own, partner : Clip
        The sounds. The partner is brought to the rate and to the channels of the original.
    seed : int
        What is drawn depends on.
    **notes : Any
        What is known of the two, by name: see `audiomix.clips.Notes`.

    Raises
    ------
    ValueError
        The mixer is of another domain, or refuses the clips.
    """
    _check_domain(mixer, WAVE)
    own, partner = to_channels(own, 1), to_channels(resample(partner, own.rate), 1)
    theirs = partner.samples
    if mixer.needs.partner == "fitted":
        theirs = fit_length(theirs, own.samples.shape[-1])
    mixed = _mix(mixer.at_rate(own.rate), own.samples[None], theirs[None], seed, notes)
    mix = mixed.x[0] if mixed.lengths is None else mixed.x[0, :, : int(mixed.lengths[0])]
    return MixScene(WAVE, mixed.plans[0], own.samples, theirs, mix, own.rate, _label(mixed))


def mix_stems(mixer: Mixer, own: Sequence[Clip], partner: Sequence[Clip], *, seed: int = 0) -> list[MixScene]:
    """Mix the stems of two songs, each drawn from either of them; return a scene for each stem.

    Parameters
    ----------
    mixer : Mixer
        Of stems.
    own, partner : sequence of Clip
        The stems of the two songs, all of one rate; `split_stems` makes them of a sound.
    seed : int
        What is drawn depends on.
    """
    _check_domain(mixer, STEMS)
    size = max(clip.samples.shape[-1] for clip in own)
    both = [[fit_length(to_channels(clip, 1).samples, size) for clip in stems] for stems in (own, partner)]
    x, other = (torch.stack(stems)[None] for stems in both)
    mixed = _mix(mixer, x, torch.cat([other, x]), seed, {})  # of the partner alone all stems would be its own
    scenes = []
    for stem in range(len(own)):
        sounds = (x[0, stem], other[0, stem], mixed.x[0, stem])
        scenes.append(MixScene(WAVE, mixed.plans[0], *sounds, own[0].rate, torch.tensor([1.0, 0.0]), stem))
    return scenes


def split_stems(clip: Clip) -> list[Clip]:
    """Return what of a sound lies below and above 1 kHz: two stems that sum to it."""
    spectrum = torch.fft.rfft(clip.samples.float())
    low = spectrum.shape[-1] * _SPLIT / (clip.rate / 2)
    below = torch.fft.irfft(spectrum * (torch.arange(spectrum.shape[-1]) < low), clip.samples.shape[-1])
    return [Clip(below, clip.rate), Clip(clip.samples - below, clip.rate)]


def _check_domain(mixer: Mixer, domain: str) -> None:
    if domain not in mixer.needs.domain:
        known = f"one that mixes {' or '.join(sorted(mixer.needs.domain))} for {type(mixer).__name__}"
        check.fail("domain", known, repr(domain))


def _mix(mixer: Mixer, x: Tensor, other: Tensor, seed: int, notes: dict[str, Any]) -> Mixed:
    """Mix two clips whose labels are of two classes; schedules are as in the middle of a training."""
    target = torch.eye(2)
    return mixer(
        x, target[:1], other=other, other_target=target[1:] if mixer.needs.target else None, progress=0.5,
        generator=draw.generator_for(seed, "picture"), **notes,
    )  # fmt: skip


def _label(mixed: Mixed) -> Tensor | None:
    return mixed.target[0] if mixed.target is not None and mixed.target.shape == (1, 2) else None


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
    _check_domain(mixer, domain)
    partner = resample(partner, own.rate)
    both = [log_mel(Clip(fit_length(clip.samples, own.samples.shape[-1]), own.rate)) for clip in (own, partner)]
    as_input: dict[str, Callable[[Tensor], Tensor]] = {
        SPECTROGRAM: lambda spec: spec[None, None],
        STREAM: lambda spec: spec.T[None],
        EMBEDDING: lambda spec: spec.mean(1)[None],
    }
    x, other = (as_input[domain](spec) for spec in both)
    notes = {}
    if "attention" in mixer.needs.notes:  # there is no network: the louder, the more it is attended to
        notes = {name: _loudness(spec)[None] for name, spec in zip(("attention", "other_attention"), both)}
    mixed = _mix(mixer, x, other, seed, notes)
    first, second, mix = (one[0, 0] if domain == SPECTROGRAM else one[0] for one in (x, other, mixed.x))
    return MixScene(domain, mixed.plans[0], first, second, mix, _FRAMES, _label(mixed))


def _loudness(spec: Tensor) -> Tensor:
    """Return how far each of 8 x 12 cells of a log-mel spectrogram lies above the floor, (8, 12)."""
    return torch.nn.functional.adaptive_avg_pool2d(spec[None] - _FLOOR_DB, (8, 12))[0]


def log_mel(clip: Clip) -> Tensor:
    """Return the log-mel spectrogram of the channels' mean, (64, N) in dB, a hundred frames a second, above -80 dB."""
    size = 2 ** max(5, round(math.log2(0.064 * clip.rate)))
    bands = min(_BANDS, size // 8)
    spec = LogMel(clip.rate, n_fft=size, hop=max(1, round(clip.rate / _FRAMES)), n_mels=bands, floor_db=_FLOOR_DB)
    return spec(to_channels(clip, 1).samples.float())[0]


def gains(scene: MixScene) -> tuple[Tensor, Tensor]:
    """Return the gains of the original and of the partner at each place of the mix; both as large as the mix.

    A wave has one row of gains, (1, T). Where a part is warped its gain is that of all its length.
    """
    mixed = scene.mixed
    bands, size = (1, scene.own.shape[-1]) if scene.domain == WAVE else _grid(scene)
    total = mixed.shape[-1] if scene.domain == WAVE else size
    first = round(scene.plan.window(0)[0] * size)
    found, theirs = torch.zeros(2, bands, total), scene.partner.shape[-1] / scene.own.shape[-1]
    for part in _parts(scene):
        ones = torch.ones(bands, size)
        steady = steady_part(part, *span_of(part, 1.0, theirs))
        placed = place(steady, ones, size, max(size, first + total))[..., first : first + total]
        found[0 if part.source == ORIGINAL else 1] += placed
    return found[0], found[1]


def _parts(scene: MixScene) -> list[Part]:
    """Return the parts of what is shown: of one stem, or all."""
    found = scene.plan.parts(0)
    if scene.stem is None:
        return found
    own = (ORIGINAL, 1)  # the second song that stems are drawn from is the original again
    return [
        replace(part, stem=None, source=ORIGINAL if part.source in own else part.source)
        for part in found
        if part.stem in (None, scene.stem)
    ]


def shows_both(scenes: Sequence[MixScene]) -> bool:
    """Return whether a mix is neither the original alone nor the partner alone, by what is in it (to -40 dB)."""
    return all(
        any(_differ(getattr(scene, name), scene.mixed) for scene in scenes) for name in ("own", "partner")
    )  # fmt: skip


def _differ(sound: Tensor, mixed: Tensor) -> bool:
    """Return whether two clips differ by more than 1 % of the larger one, whatever the gain of either."""
    if sound.shape != mixed.shape:
        return True
    a, b = (x.double().flatten() for x in (sound, mixed))
    gain = (a @ b) / (a @ a).clamp(min=1e-30)
    return float((b - gain * a).norm()) > _ALIKE * float(b.norm())


def _grid(scene: MixScene) -> tuple[int, int]:
    """Return bands and frames of what is mixed, time last."""
    if scene.domain == EMBEDDING:
        return scene.own.shape[0], 1
    return (scene.own.shape[0], scene.own.shape[1]) if scene.domain == SPECTROGRAM else (1, scene.own.shape[0])


def span_of(part: Part, own: float, partner: float) -> tuple[float, float]:
    """Return from where to where a part is heard, on the original's axis.

    Parameters
    ----------
    part : Part
        One of `Plan.parts`.
    own, partner : float
        Lengths of the axes of the original and of its partners, in one unit, which is that of the result.

    Examples
    --------
    >>> span_of(Part(0, start=0.25, piece=(0.0, 0.5)), 4.0, 2.0)
    (1.0, 2.0)
    """
    if part.warp is not None and len(part.warp):
        start, stop = (part.warp[[0, -1], 0] * own).tolist()
    else:
        start = part.start * own
        inside = own if part.fitted or part.source == ORIGINAL else partner
        stop = math.inf if part.loop else start + (part.piece[1] - part.piece[0]) * inside
    return start, max(start, min(stop, part.stop * own))


def steady_part(part: Part, start: float, stop: float) -> Part:
    """Return a part with the gains, fades and masks of another that is heard from `start` to `stop`, whatever it plays.

    Parameters
    ----------
    part : Part
        The other.
    start, stop : float
        Fractions of the original's axis.
    """
    return replace(part, **_WHOLE, start=start, stop=stop)


def pieces(scene: MixScene, source: str) -> list[tuple[float, float]]:
    """Return what is heard of the ``original`` or of the ``partner``, as fractions of its time axis, each once."""
    found, sizes = [], (scene.own.shape[-1], scene.partner.shape[-1])
    for part in _parts(scene):
        if part.gain and not part.loop and (part.source == ORIGINAL) == (source == "original"):
            start, stop = part.piece if part.warp is None else part.warp[[0, -1], 1].tolist()
            scale = sizes[0] / sizes[1] if part.fitted and source == "partner" else 1.0
            found.append((start * scale, min(stop * scale, 1.0)))
    return list(dict.fromkeys(span for span in found if span != (0.0, 1.0)))
