"""Which mixer mixes, and when: `OneOf` and `mix_repeat`. The share that is mixed, `p`, is an option of every mixer.

What is known as a policy is one of these with a schedule of progress (`audiomix.schedule`):

=========================  =========================================================================================
policy                     how it is written
=========================  =========================================================================================
early stop                 ``p="stop_after:0.75"``: mixed clips for three quarters of the training, then none (Zou et
                           al., "The Benefits of Mixup for Feature Learning", ICML 2023; when to stop is our choice)
progressive share          ``p="tanh_rise:0.01:1:0.2"`` (MADAug), ``p="linear:0:1"``: more and more clips are mixed
alternation                ``p="alternate:1:0:100"``: every other of 100 epochs. Two mixers in turn: ``OneOf([a, b],
                           ["alternate:1:0:100", "alternate:0:1:100"])`` (as FMix does, by steps)
phase switch               ``OneOf([a, b], ["steps:1:0@0.33", "steps:0:1@0.33"])``: a for the first third, then b (as
                           M3CoL does)
switch                     ``OneOf([MixUp(0.8), CutMix(alpha=1)], [0.5, 0.5])``: timm's ``switch_prob=0.5``
several mixes of a batch   `mix_repeat`: OpenMixup's ``mix_repeat``
=========================  =========================================================================================

None of them has a state: with the same `progress` and generator a resumed training goes on as it would have.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from . import check, draw
from .audio.blend import LARGE_ROW
from .clips import Clips, check_clips, fit_length
from .draw import Generator
from .graphs import by_row
from .mixed import Mixed
from .mixer import SPECTROGRAM, Example, Mixer, Needs
from .mixers.av import AVMix
from .mixers.mixup import MixUp
from .mixers.stream import StreamMix
from .partners import source_of
from .plan import Part, Plan
from .schedule import Schedule
from .targets import labels

__all__ = ["OneOf", "OneOfPlan", "mix_repeat"]


@dataclass(frozen=True, eq=False)
class OneOfPlan(Plan):
    """A plan that says which mixer each clip went through.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    choice : Tensor, shape (B,), int64
        Index of the mixer; -1 where none was chosen.
    plans : tuple of Plan or None
        The plan of each mixer; None for those that nobody chose.

    Examples
    --------
    >>> from audiomix import CutMix
    >>> plan = OneOf([MixUp(), CutMix()], per="clip")(torch.randn(4, 1, 100)).plans[0]
    >>> plan.choice.shape, len(plan.plans)
    (torch.Size([4]), 2)
    """

    choice: Tensor
    plans: tuple[Plan | None, ...] = ()

    _still: ClassVar = {"choice": -1}

    def plan_of(self, index: int) -> Plan | None:
        """Return the plan of the mixer that was chosen for a clip, or None."""
        which = int(self.choice[index])
        return self.plans[which] if which >= 0 else None

    def _plan(self, index: int) -> Plan:
        """Return the plan of the mixer that was chosen for a clip, or one that mixes nothing."""
        return self.plan_of(index) or Plan.identity(len(self))

    def _plans_in_use(self) -> dict[int, Plan]:
        """Return the plans of the mixers that were chosen for any clip."""
        return {k: plan for k, plan in enumerate(self.plans) if plan is not None}

    def _rows(self, values: Callable[[Plan], Tensor]) -> Tensor:
        """Return for each clip the row that its own plan has among `values` (B, ...)."""
        found = values(Plan.identity(len(self)))
        for k, plan in self._plans_in_use().items():
            own = values(plan)
            found = torch.where(_as_rows(self.choice == k, own), own, found)
        return found

    @property
    def share_of(self) -> str | None:  # type: ignore[override]
        """What the weights are shares of, where that is the same for all clips that are mixed; else None."""
        found = {plan.share_of for plan in self._plans_in_use().values()}
        return found.pop() if len(found) == 1 else None

    @property
    def axis_seconds(self) -> float | None:
        """How long the sound's time axis is, where any of the mixers knows."""
        return next((s for plan in self._plans_in_use().values() if (s := plan.axis_seconds) is not None), None)

    @property
    def mixed(self) -> Tensor:
        """Whether each clip is mixed by its mixer; (B,), bool."""
        return self._rows(lambda plan: plan.mixed)

    @property
    def complete(self) -> Tensor:
        """Whether each clip was mixed as its mixer was asked to; (B,), bool."""
        return self._rows(lambda plan: plan.complete)

    @property
    def agreement(self) -> Tensor:
        """How far sound and picture come from the same clips, 0 to 1; (B,), float64."""
        return self._rows(lambda plan: plan.agreement)

    def parts(self, index: int) -> list[Part]:
        """Return the parts of the chosen mixer's plan."""
        return self._plan(index).parts(index)

    def sources(self, index: int) -> list[int]:
        """Return the rows of the partners' batch that the chosen mixer's plan names."""
        return self._plan(index).sources(index)

    def window(self, index: int) -> tuple[float, float]:
        """Return what of the original's time axis comes out."""
        return self._plan(index).window(index)

    def describe(self, index: int) -> dict[str, Any]:
        """Return what the chosen mixer's plan says of a mix."""
        return self._plan(index).describe(index)

    def order(self, index: int) -> str:
        """Return who is heard first where one follows the other: ``own``, ``partner``, or an empty text."""
        return self._plan(index).order(index)

    def picture_box(self, index: int) -> Tensor | None:
        """Return the edges of what the partner covers of the picture; None for all of it."""
        return self._plan(index).picture_box(index)

    def mixed_lengths(self, lengths: Tensor | None, size: int) -> Tensor | None:
        """Return the valid lengths of the mixes, each as its mixer has them."""
        if all(plan.mixed_lengths(lengths, size) is lengths for plan in self._plans_in_use().values()):
            return lengths
        whole = torch.full((len(self),), size) if lengths is None else lengths
        return self._rows(lambda plan: whole if (ends := plan.mixed_lengths(lengths, size)) is None else ends)

    def roll_stream(self, stream: Tensor) -> Tensor:
        """Return what a stream (B, ..., N) of the clips adds as their partner: rolled where its mixer rolled it."""
        if all(plan.roll is None for plan in self._plans_in_use().values()):
            return stream
        found = stream
        for k, plan in self._plans_in_use().items():
            found = torch.where(_as_rows(self.choice == k, stream), plan.roll_stream(stream), found)
        return found

    def move_frames(self, stream: Tensor) -> Tensor:
        """Return another stream of the originals, each moved as its mixer moves the sound."""
        return self._rows(lambda plan: plan.move_frames(stream))

    def place_frames(self, stream: Tensor, size: int) -> Tensor:
        """Return another stream of the partners, each as it lies in its mixer's mix."""
        return self._rows(lambda plan: fit_length(plan.place_frames(stream, size), size))

    def share(self, size: int) -> Tensor:
        """The original's share at each of `size` frames; (B, size), float64."""
        return self._rows(lambda plan: plan.share(size)).expand(len(self), size)

    def label_shares(self, size: int | None = None) -> tuple[Tensor, Tensor]:
        """Return the partners and the shares of all sources as the chosen mixers' plans have them; see `Plan`."""
        most = max((plan.label_shares()[0].shape[1] for plan in self._plans_in_use().values()), default=1)

        def pad_sources(plan: Plan, which: int) -> Tensor:
            found = plan.label_shares(size)[which]
            rows = found.new_full((len(self), most + which, *found.shape[2:]), 0 if which else -1)
            rows[:, : found.shape[1]] = found
            return rows.expand(*rows.shape[:2], size) if which and size is not None else rows

        return self._rows(lambda plan: pad_sources(plan, 0)), self._rows(lambda plan: pad_sources(plan, 1))

    def partner_rows(self) -> Tensor:
        """Return the rows of the partners' batch that any mixer's plan needs; (R,), int64."""
        used = [plan.rows((self.choice == k).nonzero()[:, 0]) for k, plan in self._plans_in_use().items()]
        return torch.cat([super().partner_rows(), *(plan.partner_rows() for plan in used)])

    def picture_share(self, at: Tensor, *, timed_ends: bool = False) -> Tensor:
        """Return the original's share of pictures at places `at` (B, N) of the time axis; (B, N), float64."""
        return self._rows(lambda plan: plan.picture_share(at, timed_ends=timed_ends))

    def stream_weight(self, stream: str) -> Tensor:
        """Return the original's share of the ``sound`` or of the ``picture`` over the clip; (B,), float64."""
        return self._rows(lambda plan: plan.stream_weight(stream))

    def gains(self) -> tuple[Tensor, Tensor]:
        """Amplitude of the original and of the partner; two tensors (B,), float64."""
        return self._rows(lambda plan: plan.gains()[0]), self._rows(lambda plan: plan.gains()[1])


