"""Which mixer mixes: `OneOf`. The share mixed (`p`), when to stop and who is eligible are arguments of every mixer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from . import check, draw
from .draw import Generator
from .mixer import Batch, Mixer, identity_plan
from .plan import Plan
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
                if mixer.changes_length:
                    check.fail("mixers", "mixers that keep the length", type(mixer).__name__, "keep='original'?")
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

    @classmethod
    def example(cls) -> "OneOf":
        """Return an instance that the laws of the test suite run on."""
        from .mixers.mixup import MixUp

        return cls([MixUp(0.4), MixUp(1.0)], per="clip")

    plan_type = OneOfPlan

    mixers: nn.ModuleList

    @property
    def members(self) -> list[Mixer]:
        """The mixers, without those that leave clips as they are."""
        return [m for m in self.mixers if isinstance(m, Mixer)]

    @property
    def needs_other_target(self) -> bool:
        """Whether any of the mixers needs it: no call may fail by chance."""
        return any(mixer.needs_other_target for mixer in self.members)

    @property
    def needs_beats(self) -> bool:
        """Whether any of the mixers does."""
        return any(mixer.needs_beats for mixer in self.members)

    def manifest(self, plan: Plan, index: int, context: dict[str, Any]) -> dict[str, Any]:
        """Return what the mixer of this clip says of it."""
        which = int(plan.choice[index]) if isinstance(plan, OneOfPlan) else -1
        own = plan.plans[which] if isinstance(plan, OneOfPlan) and which >= 0 else None
        mixer = self.mixers[which]
        return mixer.manifest(own, index, context) if own is not None and isinstance(mixer, Mixer) else {}

    def check_input(self, batch: Batch) -> None:
        """Raise where any of the mixers cannot work on the batch."""
        for mixer in self.members:
            mixer.check_input(batch)

    def check_plan(self, plan: Plan) -> None:
        """Raise where a plan was not made by mixers like these."""
        super().check_plan(plan)
        if isinstance(plan, OneOfPlan):
            if len(plan.plans) != len(self.mixers):
                check.fail("plan", f"one of {len(self.mixers)} mixers", f"one of {len(plan.plans)}")
            for mixer, own in zip(self.mixers, plan.plans):
                if own is not None and isinstance(mixer, Mixer):
                    mixer.check_plan(own)

    def draw(self, batch: Batch, *, generator: Generator = None) -> OneOfPlan:
        """Draw which mixer each clip goes through, then a plan from each mixer that was chosen."""
        size = len(batch)
        chances = torch.tensor(self.probabilities, dtype=torch.float64)
        choice = draw.categorical(chances, 1 if self.per == "batch" else size, generator=generator).expand(size)
        applied = draw.bernoulli(self.p(batch.progress), size, generator=generator)
        choice = torch.where(applied, choice, -1)
        plans: list[Plan | None] = []
        partner, weight = identity_plan(size).partner, torch.ones(size, dtype=torch.float64)
        if batch.other is not None:
            partner = torch.zeros_like(partner)
        for k, mixer in enumerate(self.mixers):
            chosen = choice == k
            plan = mixer.draw(batch, generator=generator) if isinstance(mixer, Mixer) and bool(chosen.any()) else None
            plans.append(plan)
            if plan is not None:
                partner = torch.where(chosen, plan.partner, partner)
                weight = torch.where(chosen, plan.weight, weight)
        return OneOfPlan(partner, weight, choice=choice, plans=tuple(plans))

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
        """Apply to each clip the plan of its mixer."""
        assert isinstance(plan, OneOfPlan)  # check_plan saw to it
        given = {"other": other, "lengths": lengths, "other_lengths": other_lengths}
        used = [
            (m, p, k) for k, (m, p) in enumerate(zip(self.mixers, plan.plans)) if p is not None and isinstance(m, Mixer)
        ]
        if len(used) == 1 and not torch.compiler.is_compiling() and bool((plan.choice == used[0][2]).all()):
            return used[0][0].mix(x, used[0][1], **given, out=out)
        mixed = x.clone()
        for mixer, own, k in used:
            chosen = (plan.choice == k).to(x.device).view(-1, *[1] * (x.ndim - 1))
            mixed = torch.where(chosen, mixer.mix(x, own, **given), mixed)
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
