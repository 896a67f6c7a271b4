r"""Beat-synchronous mixup: a partner warped beat by beat onto the original's grid, so that both keep time together.

.. math:: x'(t) = a(w) x(t) + b(w) g\, x_p(m(t)), \quad w \sim \mathrm{Beta}(\alpha, \alpha)

m maps the original's time to the partner's (the plan's warp map), g matches levels. After MusicLDM (Chen et al. 2023),
which has no warp: `BeatMix.musicldm` is its rule.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from .. import check, draw, pairing
from ..audio.blend import GAIN_LAWS, blend, check_out, overlap, sum_sounds
from ..beats import plan as overlay
from ..beats.grid import BeatGrid
from ..beats.match import Rule, features, may_meet
from ..beats.placement import Laid, Placing
from ..beats.placement import met as can_meet
from ..beats.plan import BeatPlan
from ..beats.render import check_sound, matching, tracks
from ..draw import Generator
from ..mixer import LEFT_OUT, Batch, Mixer, Pairing
from ..mixer import Rule as LabelRule
from ..plan import Plan
from ..schedule import Schedule
from ..targets.labels import apply_rule

__all__ = ["BeatMix"]

# Partners that are tried before a clip counts as one that cannot be aligned.
_TRIES = 4


class BeatMix(Mixer):
    """Mix music on the beat.

    Parameters
    ----------
    alpha : float or schedule
        The original's share is drawn from Beta(alpha, alpha); 5 is MusicLDM's.
    max_stretch : float
        Largest departure of the partner's rate from 1, over all and from beat to beat; 0.08 is 8 %.
    min_bars : float
        Least overlap, in bars of the original.
    stretch : str
        ``pitch``: the pitch is kept. ``varispeed``: it moves with the rate, as on a turntable; cheap. ``none``: the
        partner is only shifted, so it drifts.
    align : str
        ``downbeat``: both grids must know their bars, and their metres agree. ``beat``: any beat on any beat. ``auto``:
        by downbeat where both know it, else by beat; the plan says which.
    keys : str
        ``any``; ``compatible``: the same key, its relative or a neighbour on the circle of fifths; ``shift``: the
        partner is shifted into such a key, by at most 2 semitones. A piece of unknown key then meets none.
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
        Pieces meet if their whole tempi fall into one bucket of this width (MusicLDM: 3), instead of `max_stretch`.
    tracker : str
        Who finds the beats of files: see `audiomix beats`; ``madmom:network=beat`` finds beats better and no downbeats.
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
    waveforms_only = True

    def __init__(
        self,
        alpha: float | str | Schedule = 5.0,
        *,
        max_stretch: float = 0.08,
        min_bars: float = 2.0,
        stretch: Literal["pitch", "varispeed", "none"] = "pitch",
        align: Literal["auto", "downbeat", "beat"] = "auto",
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
        tracker: str = "auto",
        caption: Literal["original", "joined"] = "original",
        rate: int | None = None,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: LabelRule = "linear",
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
        self._meeting = Rule(max_stretch, polyrhythm, align, keys, bucket_bpm)  # type: ignore[arg-type]
        self.max_stretch, self.polyrhythm, self.align = max_stretch, polyrhythm, align
        self.keys, self.bucket_bpm = keys, bucket_bpm
        self._placing = Placing(self._meeting, self.min_bars, keep, mode, self.bars, drifting=stretch == "none")
        self._check_options()

    def _check_options(self) -> None:
        if self.keys == "shift" and self.stretch != "pitch":
            check.fail("keys", "any or compatible where the pitch is not kept", "'shift'", "stretch='pitch'?")
        if self.mode == "crossfade" and (self.stretch == "none" or self.keep != "original"):
            slip = "a cross-fade ends where the partner does"
            check.fail("stretch and keep", "'pitch' or 'varispeed', and 'original', for a cross-fade",
                       f"{self.stretch!r} and {self.keep!r}", slip)  # fmt: skip
        if self.whole and self.mode != "crossfade":
            check.fail("whole", "left out unless mode='crossfade'", True)

    @classmethod
    def example(cls) -> "BeatMix":
        """Return an instance that the laws of the test suite run on: without grids it mixes plainly."""
        return cls(rate=16000, policy="plain", level="recorded")

    @classmethod
    def musicldm(cls, rate: int, **options: Any) -> "BeatMix":
        """Return MusicLDM's rule (Chen et al. 2023), for comparison: shifted, not stretched, so that pairs drift.

        Tempi in the same bucket of 3 bpm; both cut to a random downbeat (never the last) and to the shorter; shares
        from Beta(5, 5) as amplitudes (w, 1 - w), levels as recorded. A public descendant of its loader is the source;
        unlike there, a clip never meets itself.
        """
        published = {"bucket_bpm": 3.0, "stretch": "none", "keep": "anchor", "align": "downbeat", "min_bars": 0.0}
        return cls(5.0, rate=rate, **{**published, "level": "recorded", "gain_law": "amplitude", **options})  # type: ignore[arg-type]

    @property
    def meeting(self) -> Rule:
        """Who may meet whom."""
        return self._meeting

    @property
    def needs_beats(self) -> bool:
        """True: a grid for each clip."""
        return True

    @property
    def changes_length(self) -> bool:
        """Whether mixes may be shorter or longer than the originals."""
        return self.keep != "original" or self.mode == "crossfade"

    def check_input(self, batch: Batch) -> None:
        """Raise where there are no grids, or grids that do not belong to the clips."""
        super().check_input(batch)
        if "beats" not in batch.context and self.policy == "skip":
            slip = "BeatGrids or lists of seconds, one for each clip; audiomix.beats.track.track(path) finds them"
            check.fail("beats", "given: BeatMix(...)(x, beats=grids)", None, slip, TypeError)
        if "beats" in batch.context and batch.other is not None and "other_beats" not in batch.context:
            check.fail("other_beats", "given, as other and beats are", None, error=TypeError)
        check_sound("x", batch.x, batch.lengths)
        if batch.other is not None:
            check_sound("other", batch.other, batch.other_lengths)
        self._grids(batch)

    def draw(self, batch: Batch, *, generator: Generator = None) -> Plan:
        """Draw partners and shares; choose the beats that are laid on each other; measure levels."""
        partner, mixed = self.pair(batch, generator=generator)
        ratio = draw.beta(self.alpha(batch.progress), len(batch), generator=generator)
        grids = self._grids(batch)
        met: dict[int, Laid] = {}
        why = dict.fromkeys(range(len(batch)), "no beats were given")
        if grids is not None:
            partner, met, why = self._meet(batch, grids, partner, mixed, generator)
        why.update(dict.fromkeys((~mixed).nonzero().flatten().tolist(), LEFT_OUT))
        aligned = torch.tensor([i in met for i in range(len(batch))])
        both = aligned | mixed if self.policy == "plain" else aligned
        if batch.other is None:
            partner = torch.where(both, partner, torch.arange(len(batch)))
        ratio = torch.where(both, ratio, 1.0)
        gains = torch.stack(GAIN_LAWS[self.gain_law](ratio), 1)
        if self.mode == "crossfade":  # the curves are its gains
            ratio = torch.where(aligned, 1.0, ratio)
            gains = torch.where(aligned[:, None], 1.0, gains)
        gains[:, 1] *= self._matched(batch, partner, met, both)
        laid = [met.get(i) for i in range(len(batch))]
        return self._plan(batch, partner, ratio, gains, laid, [why.get(i, "") for i in range(len(batch))])

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
        """Warp the partners and add them at the plan's gains."""
        assert isinstance(plan, BeatPlan)
        if all(plan.why):  # nothing is aligned: a plain sum
            return sum_sounds(x, plan, other=other, lengths=lengths, other_lengths=other_lengths, out=out)
        if out is not None:
            check_out(out, x, x if other is None else other)
        given = {"other": other, "lengths": lengths, "other_lengths": other_lengths}
        own, partners = tracks(x, plan, self.rate, self.stretch, **given)
        a, b = plan.gains()
        mixed = plan.cut(blend(own, torch.arange(len(x)), a, b, other=partners), x.shape[-1])
        return mixed if out is None else out.copy_(mixed)

    def mix_target(self, target: Tensor, plan: Plan, *, other: Tensor | None = None) -> Tensor:
        """Apply a plan to labels; frame labels (B, K, N) are warped and cut as the sounds are."""
        if target.ndim != 3 or not isinstance(plan, BeatPlan) or all(plan.why):
            return super().mix_target(target, plan, other=other)
        source = check.floating("target", target) if other is None else check.floating("other_target", other)
        own, partner, share = overlay.frame_map(plan, target.shape[-1], source.shape[-1])
        theirs = source[plan.partner.to(source.device)]
        return apply_rule(_taken(target, own), _taken(theirs, partner), share[:, None], self.rule)

    def settled(self, plan: Plan) -> bool:
        """Whether all that were drawn are aligned."""
        return not isinstance(plan, BeatPlan) or all(why in ("", LEFT_OUT) for why in plan.why)

    def mixed_lengths(self, lengths: Tensor | None, plan: Plan, size: int) -> Tensor | None:
        """Return the valid lengths of the mix."""
        return plan.lengths(lengths, size) if isinstance(plan, BeatPlan) and self.changes_length else lengths

    def manifest(self, plan: Plan, index: int, context: dict[str, Any]) -> dict[str, Any]:
        """Return what a manifest says of a mix: its beats, tempo, metre and key, and whether it is aligned."""
        if not isinstance(plan, BeatPlan):
            return {}
        if "beats" not in context:
            return overlay.described(plan, index, None, None)
        theirs = context["other_beats" if "other_beats" in context else "beats"]
        own, partner = self._grid(context["beats"][index]), self._grid(theirs[int(plan.partner[index])])
        return overlay.described(plan, index, own, partner)

    def _grid(self, given: Any, name: str = "beats") -> BeatGrid | None:
        """Return the beats that are laid on each other; a grid that is only shifted needs no smoothing."""
        if given is None:
            return None
        grid = BeatGrid.of(given, name)
        return grid if self.stretch == "none" else grid.smooth()

    def _grids(self, batch: Batch) -> tuple[list[BeatGrid | None], list[BeatGrid | None]] | None:
        """Return the smoothed grids of originals and partners, checked against the clips."""
        if "beats" not in batch.context:
            return None
        own = self._checked("beats", batch.context["beats"], batch.x, batch.lengths)
        if batch.other is None:
            return own, own
        return own, self._checked("other_beats", batch.context["other_beats"], batch.other, batch.other_lengths)

    def _checked(self, name: str, grids: Any, x: Tensor, lengths: Tensor | None) -> list[BeatGrid | None]:
        if not isinstance(grids, Sequence) or len(grids) != len(x):
            got = f"{len(grids)} items" if hasattr(grids, "__len__") else type(grids).__name__
            check.fail(name, f"a list of {len(x)} grids (or None), one for each clip", got)
        ends = [x.shape[-1]] * len(x) if lengths is None else lengths.tolist()
        found: list[BeatGrid | None] = []
        for i, (given, end) in enumerate(zip(grids, ends)):
            grid = self._grid(given, f"{name}[{i}]")
            if grid is not None:
                BeatGrid.of(given).checked_within(end / self.rate, f"{name}[{i}]")  # as given: a beat may move by ms
                grid = grid.between(0.0, end / self.rate)
            found.append(grid)
        return found

    def _meet(
        self,
        batch: Batch,
        grids: tuple[list[BeatGrid | None], list[BeatGrid | None]],
        plain: Tensor,
        mixed: Tensor,
        generator: Generator,
    ) -> tuple[Tensor, dict[int, Laid], dict[int, str]]:
        """Find for each clip a partner that fits; return partners, what is laid where, and why not."""
        own, theirs = grids
        allowed = torch.from_numpy(may_meet(features(own), features(theirs), self.meeting))
        partner, met = plain.clone(), {}
        # what is said of a clip that none of the others fits: why the one it would meet plainly does not
        refused = {i: can_meet(own[i], theirs[j], self.meeting) for i, j in enumerate(plain.tolist())}
        why = {i: said if isinstance(said, str) else "no other clip to meet" for i, said in refused.items()}
        eligible = mixed if batch.eligible is None else mixed & batch.eligible
        for _ in range(_TRIES):
            drawn, found = pairing.pair(
                len(batch), self.pairing, target=batch.target, eligible=batch.eligible, allowed=allowed,
                other_size=None if batch.other is None else len(batch.other), other_target=batch.other_target,
                generator=generator,
            )  # fmt: skip
            todo = [i for i in (found & eligible).nonzero().flatten().tolist() if i not in met]
            for i in todo:
                j = int(drawn[i])
                ends = _end(batch.x, batch.lengths, i), _end(batch.source, batch.source_lengths, j)
                seconds = ends[0] / self.rate, ends[1] / self.rate
                laid = self._placing.place(own[i], theirs[j], seconds, generator)
                if isinstance(laid, str):
                    why[i] = laid
                    allowed[i, drawn[i]] = False
                else:
                    met[i], partner[i] = laid, drawn[i]
                    why.pop(i)
            if not todo:
                break
        return partner, met, why

    def _matched(self, batch: Batch, partner: Tensor, met: dict[int, Laid], both: Tensor) -> Tensor:
        """Return the factors (B,) that bring partners to the originals' loudness, measured where both sound."""
        factor = torch.ones(len(batch), dtype=torch.float64)
        if self.level == "recorded":
            return factor
        for i in both.nonzero().flatten().tolist():
            j = int(partner[i])
            own = batch.x[i][..., : _end(batch.x, batch.lengths, i)]
            theirs = batch.source[j][..., : _end(batch.source, batch.source_lengths, j)]
            factor[i] = matching(own, theirs, self.rate, met[i].alignment if i in met else None)
        return factor

    def _plan(
        self, batch: Batch, partner: Tensor, ratio: Tensor, gains: Tensor, laid: list[Laid | None], why: list[str]
    ) -> BeatPlan:
        """Bring what was drawn into fractions of the clips; the weight is the original's share of what comes out."""
        sizes = batch.x.shape[-1], batch.source.shape[-1]
        seconds = torch.tensor([[size / self.rate for size in sizes]], dtype=torch.float64).repeat(len(batch), 1)
        own, covered = overlap(batch.x, partner, batch.lengths, batch.other, batch.other_lengths)
        covered = torch.where(ratio < 1, covered, 0)  # nothing of a partner that is left out sounds
        ends = torch.stack([own, covered], 1).double() / sizes[0]
        places = overlay.places(laid, ends, seconds, keep=self.keep, whole=self.whole)
        weight = self._weight(places, ratio, ends[:, 0])
        return BeatPlan(
            partner, weight, gain_db=20 * torch.log10(gains), ratio=ratio, why=tuple(why), seconds=seconds, **places
        )

    def _weight(self, places: dict[str, Any], ratio: Tensor, ends: Tensor) -> Tensor:
        return overlay.weight(places, ratio, ends)


def _end(x: Tensor, lengths: Tensor | None, i: int) -> int:
    return x.shape[-1] if lengths is None else int(lengths[i])


def _taken(stream: Tensor, index: Tensor) -> Tensor:
    """Return the frames `index` (B, N) of a stream (B, K, M); zeros where the index is -1."""
    index = index[:, None].to(stream.device)
    return stream.gather(-1, index.clamp(min=0).expand(-1, stream.shape[1], -1)) * (index >= 0).to(stream)