class OneOf(Mixer):
    """Choose one of several mixers, for the whole batch or clip by clip.

    Source: ours; the choice for the batch is that of timm.
    Label: that of the chosen mixer.

    Parameters
    ----------
    mixers : sequence of Mixer or None
        None stands for "leave it as it is". Each keeps its own `p`, pairing and label rule.
    probabilities : sequence of float or schedule, optional
        One a mixer; normalised. Equal by default. Schedules say when each mixes: while those of all are 0, none does.
    per : str
        ``batch``: one choice for the whole batch; ``clip``: one for each clip.
    num_classes, p, time_axis
        See `audiomix.Mixer`.

    See Also
    --------
    audiomix.Pipeline : one after the other.
    audiomix.mix_repeat : one batch several times.

    Examples
    --------
    >>> from audiomix import CutMix, MixUp
    >>> mixer = OneOf([MixUp(0.4), CutMix("time"), None], [0.5, 0.3, 0.2], per="clip", num_classes=8)
    >>> mixer(torch.randn(8, 1, 100), torch.arange(8)).target.sum(1)
    tensor([1., 1., 1., 1., 1., 1., 1., 1.])
    >>> first_mixup = OneOf([MixUp(0.4), CutMix("time")], ["steps:1:0@0.5", "steps:0:1@0.5"])
    >>> [int(first_mixup(torch.randn(2, 1, 100), progress=t).plans[0].choice[0]) for t in (0, 0.4, 0.5, 0.9)]
    [0, 0, 1, 1]
    """

    def __init__(
        self,
        mixers: Sequence[Mixer | None],
        probabilities: Sequence[float | str | Schedule] | None = None,
        *,
        per: Literal["batch", "clip"] = "batch",
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        time_axis: int | None = None,
    ) -> None:
        if not mixers:
            check.fail("mixers", "at least one mixer", "none")
        for mixer in mixers:
            if mixer is not None:
                check.one_of_types("mixers", mixer, Mixer, "mixers or None")
        known = {m.num_classes for m in mixers if m is not None and m.num_classes is not None}
        named = [time_axis, *(m.time_axis for m in mixers if m is not None and SPECTROGRAM in m.needs.domain)]
        axes = {axis for axis in named if axis is not None}
        if len(axes) > 1:
            check.fail("time_axis", "the same for all mixers", ", ".join(map(str, sorted(axes))))
        super().__init__(
            num_classes=known.pop() if num_classes is None and len(known) == 1 else num_classes,
            p=p,
            time_axis=next(iter(axes), None),
        )
        chances: list[Any] = [1.0] * len(mixers) if probabilities is None else list(probabilities)
        if len(chances) != len(mixers):
            check.fail("probabilities", f"{len(mixers)} numbers, one a mixer", f"{len(chances)}")
        self.mixers = nn.ModuleList(m if m is not None else nn.Identity() for m in mixers)
        self.probabilities = [_chance(chance) for chance in chances]
        if not any(max(c.values) if isinstance(c, Schedule) else c for c in self.probabilities):
            check.fail("probabilities", "of a sum above 0", self.probabilities)
        self.per = check.choice("per", per, ["batch", "clip"])
        _ = self.needs  # members that cannot stand side by side are refused now

    @classmethod
    def examples(cls) -> list[Example]:
        """Return a choice for the batch and one for each clip."""
        both = [MixUp(0.4), MixUp(1.0, gain_law="unit_power")]
        streams = cls([StreamMix(0.3), StreamMix(0.5, mode="replace"), None], per="clip")
        films = cls([AVMix(mode="box"), AVMix(mode="swap")], per="clip")
        made = [cls(both, per="clip"), cls([*both, None], per="batch"), films]
        return [*map(Example, made), Example(streams, shape=(40, 12), partners="second")]

    plan_type = OneOfPlan

    mixers: nn.ModuleList

    @property
    def members(self) -> list[Mixer]:
        """The mixers, without those that leave clips as they are."""
        return [m for m in self.mixers if isinstance(m, Mixer)]

    @property
    def needs(self) -> Needs:
        """What any of the mixers needs: no call may fail by chance."""
        members = self.members
        needs = members[0].needs if members else Needs()
        for mixer in members[1:]:
            needs |= mixer.needs
        return needs

    @property
    def pairings(self) -> frozenset[str]:
        """By which rules the mixers choose partners."""
        return frozenset().union(*(m.pairings for m in self.members)) or super().pairings

    @property
    def keeps_target(self) -> bool:
        """Whether all its mixers are transforms that keep any target, and it has no number of classes."""
        return self.num_classes is None and all(m.keeps_target for m in self.members)

    @property
    def rates(self) -> frozenset[int]:
        """The sampling rates that the mixers are for."""
        return frozenset().union(*(m.rates for m in self.members))

    def schedules(self, own: Clips) -> dict[str, Schedule]:
        """Return its own schedules and those of its mixers."""
        found = super().schedules(own)
        given = enumerate(self.probabilities)
        found |= {f"probabilities[{k}]": chance for k, chance in given if isinstance(chance, Schedule)}
        for mixer in self.members:  # of one name, those that change
            found |= {k: s for k, s in mixer.schedules(own).items() if k not in found or not s.is_constant}
        return found

    def _each(self, change: Callable[[Mixer], Mixer]) -> "OneOf":
        return self.replace(mixers=[change(m) if isinstance(m, Mixer) else None for m in self.mixers])

    def at_rate(self, rate: int) -> "OneOf":
        """Return the same choice among mixers for sounds of `rate` Hz."""
        return self._each(lambda mixer: mixer.at_rate(rate))

    def at_picture_size(self, size: tuple[int, int]) -> "OneOf":
        """Return the same choice among mixers for pictures of (height, width) pixels."""
        return self._each(lambda mixer: mixer.at_picture_size(size))

    def at_normalisation(self, mean: float, std: float) -> "OneOf":
        """Return the same choice among mixers for log spectrograms normalised as ``(dB - mean) / std``."""
        return self._each(lambda mixer: mixer.at_normalisation(mean, std))

    def take_clips(
        self, x: Tensor, target: Tensor | None, *, notes: dict[str, Any], **sides: Any
    ) -> tuple[Clips, Clips]:
        """Return the originals and where partners come from, as the first mixer takes them: all work on the same."""
        take = self.members[0].take_clips if self.members else super().take_clips
        own, source = take(x, target, notes=notes, **sides)
        if own.target is None and self.num_classes is not None:  # mixers that have no classes of their own look at none
            own = replace(own, target=check_clips(x, target)[0].target)
        return own, source

    def keep_target(self, target: Any) -> Any:
        """Return the target of clips that are not mixed: with `num_classes` float (B, K), else as the mixers do."""
        if self.num_classes is None and self.members:
            return self.members[0].keep_target(target)
        return super().keep_target(target)

    def unmixed(self, own: Clips, source: Clips) -> Tensor:
        """Return `x` as the mixers leave it; as it is where there is a choice of none."""
        return self.members[0].unmixed(own, source) if len(self.members) == len(self.mixers) else own.x

    def check_input(self, own: Clips, source: Clips) -> None:
        """Raise where any of the mixers cannot work on the clips."""
        for mixer in self.members:
            mixer.check_input(own, source)

    def check_plan(self, plan: Plan) -> None:
        """Raise where a plan was not made by mixers like these."""
        super().check_plan(plan)
        if isinstance(plan, OneOfPlan):
            if plan.plans and len(plan.plans) != len(self.mixers):
                check.fail("plan", f"one of {len(self.mixers)} mixers", f"one of {len(plan.plans)}")
            for mixer, own, _ in self._chosen(plan):
                mixer.check_plan(own)

    def _chosen(self, plan: Plan) -> list[tuple[Mixer, Plan, Tensor]]:
        """Return the mixers that were chosen for any clip, their plans, and for which clips, (B,)."""
        assert isinstance(plan, OneOfPlan)  # check_plan saw to it
        pairs = enumerate(zip(self.mixers, plan.plans))
        return [(m, p, plan.choice == k) for k, (m, p) in pairs if p is not None and isinstance(m, Mixer)]

    def chances(self, progress: float | None = None) -> list[float]:
        """Return how likely each mixer is chosen, in any unit.

        Parameters
        ----------
        progress : float, optional
            Fraction of the training in [0, 1], for schedules.
        """
        return [chance(progress) if isinstance(chance, Schedule) else chance for chance in self.probabilities]

    def draw(
        self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None
    ) -> OneOfPlan:
        """Draw which mixer each clip goes through, then a plan from each mixer that was chosen."""
        size = len(own)
        chances = torch.tensor(self.chances(progress), dtype=torch.float64)
        if bool(chances.any()):
            choice = draw.categorical(chances, 1 if self.per == "batch" else size, generator=generator).expand(size)
        else:
            choice = torch.full((size,), -1)
        applied = draw.bernoulli(self.p(progress), size, generator=generator)
        choice = torch.where(applied, choice, -1)
        plans: list[Plan | None] = []
        partner, weight = torch.arange(size), torch.ones(size, dtype=torch.float64)
        if source is not own:
            partner = torch.zeros_like(partner)
        why = [""] * size
        for k, mixer in enumerate(self.mixers):
            chosen = choice == k
            if not isinstance(mixer, Mixer) or not bool(chosen.any()):
                plans.append(None)
                continue
            plan, _ = mixer.draw_plan(own, source, progress=progress, generator=generator)
            plans.append(plan)
            partner = torch.where(chosen, plan.partner, partner)
            weight = torch.where(chosen, plan.weight, weight)
            why = [plan.why[i] if plan.why and chosen[i] else text for i, text in enumerate(why)]
        return OneOfPlan(partner, weight, choice=choice, plans=tuple(plans), why=tuple(why) if any(why) else ())

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply to each clip the plan of its mixer: every mixer works on its own rows alone."""
        assert isinstance(plan, OneOfPlan)  # check_plan saw to it
        used = self._chosen(plan)
        if len(used) == 1 and not torch.compiler.is_compiling() and bool(used[0][2].all()):
            mixer, one, _ = used[0]
            return mixer.render_into(own, source_of(own, source, one), one, out)
        if torch.compiler.is_compiling():  # which rows are chosen is not known while a graph is traced
            return _select(own, source, used, self.unmixed(own, source), out)
        whole = by_row(own.x, source.x)
        if whole and self.needs.length == "kept" and own.x.numel() * own.x.element_size() >= LARGE_ROW * len(own):
            return self._mix_each(own, source, plan, torch.empty_like(own.x) if out is None else out)
        rows = [(plan.choice == k).nonzero()[:, 0] for k, one in enumerate(plan.plans) if one is not None]
        pieces = [  # a choice within a choice may have rows for none of its mixers
            mixer.render_into(*mixer.take_rows(own, source, one, index))
            for (mixer, one, _), index in zip(used, rows)
            if len(index)
        ]
        rows = [index for index in rows if len(index)]
        rest = torch.stack([chosen for _, _, chosen in used]).any(0).logical_not().nonzero()[:, 0] if used else None
        if rest is None or len(rest):
            unmixed = self.unmixed(own, source)
            rest = torch.arange(len(own)) if rest is None else rest
            rows.append(rest)
            pieces.append(unmixed.index_select(0, rest.to(unmixed.device)))
        return _write_rows(own.x, pieces, rows, out, whole)

    def _mix_each(self, own: Clips, source: Clips, plan: OneOfPlan, mixed: Tensor) -> Tensor:
        """Mix large clips one after the other, each into its place: nothing is gathered."""
        unmixed = self.unmixed(own, source)
        for i, k in enumerate(plan.choice.tolist()):
            mixer, one = (self.mixers[k], plan.plans[k]) if k >= 0 else (None, None)
            if isinstance(mixer, Mixer) and one is not None:
                mixer.render_into(*mixer.take_rows(own, source, one, slice(i, i + 1)), mixed[i : i + 1])
            else:
                mixed[i] = unmixed[i]
        return mixed

    def mix_target(self, target: Tensor, plan: Plan, *, other: Tensor | None = None) -> Tensor:
        """Apply to each label the plan and the rule of its clip's mixer."""
        if self.keeps_target or not self.needs.target:
            target = self.keep_target(target)
        elif target.ndim != 3:
            target = labels.to_float("target", target, self.num_classes)
            other = None if other is None else labels.to_float("other_target", other, self.num_classes)
        mixed = target
        for mixer, one, chosen in self._chosen(plan):
            own = mixer.mix_target(target, one, other=other)
            mixed = mixed if own is target else torch.where(_as_rows(chosen, target), own, mixed)
        return mixed


