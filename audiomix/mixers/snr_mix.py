r"""A partner, or noise from a second batch, added at a signal-to-noise ratio.

.. math:: x' = x + g x_p, \qquad g = \frac{L(x)}{L(x_p)} 10^{-\mathrm{SNR} / 20}

L is the level in the stated measure. Silence has no level, so nothing is added to it, nor it to anything; the plan says
why.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from .. import check, draw
from ..audio import level
from ..audio.blend import blend, by_row
from ..clips import Clips, silence_padding
from ..draw import Generator
from ..mixer import WAVE, Example, Mixer, Needs, Pairing
from ..plan import NOT_DRAWN, ORIGINAL, GainPlan, Part, Plan
from ..schedule import Schedule

__all__ = ["SILENT_NOISE", "SILENT_SIGNAL", "SNRMix", "SNRPlan", "piece", "redraw_silent", "snr_range"]

_LABELS = ("keep", "union", "power")
# Why nothing was added
SILENT_SIGNAL, SILENT_NOISE = "silent signal", "silent noise"
# Pieces of noise that are drawn in place of silent ones: of noise that is silent for half of its time, one clip in a
# million is left without
_TRIES = 20


@dataclass(frozen=True, eq=False, kw_only=True)
class SNRPlan(GainPlan):
    """Adds to the gains where the noise is read from.

    Parameters
    ----------
    partner, weight, why, turn, turn_within
        See `audiomix.Plan`.
    gain_db, ratio, covered, unmixed_behind, share_of
        See `audiomix.GainPlan`.
    offset : Tensor, shape (B,), float64
        Start of the piece of the noise, as a fraction of its valid length; noise that ends is repeated.
    snr_db : Tensor, shape (B,), float64
        The SNR drawn; infinite for a clip that is not mixed.
    measure : str, optional
        What the SNR is of: ``rms``, ``active`` or ``lufs``; see `SNRMix`. None in plans of the first edition.
    """

    offset: Tensor
    snr_db: Tensor
    measure: str | None = None

    @classmethod
    def identity(cls, size: int) -> "SNRPlan":
        """Return the plan that adds no noise to `size` clips."""
        one, zero = torch.ones(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
        none = torch.full_like(one, torch.inf)
        return cls.of(torch.arange(size), one, one, zero, offset=zero, snr_db=none, why=(NOT_DRAWN,) * size)

    def parts(self, index: int) -> list[Part]:
        """Return the original, and the noise from its offset on, repeated where it ends."""
        a, b = (float(gain[index]) for gain in self.gains())
        piece = (float(self.offset[index]), 1.0)
        noise = Part(int(self.partner[index]), b, piece=piece, loop=True, **self._turn(index))
        return [Part(ORIGINAL, a), *([noise] if b else [])]

    def describe(self, index: int) -> dict[str, Any]:
        """Return the SNR, None where no noise was added, its measure, and why none was added."""
        snr_db = float(self.snr_db[index])
        found = {"snr_db": snr_db if math.isfinite(snr_db) else None, "snr_measure": self.measure}
        return found | {"why": None} | super().describe(index)


class SNRMix(Mixer):
    """Mix waveforms (B, C, T) at a drawn SNR, exact in the stated measure.

    Parameters
    ----------
    snr_db : (float, float)
        Lowest and highest SNR in dB; drawn uniformly. (One number, from Python, fixes it.)
    label : str
        ``power``: the weight is the original's share of the energy. ``union``: both labels. ``keep``: the noise has
        no label; weight 1.
    level : str
        The measure: ``rms`` over the whole (valid) clip, ``active`` rms over the active part, or ``lufs``. Signal and
        noise are measured alike, the noise on the piece that is added. ``rms`` and ``active`` differ by more than
        10 dB on some ESC-10 clips.
    rate : int, optional
        Sampling rate in Hz; needed for ``lufs``.
    num_classes, p, pairing
        See `audiomix.Mixer`.

    Notes
    -----
    Noise longer than the clip (a second batch of other length, or `other_lengths`) is read from a random place;
    shorter noise is repeated. Where the place is silent another one is drawn, and with ``pairing="any"`` another noise
    of the second batch. A clip that is silent, or whose noise is, keeps its bits: its SNR in the plan is infinite, its
    weight 1, and ``plan.why`` names the reason. The sum may exceed full scale; nothing is limited here.

    Examples
    --------
    >>> speech, noise = torch.randn(4, 1, 16000), torch.randn(2, 1, 50000)
    >>> mixed = SNRMix((10, 10), label="keep")(speech, other=noise)
    >>> 20 * torch.log10(level.rms(speech) / level.rms(mixed.x - speech))
    tensor([10.0000, 10.0000, 10.0000, 10.0000], dtype=torch.float64)
    """

    plan_type = SNRPlan

    def __init__(
        self,
        snr_db: tuple[float, float] = (0.0, 20.0),
        *,
        label: Literal["power", "union", "keep"] = "power",
        level: Literal["rms", "active", "lufs"] = "rms",
        rate: int | None = None,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
    ) -> None:
        self.label = check.choice("label", label, _LABELS)
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule="union" if label == "union" else "linear")
        self.snr_db = snr_range(snr_db)
        self.level = check.choice("level", level, ["rms", "active", "lufs"])
        if level == "lufs" and rate is None:
            check.fail("rate", "given for level='lufs'", None)
        self.rate = None if rate is None else check.rate("rate", rate)

    @property
    def needs(self) -> Needs:
        """Waveforms; labels of partners unless the noise has none."""
        return Needs(domain=frozenset({WAVE}), target=self.label != "keep")

    @classmethod
    def examples(cls) -> list[Example]:
        """Return every measure and every rule for the label."""
        quiet = [cls(), cls(level="active", label="union"), cls(level="lufs", rate=8000)]
        return [*map(Example, quiet[:2]), Example(quiet[2], shape=(1, 8000))]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners, SNRs and where the noise is read; measure levels."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        snr_db = draw.uniform(*self.snr_db, len(own), generator=generator)
        signal_level = level.level(own.x, self.level, own.lengths, rate=self.rate)
        whole = _is_whole(own, source)
        offset, noise_level = self._read(own, source, partner, generator, signal_level if source is own else None)
        if source is not own:
            for rows in redraw_silent(noise_level, mixed & (signal_level > 0)):
                if self.pairing == "any" and own.notes.allowed is None and own.notes.pairing_weights is None:
                    partner[rows] = draw.integers(torch.full((len(rows),), len(source)), generator=generator)
                elif whole:
                    break
                some = replace(own, x=own.x[rows], lengths=None if own.lengths is None else own.lengths[rows])
                offset[rows], noise_level[rows] = self._read(some, source, partner[rows], generator)
        sounds = mixed & (signal_level > 0) & (noise_level > 0)
        gain = level.snr_gain(signal_level, noise_level, snr_db)
        if self.level == "lufs":
            noise = self._noise(own, source, partner, offset)
            gain = self._correct_gain(gain, signal_level / level.from_db(snr_db), noise, own.lengths)
        gain = torch.where(sounds, gain, 0.0)
        heard = torch.where(sounds, signal_level / level.from_db(snr_db), 0.0)  # loudness is no multiple of the gain
        weight = self._weight(signal_level, heard if self.level == "lufs" else noise_level * gain)
        snr_db = torch.where(sounds, snr_db, torch.inf)
        if source is own:  # an unmixed clip is its own partner
            partner = torch.where(sounds, partner, torch.arange(len(own)))
        why = _why(mixed, signal_level, noise_level)
        share_of = {"power": "energy", "keep": "kept"}.get(self.label)
        return SNRPlan.of(
            partner, weight, torch.ones_like(gain), gain, offset=offset, snr_db=snr_db, measure=self.level,
            share_of=share_of, why=why if any(why) else (),
        )  # fmt: skip

    def _read(
        self, own: Clips, source: Clips, partner: Tensor, generator: Generator, levels: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw where each clip's noise is read, as a fraction of its valid length; return this and the noise's level.

        `levels` are those of all noises as they are, where they are known.
        """
        have, theirs = own.valid, source.valid[partner]
        # a longer noise starts where it lasts to the end, a shorter one anywhere: it is repeated
        room = torch.where(theirs >= have, theirs - have + 1, theirs)
        start = torch.zeros_like(have) if source is own else draw.integers(room, generator=generator)
        offset = start.double() / theirs.clamp(min=1)
        if _is_whole(own, source) and len(partner) >= len(source):  # each is measured once, not once a clip
            levels = level.level(source.x, self.level, rate=self.rate) if levels is None else levels
            return offset, levels[partner]
        noise = self._noise(own, source, partner, offset)
        return offset, level.level(noise, self.level, own.lengths, rate=self.rate)

    def _noise(self, own: Clips, source: Clips, partner: Tensor, offset: Tensor) -> Tensor:
        """Return (B, ..., T): the noise that each clip gets, before its gain."""
        if _is_whole(own, source):
            return source.x[partner.to(source.x.device)]
        return piece(source.x, partner, offset, own.valid, source.valid[partner], own.size)

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Add the noise at the plan's gains."""
        assert isinstance(plan, SNRPlan)
        a, b = plan.gains()
        if _is_whole(own, source):
            return blend(own.x, plan.partner, a, b, other=source.x, out=out)
        noise = self._noise(own, source, plan.partner, plan.offset)
        mixed = blend(silence_padding(own.x, own.lengths), torch.arange(len(own)), a, b, other=noise)
        mixed = silence_padding(mixed, own.lengths)
        return mixed if out is None else out.copy_(mixed)

    def identity(self, own: Clips) -> SNRPlan:
        """Return the plan, in this mixer's measure, that adds no noise."""
        return replace(SNRPlan.identity(len(own)), measure=self.level)

    def _correct_gain(self, gain: Tensor, wanted: Tensor, noise: Tensor, lengths: Tensor | None) -> Tensor:
        """Correct the gain: loudness is gated at -70 LUFS, so it does not simply scale with the sound."""
        for _ in range(4):
            scaled = noise * gain.to(noise).view(-1, *[1] * (noise.ndim - 1))
            got = level.level(scaled, "lufs", lengths, rate=self.rate)
            heard = (got > 0) & (wanted > 0)
            gain = torch.where(heard, gain * wanted / torch.where(heard, got, 1.0), gain)
        return gain

    def _weight(self, signal: Tensor, noise: Tensor) -> Tensor:
        if self.label == "keep":
            return torch.ones_like(signal)
        total = signal**2 + noise**2
        return torch.where(noise > 0, signal**2 / total.clamp(min=1e-300), 1.0)


