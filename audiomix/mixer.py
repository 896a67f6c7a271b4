"""What every mixer shares: a plan is drawn once, then applied to every stream.

A mixer has two methods to override, `draw` and `mix`; `forward` is written once, here. It holds no state between
calls. In ``eval()`` it is the identity on `x`, with weight 1.
"""

import difflib
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from . import check, draw, pairing
from .audio.blend import area_share, check_out, overlap
from .draw import Generator
from .plan import GainPlan, Mixed, Plan
from .schedule import Schedule
from .targets import frames, labels

__all__ = ["LEFT_OUT", "Batch", "Mixer", "Pairing", "Rule", "checked_batch", "identity_plan", "planned"]

# Why a clip was left as it is where nothing is wrong
LEFT_OUT = "not drawn (p, eligible) or without a partner"
# Per-item context that mixers may ask for, by name
CONTEXT = (
    "beats", "other_beats", "captions", "other_captions", "foils", "sources", "rate", "ratio", "ids", "other_ids",
)  # fmt: skip
_ARGUMENTS = ("lengths", "other", "other_target", "other_lengths", "eligible", "generator", "progress", "plan", "out")

Pairing = Literal["any", "different_class", "same_class"]
Rule = Literal["linear", "union", "dominant"]


@dataclass(frozen=True, eq=False)
class Batch:
    """What a mixer may look at when it draws: checked, and the same for every mixer."""

    x: Tensor
    target: Tensor | None = None
    lengths: Tensor | None = None
    other: Tensor | None = None
    other_target: Tensor | None = None
    other_lengths: Tensor | None = None
    eligible: Tensor | None = None
    progress: float = 0.0
    context: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def source(self) -> Tensor:
        """Where partners come from."""
        return self.x if self.other is None else self.other

    @property
    def source_lengths(self) -> Tensor | None:
        """Valid lengths of where partners come from."""
        return self.lengths if self.other is None else self.other_lengths


