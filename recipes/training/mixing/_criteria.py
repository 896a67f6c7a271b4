"""Losses of `audiomix.losses` that training on labelled clips can have instead of the cross-entropy, by name.

==========================  ==========================================================================================
what a loss looks at        the objective
==========================  ==========================================================================================
mixes and mixed labels      the loss
mixes, labels and the plan  the loss
mixes and clean clips       cross-entropy (of mixes, or of clean clips where the paper has it so) plus `weight` x loss
clean clips alone           cross-entropy of them plus `weight` x loss
==========================  ==========================================================================================

The default is the cross-entropy. Losses that need a teacher, a
second modality, outliers, values or token by token labels are for trainings of one's own.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiomix import check
from audiomix.draw import Generator
from audiomix.losses import (
    anyloss,
    comp_sum,
    decoupled,
    limited_confidence,
    m3col,
    metrix,
    mi_mix,
    mix_consistency,
    mix_contrast,
    mixed_target,
    rank,
)
from audiomix.options import Option, options_of, read_values
from audiomix.plan import Plan

__all__ = ["DEFAULT", "LOSSES", "Criterion", "LossKind", "MixedBatch", "loss_options", "read_loss"]

DEFAULT = "cross_entropy"
# Arguments that a training gives to a loss: they are no options
_GIVEN = (
    "logits", "target", "plan", "mixed_logits", "clean_logits", "plans", "mixed", "clean", "other", "embedding",
    "label", "labels", "generator", "lengths", "pos_weight", "other_logits",
)  # fmt: skip


def cross_entropy(logits: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Return torch's cross-entropy of logits and labels (B, K), mean over the batch.

    Parameters
    ----------
    logits, target : Tensor, shape (B, K)
        Of the network, and shares of the classes.
    label_smoothing : float
        Share of each label that is spread over all classes.
    """
    return F.cross_entropy(logits, target, label_smoothing=label_smoothing)


class MixedBatch(NamedTuple):
    """A batch and its mixes."""

    x: Tensor  # (B, 1, F, N): the clips
    target: Tensor  # (B, K): their labels
    mixed: Tensor  # (B, 1, F, N): the mixes, the clips themselves where nothing is mixed
    mixed_target: Tensor  # (B, K): the labels of the mixes
    plan: Plan | None  # what they were made by; None where nothing is mixed


@dataclass(frozen=True)
class LossKind:
    """How training uses a loss."""

    function: Callable[..., Tensor]
    terms: Callable[["Criterion", nn.Module, MixedBatch, Generator], dict[str, Tensor]]
    weight: float | None = None  # by default, of a loss that is added to the cross-entropy; None for one that is not
    needs_plan: bool = False
    needs_features: bool = False
    own_mixes: bool = False  # mixes clips of known classes itself: those that are mixed already have none


@dataclass(frozen=True)
class Criterion:
    """A loss with its options, as `read_loss` returns it."""

    name: str
    kind: LossKind
    options: dict[str, Any]
    weight: float | None

    def __call__(self, model: nn.Module, batch: MixedBatch, generator: Generator = None) -> dict[str, Tensor]:
        """Return the terms of the objective: ``labelled``, and ``mixing`` for a loss that is added.

        Parameters
        ----------
        model : nn.Module
            Spectrograms (B, 1, F, N) to logits (B, K).
        batch : MixedBatch
            Clips and mixes.
        generator : torch.Generator, optional
            For losses that draw.
        """
        return self.kind.terms(self, model, batch, generator)

    def loss(self, *arguments: Any, **more: Any) -> Tensor:
        """Return the loss, times its weight where it has one."""
        return self.kind.function(*arguments, **self.options, **more) * (1.0 if self.weight is None else self.weight)


def _both(model: Callable[[Tensor], Tensor], batch: MixedBatch) -> tuple[Tensor, Tensor]:
    """Return what a network makes of the mixes and of the clips, in one pass: batch norm sees both."""
    mixed, clean = model(torch.cat([batch.mixed, batch.x])).chunk(2)
    return mixed, clean


def _of_labels(criterion: Criterion, model: nn.Module, batch: MixedBatch, _: Generator) -> dict[str, Tensor]:
    return {"labelled": criterion.loss(model(batch.mixed), batch.mixed_target)}


def _of_plan(criterion: Criterion, model: nn.Module, batch: MixedBatch, _: Generator) -> dict[str, Tensor]:
    return {"labelled": criterion.loss(model(batch.mixed), batch.target, batch.plan)}


def _beside_clean(criterion: Criterion, model: nn.Module, batch: MixedBatch, _: Generator) -> dict[str, Tensor]:
    mixed, clean = _both(model, batch)
    more = criterion.loss(mixed, clean, batch.target, batch.plan)
    return {"labelled": F.cross_entropy(clean, batch.target), "mixing": more}


