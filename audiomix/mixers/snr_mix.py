r"""A partner, or noise from a second batch, added at a signal-to-noise ratio; or several.

.. math:: x' = x + \sum_k g_k n_k, \qquad g_k = \frac{L(r_k)}{L(n_k)} 10^{-\mathrm{SNR}_k / 20}

L is the level in the stated measure. The reference r is the clean clip x for every noise, or the mix so far,
``x + g_1 n_1 + ... + g_{k-1} n_{k-1}``. Silence has no level, so nothing is added to it, nor it to anything; the plan
says why.

Source: ours: the sum that every corpus of noisy speech is made by, exact in the stated measure.
Label: mixed by the shares of the energy; or kept; or both.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from .. import check, draw
from ..audio import level
from ..audio.blend import blend
from ..audio.loudness import check_rate
from ..audio.pieces import add_pieces, measure_blocks, piece, take_rows
from ..audio.several import sum_sources
from ..clips import Clips
from ..draw import Generator
from ..mixer import WAVE, Example, Mixer, Needs, Pairing
from ..plan import NOT_DRAWN, Plan
from ..schedule import Schedule
from ._snr_plan import SNRPlan, SNRSourcesPlan
from ._sources import check_self, choose_several, number_of_sources, source_range

__all__ = [
    "SILENT_NOISE",
    "SILENT_SIGNAL",
    "SNRMix",
    "SNRPlan",
    "SNRSourcesPlan",
    "redraw_silent",
    "snr_range",
]

_LABELS = ("keep", "union", "power")
# Why nothing was added, or less than was asked for
SILENT_SIGNAL, SILENT_NOISE = "silent signal", "silent noise"
_GATED = "noise below the gate of -70 LUFS"
# Pieces of noise that are drawn in place of silent ones: of noise that is silent for half of its time, one clip in a
# million is left without
_TRIES = 20
# An SNR that is nearer than this, in dB, is the one that was drawn
_EXACT_DB = 0.01


class SNRMix(Mixer):
    """Mix waveforms (B, C, T) at a drawn SNR, exact in the stated measure.

    Parameters
    ----------
    snr_db : float, schedule, or (low, high) of these
        In dB. Lowest and highest SNR, drawn uniformly for each noise; one number is the SNR of all. A schedule, such as
        ``"linear:20:0"`` for noise that grows over the training, reads the `progress` of the call:
        ``("linear:20:-5", 20)``.
    label : str
        ``power``: the weight is the original's share of the energy. ``union``: the labels of all. ``keep``: the noise
        has no label; weight 1.
    level : str
        The measure: ``rms`` over the whole (valid) clip, ``active`` rms over the active part, or ``lufs``. Signal and
        noise are measured alike, the noise on the piece that is added. ``rms`` and ``active`` differ by more than
        10 dB on some ESC-10 clips.
    sources : int or (int, int)
        Least and largest number of sounds in a mix, the original included; drawn uniformly. With (2, 4) there are one
        to three noises: never the clip itself, and no noise twice in a mix.
    reference : str
        What the SNR of each of several noises is to: the ``clean`` clip, or the ``running`` mix, as BirdSet has it. Two
        uncorrelated noises at 10 dB are 6.99 dB in total to the clean clip, 6.78 dB to the running mix: with several
        noises the total is lower than each SNR, and `SNRSourcesPlan.total_db` holds it, measured on their sum.
    rate : int, optional
        Sampling rate in Hz; needed for ``lufs``.
    num_classes, p, pairing
        See `audiomix.Mixer`.

    Notes
    -----
    Noise longer than the clip (a second batch of other length, or `other_lengths`) is read from a random place;
    shorter noise is repeated. Where the place is silent another one is drawn, and with ``pairing="any"`` another noise
    of the second batch. A clip that is silent, or whose noise is, keeps its bits: its SNR in the plan is infinite, its
    weight 1, and ``plan.why`` names the reason; so it does where one of several noises is silent, or where there are
    not enough of them. The sum may exceed full scale; nothing is limited here.

    With several noises the plan is a `SNRSourcesPlan`. The energies behind the label are those of the measured levels.
    Loudness is gated: noise that would lie below -70 LUFS has none, and is left out; where the loudness jumps as soft
    parts fall below the gate, the plan has the SNR that was reached.

    See Also
    --------
    audiomix.SpeechNoise : noise and babble for speech, with choices of SNRs and a limiter.

    Examples
    --------
    >>> speech, noise = torch.randn(4, 1, 16000), torch.randn(2, 1, 50000)
    >>> mixed = SNRMix((10, 10), label="keep")(speech, other=noise)
    >>> 20 * torch.log10(level.rms(speech) / level.rms(mixed.x - speech))
    tensor([10.0000, 10.0000, 10.0000, 10.0000], dtype=torch.float64)
    >>> mixed = SNRMix(10, sources=(3, 3), label="keep")(speech, other=noise)
    >>> mixed.plans[0].total_db.round()
    tensor([7., 7., 7., 7.], dtype=torch.float64)
    """

    def __init__(
        self,
        snr_db: float | str | Schedule | tuple[float | str | Schedule, float | str | Schedule] = (0.0, 20.0),
        *,
        label: Literal["power", "union", "keep"] = "power",
        level: Literal["rms", "active", "lufs"] = "rms",
        sources: int | tuple[int, int] = 2,
        reference: Literal["clean", "running"] = "clean",
        rate: int | None = None,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
    ) -> None:
        self.label = check.choice("label", label, _LABELS)
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule="union" if label == "union" else "linear")
        self.snr_db = snr_range(snr_db)
        self.level = check.choice("level", level, ["rms", "active", "lufs"])
        if level == "lufs":
            check_rate(rate if rate is not None else check.fail("rate", "given for level='lufs'", None))
        self.rate = None if rate is None else check.rate("rate", rate)
        self.sources = check_self(source_range(sources), pairing)
        self.reference = check.choice("reference", reference, ["clean", "running"])

    @property
    def plan_type(self) -> type[Plan]:  # type: ignore[override]
        """The class of its plans: of several noises another one."""
        return SNRPlan if self.sources == (2, 2) else SNRSourcesPlan

    @property
    def needs(self) -> Needs:
        """Waveforms; labels of partners unless the noise has none."""
        sources = (max(2, self.sources[0]), self.sources[1])
        return Needs(domain=frozenset({WAVE}), target=self.label != "keep", sources=sources)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return every measure, every rule for the label, and several noises to either reference."""
        short = [cls(), cls(level="active", label="union")]
        short += [cls((0, 10), sources=(2, 4)), cls(5, sources=(3, 3), reference="running")]
        loud = [cls(level="lufs", rate=8000), cls(level="lufs", rate=8000, sources=(2, 3), label="union")]
        return [*map(Example, short), *(Example(one, shape=(1, 8000)) for one in loud)]

    def schedules(self, own: Clips) -> dict[str, Schedule]:
        """Return the schedules of `p` and of both ends of the SNR."""
        ends = (Schedule.of(end, "snr_db") for end in self.snr_db)
        return super().schedules(own) | dict(zip(("snr_db", "the highest snr_db"), ends))

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners, SNRs and where the noise is read; measure levels."""
        partners, mixed, few = self._choose(own, source, progress, generator)
        low, high = (Schedule.of(end)(progress) for end in self.snr_db)
        snr_db = draw.uniform(low, high, partners.numel(), generator=generator).view(partners.shape)
        signal = self._measure(own.x, own.lengths)
        offset, noise = self._read(own, source, partners, generator, signal if source is own else None)
        noises = _Noises(partners, offset, noise, torch.zeros_like(offset))
        if source is not own:
            self._redraw(own, source, noises, mixed & (self._amplitude(signal) > 0), generator)
        return self._plan(own, source, noises, signal, snr_db, mixed, few)

    def _choose(
        self, own: Clips, source: Clips, progress: float | None, generator: Generator
    ) -> tuple[Tensor, Tensor, tuple[str, ...]]:
        """Draw the noises (B, S), -1 behind the last, which clips get any (B,), and why some get too few."""
        if self.plan_type is SNRPlan:
            partner, mixed = self.pair(own, source, progress=progress, generator=generator)
            return partner[:, None], mixed, ()
        partners = choose_several(own, source, self.pairing, self.sources[1] - 1, generator)
        mixed = self.choose(own, progress=progress, generator=generator)
        there, few = number_of_sources(own, partners, self.sources, mixed, generator=generator)
        partners = torch.where(there[:, 1:], partners, -1)
        return partners, (partners >= 0).any(1), few

    def _redraw(self, own: Clips, source: Clips, noises: "_Noises", sounds: Tensor, generator: Generator) -> None:
        """Draw silent pieces anew, in place: with pairing ``any`` of another noise, else from another place."""
        partners = noises.partners
        for k in range(partners.shape[1]):
            levels = self._amplitude(noises.measured[:, k])
            for rows in redraw_silent(levels, sounds & (partners[:, k] >= 0)):
                if self.pairing == "any" and own.notes.allowed is None and own.notes.pairing_weights is None:
                    drawn = draw.integers(torch.full((len(rows),), len(source)), generator=generator)
                    others = torch.cat([partners[rows, :k], partners[rows, k + 1 :]], 1)
                    twice = (others == drawn[:, None]).any(1)  # the silent one stays until the next round
                    partners[rows, k] = torch.where(twice, partners[rows, k], drawn)
                elif _is_whole(own, source):
                    break
                place, found = self._read(take_rows(own, rows), source, partners[rows, k : k + 1], generator)
                noises.offset[rows, k], noises.measured[rows, k] = place[:, 0], found[:, 0]
                levels[rows] = self._amplitude(found[:, 0])

    def _plan(
        self,
        own: Clips,
        source: Clips,
        noises: "_Noises",
        signal: Tensor,
        snr_db: Tensor,
        mixed: Tensor,
        few: tuple[str, ...],
    ) -> Plan:
        """Return the plan: the gain of each noise follows from the levels; what has none is left out."""
        clean, partners, gains = self._amplitude(signal), noises.partners, noises.gains
        reference = clean
        shape, reached, energy = partners.shape, torch.full_like(snr_db, torch.inf), [clean.square()]
        clear, silent, gated = (mixed & (clean > 0)).numpy(), np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        for k, row in enumerate(partners.unbind(1)):
            if k and self.reference == "running":
                reference = self._amplitude(self._measure_sum(own, source, noises))
            wanted, loud = snr_db[:, k], self._amplitude(noises.measured[:, k])
            first = level.snr_gain(reference, loud, wanted)
            goal = reference / level.from_db(wanted)
            gain, found = level.correct_gain(first, goal, noises.measured[:, k], self.level)
            # comparisons in NumPy: of one number a clip they cost a third of torch's
            exact, drawn = (level.db(reference) - level.db(found)).numpy(), wanted.numpy()
            exact = np.where(np.abs(exact - drawn) < _EXACT_DB, drawn, exact)
            there, audible = clear & (row.numpy() >= 0), loud.numpy() > 0
            sounds = there & audible & (found.numpy() > 0)
            silent[:, k], gated[:, k] = there & ~audible, there & audible & ~sounds
            gains.numpy()[:, k] = np.where(sounds, gain.numpy(), 0.0)
            reached.numpy()[:, k] = np.where(sounds, exact, np.inf)
            added = (reference / level.from_db(torch.from_numpy(exact))).numpy()
            energy.append(torch.from_numpy(np.where(sounds, np.square(added), 0.0)))
        noisy = (gains > 0).any(1)
        shares = self._shares(energy, noisy)
        why = _why(mixed.numpy(), clean.numpy() == 0, silent.any(1), gated.any(1), few)
        share_of = {"power": "energy", "keep": "kept"}.get(self.label)
        more: dict[str, Any] = {"measure": self.level, "why": why if any(why) else (), "share_of": share_of}
        if self.plan_type is not SNRPlan:
            loud = self._amplitude(self._measure_sum(own, source, noises, alone=True))
            total = torch.where(noisy & (loud > 0), level.db(clean) - level.db(loud), torch.inf)
            return SNRSourcesPlan.of(
                torch.where(gains > 0, partners, -1), shares, torch.cat([torch.ones(len(own), 1), gains], 1),
                own=source is own, offset=noises.offset, snr_db=reached, reference=self.reference, total_db=total,
                **more,
            )  # fmt: skip
        partner = partners[:, 0]
        if source is own:  # an unmixed clip is its own partner
            partner = torch.where(noisy, partner, torch.arange(len(own)))
        return SNRPlan.of(
            partner, shares[:, 0].clone(), torch.ones_like(clean), gains[:, 0],
            offset=noises.offset[:, 0], snr_db=reached[:, 0], **more,
        )  # fmt: skip

    def _shares(self, energy: list[Tensor], noisy: Tensor) -> Tensor:
        """Return the label's shares (B, S + 1): those of the energy; the original's alone where no noise has any."""
        alone = torch.eye(1, len(energy), dtype=torch.float64)
        if self.label == "keep":
            return alone.repeat(len(noisy), 1)
        table = torch.stack(energy, 1)
        return torch.where(noisy[:, None], table / table.sum(1, keepdim=True).clamp(min=1e-300), alone)

    def _measure_sum(self, own: Clips, source: Clips, noises: "_Noises", alone: bool = False) -> Tensor:
        """Return what is measured of each mix at the gains so far (B, N); with `alone` of its noises alone."""
        clip = torch.full((len(own), 1), 0.0 if alone else 1.0, dtype=torch.float64)
        every = torch.cat([clip, noises.gains], 1)

        def mix(rows: slice) -> Tensor:
            which, where = noises.partners[rows], noises.offset[rows]
            return add_pieces(take_rows(own, rows), source, which, where, every[rows], wide=True)

        return measure_blocks(own, mix, self._measure)

    def _read(
        self, own: Clips, source: Clips, partners: Tensor, generator: Generator, measured: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw where each noise is read, as a fraction of its valid length; return this and what is measured of it.

        `measured` is what is known of all noises as they are. Returns (B, S) and (B, S, N).
        """
        if source is own:
            offset = torch.zeros(partners.shape, dtype=torch.float64)
        else:
            have, theirs = own.valid[:, None], source.valid[partners.clamp(min=0)]
            # a longer noise starts where it lasts to the end, a shorter one anywhere: it is repeated
            room = torch.where(theirs >= have, theirs - have + 1, theirs)
            offset = draw.integers(room, generator=generator).double() / theirs.clamp(min=1)
        if _is_whole(own, source) and partners.numel() >= len(source):  # each is measured once, not once a clip
            measured = self._measure(source.x, None) if measured is None else measured
            return offset, measured[partners.clamp(min=0)]
        each = []
        for partner, place in zip(partners.clamp(min=0).unbind(1), offset.unbind(1)):
            make = functools.partial(self._noise, own, source, partner, place)
            each.append(measure_blocks(own, make, self._measure))
        return offset, torch.stack(each, 1)

    def _noise(self, own: Clips, source: Clips, partner: Tensor, offset: Tensor, rows: slice) -> Tensor:
        """Return (R, ..., T): the noise that some of the clips get, before its gain."""
        partner = partner[rows]
        if _is_whole(own, source):
            return source.x[partner.to(source.x.device)]
        return piece(source.x, partner, offset[rows], own.valid[rows], source.valid[partner], own.size)

    def _measure(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        return level.measure(x, self.level, lengths, rate=self.rate)

    def _amplitude(self, measured: Tensor) -> Tensor:
        return level.amplitude(measured, self.level)

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Add the noises at the plan's gains."""
        if isinstance(plan, SNRSourcesPlan):
            if _is_whole(own, source):
                return sum_sources(own, source, plan, out)
            return add_pieces(own, source, plan.partners, plan.offset, plan.amplitudes(), out=out)
        assert isinstance(plan, SNRPlan)
        if _is_whole(own, source):
            return blend(own.x, plan.partner, *plan.gains(), other=source.x, out=out)
        gains = torch.stack(plan.gains(), 1)
        return add_pieces(own, source, plan.partner[:, None], plan.offset[:, None], gains, out=out)

    def identity(self, own: Clips) -> Plan:
        """Return the plan, in this mixer's measure, that adds no noise."""
        if self.plan_type is SNRPlan:
            return replace(SNRPlan.identity(len(own)), measure=self.level)
        none = SNRSourcesPlan.identity(len(own))
        return replace(none, measure=self.level, reference=self.reference, why=(NOT_DRAWN,) * len(own))


@dataclass(frozen=True, eq=False)
class _Noises:
    """The noises of each clip while a plan is made: rows, places, what is measured of them, gains; (B, S, ...)."""

    partners: Tensor
    offset: Tensor
    measured: Tensor
    gains: Tensor


def _why(mixed: Any, silent: Any, silent_noise: Any, gated: Any, few: tuple[str, ...]) -> tuple[str, ...]:
    """Return for each clip why it has less noise than was asked for, or an empty text; nothing where all is well."""
    if mixed.all() and not few and not (silent | silent_noise | gated).any():
        return ()
    reasons = np.stack([silent, silent_noise, gated], 1).tolist()
    texts = SILENT_SIGNAL, SILENT_NOISE, _GATED
    return tuple(
        next((text for holds, text in zip(row, texts) if holds), less) if drawn else less
        for drawn, row, less in zip(mixed.tolist(), reasons, few or [""] * len(reasons))
    )


def snr_range(snr_db: Any) -> tuple[float | str, float | str]:
    """Return the lowest and the highest SNR, in dB: numbers, or texts of schedules; or raise.

    Parameters
    ----------
    snr_db : float, schedule, or (low, high) of these
        In dB, within -200 and 200.
    """
    pair = (snr_db, snr_db) if isinstance(snr_db, (int, float, str, Schedule)) else snr_db
    if not hasattr(pair, "__len__") or len(pair) != 2:
        check.fail("snr_db", "(low, high) in dB, one number or a schedule", repr(snr_db), error=TypeError)
    low, high = (Schedule.of(end, "snr_db").within("snr_db", -200, 200) for end in pair)
    fixed = low.is_constant and high.is_constant
    for progress in (0.0,) if fixed else [i / 100 for i in range(101)]:
        if low(progress) > high(progress):
            got = f"({low(progress):g}, {high(progress):g})" + ("" if fixed else f" at progress {progress:g}")
            check.fail("snr_db", "(low, high) in dB", got, "the other way round?")
    low_end, high_end = (end.numbers[0] if end.kind == "constant" else str(end) for end in (low, high))
    return low_end, high_end


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


def _is_whole(own: Clips, source: Clips) -> bool:
    """Return whether every noise is as long as every clip: nothing to place, to repeat or to leave out."""
    return own.lengths is None and source.lengths is None and source.size == own.size
