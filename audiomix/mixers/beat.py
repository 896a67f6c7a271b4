r"""Beat-synchronous mixup: a partner warped beat by beat onto the original's grid, so that both keep time together.

.. math:: x'(t) = a(w) x(t) + b(w) g\, x_p(m(t)), \quad w \sim \mathrm{Beta}(\alpha, \alpha)

m maps the original's time to the partner's (the plan's warp map), g matches levels. The paper has no
warp: `BeatMix.musicldm` is its rule.

Source: ours, after Chen et al., "MusicLDM: Enhancing Novelty in Text-to-Music Generation Using Beat-Synchronous Mixup
Strategies", ICASSP 2024.
Label: mixed by the share of what is heard.
"""

from collections.abc import Callable, Sequence, Sized
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend import GAIN_LAWS, blend, sum_sounds
from ..beats.confidence import MIN_CONFIDENCE
from ..beats.grid import BeatGrid
from ..beats.mashability.features import BeatFeatures, measure
from ..beats.match import BeatQuery, MatchFeatures, MatchRule, compatible, match_or_reason
from ..beats.placement import ANCHORS, AnchorSampler, Placement
from ..beats.plan import BeatPlan, locate, map_frames, mean_share, share_of_sum
from ..beats.render import check_sound, match_loudness, render_tracks
from ..beats.trackers import TracksBeats
from ..clips import Clips, overlap
from ..draw import Generator
from ..mixer import WAVE, Example, Mixer, Needs, Pairing, Rule
from ..partners import choose_partners
from ..plan import NOT_DRAWN, Plan
from ..schedule import Schedule
from ..targets.labels import apply_rule

__all__ = ["BeatMix"]

# Partners that are tried before a clip counts as one that cannot be aligned.
_TRIES = 4
# Partners of a batch that are compared where the best one is wanted.
_COMPARED = 8