def snr_range(snr_db: tuple[float, float] | float) -> tuple[float, float]:
    """Return the lowest and the highest SNR of a range or of one number, in dB, or raise."""
    pair = (snr_db, snr_db) if isinstance(snr_db, (int, float)) else snr_db
    if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
        check.fail("snr_db", "(low, high) in dB, or one number", repr(snr_db), error=TypeError)
    low, high = pair
    low, high = check.number("snr_db", low, -200, 200), check.number("snr_db", high, -200, 200)
    if low > high:
        check.fail("snr_db", "(low, high) in dB", f"({low:g}, {high:g})", "the other way round?")
    return low, high


def redraw_silent(noise_level: Tensor, todo: Tensor) -> Iterator[Tensor]:
    """Yield again and again, for a bounded number of times, the rows whose noise is silent: the caller draws it anew.

    Parameters
    ----------
    noise_level : Tensor, shape (B,)
        Levels of the noises, 0 for silence; the caller writes into it.
    todo : Tensor, shape (B,), bool
        Rows that are to have noise.
    """
    for _ in range(_TRIES):
        rows = (todo & (noise_level == 0)).nonzero().flatten()
        if not len(rows):
            return
        yield rows


def _why(mixed: Tensor, signal_level: Tensor, noise_level: Tensor) -> tuple[str, ...]:
    """Return for each clip why it has no noise, or an empty text."""
    rows = zip(mixed.tolist(), signal_level.tolist(), noise_level.tolist())
    return tuple(
        NOT_DRAWN if not m else SILENT_SIGNAL if s == 0 else SILENT_NOISE if n == 0 else "" for m, s, n in rows
    )


