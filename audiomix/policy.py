"""Which mixer mixes: `OneOf`. The share mixed (`p`), when to stop and who is eligible are arguments of every mixer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from . import check, draw
from .clips import Clips, fit_length
from .draw import Generator
from .mixer import Example, Mixer, Needs
from .mixers.mixup import MixUp
from .plan import ORIGINAL, Part, Plan
from .schedule import Schedule
from .targets import labels

__all__ = ["OneOf", "OneOfPlan"]


@dataclass(frozen=True, eq=False)
class OneOfPlan(Plan):
    """A plan that says which mixer each clip went through.

    Parameters
    ----------
    choice : Tensor, shape (B,), int64
        Index of the mixer; -1 where none was chosen.
    plans : tuple of Plan or None
        The plan of each mixer; None for those that nobody chose.
    """

    choice: Tensor
    plans: tuple[Plan | None, ...]

    @classmethod
    def identity(cls, size: int) -> "OneOfPlan":
        """Return the plan in which no mixer was chosen for any of `size` clips."""
        one = torch.ones(size, dtype=torch.float64)
        return cls(torch.arange(size), one, choice=torch.full((size,), -1), plans=())

    def plan_of(self, index: int) -> Plan | None:
        """Return the plan of the mixer that was chosen for a clip, or None."""
        which = int(self.choice[index])
        return self.plans[which] if which >= 0 else None

    @property
    def share_of(self) -> str | None:  # type: ignore[override]
        """What the weights are shares of, where that is the same for all clips that are mixed; else None."""
        found = {
            plan.share_of for k, plan in enumerate(self.plans) if plan is not None and bool((self.choice == k).any())
        }
        return found.pop() if len(found) == 1 else None

    @property
    def mixed(self) -> Tensor:
        """Whether each clip is mixed by its mixer; (B,), bool."""
        mixed = torch.zeros(len(self), dtype=torch.bool)
        for k, plan in enumerate(self.plans):
            if plan is not None:
                mixed = torch.where(self.choice == k, plan.mixed, mixed)
        return mixed

    @property
    def complete(self) -> Tensor:
        """Whether each clip was mixed as its mixer was asked to; (B,), bool."""
        complete = torch.ones(len(self), dtype=torch.bool)
        for k, plan in enumerate(self.plans):
            if plan is not None:
                complete = torch.where(self.choice == k, plan.complete, complete)
        return complete

    def parts(self, index: int) -> list[Part]:
        """Return the parts of the chosen mixer's plan."""
        plan = self.plan_of(index)
        return [Part(ORIGINAL)] if plan is None else plan.parts(index)

    def sources(self, index: int) -> list[int]:
        """Return the rows of the partners' batch that the chosen mixer's plan names."""
        plan = self.plan_of(index)
        return [] if plan is None else plan.sources(index)

    def window(self, index: int) -> tuple[float, float]:
        """Return what of the original's time axis comes out."""
        plan = self.plan_of(index)
        return (0.0, 1.0) if plan is None else plan.window(index)

    def describe(self, index: int) -> dict[str, Any]:
        """Return what the chosen mixer's plan says of a mix."""
        plan = self.plan_of(index)
        return {} if plan is None else plan.describe(index)

    def mixed_lengths(self, lengths: Tensor | None, size: int) -> Tensor | None:
        """Return the valid lengths of the mixes, each as its mixer has them."""
        found = lengths
        for k, plan in enumerate(self.plans):
            ends = None if plan is None else plan.mixed_lengths(lengths, size)
            if ends is not None and ends is not lengths:
                found = torch.full((len(self),), size) if found is None else found
                found = torch.where(self.choice == k, ends, found)
        return found

    def share(self, size: int) -> Tensor:
        """The original's share at each of `size` frames; (B, size), float64."""
        share = torch.ones(len(self), size, dtype=torch.float64)
        for k, plan in enumerate(self.plans):
            if plan is not None:
                share = torch.where((self.choice == k)[:, None], plan.share(size), share)
        return share

    def gains(self) -> tuple[Tensor, Tensor]:
        """Amplitude of the original and of the partner; two tensors (B,), float64."""
        a, b = torch.ones_like(self.weight), torch.zeros_like(self.weight)
        for k, plan in enumerate(self.plans):
            if plan is not None:
                own, theirs = plan.gains()
                a, b = torch.where(self.choice == k, own, a), torch.where(self.choice == k, theirs, b)
        return a, b


