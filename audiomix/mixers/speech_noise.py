r"""Speech in noise at a signal-to-noise ratio: recorded noise, or babble made of the other speakers of the batch.

.. math:: y = c\,(x + g\, n), \qquad g = \frac{L(x)}{L(n)} 10^{-\mathrm{SNR} / 20}, \qquad
    n_{\mathrm{babble}} = \sum_{j=1}^{k} v_j / L(v_j)

L is the level of the active part; c is 1, or with ``limit=True`` the one gain that keeps the mix within full scale.

Source: ours: noise at an SNR over active speech, and babble of the voices of the batch.
Label: kept.
"""

import functools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from .. import check, draw
from ..audio import level
from ..audio.pieces import add_pieces, measure_blocks, piece, take_rows
from ..clips import Clips, fit_length
from ..draw import Generator
from ..mixer import WAVE, Example, Mixer, Needs
from ..plan import NOT_DRAWN, ORIGINAL, GainPlan, Part, Plan
from ..schedule import Schedule
from .snr_mix import SILENT_NOISE, redraw_silent, snr_range

__all__ = ["LEFT", "NoisePlan", "SpeechNoise"]

# Why a clip was left without noise, by `NoisePlan.left`; the first means that it has some
LEFT = ("noisy", "not drawn (p, eligible)", "clean was drawn", "silent speech", SILENT_NOISE, "nobody else speaks")
_NOISY, _OUT, _CLEAN, _SILENT, _NO_NOISE, _ALONE = range(6)
# Frames whose power decides where speech is active, in seconds
_FRAME_S = 0.032


