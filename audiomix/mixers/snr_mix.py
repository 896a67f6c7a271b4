r"""A partner, or noise from a second batch, added at a signal-to-noise ratio.

.. math:: x' = x + g x_p, \qquad g = \frac{L(x)}{L(x_p)} 10^{-\mathrm{SNR} / 20}

L is the level in the stated measure. Silence has no level: a silent signal or noise is added as it is.
"""

import math
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
from ..plan import ORIGINAL, GainPlan, Part, Plan
from ..schedule import Schedule

__all__ = ["SNRMix", "SNRPlan", "piece", "snr_range"]

_LABELS = ("keep", "union", "power")


@dataclass(frozen=True, eq=False, kw_only=True)
class SNRPlan(GainPlan):
    """Adds to the gains where the noise is read from.

    Parameters
    ----------
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
        return cls.of(torch.arange(size), one, one, zero, offset=zero, snr_db=torch.full_like(one, torch.inf))

    def parts(self, index: int) -> list[Part]:
        """Return the original, and the noise from its offset on, repeated where it ends."""
        a, b = (float(gain[index]) for gain in self.gains())
        noise = Part(int(self.partner[index]), b, piece=(float(self.offset[index]), 1.0), loop=True)
        return [Part(ORIGINAL, a), *([noise] if b else [])]

    def describe(self, index: int) -> dict[str, Any]:
        """Return the SNR, None where no noise was added, and its measure."""
        snr_db = float(self.snr_db[index])
        return {"snr_db": snr_db if math.isfinite(snr_db) else None, "snr_measure": self.measure}


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
    shorter noise is repeated. The sum may exceed full scale; nothing is limited here.

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
        have, theirs = own.valid, source.valid[partner]
        # a longer noise starts where it lasts to the end, a shorter one anywhere: it is repeated
        room = torch.where(theirs >= have, theirs - have + 1, theirs)
        start = torch.zeros_like(have) if source is own else draw.integers(room, generator=generator)
        offset = start.double() / theirs.clamp(min=1)
        if _is_whole(own, source):
            noise = source.x  # each noise is added as it is: measured once, not once a clip
            noise_level = signal_level if source is own else level.level(noise, self.level, rate=self.rate)
            noise_level = noise_level[partner]
        else:
            noise = piece(source.x, partner, offset, have, theirs, own.size)
            noise_level = level.level(noise, self.level, own.lengths, rate=self.rate)
        gain = level.snr_gain(signal_level, noise_level, snr_db)
        if self.level == "lufs":
            noise = noise[partner.to(noise.device)] if noise is source.x else noise
            gain = self._correct_gain(gain, signal_level / level.from_db(snr_db), noise, own.lengths)
        gain = torch.where(mixed, gain, 0.0)
        weight = self._weight(signal_level, noise_level * gain)
        snr_db = torch.where(mixed, snr_db, torch.inf)
        one = torch.ones_like(gain)
        share_of = {"power": "energy", "keep": "kept"}.get(self.label)
        return SNRPlan.of(
            partner, weight, one, gain, offset=offset, snr_db=snr_db, measure=self.level, share_of=share_of
        )

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Add the noise at the plan's gains."""
        assert isinstance(plan, SNRPlan)
        a, b = plan.gains()
        if _is_whole(own, source):
            return blend(own.x, plan.partner, a, b, other=source.x, out=out)
        noise = piece(source.x, plan.partner, plan.offset, own.valid, source.valid[plan.partner], own.size)
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