class OneOf(Mixer):
    """Choose one of several mixers, for the whole batch or clip by clip.

    Parameters
    ----------
    mixers : sequence of Mixer or None
        None stands for "leave it as it is". Each keeps its own `p`, pairing and label rule.
    probabilities : sequence of float, optional
        One a mixer; normalised. Equal by default.
    per : str
        ``batch`` or ``clip``.
    num_classes, p
        See `audiomix.Mixer`.

    Examples
    --------
    >>> from audiomix import CutMix, MixUp
    >>> mixer = OneOf([MixUp(0.4), CutMix("time"), None], [0.5, 0.3, 0.2], per="clip", num_classes=8)
    >>> mixer(torch.randn(8, 1, 100), torch.arange(8)).target.sum(1)
    tensor([1., 1., 1., 1., 1., 1., 1., 1.])
    """

    def __init__(
        self,
        mixers: Sequence[Mixer | None],
        probabilities: Sequence[float] | None = None,
        *,
        per: Literal["batch", "clip"] = "batch",
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
    ) -> None:
        if not mixers:
            check.fail("mixers", "at least one mixer", "none")
        for mixer in mixers:
            if mixer is not None:
                check.one_of_types("mixers", mixer, Mixer, "mixers or None")
        known = {m.num_classes for m in mixers if m is not None and m.num_classes is not None}
        super().__init__(num_classes=known.pop() if num_classes is None and len(known) == 1 else num_classes, p=p)
        chances = [1.0] * len(mixers) if probabilities is None else list(probabilities)
        if len(chances) != len(mixers):
            check.fail("probabilities", f"{len(mixers)} numbers, one a mixer", f"{len(chances)}")
        self.mixers = nn.ModuleList(m if m is not None else nn.Identity() for m in mixers)
        self.probabilities = [check.number("probabilities", c, 0) for c in chances]
        if sum(self.probabilities) == 0:
            check.fail("probabilities", "of a sum above 0", self.probabilities)
        self.per = check.choice("per", per, ["batch", "clip"])
        _ = self.needs  # members that cannot stand side by side are refused now

    @classmethod
    def examples(cls) -> list[Example]:
        """Return a choice for the batch and one for each clip."""
        both = [MixUp(0.4), MixUp(1.0, gain_law="unit_power")]
        return [Example(cls(both, per="clip")), Example(cls([*both, None], per="batch"))]

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

    def schedules(self, own: Clips) -> dict[str, Schedule]:
        """Return its own schedules and those of its mixers."""
        found = super().schedules(own)
        for mixer in self.members:  # of one name, those that change
            found |= {k: s for k, s in mixer.schedules(own).items() if k not in found or not s.is_constant}
        return found

    def at_rate(self, rate: int) -> "OneOf":
        """Return the same choice among mixers for sounds of `rate` Hz."""
        return self.replace(mixers=[m.at_rate(rate) if isinstance(m, Mixer) else None for m in self.mixers])

    def at_picture_size(self, size: tuple[int, int]) -> "OneOf":
        """Return the same choice among mixers for pictures of (height, width) pixels."""
        return self.replace(mixers=[m.at_picture_size(size) if isinstance(m, Mixer) else None for m in self.mixers])

    def at_normalisation(self, mean: float, std: float) -> "OneOf":
        """Return the same choice among mixers for log spectrograms normalised as ``(dB - mean) / std``."""
        made = [m.at_normalisation(mean, std) if isinstance(m, Mixer) else None for m in self.mixers]
        return self.replace(mixers=made)

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
            for mixer, own in zip(self.mixers, plan.plans):
                if own is not None and isinstance(mixer, Mixer):
                    mixer.check_plan(own)

    def draw(
        self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None
    ) -> OneOfPlan:
        """Draw which mixer each clip goes through, then a plan from each mixer that was chosen."""
        size = len(own)
        chances = torch.tensor(self.probabilities, dtype=torch.float64)
        choice = draw.categorical(chances, 1 if self.per == "batch" else size, generator=generator).expand(size)
        applied = draw.bernoulli(self.p(progress), size, generator=generator)
        choice = torch.where(applied, choice, -1)
        plans: list[Plan | None] = []
        partner, weight = torch.arange(size), torch.ones(size, dtype=torch.float64)
        if source is not own:
            partner = torch.zeros_like(partner)
        why = [""] * size
        for k, mixer in enumerate(self.mixers):
            chosen = choice == k
            plan: Plan | None = None
            if isinstance(mixer, Mixer) and bool(chosen.any()):
                plan = mixer.draw(own, source, progress=progress, generator=generator)
            plans.append(plan)
            if plan is not None:
                partner = torch.where(chosen, plan.partner, partner)
                weight = torch.where(chosen, plan.weight, weight)
                why = [plan.why[i] if plan.why and chosen[i] else text for i, text in enumerate(why)]
        return OneOfPlan(partner, weight, choice=choice, plans=tuple(plans), why=tuple(why) if any(why) else ())

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply to each clip the plan of its mixer."""
        assert isinstance(plan, OneOfPlan)  # check_plan saw to it
        used = [
            (m, p, k) for k, (m, p) in enumerate(zip(self.mixers, plan.plans)) if p is not None and isinstance(m, Mixer)
        ]
        if len(used) == 1 and not torch.compiler.is_compiling() and bool((plan.choice == used[0][2]).all()):
            return used[0][0].render_into(own, source, used[0][1], out)
        mixed = own.x.clone()
        for mixer, one, k in used:
            rendered = mixer.render_into(own, source, one)
            if rendered.shape[-1] != mixed.shape[-1]:  # a mix that is longer than its original
                size = max(rendered.shape[-1], mixed.shape[-1])
                mixed, rendered = fit_length(mixed, size), fit_length(rendered, size)
            chosen = (plan.choice == k).to(mixed.device).view(-1, *[1] * (mixed.ndim - 1))
            mixed = torch.where(chosen, rendered, mixed)
        return mixed if out is None else out.copy_(mixed)

    def mix_target(self, target: Tensor, plan: Plan, *, other: Tensor | None = None) -> Tensor:
        """Apply to each label the plan and the rule of its clip's mixer."""
        assert isinstance(plan, OneOfPlan)
        if target.ndim != 3:
            target = labels.to_float("target", target, self.num_classes)
            other = None if other is None else labels.to_float("other_target", other, self.num_classes)
        mixed = target
        for k, (mixer, own) in enumerate(zip(self.mixers, plan.plans)):
            if own is not None and isinstance(mixer, Mixer):
                chosen = (plan.choice == k).to(target.device).view(-1, *[1] * (target.ndim - 1))
                mixed = torch.where(chosen, mixer.mix_target(target, own, other=other), mixed)
        return mixed
