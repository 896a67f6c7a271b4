"""What every mixer shares: a plan is drawn once, then applied to every stream.

A mixer has three methods: `draw` makes a plan, `render` applies it to the sound, `examples` lists its modes. `needs`
says what it works on. Everything else is done here, once: arguments are checked, partners fitted to the originals,
padding silenced, half precision promoted, the target mixed. A mixer holds no state between calls. In ``eval()`` it is
the identity on `x`, with weight 1.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from . import check, draw
from .arguments import Recorded, copy_type
from .audio.blend import check_out, plan_sum
from .axes import check_time_axis, turn, warn_of_axes
from .clips import Clips, Sampler, behind, check_clips, prepare_clips, sample_other, take_notes
from .draw import Generator
from .graphs import run_eagerly
from .mixed import Mixed, Plans
from .needs import (
    EMBEDDING as EMBEDDING,
    SPECTROGRAM as SPECTROGRAM,
    STEMS as STEMS,
    STREAM as STREAM,
    WAVE as WAVE,
    Needs as Needs,
)
from .pairing import PAIRINGS, SELF, read as read_pairing
from .partners import choose_partners, draw_roll, explain, source_of, take_part, watch, without_partner
from .plan import GainPlan, Plan
from .schedule import Schedule
from .targets import frames, labels

__all__ = ["Example", "Mixer", "Needs", "Pairing", "Rule", "plan_sum"]

Pairing = Literal["any", "different_class", "same_class"] | str
Rule = Literal["linear", "union", "probability", "dominant", "power", "sharp"] | str
def _no_notes(clips: int) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, eq=False, repr=False)
class Example(Recorded):
    """One mode of a mixer, with what a call of it needs: the laws of the test suite run on it.

    Parameters
    ----------
    mixer : Mixer
        An instance in this mode.
    notes : callable
        From a number of clips to keyword arguments of the call: ``lambda clips: {"captions": [...]}``.
    shape : tuple of int
        Shape of one clip, such as (1, 1000).
    partners : str
        Where they come from: ``either`` the batch or a second one, the ``batch`` alone, or always a ``second`` one.
    normalises : bool
        Whether `x` comes back scaled even where nothing is mixed.
    exact : bool
        Whether half precision gives the exact mix, rounded; not where sounds are stretched.
    writes_out : bool
        Whether ``out=`` is taken in training.
    compiles : bool
        Whether `render` is one graph for `torch.compile`; not where it loops over numbers of the plan.
    pickles : bool
        Whether the mixer can be pickled; not one that was made with local functions.

    Examples
    --------
    >>> from audiomix import MixUp
    >>> example = MixUp.examples()[0]
    >>> type(example.mixer).__name__, example.shape
    ('MixUp', (1, 1000))
    """

    mixer: "Mixer"
    notes: Callable[[int], dict[str, Any]] = _no_notes
    shape: tuple[int, ...] = (1, 1000)
    partners: Literal["either", "batch", "second"] = "either"
    normalises: bool = False
    exact: bool = True
    writes_out: bool = True
    compiles: bool = True
    pickles: bool = True


class Mixer(Recorded, nn.Module):
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
        ``any``, ``different_class``, ``same_class``, ``weighted``, ``label_kernel:bandwidth=0.5``, ``self`` (the clip
        itself, read from another place), ``same_cluster``, ``same_attribute``, ``minority``, ``same_tempo``, ``hard``,
        ``confidence`` or a rule of your own, ``mine.py:nearest``; see `audiomix.pairing`.
    rule : str
        How labels are mixed: ``linear``, ``union``, ``probability``, ``dominant``, ``power`` or ``sharp``; see
        `audiomix.targets.labels`.
    time_axis : int, optional
        Which axis of `x` is time: -1, the last one, or -2 for spectrograms (B, ..., N, F). None stands for the last
        one, with a warning where axes matter and `x` looks like (B, ..., N, F). Batches of two axes have no other.

    See Also
    --------
    audiomix.Transform : changes single clips and keeps the label.

    Examples
    --------
    >>> class FixedMix(Mixer):
    ...     def draw(self, own, source, *, progress=None, generator=None):
    ...         partner, mixed = self.pair(own, source, progress=progress, generator=generator)
    ...         return Plan(partner, torch.where(mixed, 0.75, 1.0).double())
    ...
    ...     def render(self, own, source, plan):
    ...         return 0.75 * own.x + 0.25 * source.x[plan.partner]
    >>> FixedMix(num_classes=2)(torch.randn(2, 1, 100), torch.tensor([0, 1])).target
    tensor([[0.7500, 0.2500],
            [0.2500, 0.7500]])
    """

    def __init__(
        self,
        *,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
        time_axis: int | None = None,
    ) -> None:
        super().__init__()
        self.time_axis = check_time_axis(time_axis)
        self._turned = self.time_axis == -2  # LatentBeatMix has a time axis of another kind
        self.num_classes = None if num_classes is None else check.integer("num_classes", num_classes, 1)
        self.p = Schedule.of(p, "p").within("p", 0, 1)
        self.pairing = self.check_pairing(pairing)
        labels.check_rule(rule)  # raises where there is no such rule
        self.rule = rule

    plan_type: ClassVar[type[Plan]] = Plan
    # Whether clips may be their own partners, read from another place (pairing self).
    takes_self: ClassVar[bool] = True

    @property
    def needs(self) -> Needs:
        """What it works on and asks for."""
        return Needs()

    @property
    def input_axis(self) -> int:
        """Which axis of `x` is time, -1 or -2: by its option `time_axis`, or by its kind."""
        return -2 if self._turned else -1

    def check_pairing(self, pairing: str) -> str:
        """Return a rule by which this mixer can choose partners, or raise."""
        read_pairing(pairing)
        if pairing == SELF and not self.takes_self:
            slip = "what it reads besides the sound would not follow it to another place"
            check.fail("pairing", f"another one for {type(self).__name__}", repr(pairing), slip)
        return pairing

    @property
    def pairings(self) -> frozenset[str]:
        """By which rules partners are chosen: its `pairing`; those of all members of a choice."""
        return frozenset({self.pairing})

    @property
    def keeps_target(self) -> bool:
        """Whether a target of any kind, class ids too, comes back as it is."""
        return False

    @property
    def rates(self) -> frozenset[int]:
        """The sampling rates, in Hz, that its options are for; none where it is for sounds of any rate."""
        rate = getattr(self, "rate", None)
        return frozenset() if rate is None or WAVE not in self.needs.domain else frozenset({rate})

    @classmethod
    def examples(cls) -> list[Example]:
        """Return every mode that the laws of the test suite run on, with the notes that it wants."""
        return [Example(cls())]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw a plan. To be overridden; the only method that draws.

        Parameters
        ----------
        own : Clips
            The originals.
        source : Clips
            Where partners come from: `own` itself (the same object), or a second batch.
        progress : float, optional
            Fraction of the training in [0, 1], for schedules.
        generator : torch.Generator, optional
            On the CPU; None means torch's global one.
        """
        raise NotImplementedError(f"{type(self).__name__}.draw")

    def render(self, own: Clips, source: Clips, plan: Plan) -> Tensor:
        """Apply a plan to the sounds. To be overridden; draws nothing.

        Both sides come as they are to be added: silent behind their valid parts, in float32 at least, and, unless
        `needs` asks for whole partners, `source` as long as `own`.

        Parameters
        ----------
        own, source : Clips
            The originals, and where partners come from.
        plan : Plan
            What `draw` returned for them.

        Returns
        -------
        Tensor, shape of ``own.x``, or longer where ``needs.length`` is ``free``.
        """
        raise NotImplementedError(f"{type(self).__name__}.render")

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Prepare both sides, `render`, and bring the result to the dtype of ``own.x`` and into `out`.

        A mixer with a faster path overrides it. It gets the clips as the caller gave them; `out` is checked.
        """
        x, fitted_partner = own.x, self.needs.partner == "fitted"
        prepared = prepare_clips(own)
        others = prepared if source is own else prepare_clips(source, own.size if fitted_partner else None)
        mixed = self.render(prepared, others, plan)
        if self.needs.length == "kept" and own.lengths is not None:
            # padding of spectrograms stays: zeros would be 0 dB
            mixed = torch.where(behind(x, own.lengths), 0 if x.ndim <= 3 else x, mixed)
        mixed = mixed.to(x.dtype)
        return mixed if out is None else out.copy_(mixed)

    def take_rows(self, own: Clips, source: Clips, plan: Plan, index: Tensor | slice) -> tuple[Clips, Clips, Plan]:
        """Return what `render_into` needs to mix some of the clips alone; one that gathers no partners overrides it.

        Parameters
        ----------
        own, source : Clips
            The originals, and where partners come from.
        plan : Plan
            What `draw` returned for them.
        index : Tensor, shape (R,), int64, or slice
            Which clips.
        """
        which = torch.arange(index.start, index.stop) if isinstance(index, slice) else index
        some, rows = own.rows(index), plan.rows(which)
        if plan.roll is None:
            return some, source, rows
        rows = replace(rows, partner=torch.arange(len(some)))  # each clip is its own partner
        return some, source_of(some, some, rows), rows

    def unmixed(self, own: Clips, source: Clips) -> Tensor:
        """Return `x` as it comes back where no clip is mixed; ``own.x`` itself unless a mixer normalises."""
        return own.x

    def identity(self, own: Clips) -> Plan:
        """Return the plan, of this mixer's own class, that leaves every clip as it is: what ``eval()`` returns."""
        return self.plan_type.identity(len(own))

    def mix(self, own: Clips, source: Clips, plan: Plan, *, out: Tensor | None = None) -> Tensor:
        """Apply a plan to the sounds of the clips it was drawn for.

        Parameters
        ----------
        own, source : Clips
            The originals, and where partners come from: `own` itself, or a second batch.
        plan : Plan
            What `draw` returned for them.
        out : Tensor, shape of ``own.x``, optional
            Written and returned.

        Raises
        ------
        ValueError
            `out` is given where a gradient is needed, shares memory with an input, or does not fit.
        """
        if out is not None:
            check_out(out, own.x, source.x)
        return self.render_into(own, source_of(own, source, plan), plan, out)

    def mix_target(self, target: Tensor, plan: Plan, *, other: Tensor | None = None) -> Tensor:
        """Apply a plan to a target.

        Parameters
        ----------
        target : Tensor
            Class ids (B,), labels (B, K), values (B, R) or frame labels (B, K, N).
        plan : Plan
            What `draw` returned for the clips.
        other : Tensor, optional
            The target of the second batch, where partners come from one.
        """
        if other is None and plan.keeps_labels:  # nothing to mix with, or the label is kept
            return self.keep_target(target)
        if plan.roll is not None and target.ndim < 3:  # both have the same label
            return self.keep_target(target)
        if target.ndim == 3:
            return frames.mix_frames(target, plan, rule=self.rule, other=other)
        return labels.mix_labels(target, plan, rule=self.rule, num_classes=self.num_classes, other=other)

    def choose(self, own: Clips, *, progress: float | None = None, generator: Generator = None) -> Tensor:
        """Draw which clips take part, from `p` and `eligible`; (B,), bool. For use in `draw`.

        Parameters
        ----------
        own, progress, generator
            As `draw` gets them.
        """
        chosen = draw.bernoulli(self.p(progress), len(own), generator=generator)
        chosen = chosen if own.eligible is None else chosen & own.eligible
        take_part(chosen)
        return chosen

    def pair(
        self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None
    ) -> tuple[Tensor, Tensor]:
        """Draw partners and which clips are mixed at all, from `pairing`, `eligible` and `p`; for use in `draw`.

        Parameters
        ----------
        own, source, progress, generator
            As `draw` gets them.

        Returns
        -------
        partner : Tensor, shape (B,), int64
            Rows of `source`. In the batch itself a clip that is not mixed is its own partner.
        mixed : Tensor, shape (B,), bool
        """
        partner, found = choose_partners(own, source, self.pairing, generator=generator)
        share, mixed = self.p(progress), found
        drawn = own.eligible
        if share != 1:
            chosen = draw.bernoulli(share, len(own), generator=generator)
            mixed, drawn = found & chosen, chosen if drawn is None else chosen & drawn
        drawn = torch.ones_like(found) if drawn is None else drawn
        take_part(drawn)
        if False in found.tolist():  # of the few numbers of a batch a tenth of what `all` costs
            without_partner(drawn & ~found)
        # an unmixed clip is its own partner; the rules of the package see to those for which there is none
        if source is own and not (mixed is found and self.pairing in PAIRINGS):
            partner = torch.where(mixed, partner, torch.arange(len(own)))
        return partner, mixed

    def draw_plan(
        self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None
    ) -> tuple[Plan, Clips]:
        """Draw a plan as `draw` does, with what every plan has; return it and where its partners come from.

        With pairing ``self`` that is `own` rolled in a circle, and the plan says by how much. A clip that is left as it
        is has a reason.

        Parameters
        ----------
        own, source, progress, generator
            See `draw`.
        """
        with watch() as draws:
            if self.pairing != SELF:
                plan = self.draw(own, source, progress=progress, generator=generator)
            else:
                source, roll, within = draw_roll(own, generator)
                plan = self.draw(own, source, progress=progress, generator=generator)
                plan = replace(plan, roll=roll, roll_within=within)
        return explain(plan, draws, own, source), source

    def forward(
        self,
        x: Tensor,
        target: Tensor | None = None,
        *,
        lengths: Tensor | None = None,
        other: Tensor | Sampler | None = None,
        other_target: Tensor | None = None,
        other_lengths: Tensor | None = None,
        eligible: Tensor | None = None,
        generator: Generator = None,
        progress: float | None = None,
        plan: Plan | None = None,
        out: Tensor | None = None,
        **notes: Any,
    ) -> Mixed:
        """Draw a plan (or take the one given), mix `x` and the target.

        Parameters
        ----------
        x : Tensor, shape (B, ..., T), floating point
            Waveforms (B, C, T), spectrograms (B, ..., F, N), with ``time_axis=-2`` (B, ..., N, F), or embeddings
            (B, D). Left unchanged.
        target : Tensor, optional
            Class ids (B,), labels (B, K), regression values (B, R) or frame labels (B, K, N).
        lengths : Tensor, shape (B,), optional
            Valid samples or frames of the time axis; what lies behind is padding and never mixed in.
        other, other_target, other_lengths : Tensor, optional
            A second batch that the partners come from, or what draws one: `audiomix.NoiseFolder`.
        eligible : Tensor, shape (B,), bool, optional
            Clips that take part.
        generator : torch.Generator, optional
            On the CPU; None means torch's global one.
        progress : float, optional
            Fraction of the training in [0, 1]. Needed where `p` or another option is a schedule that changes.
        plan : Plan, optional
            Replay this plan instead of drawing one.
        out : Tensor, shape of x, optional
            Written and returned as `x`.
        **notes : Any
            Notes on the clips, by name; see `audiomix.clips.Notes`: what some mixers need (``beats=``, ``captions=``),
            and how partners are chosen (``allowed=``, ``pairing_weights=``).

        Returns
        -------
        Mixed
            ``x, target, plans, lengths``; one plan, on the CPU.

        Raises
        ------
        TypeError, ValueError
            A wrong argument, before any work.
        """
        given = out
        if self._turned:
            x, other, out = turn(x), turn(other), turn(out)
        sides = {
            "lengths": lengths, "eligible": eligible, "notes": notes,
            "other": other, "other_target": other_target, "other_lengths": other_lengths,
        }  # fmt: skip
        own, source, plan, target, mixing = self._prepare(x, target, sides, generator, progress, plan, out)
        if mixing:
            mixed = self.render_into(own, source, plan, out)
        else:
            mixed = self.unmixed(own, source)
            mixed = out.copy_(mixed) if out is not None else mixed.clone() if self.training and mixed is x else mixed
        if self._turned:
            mixed = turn(mixed) if given is None else given
        return Mixed(mixed, target, Plans((plan,)), plan.mixed_lengths(own.lengths, own.size))

    if TYPE_CHECKING:

        @copy_type(forward)
        def __call__(self) -> Any:
            """See `forward`."""

    @run_eagerly
    def _prepare(
        self,
        x: Tensor,
        target: Tensor | None,
        sides: dict[str, Any],
        generator: Generator,
        progress: float | None,
        plan: Plan | None,
        out: Tensor | None,
    ) -> tuple[Clips, Clips, Plan, Tensor | None, bool]:
        """Check all arguments, draw the plan, mix the target: what depends on values and is never compiled.

        Returns both sides, the plan, the mixed target, and whether any clip is mixed.
        """
        generator = draw.check_generator(generator)
        sides |= sample_other(x, sides, self, generator, plan)
        own, source = self.take_clips(x, target, **sides)
        if progress is not None:
            check.number("progress", progress, 0, 1, slip="a fraction of the training, not a step or an epoch")
        self._check(own, source, plan, out)
        if not self.training:
            return own, source, self.identity(own), self.keep_target(target), False
        if plan is None:
            self._check_progress(own, progress)
            with torch.no_grad():  # a plan is numbers: no gradient goes through measured levels
                plan, partners = self.draw_plan(own, source, progress=progress, generator=generator)
        else:
            partners = source_of(own, source, plan)
        if target is not None:
            target = self.mix_target(target, plan, other=None if source is own else source.target)
        return own, partners, plan, target, plan.changes_any

    def take_clips(
        self, x: Tensor, target: Tensor | None, *, notes: dict[str, Any], **sides: Any
    ) -> tuple[Clips, Clips]:
        """Return the originals and where partners come from, checked; a mixer of other shapes overrides it."""
        return check_clips(x, target, notes=take_notes(notes), **sides)

    def check_input(self, own: Clips, source: Clips) -> None:
        """Raise where this mixer cannot work on the clips. May be extended; called before any work."""
        if own.x.ndim > 3 and SPECTROGRAM not in self.needs.domain:
            got = f"shape {tuple(own.x.shape)}"
            expected = f"waveforms (B, T) or (B, C, T) for {type(self).__name__}"
            check.fail("x", expected, got, "mix before the spectrogram")

    def check_plan(self, plan: Plan) -> None:
        """Raise where a plan was not made by a mixer like this one. May be extended."""
        # a bare Plan of weights is enough for a sum, and for what leaves every clip as it is
        bare = type(plan) is Plan and (self.plan_type is GainPlan or not bool(plan.mixed.any()))
        if type(plan) is not self.plan_type and not bare:
            slip = "replay it with the mixer that made it"
            check.fail("plan", f"a {self.plan_type.__name__}", f"a {type(plan).__name__}", slip)

    def at_rate(self, rate: int) -> "Mixer":
        """Return this mixer for sounds of `rate` Hz, made anew from its arguments; itself where it has no rate."""
        if WAVE not in self.needs.domain or getattr(self, "rate", None) in (None, rate):
            return self
        return self.replace(rate=rate)

    def at_picture_size(self, size: tuple[int, int]) -> "Mixer":
        """Return this mixer for pictures of (height, width) pixels; itself where that makes no difference."""
        return self

    def at_normalisation(self, mean: float, std: float) -> "Mixer":
        """Return this mixer for log spectrograms normalised as ``(dB - mean) / std``; itself where it need not know."""
        return self

    def options(self) -> dict[str, Any]:
        """Return all options, those left at their defaults too, as they are written in a manifest."""
        given = self.arguments
        found = {}
        for name, parameter in inspect.signature(type(self)).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            found[name] = getattr(self, name, given.get(name, parameter.default))
        return found

    def _check(self, own: Clips, source: Clips, plan: Plan | None, out: Tensor | None) -> None:
        """Check all that depends on the mixer, before any number is drawn."""
        for name, side in (("target", own), ("other_target", source)):
            if side.target is None or (name == "other_target" and side is own):
                continue
            if side.target.ndim > 1 or not self.keeps_target:
                labels.check_labels(name, side.target, self.num_classes)
            check.batch(name, side.target, len(side), ndim=1)
        lacking = own.target is not None and source is not own and source.target is None
        if source is not own and self.training and SELF in self.pairings:
            check.fail("other", "left out with pairing='self'", "a tensor", "each clip is its own partner")
        if lacking and self.training and self.needs.target:
            slip = "the labels of the second batch? noise without labels: SNRMix(label='keep')"
            check.fail("other_target", "given, as target is", None, slip)
        if out is not None:
            check_out(out, own.x, source.x)
        if self.training:
            self.check_input(own, source)
            tall = own.x.ndim > 2 and own.x.shape[-2] > own.x.shape[-1]
            doubtful = tall and self.time_axis is None and own.time_axis == -1 and SPECTROGRAM in self.needs.domain
            if doubtful and (own.lengths is not None or self.needs.axes or SELF in self.pairings):
                warn_of_axes(tuple(own.x.shape), type(self).__name__)
        if plan is not None:
            check.one_of_types("plan", plan, Plan, "a Plan (Mixed.plans[0]; Plan.from_json reads a string)")
            self.check_plan(plan)
            _check_fits(plan, own, source)

    def schedules(self, own: Clips) -> dict[str, Schedule]:
        """Return the options, by name, that are read at `progress` when a plan is drawn for these clips."""
        return dict(self._schedules)

    @functools.cached_property
    def _schedules(self) -> dict[str, Schedule]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Schedule)}

    def _check_progress(self, own: Clips, progress: float | None) -> None:
        """Refuse schedules without `progress`: they would stay at their start for ever."""
        for name, schedule in self.schedules(own).items() if progress is None else ():
            if not schedule.is_constant:
                slip = "pass progress=epoch / epochs in each call"
                check.fail("progress", f"given, since {name} is the schedule {str(schedule)!r}", None, slip, TypeError)

    def keep_target(self, target: Tensor | None) -> Any:
        """Return the target of clips that are not mixed: float (B, K) with `num_classes`, else as it is."""
        if target is None or self.keeps_target:
            return target
        return labels.to_float("target", target, self.num_classes)


def _check_fits(plan: Plan, own: Clips, source: Clips) -> None:
    if len(plan) != len(own):
        check.fail("plan", f"drawn for {len(own)} clips", f"one for {len(plan)}")
    used = plan.partner_rows()  # where nothing was mixed the index means nothing
    if len(used) and (int(used.max()) >= len(source) or int(used.min()) < 0):
        slip = "was it drawn with other=?" if source is own else ""
        check.fail("plan.partner", f"in 0..{len(source) - 1}", int(used.max()), slip)