class Mixer(nn.Module):
    """Base of all mixers. Subclasses say how to draw a plan and how to apply one.

    Parameters
    ----------
    num_classes : int, optional
        With it the target that comes back is always float (B, K): in training, in eval, for a batch of one, and for a
        target that is soft already (so mixers chain).
    p : float or schedule
        Share of the clips that are mixed. ``"stop_after:0.75"`` mixes all clips for the first three quarters of the
        training and none afterwards.
    pairing : str
        ``any``, ``different_class`` or ``same_class``; see `audiomix.pairing`.
    rule : str
        How labels are mixed: ``linear``, ``union`` or ``dominant``; see `audiomix.targets.labels`.
    """

    def __init__(
        self,
        *,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
    ) -> None:
        super().__init__()
        self.num_classes = None if num_classes is None else check.integer("num_classes", num_classes, 1)
        self.p = Schedule.of(p, "p").within("p", 0, 1)
        self.pairing = check.choice("pairing", pairing, _pairings())
        self.rule = check.choice("rule", rule, labels.RULES)

    plan_type: ClassVar[type[Plan]] = Plan
    waveforms_only: ClassVar[bool] = False

    @classmethod
    def example(cls) -> "Mixer":
        """Return an instance that the laws of the test suite run on."""
        return cls()

    def draw(self, batch: Batch, *, generator: Generator = None) -> Plan:
        """Draw a plan for a batch. To be overridden; the only method that draws."""
        raise NotImplementedError(f"{type(self).__name__}.draw")

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
        """Apply a plan to the batch it was drawn for. To be overridden; draws nothing."""
        raise NotImplementedError(f"{type(self).__name__}.mix")

    def mix_target(self, target: Tensor, plan: Plan, *, other: Tensor | None = None) -> Tensor:
        """Apply a plan to class ids, labels (B, K), values (B, R) or frame labels (B, K, N)."""
        if other is None and bool((plan.weight == 1).all()):  # nothing to mix with, or the label is kept
            return self._kept(target)
        if target.ndim == 3:
            return frames.mix_frames(target, plan, rule=self.rule, other=other)
        return labels.mix_labels(target, plan, rule=self.rule, num_classes=self.num_classes, other=other)

    def pair(self, batch: Batch, *, generator: Generator = None) -> tuple[Tensor, Tensor]:
        """Draw partners (B,) and which clips are mixed at all (B,), from `pairing`, `eligible` and `p`."""
        partner, found = pairing.pair(
            len(batch),
            self.pairing,
            target=batch.target,
            other_size=None if batch.other is None else len(batch.other),
            other_target=batch.other_target,
            eligible=batch.eligible,
            generator=generator,
        )
        mixed = found & draw.bernoulli(self.p(batch.progress), len(batch), generator=generator)
        if batch.other is None:  # an unmixed clip is its own partner
            partner = torch.where(mixed, partner, torch.arange(len(batch)))
        return partner, mixed

    def forward(
        self,
        x: Tensor,
        target: Tensor | None = None,
        *,
        lengths: Tensor | None = None,
        other: Tensor | None = None,
        other_target: Tensor | None = None,
        other_lengths: Tensor | None = None,
        eligible: Tensor | None = None,
        generator: Generator = None,
        progress: float = 0.0,
        plan: Plan | None = None,
        out: Tensor | None = None,
        **context: Any,
    ) -> Mixed:
        """Draw a plan (or take the one given), mix `x` and the target.

        Parameters
        ----------
        x : Tensor, shape (B, ..., T), floating point
            Waveforms (B, C, T), spectrograms (B, ..., F, N) or embeddings (B, D). Left unchanged.
        target : Tensor, optional
            Class ids (B,), labels (B, K), regression values (B, R) or frame labels (B, K, N).
        lengths : Tensor, shape (B,), optional
            Valid samples or frames of the last axis; what lies behind is padding and never mixed in.
        other, other_target, other_lengths : Tensor, optional
            A second batch that the partners come from.
        eligible : Tensor, shape (B,), bool, optional
            Clips that take part.
        generator : torch.Generator, optional
            On the CPU; None means torch's global one.
        progress : float
            Fraction of the training in [0, 1], for schedules.
        plan : Plan, optional
            Replay this plan instead of drawing one.
        out : Tensor, shape of x, optional
            Written and returned as `x`.
        **context : Any
            Per-item context that some mixers need, by name (``beats=``, ``captions=``).

        Returns
        -------
        Mixed
            ``x, target, plans, lengths``; one plan, on the CPU.

        Raises
        ------
        TypeError, ValueError
            A wrong argument, before any work.
        """
        batch = checked_batch(x, target, lengths, other, other_target, other_lengths, eligible, progress, context)
        generator = draw.checked(generator)
        self._check(batch, plan, out)
        if not self.training:
            return Mixed(
                x if out is None else out.copy_(x), self._kept(target), (identity_plan(len(x)),), batch.lengths
            )
        if plan is None:
            with torch.no_grad():  # a plan is numbers: no gradient goes through measured levels
                plan = self.draw(batch, generator=generator)
        if type(plan) is Plan and bool((plan.weight == 1).all()):  # the identity: what eval() returns
            mixed = x.clone() if out is None else out.copy_(x)
        else:
            mixed = self.mix(x, plan, other=other, lengths=batch.lengths, other_lengths=batch.other_lengths, out=out)
        if target is not None:
            target = self.mix_target(target, plan, other=other_target if other is not None else None)
        return Mixed(mixed, target, (plan,), self.mixed_lengths(batch.lengths, plan, x.shape[-1]))

    def mixed_lengths(self, lengths: Tensor | None, plan: Plan, size: int) -> Tensor | None:
        """Return the valid lengths of the mix; those of the originals, of `size` samples, unless a mixer cuts."""
        return lengths

    @property
    def needs_beats(self) -> bool:
        """Whether it wants ``beats=``: a grid for each clip."""
        return False

    @property
    def needs_captions(self) -> bool:
        """Whether it wants ``captions=``: a text or a list of texts for each clip."""
        return False

    @property
    def whole_partner(self) -> bool:
        """Whether partners are left as long as they are, for the mixer to choose what of them is heard."""
        return self.needs_beats

    @property
    def partners_wanted(self) -> int:
        """How many partners one clip may have."""
        return 1

    def heard(self, plan: Plan, index: int) -> list[int]:
        """Return the partners that are in one mix, as indices of where they come from."""
        return [int(plan.partner[index])]

    def settled(self, plan: Plan) -> bool:
        """Whether a plan is what was asked for; if not, another partner may do."""
        return True

    @property
    def changes_length(self) -> bool:
        """Whether mixes may be shorter or longer than the originals."""
        return False

    def manifest(self, plan: Plan, index: int, context: dict[str, Any]) -> dict[str, Any]:
        """Return what a manifest says of one mix beyond the plan, as plain values."""
        return {}

    def check_input(self, batch: Batch) -> None:
        """Raise where this mixer cannot work on the batch. May be extended; called before any work."""
        if self.waveforms_only and batch.x.ndim > 3:
            got = f"shape {tuple(batch.x.shape)}"
            check.fail(
                "x", f"waveforms (B, T) or (B, C, T) for {type(self).__name__}", got, "mix before the spectrogram"
            )

    def check_plan(self, plan: Plan) -> None:
        """Raise where a plan was not made by a mixer like this one. May be overridden."""
        if type(plan) not in (self.plan_type, Plan):
            slip = "replay it with the mixer that made it"
            check.fail("plan", f"a {self.plan_type.__name__}", f"a {type(plan).__name__}", slip)

    @property
    def needs_other_target(self) -> bool:
        """Whether labels are mixed, so that partners from `other` need theirs."""
        return True

    def extra_repr(self) -> str:
        """Show the constructor's call."""
        shown = {k: v for k, v in vars(self).items() if not k.startswith("_") and k != "training" and v is not None}
        return ", ".join(f"{k}={v}" for k, v in shown.items() if isinstance(v, (int, float, str, Schedule)))

    def _check(self, batch: Batch, plan: Plan | None, out: Tensor | None) -> None:
        """Check all that depends on the mixer, before any number is drawn."""
        for name, target, size in (
            ("target", batch.target, len(batch)),
            ("other_target", batch.other_target, len(batch.source)),
        ):
            if target is None:
                continue
            if target.ndim == 3:
                check.floating(name, target)
            else:
                labels.checked(name, target, self.num_classes)
            check.batch(name, target, size, ndim=1)
        lacking = batch.target is not None and batch.other is not None and batch.other_target is None
        if lacking and self.training and self.needs_other_target:
            slip = "the labels of the second batch? noise without labels: SNRMix(label='keep')"
            check.fail("other_target", "given, as target is", None, slip)
        if out is not None:
            check_out(out, batch.x, batch.source)
        if self.training:
            self.check_input(batch)
        if plan is not None:
            check.one_of_types("plan", plan, Plan, "a Plan (Mixed.plans[0]; Plan.from_json reads a string)")
            self.check_plan(plan)
            _check_fits(plan, batch)

    def _kept(self, target: Any) -> Any:
        if target is None or target.ndim == 3:
            return target
        return labels.to_float("target", target, self.num_classes)