class BeatMix(Mixer):
    """Mix music on the beat.

    Parameters
    ----------
    alpha : float or schedule
        The original's share is drawn from Beta(alpha, alpha); 5 is MusicLDM's.
    max_stretch : float
        Largest departure of the partner's rate from 1, over all and from beat to beat; 0.08 is 8 %.
    min_bars : float
        Least overlap, in bars of the original; where its metre is open four beats count as one.
    stretch : str
        ``pitch``: the pitch is kept. ``varispeed``: it moves with the rate, as on a turntable; cheap. ``none``: the
        partner is only shifted, so it drifts.
    align : str
        ``downbeat``: both grids must know their bars, and their metres agree. ``beat``: any beat on any beat. ``auto``:
        by downbeat where both know it, else by beat; the plan says which.
    anchor : str
        Which beats are laid on each other, of those that may be. ``random``: each pair is equally likely. ``similar``:
        where onsets and harmony of the two are most alike, counted by a root of the overlap's length
        (`audiomix.beats.mashability`). ``longest``: for the longest overlap. ``downbeat``: drawn, downbeat on downbeat;
        it is ``align="downbeat"``. Cross-fades leave the end of the original and enter the start of the partner.
    partners_by : str
        ``draw``: by `pairing`, of those that fit. ``score``: of up to 8 of these the one with the best mashability; of
        files, where `audiomix augment` looks for partners, of up to 32.
    keys : str
        ``any``; ``compatible``: the same key, its relative or a neighbour on the circle of fifths; ``shift``: the
        partner is shifted into such a key, by at most 2 semitones. A piece of unknown key then has no partner.
    polyrhythm : bool
        Also fold tempi by 1/3, 2/3, 3/2 and 3, not only by 1/2, 1 and 2.
    level : str
        ``lufs``: the partner is brought to the original's loudness in the overlap (at most 40 dB). ``recorded``: as is.
    gain_law : str
        Amplitudes at share w, as in MixUp: ``unit_power``, ``amplitude`` (w, 1 - w) or ``sqrt``.
    policy : str
        What becomes of a clip that cannot be aligned (no beats, no tempo, too short, no partner that fits): ``skip``
        leaves it unmixed, ``plain`` mixes it without alignment. The plan says so and why.
    keep : str
        ``original``: the mix is as long as the original. ``overlap``: cut to where both sound. ``anchor``: cut to where
        both sound, from the beats on that were laid on each other.
    mode : str
        ``overlay``, or ``crossfade``: from the original into the partner over `bars` bars with equal-power curves, the
        tempo gliding from one to the other.
    bars : int
        Length of a cross-fade.
    whole : bool
        A cross-fade's result is as long as it gets, not cut to the length of the original.
    bucket_bpm : float, optional
        Partners have whole tempi in one bucket of this width (MusicLDM: 3), instead of a rate within `max_stretch`.
    min_confidence : float
        Least confidence of the beats (`BeatGrid.confidence`, the probability that they are right); less sure ones
        count as none. 0 takes all; those that you pass as lists have 1.
    tracker : str or object
        Who finds the beats of files, as `audiomix.track_beats` has it; ``madmom:network=beat`` finds beats better and
        no downbeats. Where ``align="downbeat"`` asks for downbeats ``auto`` takes one that finds them.
        Batches bring their own grids.
    caption : str
        Of mixed files: the ``original``'s, or both ``joined``.
    rate : int
        Sampling rate in Hz.
    num_classes, p, pairing, rule
        See `audiomix.Mixer`.

    Raises
    ------
    ValueError
        No ``beats=`` under ``policy="skip"``; grids in samples, unsorted, or with beats behind the end of a clip; NaN
        or infinite samples.

    Notes
    -----
    Pass ``beats=`` (and ``other_beats=`` with `other`): for each clip a `BeatGrid`, a list of beat times in seconds, or
    None. Stretching runs on the CPU; no gradient goes through a stretched partner, it does through the original. The
    sum may exceed full scale; `audiomix augment` limits mix and stems by one gain.

    The weight of a clip is its area share, as in `MixUp` with lengths: of the sum of both shares over all that is kept,
    w T / (w T + (1 - w) T') where the partner sounds for T' of T. Frame labels have w in the overlap and 1 outside of
    it, so their mean is larger: outside, the original is heard at its gain and is all there is.

    See Also
    --------
    audiomix.LatentBeatMix : the same in the space of an autoencoder.

    Examples
    --------
    >>> from audiomix.beats import BeatGrid
    >>> music = torch.randn(2, 1, 160000)  # 10 s at 16 kHz, at 120 and 116 bpm
    >>> grids = [BeatGrid([60 / bpm * i for i in range(19)]) for bpm in (120, 116)]
    >>> mixed = BeatMix(rate=16000)(music, beats=grids, generator=torch.Generator().manual_seed(0))
    >>> mixed.plans[0].aligned.tolist(), [round(r, 3) for r in mixed.plans[0].rates.tolist()]
    ([True, True], [1.034, 0.967])
    """

    plan_type = BeatPlan
    takes_self = False
    # Whether the original is alone, at gain 1, wherever the partner does not sound.
    _unmixed_outside = False

    def __init__(
        self,
        alpha: float | str | Schedule = 5.0,
        *,
        max_stretch: float = 0.08,
        min_bars: float = 2.0,
        stretch: Literal["pitch", "varispeed", "none"] = "pitch",
        align: Literal["auto", "downbeat", "beat"] = "auto",
        anchor: Literal["random", "similar", "longest", "downbeat"] = "similar",
        partners_by: Literal["draw", "score"] = "draw",
        keys: Literal["any", "compatible", "shift"] = "any",
        polyrhythm: bool = False,
        level: Literal["lufs", "recorded"] = "lufs",
        gain_law: Literal["unit_power", "amplitude", "sqrt"] = "unit_power",
        policy: Literal["skip", "plain"] = "skip",
        keep: Literal["original", "overlap", "anchor"] = "original",
        mode: Literal["overlay", "crossfade"] = "overlay",
        bars: int = 4,
        whole: bool = False,
        bucket_bpm: float | None = None,
        min_confidence: float = MIN_CONFIDENCE,
        tracker: str | TracksBeats = "auto",
        caption: Literal["original", "joined"] = "original",
        rate: int | None = None,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule)
        self.alpha = Schedule.of(alpha, "alpha").within("alpha", 0)
        self.min_bars = check.number("min_bars", min_bars, 0)
        self.stretch = check.choice("stretch", stretch, ["pitch", "varispeed", "none"])
        self.level = check.choice("level", level, ["lufs", "recorded"])
        self.gain_law = check.choice("gain_law", gain_law, GAIN_LAWS)
        self.policy = check.choice("policy", policy, ["skip", "plain"])
        self.keep = check.choice("keep", keep, ["original", "overlap", "anchor"])
        self.mode = check.choice("mode", mode, ["overlay", "crossfade"])
        self.bars = check.integer("bars", bars, 1)
        self.whole = whole
        self.caption = check.choice("caption", caption, ["original", "joined"])
        self.tracker = tracker
        slip = "BeatMix(rate=16000): beats are in seconds"
        self.rate = check.rate("rate", check.fail("rate", "given", None, slip, TypeError) if rate is None else rate)
        self.anchor = check.choice("anchor", anchor, ANCHORS)
        self.partners_by = check.choice("partners_by", partners_by, ["draw", "score"])
        by_bar: Literal["downbeat"] | None = "downbeat" if anchor == "downbeat" and align == "auto" else None
        self.match_rule = MatchRule(
            max_stretch, polyrhythm, by_bar or align, keys, bucket_bpm, min_confidence=min_confidence
        )
        self.max_stretch, self.polyrhythm, self.align = max_stretch, polyrhythm, align
        self.keys, self.bucket_bpm, self.min_confidence = keys, bucket_bpm, min_confidence
        self._sampler = AnchorSampler(self.match_rule, min_bars, keep, mode, bars, stretch == "none", anchor)
        self._check_options()

    def _check_options(self) -> None:
        if self.anchor == "downbeat" and self.align == "beat":
            check.fail("align", "auto or downbeat, for anchor='downbeat'", repr(self.align))
        if self.keys == "shift" and self.stretch != "pitch":
            check.fail("keys", "any or compatible where the pitch is not kept", "'shift'", "stretch='pitch'?")
        if self.mode == "crossfade" and (self.stretch == "none" or self.keep != "original"):
            slip = "a cross-fade ends where the partner does"
            check.fail("stretch and keep", "'pitch' or 'varispeed', and 'original', for a cross-fade",
                       f"{self.stretch!r} and {self.keep!r}", slip)  # fmt: skip
        if self.whole and self.mode != "crossfade":
            check.fail("whole", "left out unless mode='crossfade'", True)

    @property
    def needs(self) -> Needs:
        """Waveforms and their beats; partners as they are."""
        return Needs(
            domain=frozenset({WAVE}),
            notes={
                "beats": BeatQuery(self.tracker, self.keys != "any", self.match_rule, self.partners_by == "score")
            },
            partner="whole",
            length="free" if self.keep != "original" or self.mode == "crossfade" else "kept",
            caption=self.caption,  # type: ignore[arg-type]
        )

    @classmethod
    def examples(cls) -> list[Example]:
        """Return every way to lay beats on each other, with grids of clips of 3 s at 4 kHz."""
        shape, own = (1, 12000), dict[str, Any](rate=4000, min_bars=0.5)
        quick = {**own, "level": "recorded"}
        bars, beats = _example_notes(metre=2, keys=True), _example_notes()
        modes = [
            (cls(**own), _example_notes(metre=2, step=0.01, drift=0.02)),
            (cls(**quick, stretch="varispeed", align="beat", gain_law="amplitude", anchor="random"), beats),
            (cls(**quick, anchor="longest", partners_by="score"), beats),
            (cls(**quick, anchor="downbeat"), bars),
            (cls(**quick, policy="plain", polyrhythm=True, max_stretch=0.14), beats),
            (cls(**quick, policy="plain", stretch="none", p=0.8), beats),
            (cls(**quick, policy="plain"), lambda clips: {}),
            (cls(**quick, keep="overlap", keys="shift"), bars),
            (cls(**own, keep="anchor", keys="compatible", gain_law="sqrt", caption="joined"), bars),
            (cls(**quick, align="downbeat", max_stretch=0.01), _example_notes(metre=2, drift=0.1)),
            (cls(**quick, mode="crossfade", bars=1), bars),
            (cls(**quick, mode="crossfade", bars=1, whole=True), beats),
            (cls.musicldm(4000, bucket_bpm=6.0), bars),
            (cls.musicldm(4000, bucket_bpm=6.0, keep="original"), bars),
        ]
        return [Example(mixer, notes, shape) for mixer, notes in modes]

    @classmethod
    def musicldm(cls, rate: int, **options: Any) -> "BeatMix":
        """Return MusicLDM's rule (Chen et al. 2023), for comparison: shifted, not stretched, so that pairs drift.

        Tempi in the same bucket of 3 bpm; both cut to a random downbeat (never the last) and to the shorter; shares
        from Beta(5, 5) as amplitudes (w, 1 - w), levels as recorded. A public descendant of its loader is the source;
        unlike there, a clip is never its own partner.

        Parameters
        ----------
        rate : int
            Sampling rate in Hz.
        **options
            Changes to the rule; options of `BeatMix`.
        """
        published = {"bucket_bpm": 3.0, "stretch": "none", "keep": "anchor", "align": "downbeat", "min_bars": 0.0}
        published |= {"min_confidence": 0.0}  # it asks nobody how sure the beats are
        more = {"anchor": "random", "level": "recorded", "gain_law": "amplitude"}
        return cls(5.0, rate=rate, **{**published, **more, **options})  # type: ignore[arg-type]

    def check_input(self, own: Clips, source: Clips) -> None:
        """Raise where there are no grids, or grids that do not belong to the clips."""
        super().check_input(own, source)
        if own.notes.beats is None and self.policy == "skip":
            slip = "BeatGrids or lists of seconds, one for each clip; audiomix.track_beats(path) finds them"
            slip += "; where tuples hold them: Collate(notes={'beats': 2})"
            check.fail("beats", "given: BeatMix(...)(x, beats=grids)", None, slip, TypeError)
        if own.notes.beats is not None and source.notes.beats is None:
            check.fail("other_beats", "given, as other and beats are", None, error=TypeError)
        check_sound("x", own)
        if source is not own:
            check_sound("other", source)
        self._grids(own, source)

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners and shares; choose the beats that are laid on each other; measure levels."""
        size = len(own)
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        ratio = draw.beta(self.alpha(progress), size, generator=generator)
        grids = self._grids(own, source)
        placements: list[Placement | None] = [None] * size
        why = ["no beats were given"] * size
        if grids is not None:
            partner, placements, why = self._place(own, source, grids, partner, mixed, generator)
        why = [reason if drawn else NOT_DRAWN for reason, drawn in zip(why, mixed.tolist())]
        aligned = torch.tensor([placement is not None for placement in placements])
        both = aligned | mixed if self.policy == "plain" else aligned
        if source is own:
            partner = torch.where(both, partner, torch.arange(size))
        ratio = torch.where(both, ratio, 1.0)
        gains = torch.stack(GAIN_LAWS[self.gain_law](ratio), 1)
        if self.mode == "crossfade":  # the curves are its gains
            ratio = torch.where(aligned, 1.0, ratio)
            gains = torch.where(aligned[:, None], 1.0, gains)
        if self.level == "lufs":
            gains[:, 1] *= self._match_levels(own, source, partner, placements, both)
        used = () if grids is None else tuple((grids[0][i], grids[1][j]) for i, j in enumerate(partner.tolist()))
        return self._plan(own, source, partner, ratio, gains, placements, why=tuple(why), grids=used)

    def render(self, own: Clips, source: Clips, plan: Plan) -> Tensor:
        """Warp the partners and add them at the plan's gains."""
        plan = self._check_plan(plan)
        originals, partners = render_tracks(own, source, plan)
        a, b = plan.gains()
        return plan.cut(blend(originals, torch.arange(len(own)), a, b, other=partners), own.size)

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan; where nothing is aligned it is a plain sum."""
        if all(plan.why):
            return sum_sounds(own, source, plan, out)
        return super().render_into(own, source, plan, out)

    def mix_target(self, target: Tensor, plan: Plan, *, other: Tensor | None = None) -> Tensor:
        """Apply a plan to labels; frame labels (B, K, N) are warped and cut as the sounds are."""
        if target.ndim != 3 or not isinstance(plan, BeatPlan) or all(plan.why):
            return super().mix_target(target, plan, other=other)
        source = check.floating("target", target) if other is None else check.floating("other_target", other)
        own, partner, share = map_frames(plan, target.shape[-1], source.shape[-1])
        theirs = source[plan.partner.to(source.device)]
        streams = [_take_frames(target, own), _take_frames(theirs, partner)]
        return apply_rule(streams, [share[:, None], 1 - share[:, None]], self.rule)

    def _check_plan(self, plan: Plan) -> BeatPlan:
        """Return the plan, with this mixer's stretch where it was written by an earlier version."""
        assert isinstance(plan, BeatPlan)  # check_plan saw to it
        return plan if plan.stretch is not None else replace(plan, stretch=self.stretch)

    def _grids(self, own: Clips, source: Clips) -> tuple[list[BeatGrid | None], list[BeatGrid | None]] | None:
        """Return the beats of originals and partners that are laid on each other, checked against the clips."""
        if own.notes.beats is None:
            return None
        found = self._check_grids("beats", own)
        return found, found if source is own else self._check_grids("other_beats", source)

    def _check_grids(self, name: str, clips: Clips) -> list[BeatGrid | None]:
        """Return the smoothed grids of one side, cut to the lengths of its clips."""
        given = clips.notes.beats
        if not isinstance(given, Sequence) or len(given) != len(clips):
            got = f"{len(given)} items" if isinstance(given, Sized) else type(given).__name__
            check.fail(name, f"a list of {len(clips)} grids (or None), one for each clip", got)
        found: list[BeatGrid | None] = []
        for i, (beats, end) in enumerate(zip(given, clips.valid.tolist())):
            if beats is None:
                found.append(None)
                continue
            grid = BeatGrid.of(beats, f"{name}[{i}]")
            grid.check_within(end / self.rate, f"{name}[{i}]")  # as given: smoothed, a beat may move by ms
            grid = grid if self.stretch == "none" else grid.smooth()  # what is only shifted needs no smoothing
            found.append(grid.between(0.0, end / self.rate))
        return found

    def _place(
        self,
        own: Clips,
        source: Clips,
        grids: tuple[list[BeatGrid | None], list[BeatGrid | None]],
        plain: Tensor,
        mixed: Tensor,
        generator: Generator,
    ) -> tuple[Tensor, list[Placement | None], list[str]]:
        """Find for each clip a partner that fits; return partners, placements, and why there is none.

        `plain` (B,) are the partners of clips that cannot be aligned.
        """
        mine, theirs = grids
        own_features, their_features = (MatchFeatures.of(side, self.min_confidence) for side in grids)
        allowed = torch.from_numpy(compatible(own_features, their_features, self.match_rule))
        partner = plain.clone()
        placements: list[Placement | None] = [None] * len(own)
        # the reason of a clip that none of the others fits: why its plain partner does not
        matches = [match_or_reason(mine[i], theirs[j], self.match_rule) for i, j in enumerate(plain.tolist())]
        why = [match if isinstance(match, str) else "no other clip to meet" for match in matches]
        eligible = mixed if own.eligible is None else mixed & own.eligible
        ends, their_ends = (clips.valid.double() / self.rate for clips in (own, source))
        by_score = self.partners_by == "score"
        sides = (own, mine, _Memo()), (source, theirs, _Memo())
        sides = (sides[0], sides[0]) if source is own else sides
        for _ in range(_COMPARED if by_score else _TRIES):
            drawn, found = choose_partners(own, source, self.pairing, allowed=allowed, generator=generator)
            open_ = [by_score or placement is None for placement in placements]
            todo = [i for i in (found & eligible).nonzero().flatten().tolist() if open_[i]]
            for i in todo:
                j, best = int(drawn[i]), placements[i]
                seconds = float(ends[i]), float(their_ends[j])
                placement = self._sampler.sample(mine[i], theirs[j], seconds, generator, self._features(sides, i, j))
                if isinstance(placement, str):
                    why[i] = why[i] and placement
                elif best is None or (placement.score or 0.0) > (best.score or 0.0):
                    placements[i], partner[i], why[i] = placement, j, ""
                if by_score or isinstance(placement, str):
                    allowed[i, j] = False
            if not todo:
                break
        return partner, placements, why

    def _features(self, sides: "tuple[_Side, _Side]", i: int, j: int) -> tuple[BeatFeatures, BeatFeatures] | None:
        """Return what is compared of original i and partner j, measured once a clip; None where nothing is."""
        if self.anchor != "similar" and self.partners_by == "draw":
            return None
        found = []
        for (clips, grids, known), k in zip(sides, (i, j)):
            if k not in known:
                known[k] = measure(clips.clip(k), self.rate, grids[k])
            found.append(known[k])
        return found[0], found[1]

    def _match_levels(
        self, own: Clips, source: Clips, partner: Tensor, placements: list[Placement | None], both: Tensor
    ) -> Tensor:
        """Return the factors (B,) that bring partners to the originals' loudness, measured where both sound."""
        factor = torch.ones(len(own), dtype=torch.float64)
        for i in both.nonzero().flatten().tolist():
            placement = placements[i]
            alignment = None if placement is None else placement.alignment
            factor[i] = match_loudness(own.clip(i), source.clip(int(partner[i])), self.rate, alignment)
        return factor

    def _plan(
        self,
        own: Clips,
        source: Clips,
        partner: Tensor,
        ratio: Tensor,
        gains: Tensor,
        placements: list[Placement | None],
        **more: Any,
    ) -> BeatPlan:
        """Bring what was drawn into fractions of the clips; the weight is the original's share of what comes out."""
        axes = [own.size / self.rate, source.size / self.rate]
        seconds = torch.tensor([axes], dtype=torch.float64).repeat(len(own), 1)
        valid, covered = overlap(own, source, partner)
        covered = torch.where(ratio < 1, covered, 0)  # nothing of a partner that is left out sounds
        ends = torch.stack([valid, covered], 1).double() / own.size
        fields = locate(placements, ends, seconds, keep=self.keep, whole=self.whole)
        weight = (mean_share if self._unmixed_outside else share_of_sum)(fields, ratio, ends[:, 0])
        gain_db = 20 * torch.log10(gains)
        more["unmixed_behind"] = self._unmixed_outside or None
        more["free_length"] = self.needs.length == "free" or None
        scores = [np.nan if one is None or one.score is None else one.score for one in placements]
        if not np.isnan(scores).all():
            more["score"] = torch.tensor(scores, dtype=torch.float64)
        return BeatPlan(
            partner, weight, gain_db=gain_db, ratio=ratio, seconds=seconds, stretch=self.stretch, **fields, **more
        )


