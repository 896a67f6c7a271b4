r"""A partner, or noise from a second batch, added at a signal-to-noise ratio.

.. math:: x' = x + g x_p, \qquad g = \frac{L(x)}{L(x_p)} 10^{-\mathrm{SNR} / 20}

L is the level in the stated measure. Silence has no level: a silent signal or noise is added as it is.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .. import check, draw
from ..audio import level
from ..audio.blend import blend, by_row, check_out, silenced
from ..draw import Generator
from ..mixer import Batch, Mixer, Pairing
from ..plan import GainPlan, Plan
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
    """

    offset: Tensor
    snr_db: Tensor


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
    waveforms_only = True

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
    def needs_other_target(self) -> bool:
        """False for noise without a label."""
        return self.label != "keep"

    def draw(self, batch: Batch, *, generator: Generator = None) -> Plan:
        """Draw partners, SNRs and where the noise is read; measure levels."""
        partner, mixed = self.pair(batch, generator=generator)
        snr_db = draw.uniform(*self.snr_db, len(batch), generator=generator)
        signal_level = level.level(batch.x, self.level, batch.lengths, rate=self.rate)
        own, theirs = _valid(batch.x, batch.lengths), _valid(batch.source, batch.source_lengths)[partner]
        # a longer noise starts where it lasts to the end, a shorter one anywhere: it is repeated
        room = torch.where(theirs >= own, theirs - own + 1, theirs)
        start = draw.integers(room, generator=generator) if batch.other is not None else torch.zeros_like(own)
        offset = start.double() / theirs.clamp(min=1)
        if _whole(batch.x, batch.other, batch.lengths, batch.other_lengths):
            noise = batch.source  # each noise is added as it is: measured once, not once a clip
            noise_level = signal_level if batch.other is None else level.level(noise, self.level, rate=self.rate)
            noise_level = noise_level[partner]
        else:
            noise = piece(batch.source, partner, offset, own, theirs, batch.x.shape[-1])
            noise_level = level.level(noise, self.level, batch.lengths, rate=self.rate)
        gain = level.snr_gain(signal_level, noise_level, snr_db)
        if self.level == "lufs":
            noise = noise[partner.to(noise.device)] if noise is batch.source else noise
            gain = self._gated(gain, signal_level / level.from_db(snr_db), noise, batch.lengths)
        gain = torch.where(mixed, gain, 0.0)
        weight = self._weight(signal_level, noise_level * gain)
        snr_db = torch.where(mixed, snr_db, torch.inf)
        return SNRPlan.of(partner, weight, torch.ones_like(gain), gain, offset=offset, snr_db=snr_db)

    def mix(
        self,
        x: Tensor,
        plan: Plan,
        *,
        other: Tensor | None = None,
        lengths: Tensor | None = None,
        other_lengths: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Add the noise at the plan's gains."""
        assert isinstance(plan, SNRPlan)
        a, b = plan.gains()
        if _whole(x, other, lengths, other_lengths):
            return blend(x, plan.partner, a, b, other=other, out=out)
        source, source_lengths = (x, lengths) if other is None else (other, other_lengths)
        own, theirs = _valid(x, lengths), _valid(source, source_lengths)[plan.partner]
        if out is not None:
            check_out(out, x, source)
        noise = piece(source, plan.partner, plan.offset, own, theirs, x.shape[-1])
        mixed = blend(silenced(x, lengths), torch.arange(len(x)), a, b, other=noise)
        mixed = silenced(mixed, lengths)
        return mixed if out is None else out.copy_(mixed)

    def _gated(self, gain: Tensor, wanted: Tensor, noise: Tensor, lengths: Tensor | None) -> Tensor:
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


def _whole(x: Tensor, other: Tensor | None, lengths: Tensor | None, other_lengths: Tensor | None) -> bool:
    """Whether every noise is as long as every clip: nothing to place, to repeat or to leave out."""
    return lengths is None and other_lengths is None and (other is None or other.shape[-1] == x.shape[-1])


def _valid(x: Tensor, lengths: Tensor | None) -> Tensor:
    return torch.full((len(x),), x.shape[-1]) if lengths is None else lengths


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
    return silenced(piece, torch.where(theirs > 0, own, 0))


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