@dataclass(frozen=True, eq=False, kw_only=True)
class NoisePlan(GainPlan):
    """Which noise each clip has, from where, and at which gains; labels are kept (weight 1).

    `gain_db` holds the gain of the speech (0, or that of the limiter) and of the noise.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    gain_db, ratio, covered, unmixed_behind, share_of
        See `audiomix.GainPlan`.
    voices : Tensor, shape (B, M), int64
        Rows of the noise, or of the batch itself for babble; -1 where there are fewer.
    offset : Tensor, shape (B, M), float64
        Start of the piece, as a fraction of its valid length; what ends is repeated.
    voice_gain : Tensor, shape (B, M), float64
        Amplitude of each voice before the sum is scaled as a whole.
    snr_db : Tensor, shape (B,), float64
        Infinite for a clip without noise.
    left : Tensor, shape (B,), int64
        Why a clip has none: an index into `LEFT`; 0 for one that has.
    """

    voices: Tensor
    offset: Tensor
    voice_gain: Tensor
    snr_db: Tensor
    left: Tensor

    @classmethod
    def identity(cls, size: int) -> "NoisePlan":
        """Return the plan that adds no noise to `size` clips."""
        one, zero = torch.ones(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
        none = torch.zeros(size, 1, dtype=torch.float64)
        return cls.of(
            torch.arange(size), one, one, zero, voices=torch.full((size, 1), -1), offset=none, voice_gain=none,
            snr_db=torch.full_like(one, math.inf), left=torch.full((size,), _OUT), why=(NOT_DRAWN,) * size,
        )  # fmt: skip

    def parts(self, index: int) -> list[Part]:
        """Return the speech and each voice of the noise, from its offset on, repeated where it ends."""
        a, b = (float(gain[index]) for gain in self.gains())
        rows = zip(self.voices[index].tolist(), self.offset[index].tolist(), self.voice_gain[index].tolist())
        noise = [Part(j, b * gain, piece=(offset, 1.0), loop=True) for j, offset, gain in rows if j >= 0 and b * gain]
        return [Part(ORIGINAL, a), *noise]

    def partner_rows(self) -> Tensor:
        """Return none: voices are rows of the mixer's own noises too, which no call gives."""
        return self.voices[:0, 0]

    def describe(self, index: int) -> dict[str, Any]:
        """Return the SNR, None for a clip without noise, and why it has none."""
        snr_db = float(self.snr_db[index])
        found = {"snr_db": snr_db if math.isfinite(snr_db) else None, "why": None}
        return found | super().describe(index)


class SpeechNoise(Mixer):
    """Add noise or babble to waveforms (B, C, T) at a drawn SNR, exact over active speech.

    Parameters
    ----------
    snr_db : float, schedule, (low, high) or list
        In dB: one number or schedule (0 is 0 dB), a tuple for a uniform draw, or a **list** of choices with equal
        chances, in which None or infinity is clean: ``[-5, 0, 5, 10, 15, 20, None]`` is Auto-AVSR's. Minus infinity
        (noise alone) is refused.
    noise : Tensor or sequence of Tensors, optional
        Noises (T,), (C, T) or (M, C, T), of any lengths; each clip draws one. ``other=`` of a call stands before it.
    babble : int, optional
        Instead: so many other clips of the batch, each brought to the same active level, are summed. Never the clip
        itself and no clip twice; with ``ids=`` in the call (who speaks, one a clip) no speaker twice and never the
        clip's own.
    few : str
        Where the batch has fewer than `babble` others: ``fewer`` takes all there are (the plan says so; a clip without
        any stays clean), ``error`` raises.
    level : str
        The measure of speech and noise alike: ``active``, rms over the frames of 32 ms within 30 dB of the loudest
        one, or ``rms`` over the whole (valid) clip.
    limit : bool
        Scale a noisy clip as a whole where its peak would exceed 1, so that the SNR stays.
    rate : int
        Sampling rate in Hz.
    num_classes, p
        See `audiomix.Mixer`. AV-HuBERT: ``p=0.25, snr_db=0``.

    Notes
    -----
    Longer noise is cropped at random, noise that is not longer starts anywhere and is repeated, the silence of its
    padding left out. In place of a silent piece another one is drawn. Silent speech or noise has no SNR: the clip keeps
    its bits and the plan says why. Labels are
    kept. AV-HuBERT measures over the whole utterance (``level="rms"``); MUSAN babble as it makes it has 30 voices.
    Sources: Shi et al., Robust AV-HuBERT (Interspeech 2022); Ma et al., Auto-AVSR (ICASSP 2023).

    See Also
    --------
    audiomix.SNRMix : any sounds, and labels that follow the energy.

    Examples
    --------
    >>> speech = torch.randn(4, 1, 16000)
    >>> mixed = SpeechNoise(0.0, babble=3)(speech)
    >>> bool(((level.rms(speech) / level.rms(mixed.x - speech)).log10().abs() < 0.02).all())
    True
    >>> mixed.plans[0].voices.shape
    torch.Size([4, 3])
    """

    plan_type = NoisePlan
    noise: Tensor | None

    def __init__(
        self,
        snr_db: float | str | Schedule | tuple[float, float] | Sequence[float | None] = (0.0, 20.0),
        *,
        noise: Tensor | Sequence[Tensor] | None = None,
        babble: int | None = None,
        few: Literal["fewer", "error"] = "fewer",
        level: Literal["active", "rms"] = "active",
        limit: bool = False,
        rate: int = 16000,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p)
        self.snr_db = _snr(snr_db)
        if noise is not None and babble is not None:
            check.fail("noise", "None with babble", "given", "babble is made of the batch")
        self.babble = None if babble is None else check.integer("babble", babble, 1)
        self.few = check.choice("few", few, ("fewer", "error"))
        self.level = check.choice("level", level, ("active", "rms"))
        self.limit = check.one_of_types("limit", limit, bool, "True or False")
        self.rate = check.rate("rate", rate)
        kept, self.noise_lengths = (None, torch.zeros(0)) if noise is None else _store(noise)
        self.register_buffer("noise", kept, persistent=False)

    @property
    def needs(self) -> Needs:
        """Waveforms, and the noise whole: the mixer crops or repeats it. Labels are kept."""
        most = 2 if self.babble is None else self.babble + 1
        return Needs(domain=frozenset({WAVE}), partner="whole", target=False, sources=(2, most))

    @classmethod
    def examples(cls) -> list[Example]:
        """Return noise of a second batch and babble, in both measures, with and without the limiter."""
        noise = [cls(), cls([-5, 0, None], level="rms", limit=True)]
        babble = [cls(babble=2), cls(5.0, babble=3, limit=True)]
        return [*(Example(m, partners="second") for m in noise), *(Example(m, partners="batch") for m in babble)]

    def check_input(self, own: Clips, source: Clips) -> None:
        """Raise where there is no noise, two kinds of it, or too few voices."""
        super().check_input(own, source)
        speakers = len(set(_names(own.notes.ids, len(own))))
        if self.babble is None and source is own and self.noise is None:
            check.fail("other", "given: the noise", None, "or SpeechNoise(noise=...), SpeechNoise(babble=...)")
        if self.babble is not None and source is not own:
            check.fail("other", "None with babble", "given", "babble is made of the batch")
        if self.babble is not None and self.few == "error" and speakers <= self.babble:
            expected = f"of more than {self.babble} speakers for babble={self.babble}"
            check.fail("x", expected, speakers, "few='fewer' takes all there are")
        self._noise_clips(own, source)

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw who is heard, from where and at which SNR; measure levels."""
        size, noises = len(own), self._noise_clips(own, source)
        drawn = self.choose(own, progress=progress, generator=generator)
        snr_db = self._draw_snr(size, progress, generator)
        if self.babble is None:
            voices = draw.integers(torch.full((size, 1), len(noises)), generator=generator)
        else:
            voices = _others(_names(own.notes.ids, size), self.babble, generator)
        offset = _draw_places(own, noises, voices, generator)
        voice_gain = (voices >= 0).double()
        if self.babble is not None:
            levels = []
            for rows, starts in zip(voices.clamp(min=0).unbind(1), offset.unbind(1)):  # one by one: there may be thirty
                levels.append(measure_blocks(own, functools.partial(_voice, own, noises, rows, starts), self._level))
            loudness = torch.stack(levels, 1)
            voice_gain = torch.where(loudness > 0, voice_gain / loudness.clamp(min=1e-12), 0.0)
        sounds = _Voices(noises, voices, offset, voice_gain)
        both = self._level(own.x, own.lengths), measure_blocks(own, functools.partial(sounds.add, own), self._level)
        if self.babble is None:
            for rows in redraw_silent(both[1], drawn & snr_db.isfinite() & (both[0] > 0)):
                some = take_rows(own, rows)
                voices[rows] = draw.integers(torch.full((len(rows), 1), len(noises)), generator=generator)
                offset[rows] = _draw_places(some, noises, voices[rows], generator)
                again = _Voices(noises, voices[rows], offset[rows], voice_gain[rows])
                both[1][rows] = measure_blocks(some, functools.partial(again.add, some), self._level)
        left = _why(drawn, snr_db, (voices >= 0).any(1), *both)
        gain = torch.where(left == _NOISY, level.snr_gain(*both, snr_db), 0.0)
        fit = self._limiter_gain(own, sounds, gain)
        snr_db = torch.where(left == _NOISY, snr_db, math.inf)
        places = {"voices": voices, "offset": offset, "voice_gain": voice_gain, "snr_db": snr_db, "left": left}
        why = tuple("" if k in (_NOISY, _OUT, _CLEAN) else LEFT[k] for k in left.tolist())
        one = torch.ones(size, dtype=torch.float64)
        reasons = {"why": why} if any(why) else {}
        return NoisePlan.of(torch.arange(size), one, fit, gain * fit, **places, **reasons)

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Add the plan's noise."""
        assert isinstance(plan, NoisePlan)
        noises = self._noise_clips(own, source)
        if not torch.compiler.is_compiling() and int(plan.voices.max()) >= len(noises):
            check.fail("plan.voices", f"in 0..{len(noises) - 1}, the noises given", int(plan.voices.max()))
        clip, noise = plan.gains()
        noise = torch.where(plan.left == _NOISY, noise, 0.0)[:, None] * plan.voice_gain
        gains = torch.cat([clip[:, None], noise], 1)
        return add_pieces(own, noises, plan.voices, plan.offset, gains, out=out)

    def _limiter_gain(self, own: Clips, sounds: "_Voices", gain: Tensor) -> Tensor:
        """Return the gain that keeps each noisy clip within full scale; ones without `limit`."""
        fit = torch.ones_like(gain)
        if not self.limit:
            return fit
        mix = functools.partial(sounds.add, own, clip=fit, gain=gain)
        loudest = measure_blocks(own, mix, lambda x, _: level.peak(x))
        return torch.where((gain > 0) & (loudest > 1), 1 / loudest.clamp(min=1.0), fit)

    def _draw_snr(self, size: int, progress: float | None, generator: Generator) -> Tensor:
        if isinstance(self.snr_db, Schedule):
            return torch.full((size,), self.snr_db(progress), dtype=torch.float64)
        if isinstance(self.snr_db, tuple):
            low, high = (Schedule.of(end)(progress) for end in self.snr_db)
            return draw.uniform(low, high, size, generator=generator)
        choices = torch.tensor(self.snr_db, dtype=torch.float64)
        return choices[draw.integers(torch.full((size,), len(choices)), generator=generator)]

    def _level(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Return the level of each clip, 0 for silence (and for NaN)."""
        return level.level(x, self.level, lengths, window=round(_FRAME_S * self.rate))

    def _noise_clips(self, own: Clips, source: Clips) -> Clips:
        """Return what noise is read from: the batch itself for babble, the second batch, or the noises it holds."""
        if self.babble is not None or source is not own:
            return source
        assert self.noise is not None
        x = own.x
        noise, channels = self.noise.to(x), 1 if x.ndim == 2 else x.shape[1]
        if noise.shape[1] not in (1, channels):
            check.fail("noise", f"of 1 or {channels} channels, as x has", noise.shape[1], "noise.mean(-2)?")
        noise = noise[:, 0] if x.ndim == 2 else noise.expand(-1, channels, -1)
        return Clips(noise, self.noise_lengths, notes=source.notes)


def _snr(value: Any) -> Schedule | tuple[float | str, float | str] | list[float]:
    if isinstance(value, tuple):
        return snr_range(value) if len(value) == 2 else check.fail("snr_db", "(low, high)", value, "a list for choices")
    if value is None or value == math.inf:
        value = [None]
    if not isinstance(value, list):
        return Schedule.of(value, "snr_db").within("snr_db", -200, 200)
    if not value:
        check.fail("snr_db", "at least one choice", "an empty list")
    return [math.inf if v in (None, math.inf) else check.number("snr_db", v, -200, 200) for v in value]


def _store(noise: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return noises of any lengths as one padded tensor (M, C, T), and their lengths."""
    if not isinstance(noise, (Tensor, Sequence)):
        check.fail("noise", "a tensor, or several of them", type(noise).__name__, error=TypeError)
    each = list(noise) if not isinstance(noise, Tensor) or noise.ndim == 3 else [noise]
    for one in each:
        check.batch("noise", check.floating("noise", one), ndim=1)
    each = [one[None] if one.ndim == 1 else one for one in each]
    channels = {tuple(one.shape[:-1]) for one in each}
    if len(channels) != 1 or len(next(iter(channels))) != 1:
        check.fail("noise", "tensors (T,) or (C, T) of as many channels", sorted(channels))
    ends = torch.tensor([one.shape[-1] for one in each])
    return torch.stack([fit_length(one, int(ends.max())) for one in each]), ends


def _names(ids: Any, size: int) -> list[Hashable]:
    """Return who speaks in each clip; without `ids` everyone is somebody else."""
    if ids is None:
        return list(range(size))
    names = ids.tolist() if isinstance(ids, Tensor) else list(ids)
    if len(names) != size:
        check.fail("ids", f"of {size} items, as the batch is", len(names))
    return names


def _others(names: list[Hashable], count: int, generator: Generator) -> Tensor:
    """Draw for each clip `count` clips of other, distinct speakers; -1 behind where there are fewer. (B, count)."""
    chosen = torch.full((len(names), count), -1)
    for i, own in enumerate(names):
        seen, found = {own}, list[int]()
        for j in draw.permutation(len(names), generator=generator).tolist():
            if len(found) < count and names[j] not in seen:
                seen.add(names[j])
                found.append(j)
        chosen[i, : len(found)] = torch.tensor(found, dtype=torch.int64)
    return chosen


def _draw_places(own: Clips, noises: Clips, voices: Tensor, generator: Generator) -> Tensor:
    """Draw where each voice is read, as a fraction of its valid length; (B, M), float64."""
    have, theirs = own.valid[:, None], noises.valid[voices.clamp(min=0)]
    # longer noise starts where it lasts to the end; what is as long or shorter starts anywhere and is repeated
    room = torch.where(theirs > have, theirs - have + 1, theirs)
    return draw.integers(room, generator=generator).double() / theirs.clamp(min=1)


def _voice(own: Clips, noises: Clips, rows: Tensor, offset: Tensor, block: slice) -> Tensor:
    """Return one voice's piece for a block of the clips, like x."""
    theirs = noises.valid[rows[block]]
    return piece(noises.x, rows[block], offset[block], own.valid[block], theirs, own.size)


@dataclass(frozen=True, eq=False)
class _Voices:
    """The voices of each clip while a plan is made: what they are read from, rows, places and gains, (B, M)."""

    noises: Clips
    rows: Tensor
    offset: Tensor
    gains: Tensor

    def add(self, own: Clips, block: slice, clip: Tensor | None = None, gain: Tensor | None = None) -> Tensor:
        """Return their sum for a block of the clips; with gains (B,), added to these."""
        gains = self.gains if gain is None else self.gains * gain[:, None]
        first = torch.zeros_like(gains[:, :1]) if clip is None else clip[:, None]
        every = torch.cat([first, gains], 1)[block]
        return add_pieces(take_rows(own, block), self.noises, self.rows[block], self.offset[block], every, wide=True)


def _why(drawn: Tensor, snr_db: Tensor, accompanied: Tensor, speech: Tensor, noise: Tensor) -> Tensor:
    """Return an index into `LEFT` for each clip: the first reason that holds."""
    left = torch.full(drawn.shape, _NOISY)
    holds = {_NO_NOISE: noise == 0, _SILENT: speech == 0, _ALONE: ~accompanied, _CLEAN: snr_db.isinf(), _OUT: ~drawn}
    for reason, where in holds.items():  # the last one written stands
        left = torch.where(where, reason, left)
    return left