_Memo = dict[int, BeatFeatures]
_Side = tuple[Clips, list[BeatGrid | None], _Memo]


def _example_notes(
    metre: int | None = None, keys: bool = False, step: float = 0.0, drift: float = 0.0
) -> Callable[[int], dict[str, Any]]:
    """Return the notes of an `Example`: beats of clips of 3 s, some tempi in other octaves, one that fits no other."""
    names = ("C major", "D major", "A minor", "G major", None)

    def grid(i: int) -> BeatGrid | None:
        """Return the beats of clip i; None of one without."""
        bpm = (120, 124, 61, 236, 118, 90, 0)[i % 7]
        if bpm == 0 or i >= 10:  # of a large batch a few are enough
            return None
        beats = np.arange(int(2.8 * bpm / 60))
        times = 0.03 * (i % 5) + 60 / bpm * (beats + drift * np.sin(2.5 * beats + i))
        times = np.round(times / step) * step if step else times
        positions = None if metre is None or i % 7 == 4 else ((beats + i) % metre + 1).tolist()
        return BeatGrid(times.clip(0).tolist(), positions, step=step, key=names[i % 5] if keys else None)

    return lambda clips: {"beats": [grid(i) for i in range(clips)]}


def _take_frames(stream: Tensor, index: Tensor) -> Tensor:
    """Return the frames `index` (B, N) of a stream (B, K, M); zeros where the index is -1."""
    index = index[:, None].to(stream.device)
    return stream.gather(-1, index.clamp(min=0).expand(-1, stream.shape[1], -1)) * (index >= 0).to(stream)
