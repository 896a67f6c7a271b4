r"""StemRemix: new songs for source separation, each stem from another song, and their exact sum as the mix.

.. math:: s'_{ik} = g_{ik}\, R_{ik}\, s_{\pi_k(i) k}, \qquad x_i = \sum_k s'_{ik}

The songs pi_k are drawn for each stem k alone; g is a gain, of either sign, and R may exchange the channels. Remixing
within a batch, with gains, inverted signs and exchanged channels, is that of the first two papers; levels of speakers
are those of the third, dynamic mixing, with the distributions of SpeechBrain's recipes for WSJ0-Mix. That a stem which
is silent may be drawn again, and that the target of a call is left alone, is our own.

Source: Uhlich et al., "Improving Music Source Separation Based on Deep Neural Networks through Data Augmentation and
Network Blending", ICASSP 2017; Défossez et al., "Music Source Separation in the Waveform Domain" (Demucs), 2019;
Zeghidour and Grangier, "Wavesplit: End-to-End Speech Separation by Speaker Clustering", 2020.
Label: kept; the stems are the target.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from .. import check, draw
from ..audio import level
from ..audio.blend import check_out
from ..audio.pieces import measure_blocks
from ..clips import MOST_CHANNELS, Clips, fit_length
from ..draw import Generator
from ..mixed import Mixed
from ..mixer import STEMS, Example, Mixer, Needs, Pairing
from ..partners import choose_partners, without_partner
from ..plan import NOT_DRAWN, ORIGINAL, Part, Plan
from ..schedule import Schedule

__all__ = ["MixedStems", "StemPlan", "StemRemix", "remix_stems"]

# Songs have four stems, orchestras a dozen: more are probably something else.
_MOST_STEMS = 16
# SpeechBrain's dynamic mixing: level of the first speaker in dB (mean, deviation, lowest, highest), and how far the
# others lie above it.
_FIRST_DB, _OTHERS_DB = (-27.43, 2.57, -45.0, 0.0), (-2.51, 2.66)
# The stem of the song itself, in `StemPlan.songs`.
_OWN = -1


class MixedStems(Mixed):
    """What `StemRemix` returns: the stems, and the mix that they sum to.

    Parameters
    ----------
    x : Tensor, shape (B, S, C, T)
        The stems: what a network that gets the `mix` should give.
    target, plans, lengths
        See `audiomix.Mixed`.

    Attributes
    ----------
    mix : Tensor, shape (B, C, T)
        The sum of the stems.

    Examples
    --------
    >>> mixed = StemRemix()(torch.randn(3, 4, 2, 100))
    >>> bool(torch.equal(mixed.mix, mixed.x.sum(1)))
    True
    """

    __slots__ = ()

    @property
    def mix(self) -> Tensor:
        """The sum of the stems, (B, C, T)."""
        return self.x.sum(1)


@dataclass(frozen=True, eq=False)
class StemPlan(Plan):
    """From which song each stem comes, and how it is changed. The label is kept (weight 1).

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`; `partner` is the song of the first stem that is another's.
    songs : Tensor, shape (B, S), int64
        Row of the batch that stems come from; -1 for the song's own stem.
    gain_db : Tensor, shape (B, S), float64
        Gains in dB.
    inversion : Tensor, shape (B, S), bool
        Stems whose sign is changed.
    channel_swap : Tensor, shape (B, S), bool
        Stems whose two channels are exchanged.

    Examples
    --------
    >>> plan = StemRemix((-6, 0))(torch.randn(3, 4, 2, 100)).plans[0]
    >>> plan.songs.shape, bool((plan.gain_db <= 0).all())
    (torch.Size([3, 4]), True)
    """

    songs: Tensor
    gain_db: Tensor
    inversion: Tensor
    channel_swap: Tensor

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rows("songs", None, dtype=torch.int64)
        stems = self.songs.shape[1]
        self._check_rows("gain_db", stems)
        for name in ("inversion", "channel_swap"):
            self._check_rows(name, stems, dtype=torch.bool)

    @classmethod
    def identity(cls, size: int, stems: int = 1) -> "StemPlan":
        """Return the plan in which `size` songs keep their stems.

        Parameters
        ----------
        size : int
            Songs in the batch.
        stems : int
            Stems of each.
        """
        none = torch.zeros(size, stems, dtype=torch.bool)
        return cls(
            torch.arange(size), torch.ones(size, dtype=torch.float64), songs=torch.full((size, stems), _OWN),
            gain_db=torch.zeros(size, stems, dtype=torch.float64), inversion=none, channel_swap=none,
            why=(NOT_DRAWN,) * size,
        )  # fmt: skip

    @property
    def mixed(self) -> Tensor:
        """Whether any stem is of another song, or changed; (B,), bool."""
        return ((self.songs != _OWN) | (self.gain_db != 0) | self.inversion | self.channel_swap).any(1)

    def factors(self) -> Tensor:
        """Amplitudes of the stems, negative where they are inverted; (B, S), float64."""
        return torch.pow(10.0, self.gain_db / 20) * torch.where(self.inversion, -1.0, 1.0)

    def parts(self, index: int) -> list[Part]:
        """Return each stem in its place among the stems; the song's own first, silent where it has none left."""
        rows = (self.songs[index], self.factors()[index], self.channel_swap[index])
        found = [
            Part(ORIGINAL if song == _OWN else song, gain, fitted=song != _OWN, stem=stem, reverse_channels=swap)
            for stem, (song, gain, swap) in enumerate(zip(*(row.tolist() for row in rows)))
        ]
        if not bool(self.mixed[index]):
            return [Part(ORIGINAL)]
        own = [part for part in found if part.source == ORIGINAL]
        return [*(own or [Part(ORIGINAL, 0.0)]), *(part for part in found if part.source != ORIGINAL)]

    def sources(self, index: int) -> list[int]:
        """Return the songs that stems of one mix come from, in order, each once."""
        return list(dict.fromkeys(song for song in self.songs[index].tolist() if song != _OWN))

    def partner_rows(self) -> Tensor:
        """Return the songs that any mix needs; (R,), int64."""
        return self.songs[self.songs != _OWN]


def remix_stems(
    x: Tensor, plan: StemPlan, *, other: Tensor | None = None, lengths: Tensor | None = None,
    other_lengths: Tensor | None = None, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Put the plan's stems together: of each song stem k of another song, at its gain.

    Parameters
    ----------
    x : Tensor, shape (B, S, C, T)
        Stems of B songs. Left unchanged.
    plan : StemPlan
        Which stem comes from where.
    other : Tensor, shape (M, S, C, T'), optional
        Where stems of other songs come from; `x` itself by default. They are cut, or padded with silence, to T.
    lengths, other_lengths : Tensor, shape (B,) and (M,), int64, optional
        Valid samples of the songs. Stems end where their song and the new one do.
    out : Tensor, shape of x, optional
        See `audiomix.audio.blend.blend`.

    Returns
    -------
    Tensor, shape (B, S, C, T)
        The stems; their sum over the second axis is the mix.

    Raises
    ------
    ValueError
        The plan is for another number of stems; `out` cannot be written.

    Examples
    --------
    >>> drums, voice = torch.ones(2, 1, 1, 3), torch.tensor([10.0, 20.0]).view(2, 1, 1, 1).expand(2, 1, 1, 3)
    >>> plan = replace(StemPlan.identity(2, stems=2), songs=torch.tensor([[-1, 1], [-1, 0]]))
    >>> remix_stems(torch.cat([drums, voice], 1), plan).sum(1)[:, 0, 0]
    tensor([21., 11.])
    """
    source = x if other is None else other
    if out is not None:
        check_out(out, x, source)
    own = Clips(x, lengths)
    stems = _gather(own, own if other is None else Clips(other, other_lengths), plan, out=out)
    return _scale(stems, plan.factors(), out)


def _gather(own: Clips, source: Clips, plan: StemPlan, *, out: Tensor | None = None) -> Tensor:
    """Return the plan's stems as they are, channels exchanged, silent behind their ends; (B, S, C, T)."""
    x = own.x
    if plan.songs.shape[1] != x.shape[1]:
        check.fail("plan", f"for {x.shape[1]} stems, as x has", f"one for {plan.songs.shape[1]}")
    rows = plan.songs.clamp(min=0)
    if source.x is x:  # a song's own stem is one of the batch
        rows = torch.where(plan.songs == _OWN, torch.arange(len(x))[:, None], plan.songs)
    songs = fit_length(source.x, own.size)
    flat = songs.reshape(-1, own.size)
    stem, channel = torch.arange(x.shape[1])[:, None], torch.arange(x.shape[2])
    places = torch.where(plan.channel_swap[..., None], channel.flip(0), channel)
    index = (rows[..., None] * x.shape[1] + stem) * x.shape[2] + places
    index = index.flatten().to(x.device, non_blocking=True)
    if out is not None and out.is_contiguous():
        stems = out
        torch.index_select(flat, 0, index, out=out.view(-1, own.size))
    else:
        stems = flat.index_select(0, index).view(x.shape)
    if source.x is not x and (torch.compiler.is_compiling() or bool((plan.songs == _OWN).any())):
        mine = torch.where(_column(plan.channel_swap, x), x.flip(-2), x)
        stems = torch.where(_column(plan.songs == _OWN, x), mine, stems)
    if own.lengths is None and source.lengths is None and source.size >= own.size:
        return stems
    ends = _column(_ends(own, source, plan), x)
    return stems.masked_fill(torch.arange(own.size, device=x.device) >= ends, 0)


def _ends(own: Clips, source: Clips, plan: StemPlan) -> Tensor:
    """Return where each stem ends: with its song, or with the new one; (B, S), int64."""
    theirs = torch.minimum(source.valid[plan.songs.clamp(min=0)], own.valid[:, None])
    return torch.where(plan.songs == _OWN, own.valid[:, None], theirs)


def _scale(stems: Tensor, factors: Tensor, out: Tensor | None = None) -> Tensor:
    """Return stems at their factors (B, S), in float32 at least: half precision has no -60 dB beside 0 dB."""
    plain = not torch.compiler.is_compiling() and bool((factors == 1).all())
    if not plain:
        wide = torch.promote_types(stems.dtype, torch.float32)
        gains = _column(factors, stems).to(wide)
        free = not (stems.requires_grad or torch.compiler.is_compiling()) and stems.dtype == wide
        stems = stems.mul_(gains) if free else (stems.to(wide) * gains).to(stems.dtype)
    return stems if out is None or out is stems else out.copy_(stems)


def _column(values: Tensor, x: Tensor) -> Tensor:
    """Return numbers (B, S) on the device of `x`, to be broadcast over channels and time."""
    return values.to(x.device, non_blocking=True)[..., None, None]


class StemRemix(Mixer):
    """Remix stems (B, S, C, T) across songs: each stem comes from another song, the mix is their exact sum.

    Parameters
    ----------
    gain_db : (float, float) or sequence of (float, float)
        Lowest and highest gain in dB of every stem, or of each one by itself; drawn uniformly. Demucs' factors from
        0.25 to 1.25 are about (-12, 1.9).
    levels : str
        ``kept``: stems have the levels that they have. ``speakers``: those of dynamic mixing, as rms over what is
        heard: the first stem from N(-27.43, 2.57) in [-45, 0] dB, each further one N(-2.51, 2.66) dB above it.
        `gain_db` comes on top.
    swap : float
        Share of the stems whose two channels are exchanged; Demucs has 0.5.
    invert : float
        Share of the stems whose sign is changed; Demucs has 0.5.
    peak : float, optional
        Where a mix exceeds it, all its stems are turned down by one gain, so that they still sum to it. SpeechBrain has
        0.9.
    silent : str
        Of a song in which a stem is silent that stem is taken as it is (``keep``), or never (``redraw``): another
        song's is drawn.
    derange : bool
        Every stem of a mix is another song's. False: each stem is permuted by chance, as in Demucs, and may stay
        in its song; only where nothing else (`pairing`, ``allowed=``, ``other=``) says who may meet whom.
    num_classes, p, pairing
        See `audiomix.Mixer`. `pairing` holds for each stem. By ``any`` each stem of the batch is used exactly once.

    Notes
    -----
    The call takes stems and returns stems, the targets of separation, as `x`; ``mixed.mix`` is their sum, in ``eval()``
    too. A `target` is left as it is: there is no label of which a stem is a share. A song without a partner stays as it
    is, gains and all. `lengths` are those of the songs; a stem of a shorter song ends with it. With ``other=`` stems
    come from a second batch of songs.

    See Also
    --------
    audiomix.SNRMix : sums of whole sounds.

    Examples
    --------
    >>> stems = torch.randn(8, 4, 2, 16000)  # drums, bass, other, voice
    >>> mixed = StemRemix((-12, 2), swap=0.5, invert=0.5)(stems)
    >>> mixed.mix.shape, mixed.x.shape
    (torch.Size([8, 2, 16000]), torch.Size([8, 4, 2, 16000]))
    >>> bool((mixed.plans[0].songs != torch.arange(8)[:, None]).all())
    True
    """

    plan_type = StemPlan
    takes_self = False

    def __init__(
        self,
        gain_db: tuple[float, float] | Sequence[tuple[float, float]] = (0.0, 0.0),
        *,
        levels: Literal["kept", "speakers"] = "kept",
        swap: float = 0.0,
        invert: float = 0.0,
        peak: float | None = None,
        silent: Literal["keep", "redraw"] = "keep",
        derange: bool = True,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing)
        self.gain_db = gain_db
        self._ranges = _gain_ranges(gain_db)
        self.levels = check.choice("levels", levels, ["kept", "speakers"])
        self.swap = check.fraction("swap", swap)
        self.invert = check.fraction("invert", invert)
        self.peak = None if peak is None else check.number("peak", peak, 1e-6, slip="an amplitude, 1 is full scale")
        self.silent = check.choice("silent", silent, ["keep", "redraw"])
        self.derange = check.one_of_types("derange", derange, bool, "True or False")

    @property
    def needs(self) -> Needs:
        """Stems, of any number of songs. Labels are kept."""
        return Needs(domain=frozenset({STEMS}), sources=(2, 1 + _MOST_STEMS), target=False)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return stems as they are, with gains, flips and levels, permuted by chance, and by pairs of stems."""
        music, pair = (4, 2, 500), (2, 1, 1000)
        return [
            Example(cls(), shape=music),
            Example(cls((-12, 2), swap=0.5, invert=0.5), shape=music),
            Example(cls(derange=False, gain_db=[(-6, 0), (0, 3)], silent="redraw"), shape=pair),
            Example(cls(levels="speakers", peak=0.9), shape=pair),
        ]

    def forward(self, x: Tensor, target: Tensor | None = None, **given: Any) -> MixedStems:
        """Draw a plan (or take the one given) and remix the stems; arguments as for `audiomix.Mixer.forward`.

        Parameters
        ----------
        x : Tensor, shape (B, S, C, T), floating point
            Stems of B songs. Left unchanged.
        target : Tensor, optional
            Comes back as it is.
        **given : Any
            See `audiomix.Mixer.forward`.

        Returns
        -------
        MixedStems
            ``x`` are the stems, ``mix`` is their sum.
        """
        return MixedStems(*super().forward(x, target, **given))

    if TYPE_CHECKING:

        def __call__(self, x: Tensor, target: Tensor | None = None, **given: Any) -> MixedStems:
            """See `forward`."""

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse what are no stems, gains for another number of stems, and channels that cannot be exchanged."""
        x, shape = own.x, tuple(own.x.shape)
        if x.ndim != 4:
            slip = {3: "mono stems (B, S, T)? stems.unsqueeze(2)", 2: "one song? stems[None]"}.get(x.ndim, "")
            check.fail("x", "stems (B, S, C, T)", f"shape {shape}", slip)
        if not 2 <= shape[1] <= _MOST_STEMS or shape[2] > MOST_CHANNELS:
            expected = f"stems (B, S, C, T), 2 to {_MOST_STEMS} of them, of at most {MOST_CHANNELS} channels"
            slip = "a spectrogram? stems are waveforms" if shape[1] == 1 else "channels before stems?"
            check.fail("x", expected, f"shape {shape}", slip)
        if len(self._ranges) not in (1, shape[1]):
            check.fail("gain_db", f"1 or {shape[1]} ranges, as x has stems", len(self._ranges))
        if self.swap and shape[2] > 2:
            check.fail("swap", f"0 for {shape[2]} channels", f"{self.swap:g}", "two channels are exchanged")

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw songs, gains and flips; measure levels where they are asked for."""
        size, stems = own.x.shape[:2]
        songs, why = self._draw_songs(own, source, progress, generator)
        remixed = (songs != _OWN).any(1, keepdim=True)
        if not self.derange:  # a song that kept all its stems by chance takes part too
            remixed = remixed | torch.tensor([[reason == ""] for reason in why])
        low, high = torch.tensor(self._ranges, dtype=torch.float64).expand(stems, 2).unbind(1)
        gain_db = low + (high - low) * draw.uniform(0, 1, size * stems, generator=generator).view(size, stems)
        flips = [draw.bernoulli(p, size * stems, generator=generator) for p in (self.invert, self.swap)]
        inversion, channel_swap = (flip.view(size, stems) & remixed for flip in flips)
        channel_swap = channel_swap & (own.x.shape[2] > 1)
        first = torch.where(songs == _OWN, torch.arange(size)[:, None] if source is own else 0, songs)[:, 0]
        plan = StemPlan(
            first, torch.ones(size, dtype=torch.float64), songs=songs, gain_db=torch.where(remixed, gain_db, 0.0),
            inversion=inversion, channel_swap=channel_swap, why=tuple(why) if any(why) else (),
        )  # fmt: skip
        if self.levels == "speakers":
            wanted_db = _draw_levels(size, stems, generator)
            plan = self._at_levels(own, source, plan, torch.where(remixed, wanted_db, torch.nan))
        return plan if self.peak is None else self._below_peak(own, source, plan, remixed)

    def _draw_songs(
        self, own: Clips, source: Clips, progress: float | None, generator: Generator
    ) -> tuple[Tensor, list[str]]:
        """Draw from which song each stem comes, (B, S), and why a song is not remixed as asked for."""
        size, stems = own.x.shape[:2]
        drawn = self.choose(own, progress=progress, generator=generator) & (own.valid > 0)
        free = self.pairing == "any" and own.notes.allowed is None and own.notes.pairing_weights is None
        by_chance = not self.derange and source is own and free and self.silent == "keep"
        mine = replace(own, eligible=drawn)
        there = mine if source is own else source
        sounds = _are_audible(source) if self.silent == "redraw" else torch.ones(len(source), stems, dtype=torch.bool)
        songs = torch.full((size, stems), _OWN)
        for stem in range(stems):
            if by_chance:
                index = drawn.nonzero().flatten()
                songs[index, stem] = index[draw.permutation(len(index), generator=generator)]
                continue
            weights, notes = own.notes.pairing_weights, own.notes
            if not bool(sounds[:, stem].all()):
                audible = sounds[:, stem].double()
                notes = replace(notes, pairing_weights=audible if weights is None else weights * audible)
            clips = replace(mine, notes=notes)
            partner, found = choose_partners(
                clips, clips if source is own else there, self.pairing, generator=generator
            )
            songs[:, stem] = torch.where(found & drawn, partner, _OWN)
        if by_chance:
            songs = torch.where(songs == torch.arange(size)[:, None], _OWN, songs)
            alone = drawn & (drawn.sum() < 2)
        else:
            alone = drawn & (songs == _OWN).all(1)
        without_partner(alone)
        return songs, [_why(*row) for row in zip(drawn.tolist(), alone.tolist(), songs.tolist(), [by_chance] * size)]

    def _at_levels(self, own: Clips, source: Clips, plan: StemPlan, wanted_db: Tensor) -> StemPlan:
        """Return the plan with gains that bring each stem to its level; silent stems, and NaN, keep theirs."""
        norms = measure_blocks(own, lambda rows: _gather_rows(own, source, plan, rows), lambda x, _: _norms(x))
        rms = norms / (_ends(own, source, plan) * own.x.shape[2]).clamp(min=1).double().sqrt()
        gain = wanted_db - level.db(rms)
        audible = (rms > level.from_db(level.SILENCE_DB)) & wanted_db.isfinite()
        return replace(plan, gain_db=torch.where(audible, plan.gain_db + gain, plan.gain_db))

    def _below_peak(self, own: Clips, source: Clips, plan: StemPlan, remixed: Tensor) -> StemPlan:
        """Return the plan with one gain for all stems of a mix that would exceed the peak."""
        assert self.peak is not None
        factors = plan.factors()

        def sum_rows(rows: slice) -> Tensor:
            """Return the mixes of some songs."""
            return _scale(_gather_rows(own, source, plan, rows).float(), factors[rows]).sum(1)

        loudest = measure_blocks(own, sum_rows, lambda x, _: level.peak(x))[:, None]
        down = torch.where(remixed & (loudest > self.peak), level.db(self.peak / loudest.clamp(min=1e-12)), 0.0)
        return replace(plan, gain_db=plan.gain_db + down)

    def identity(self, own: Clips) -> Plan:
        """Return the plan in which every song keeps its stems."""
        return StemPlan.identity(len(own), own.x.shape[1] if own.x.ndim == 4 else 1)

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Put the plan's stems together; see `remix_stems`."""
        assert isinstance(plan, StemPlan)
        if out is not None:
            check_out(out, own.x, source.x)
        return _scale(_gather(own, source, plan, out=out), plan.factors(), out)


def _gather_rows(own: Clips, source: Clips, plan: StemPlan, rows: slice) -> Tensor:
    """Return the stems of some mixes, without a gradient."""
    index = torch.arange(rows.start, rows.stop)
    with torch.no_grad():
        return _gather(own.rows(rows), source, plan.rows(index))


def _norms(x: Tensor) -> Tensor:
    """Return the Euclidean norm of each stem (B, S, C, T) in float32 at least; (B, S), float64, on the CPU."""
    wide = torch.promote_types(x.dtype, torch.float32)
    return torch.linalg.vector_norm(x.detach().flatten(2), dim=2, dtype=wide).double().cpu()


def _are_audible(songs: Clips) -> Tensor:
    """Return which stems of the songs are not silent within their valid parts; (M, S), bool."""
    plan = StemPlan.identity(len(songs), songs.x.shape[1])
    norms = measure_blocks(songs, lambda rows: _gather_rows(songs, songs, plan, rows), lambda x, _: _norms(x))
    rms = norms / (songs.valid[:, None] * songs.x.shape[2]).clamp(min=1).double().sqrt()
    return rms > level.from_db(level.SILENCE_DB)


def _draw_levels(size: int, stems: int, generator: Generator) -> Tensor:
    """Draw levels of speakers in dB, as SpeechBrain's dynamic mixing does; (B, S), float64."""
    (mean, std, low, high), (above, spread) = _FIRST_DB, _OTHERS_DB
    first = (mean + draw.normal(std, size, generator=generator)).clamp(low, high)[:, None]
    rest = first + above + draw.normal(spread, size * (stems - 1), generator=generator).view(size, stems - 1)
    return torch.cat([first, rest], 1)


def _why(drawn: bool, alone: bool, songs: list[int], by_chance: bool) -> str:
    """Return why a song is not remixed as asked for; an empty text where it is, or where it has no partner."""
    if not drawn or alone:  # whoever is told of clips without a partner says so
        return NOT_DRAWN
    kept = [] if by_chance else [str(stem) for stem, song in enumerate(songs) if song == _OWN]
    return f"no other song for stem {', '.join(kept)}" if kept else ""


def _gain_ranges(value: Any) -> list[tuple[float, float]]:
    """Return ranges in dB, one for all stems or one for each."""
    if isinstance(value, str) or not hasattr(value, "__len__") or not len(value):
        check.fail("gain_db", "(lowest, highest) in dB, or one such pair a stem", repr(value), error=TypeError)
    pairs = list(value) if hasattr(value[0], "__len__") else [value]
    found = []
    for pair in pairs:
        if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
            check.fail("gain_db", "(lowest, highest) in dB, or one such pair a stem", repr(value))
        low, high = (check.number("gain_db", edge, -200, 200) for edge in pair)
        if low > high or not math.isfinite(low):
            check.fail("gain_db", "(lowest, highest)", f"({low:g}, {high:g})", "the other way round?")
        found.append((low, high))
    return found