def _gain_beside_clean(criterion: Criterion, model: nn.Module, batch: MixedBatch, _: Generator) -> dict[str, Tensor]:
    mixed, clean = _both(model, batch)
    more = criterion.loss([mixed], clean, batch.target, [batch.plan])
    return {"labelled": F.cross_entropy(clean, batch.target), "mixing": more}


def _consistent(criterion: Criterion, model: nn.Module, batch: MixedBatch, _: Generator) -> dict[str, Tensor]:
    mixed, clean = _both(model, batch)
    more = criterion.loss(mixed, clean, batch.plan)
    return {"labelled": F.cross_entropy(mixed, batch.mixed_target), "mixing": more}


def _contrast(criterion: Criterion, model: nn.Module, batch: MixedBatch, _: Generator) -> dict[str, Tensor]:
    features: Any = model.features
    mixed, clean = _both(features, batch)
    more = criterion.loss(mixed, clean, batch.plan)
    logits = model.head(mixed).float()  # type: ignore[operator]
    return {"labelled": F.cross_entropy(logits, batch.mixed_target), "mixing": more}


def _of_features(criterion: Criterion, model: nn.Module, batch: MixedBatch, generator: Generator) -> dict[str, Tensor]:
    features = model.features(batch.mixed)  # type: ignore[operator]
    more = criterion.loss(features, batch.target.argmax(1), generator=generator)
    logits = model.head(features).float()  # type: ignore[operator]
    return {"labelled": F.cross_entropy(logits, batch.mixed_target), "mixing": more}


LOSSES: dict[str, LossKind] = {
    DEFAULT: LossKind(cross_entropy, _of_labels),
    "mixed_binary_cross_entropy": LossKind(mixed_target.mixed_binary_cross_entropy, _of_labels),
    "comp_sum": LossKind(comp_sum.comp_sum, _of_labels),
    "anyloss": LossKind(anyloss.anyloss, _of_labels),
    "limited_confidence": LossKind(limited_confidence.limited_confidence, _of_labels),
    "decoupled": LossKind(decoupled.decoupled, _of_plan, needs_plan=True),
    # weights of the papers where the files of the losses name one, else ours: 0.1
    "ranking": LossKind(rank.ranking, _beside_clean, 0.1, needs_plan=True),
    "ranked_gain": LossKind(rank.ranked_gain, _gain_beside_clean, 0.1, needs_plan=True),
    "mix_consistency": LossKind(mix_consistency.mix_consistency, _consistent, 0.1, needs_plan=True),
    "mix_contrast": LossKind(mix_contrast.mix_contrast, _contrast, 0.1, needs_plan=True, needs_features=True),
    "mi_mix": LossKind(mi_mix.mi_mix, _contrast, 0.1, needs_plan=True, needs_features=True),
    "m3col": LossKind(m3col.m3col, _contrast, 0.1, needs_plan=True, needs_features=True),
    "metrix": LossKind(metrix.metrix, _of_features, 0.4, needs_features=True, own_mixes=True),
}


def loss_options(name: str) -> list[Option]:
    """Return the options of a loss, its weight among them where it is added to the cross-entropy.

    Parameters
    ----------
    name : str
        A key of `LOSSES`.

    Examples
    --------
    >>> [option.name for option in loss_options("ranking")]
    ['margin', 'weight']
    """
    kind = LOSSES[name]
    found = options_of(kind.function, skip=_GIVEN)
    if kind.weight is not None:
        found.append(Option("weight", float, kind.weight, "Of the loss, which is added to the cross-entropy."))
    return found


def read_loss(text: str) -> Criterion:
    """Return the loss that a text names.

    Parameters
    ----------
    text : str
        ``comp_sum`` or ``comp_sum:tau=1.3``; several options in a row of bench stand in brackets, as in
        ``decoupled(eta=0.2,weighting=none)``.

    Raises
    ------
    ValueError
        No such loss, no such option, or a value that it cannot have.

    Examples
    --------
    >>> read_loss("ranking:weight=0.3").weight, read_loss("comp_sum(tau=1.3)").options
    (0.3, {'tau': 1.3})
    """
    bracketed = re.fullmatch(r"([^:(]+)\((.*)\)", text)
    name, _, rest = text.partition(":") if bracketed is None else (bracketed[1], "", bracketed[2])
    check.choice("loss", name, LOSSES)
    kind = LOSSES[name]
    options = read_values(rest, {option.name: option.kind for option in loss_options(name)}, f"the loss {name}")
    weight = None if kind.weight is None else check.number("weight", options.pop("weight", kind.weight), 0)
    return Criterion(name, kind, options, weight)