def mix_repeat(
    mixer: Callable[..., Mixed],
    x: Tensor,
    target: Tensor | None = None,
    *,
    times: int,
    generator: Generator = None,
    progress: float | None = None,
    **given: Any,
) -> list[Mixed]:
    """Mix one batch several times, each time anew: more mixes of the same clips in one step.

    Of a choice for the whole batch (``OneOf(per="batch")``) no mixer is used twice before each was used once. The loss
    is the mean over the mixes.

    Source: Li et al., "OpenMixup: Open Mixup Toolbox and Benchmark for Visual Representation Learning", 2022.
    Label: that of each mix.

    Parameters
    ----------
    mixer : Mixer or Pipeline
        What mixes.
    x, target
        As in a call of the mixer.
    times : int
        How many mixes there are to be.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one. The mixes are drawn with it one after the other.
    progress : float, optional
        Fraction of the training in [0, 1], for schedules.
    **given
        The other arguments of a call: lengths, a second batch, notes. A plan cannot be given, nor ``out=``.

    Returns
    -------
    list of Mixed
        As many as `times` says.

    See Also
    --------
    audiomix.OneOf : one of several mixers, once.

    Examples
    --------
    >>> from audiomix import CutMix, MixUp
    >>> mixer = OneOf([MixUp(0.4), CutMix("time")], num_classes=4)
    >>> mixes = mix_repeat(mixer, torch.randn(4, 1, 100), torch.arange(4), times=2)
    >>> sorted(int(mixed.plans[0].choice[0]) for mixed in mixes)
    [0, 1]
    >>> score = lambda x: x[:, 0, :4]  # stands for a network
    >>> loss = sum(torch.nn.functional.cross_entropy(score(mixed.x), mixed.target) for mixed in mixes) / len(mixes)
    """
    check.integer("times", times, 1)
    for name in given.keys() & {"out", "plan", "plans"}:
        check.fail(name, "left out where a batch is mixed several times", "given", "call the mixer itself")
    mixes: list[Mixed] = []
    used: set[int] = set()
    for _ in range(times):
        one = mixer
        if isinstance(mixer, OneOf) and mixer.per == "batch" and used:
            chances = [0.0 if k in used else chance for k, chance in enumerate(mixer.chances(progress))]
            if any(chances):
                one = mixer.replace(probabilities=chances)
                one.training = mixer.training
            else:
                used = set()
        mixes.append(one(x, target, generator=generator, progress=progress, **given))
        plan = mixes[-1].plans[0] if mixes[-1].plans else None
        if isinstance(plan, OneOfPlan):
            used.add(int(plan.choice.max()))  # -1 where none was chosen
    return mixes