def _is_whole(own: Clips, source: Clips) -> bool:
    """Return whether every noise is as long as every clip: nothing to place, to repeat or to leave out."""
    return own.lengths is None and source.lengths is None and source.size == own.size


def piece(source: Tensor, partner: Tensor, offset: Tensor, own: Tensor, theirs: Tensor, size: int) -> Tensor:
    """Return (B, ..., size): each clip's noise read from its offset, repeated where it ends, silent behind the clip."""
    first = (offset * theirs).round().long()
    if by_row(source, source):
        return _rows(source, partner, first, own, theirs, size)
    start = first[:, None]
    time = torch.arange(size)[None, :]
    index = (start + time) % theirs.clamp(min=1)[:, None]
    chosen = source[partner.to(source.device)]
    index = index.to(source.device).view(len(partner), *[1] * (source.ndim - 2), size)
    piece = chosen.gather(-1, index.expand(*chosen.shape[:-1], size))
    return silence_padding(piece, torch.where(theirs > 0, own, 0))


def _rows(source: Tensor, partner: Tensor, first: Tensor, own: Tensor, theirs: Tensor, size: int) -> Tensor:
    """As `piece`, copying slices: an index for every sample would take twice the memory of the samples."""
    pieces = source.new_zeros(len(partner), *source.shape[1:-1], size)
    for i, (j, start, end, have) in enumerate(zip(*(t.tolist() for t in (partner, first, own, theirs)))):
        at = 0
        while have and at < end:
            step = min(have - start, end - at)
            pieces[i, ..., at : at + step] = source[j, ..., start : start + step]
            at, start = at + step, 0
    return pieces
