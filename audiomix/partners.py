"""Partners of a batch of clips: who is chosen by a rule, and clips rolled in a circle that are their own partners."""

from contextvars import ContextVar
from dataclasses import replace

import torch
from torch import Tensor

from .clips import Clips
from .draw import Generator
from .pairing import SELF, pair
from .pairing.self import draw_place
from .plan import NO_PARTNER, NOT_DRAWN, Plan
from .roll import roll_rows

__all__ = ["choose_partners", "draw_roll", "explain", "source_of", "watch", "without_partner"]

# Clips that were to be mixed and found no partner, of the plan that is being drawn.
_ALONE: ContextVar[list[Tensor] | None] = ContextVar("alone", default=None)


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
    """Collect which clips find no partner while a plan is drawn: what `without_partner` is told."""

    def __enter__(self) -> list[Tensor]:
        alone: list[Tensor] = []
        self.token = _ALONE.set(alone)
        return alone

    def __exit__(self, *error: object) -> None:
        _ALONE.reset(self.token)


def without_partner(clips: Tensor) -> None:
    """Say which clips (B,), bool, were to be mixed and have no partner."""
    if (alone := _ALONE.get()) is not None:
        alone.append(clips)


def explain(plan: Plan, alone: list[Tensor]) -> Plan:
    """Return the plan with a reason for every clip without a partner that has none of its own."""
    if not alone or not (lacking := torch.stack(alone).any(0)).any():
        return plan
    why = plan.why or ("",) * len(plan)
    rows = zip(why, (lacking & ~plan.mixed).tolist())
    return replace(plan, why=tuple(NO_PARTNER if one and text in ("", NOT_DRAWN) else text for text, one in rows))