def planned(
    batch: Batch, partner: Tensor, ratio: Tensor, a: Tensor, b: Tensor, *, unmixed_behind: bool = False
) -> GainPlan:
    """Return the plan of a sum: its weight is the original's share of the valid area.

    Parameters
    ----------
    batch : Batch
    partner : Tensor, shape (B,), int64
    ratio : Tensor, shape (B,), float64
        The original's share while both sound.
    a, b : Tensor, shape (B,), float64
        Amplitudes of the two.
    unmixed_behind : bool
        Behind a shorter partner the original is unmixed (else it goes on at its gain).
    """
    if batch.lengths is None and batch.other is None:
        return GainPlan.of(partner, ratio, a, b)
    own, both = overlap(batch.x, partner, batch.lengths, batch.other, batch.other_lengths)
    weight = area_share(ratio, own.double(), both.double())
    if unmixed_behind:
        weight = torch.where(own > 0, (ratio * both + own - both) / own.clamp(min=1), 1.0)
    covered = both.double() / batch.x.shape[-1]
    if bool((both == own).all()):
        return GainPlan.of(partner, weight, a, b)
    return GainPlan.of(partner, weight, a, b, ratio=ratio, covered=covered)


def identity_plan(size: int) -> Plan:
    """Return the plan that leaves every clip as it is: its own partner, weight 1."""
    return Plan(torch.arange(size), torch.ones(size, dtype=torch.float64))


def _pairings() -> tuple[str, ...]:
    return pairing.PAIRINGS


def _check_fits(plan: Plan, batch: Batch) -> None:
    if len(plan) != len(batch):
        check.fail("plan", f"drawn for {len(batch)} clips", f"one for {len(plan)}")
    met = plan.partner[plan.weight < 1]  # where nothing was mixed the index means nothing
    if len(met) and (int(met.max()) >= len(batch.source) or int(met.min()) < 0):
        slip = "was it drawn with other=?" if batch.other is None else ""
        check.fail("plan.partner", f"in 0..{len(batch.source) - 1}", int(met.max()), slip)


def checked_batch(
    x: Tensor,
    target: Tensor | None,
    lengths: Tensor | None,
    other: Tensor | None,
    other_target: Tensor | None,
    other_lengths: Tensor | None,
    eligible: Tensor | None,
    progress: float,
    context: dict[str, Any],
) -> Batch:
    """Return what a mixer is called with as a `Batch`, or raise TypeError or ValueError for a wrong argument."""
    for name in context:
        if name not in CONTEXT:
            near = difflib.get_close_matches(name, _ARGUMENTS, n=1)
            slip = f"did you mean {near[0]}=?" if near else f"per-item context is {', '.join(CONTEXT)}"
            raise TypeError(f"a mixer takes no argument {name!r}: {slip}")
    check.batch("x", check.floating("x", x))
    check.number("progress", progress, 0, 1, slip="a fraction of the training, not a step or an epoch")
    if lengths is not None:
        lengths = check.lengths("lengths", lengths, x)
    if other is not None:
        check.batch("other", check.floating("other", other))
        if other.shape[1:-1] != x.shape[1:-1] or other.ndim != x.ndim:
            check.fail("other", f"like x up to the last axis {tuple(x.shape[:-1])}", tuple(other.shape))
        if other.dtype != x.dtype or other.device != x.device:
            check.fail("other", f"{x.dtype} on {x.device}, as x is", f"{other.dtype} on {other.device}")
        if other_lengths is not None:
            other_lengths = check.lengths("other_lengths", other_lengths, other)
    elif other_target is not None or other_lengths is not None:
        check.fail("other", "given with other_target or other_lengths", None)
    if eligible is not None:
        eligible = torch.as_tensor(eligible).cpu()
        if eligible.dtype != torch.bool or tuple(eligible.shape) != (len(x),):
            check.fail("eligible", f"bool of shape ({len(x)},)", f"{eligible.dtype}, {tuple(eligible.shape)}")
    for name, value in (("target", target), ("other_target", other_target)):
        if value is not None:
            check.tensor(name, value)
    return Batch(x, target, lengths, other, other_target, other_lengths, eligible, progress, context)