def _chance(value: Any) -> float | Schedule:
    """Return a probability, in any unit, that stays or that changes."""
    if isinstance(value, (str, Schedule)):
        found = Schedule.of(value, "probabilities").within("probabilities", 0)
        return found.numbers[0] if found.kind == "constant" else found
    return check.number("probabilities", value, 0)


def _select(
    own: Clips, source: Clips, used: list[tuple[Mixer, Plan, Tensor]], mixed: Tensor, out: Tensor | None
) -> Tensor:
    """Mix all clips by every mixer, and choose."""
    for mixer, one, chosen in used:
        rendered = mixer.render_into(own, source_of(own, source, one), one)
        size = max(rendered.shape[-1], mixed.shape[-1])  # a mix may be longer than its original
        mixed = torch.where(_as_rows(chosen, mixed), fit_length(rendered, size), fit_length(mixed, size))
    return mixed if out is None else out.copy_(mixed)


def _write_rows(x: Tensor, pieces: list[Tensor], rows: list[Tensor], out: Tensor | None, whole: bool) -> Tensor:
    """Return the batch whose rows (each once) are in the pieces; the longest of them says how long it is."""
    size = max(piece.shape[-1] for piece in pieces)
    pieces = [fit_length(piece, size) for piece in pieces]
    if whole:
        mixed = x.new_empty(*x.shape[:-1], size) if out is None else out
        for piece, index in zip(pieces, rows):
            mixed.index_copy_(0, index, piece)
        return mixed
    mixed = torch.cat(pieces)[torch.cat(rows).argsort().to(x.device)]
    return mixed if out is None else out.copy_(mixed)


def _as_rows(chosen: Tensor, x: Tensor) -> Tensor:
    """Return (B,) shaped and placed so that it chooses rows of `x` (B, ...)."""
    return chosen.to(x.device).view(-1, *[1] * (x.ndim - 1))
