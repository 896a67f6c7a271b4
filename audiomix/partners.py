"""Partners of a batch of clips: who is chosen by a rule, and clips rolled in a circle that are their own partners."""

import copy
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .clips import Clips
from .draw import Generator
from .pairing import SELF, pair
from .pairing.self import draw_place
from .plan import AS_DRAWN, NO_PARTNER, NO_SAMPLE, NOT_DRAWN, WHOLE, Plan
from .roll import roll_rows

__all__ = ["Draws", "choose_partners", "draw_roll", "explain", "source_of", "take_part", "watch", "without_partner"]


@dataclass
class Draws:
    """What was drawn before a plan was: which clips take part, by `p` and `eligible`, and which find no partner.

    Parameters
    ----------
    taking_part, alone : list of Tensor, shape (B,), bool
        One for each time that was drawn; nothing where a mixer does not tell.
    """

    taking_part: list[Tensor] = field(default_factory=list)
    alone: list[Tensor] = field(default_factory=list)


# Of the plan that is being drawn.
_DRAWS: ContextVar[Draws | None] = ContextVar("draws", default=None)


def choose_partners(
    own: Clips, source: Clips, rule: str, *, allowed: Tensor | None = None, generator: Generator = None
) -> tuple[Tensor, Tensor]:
    """Draw a partner for each clip by a rule, and by what the caller allows; see `audiomix.pairing.pair`.

    Parameters
    ----------
    own, source : Clips
        The originals, and where partners come from.
    rule : str
        See `audiomix.pairing`.
    allowed : Tensor, shape (B, M), bool, optional
        Who may meet whom besides what the notes of `own` say.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    mask = own.notes.allowed
    if allowed is not None:
        mask = allowed if mask is None else mask & allowed
    in_batch = source is own
    partner, found = pair(
        len(own), rule, target=own.target, other_size=None if in_batch else len(source),
        other_target=None if in_batch else source.target, eligible=own.eligible, allowed=mask,
        weights=own.notes.pairing_weights, notes=own.notes, other_notes=source.notes, generator=generator,
    )  # fmt: skip
    return partner, found & (own.valid > 1) if rule == SELF else found


def draw_roll(own: Clips, generator: Generator) -> tuple[Clips, Tensor, Tensor | None]:
    """Return the clips rolled in a circle, by how much, and within what: `Plan.roll` and `Plan.roll_within`."""
    roll = draw_place(len(own), generator)
    within = None if own.lengths is None else own.lengths.double() / own.size
    return _roll(own, roll, within), roll, within


def source_of(own: Clips, source: Clips, plan: Plan) -> Clips:
    """Return where the partners of a plan come from: the clips themselves, rolled as it says; else `source`."""
    return source if plan.roll is None else _roll(own, plan.roll, plan.roll_within)


def _roll(own: Clips, roll: Tensor, within: Tensor | None) -> Clips:
    target = own.target
    if target is not None and target.ndim == 3:  # frame labels
        target = roll_rows(target, roll, within)
    return replace(own, x=roll_rows(own.x, roll, within), target=target)


class watch:
    """Collect what is drawn before a plan is: what `take_part` and `without_partner` are told."""

    def __enter__(self) -> Draws:
        draws = Draws()
        self.token = _DRAWS.set(draws)
        return draws

    def __exit__(self, *error: object) -> None:
        _DRAWS.reset(self.token)


def take_part(clips: Tensor) -> None:
    """Say which clips (B,), bool, are to be mixed, by `p` and `eligible`, with a partner or without one."""
    if (draws := _DRAWS.get()) is not None:
        draws.taking_part.append(clips)


def without_partner(clips: Tensor) -> None:
    """Say which clips (B,), bool, were to be mixed and have no partner."""
    if (draws := _DRAWS.get()) is not None:
        draws.alone.append(clips)


def explain(plan: Plan, draws: Draws, own: Clips, source: Clips) -> Plan:
    """Return the plan with a reason for every clip that is left as it is.

    A mixer gives the reasons that it alone knows, such as a silent partner. Here those are added that are the same for
    all: `NOT_DRAWN`, `NO_PARTNER`, `NO_SAMPLE` and, where a clip takes part and all of it is left, `WHOLE`.

    Parameters
    ----------
    plan : Plan
        As a mixer drew it.
    draws : Draws
        What `watch` collected meanwhile.
    own, source : Clips
        The originals, and where partners come from.
    """
    mixed = plan.mixed.tolist()
    if not plan.why and False not in mixed:
        return plan
    taking_part = _any(draws.taking_part) or [None] * len(mixed)
    ragged = own.lengths is not None or source.lengths is not None
    if not plan.why and not draws.alone and not ragged:  # the usual case, at a third of the cost
        return _with(plan, tuple("" if a else WHOLE if b else NOT_DRAWN for a, b in zip(mixed, taking_part)))
    texts, alone = plan.why or ("",) * len(mixed), _any(draws.alone) or [None] * len(mixed)
    empty = own.valid == 0
    if len(source) and ragged:
        empty = empty | (source.valid[plan.partner.clamp(max=len(source) - 1)] == 0)
    return _with(plan, tuple(_reason(*row) for row in zip(texts, mixed, taking_part, alone, empty.tolist())))


def _with(plan: Plan, why: tuple[str, ...]) -> Plan:
    """Return the same plan with other reasons; all else was checked when it was made."""
    found = copy.copy(plan)
    found.__dict__["why"] = why
    return found


def _any(clips: list[Tensor]) -> list[bool | None]:
    """Return which clips are in any of the tensors; nothing without a tensor."""
    return clips[0].tolist() if len(clips) == 1 else torch.stack(clips).any(0).tolist() if clips else []


def _reason(text: str, mixed: bool, taking_part: bool | None, alone: bool | None, empty: bool) -> str:
    """Return why one clip is as it is: `text`, the mixer's own reason, or one of those that it need not know."""
    if alone and (not mixed or text == NOT_DRAWN):  # a scene of one that is padded or cut counts as mixed
        return NO_PARTNER
    if mixed or taking_part is False:
        return text if mixed else NOT_DRAWN
    if text not in AS_DRAWN:
        return text
    if taking_part is None:  # a choice of mixers, whose own plans have told
        return text or NOT_DRAWN
    return NO_SAMPLE if empty else WHOLE
