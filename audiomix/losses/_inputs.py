"""Checks of what losses take, and the labels of all clips of a mix."""

import torch
from torch import Tensor

from .. import check
from ..plan import Plan
from ..targets.labels import to_float

__all__ = [
    "check_logits", "check_targets", "dots", "label_mean", "pair_shares", "source_labels", "unit", "unit_features",
    "wide",
]  # fmt: skip


def wide(*values: Tensor) -> torch.dtype:
    """Return the dtype that losses of these are computed in: their common one, float32 at least."""
    dtype = torch.float32
    for value in values:
        dtype = torch.promote_types(dtype, value.dtype)
    return dtype


def check_logits(name: str, value: Tensor, size: int | None = None) -> Tensor:
    """Return logits (B, K) as float32 at least, of two or more classes."""
    check.batch(name, check.floating(name, value), size)
    if value.ndim != 2 or value.shape[1] < 2:
        check.fail(name, "logits (B, K) of two or more classes", f"shape {tuple(value.shape)}")
    return value.to(wide(value))


def check_targets(target: Tensor, logits: Tensor) -> Tensor:
    """Return labels as (B, K) like the logits; class ids (B,) become one-hot."""
    labels = to_float("target", target, logits.shape[1])
    if labels.shape != logits.shape:
        expected = f"of shape {tuple(logits.shape)}, as the logits are, or class ids (B,)"
        check.fail("target", expected, tuple(labels.shape))
    return labels.to(logits)


def label_mean(labels: Tensor, each: Tensor) -> Tensor:
    """Return the sum over the classes of labels times what each class costs, (B, ...); of an axis 1 of K classes.

    A class that is not asked for counts nowhere, even where it costs infinity: a logit of -inf rules it out.
    """
    return torch.where(labels != 0, labels * each, 0.0).sum(1)


def source_labels(target: Tensor, plan: Plan, logits: Tensor, other: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the labels of the original and of each partner of the mixes, and how much of each there is.

    Parameters
    ----------
    target : Tensor, shape (B,) int64 or (B, K)
        Labels before they were mixed.
    plan : Plan
        What the mixes were made by.
    logits : Tensor, shape (B, K)
        Of the mixes.
    other : Tensor, shape (M,) or (M, K), optional
        Labels of the second batch, where partners come from one.

    Returns
    -------
    labels : Tensor, shape (B, S + 1, K)
        In the dtype of the logits. A partner that a mix does not have is without a label.
    shares : Tensor, shape (B, S + 1)
        0 of a partner that a mix does not have.

    Raises
    ------
    ValueError
        Labels of another size, or partners that are not there.
    """
    check.batch("logits", logits, len(plan))
    own = check_targets(target, logits)
    source = own
    if other is not None:
        source = to_float("other_target", other, logits.shape[1]).to(logits)
        if source.shape[1:] != own.shape[1:]:
            check.fail("other_target", f"of shape (M, {own.shape[1]}), as target is", tuple(source.shape))
    partners, shares = plan.label_shares()
    if int(partners.max()) >= len(source):
        slip = "" if other is not None else "was it drawn with other=?"
        check.fail("plan", f"of partners in 0..{len(source) - 1}", int(partners.max()), slip)
    shares = shares.to(logits)
    rows = partners.clamp(min=0).to(logits.device)
    there = (partners >= 0).to(logits.device)[..., None]
    labels = torch.cat([own[:, None], torch.where(there, source[rows], 0.0)], 1)
    return labels, shares


def unit_features(name: str, value: Tensor, like: Tensor | None = None) -> Tensor:
    """Return embeddings (B, D) at length 1, in float32 at least; zeros have no direction, and stay.

    Raises
    ------
    ValueError
        Another shape, or not that of `like`.
    """
    check.batch(name, check.floating(name, value))
    if value.ndim != 2 or (like is not None and value.shape != like.shape):
        expected = "embeddings (B, D)" if like is None else f"embeddings {tuple(like.shape)}, as the others are"
        check.fail(name, expected, f"shape {tuple(value.shape)}")
    return unit(value)


def unit(value: Tensor) -> Tensor:
    """Return vectors (..., D) at length 1, in float32 at least; zeros stay."""
    value = value.to(wide(value))
    largest = value.detach().abs().amax(-1, keepdim=True)
    # squares of very small numbers are 0, of very large ones infinite
    value = value / torch.where(largest > 0, largest, 1.0)
    size = torch.linalg.vector_norm(value, dim=-1, keepdim=True)
    return value / torch.where(size > 0, size, 1.0)


def dots(a: Tensor, b: Tensor) -> Tensor:
    """Return the products of all vectors (..., N, D) with all of (..., M, D): cosines, where they have length 1.

    Autocast would take them in half precision: of a temperature of 0.05 a step of it is an error of 8 %.
    """
    with torch.autocast(a.device.type, enabled=False):
        return a @ b.to(a).transpose(-1, -2)


def pair_shares(plan: Plan, like: Tensor) -> Tensor:
    """Return how much of each clip of the batch (B, B) is in each mix: rows sum to 1, in the dtype of `like`.

    Raises
    ------
    ValueError
        Partners come from a second batch.
    """
    partners, shares = plan.label_shares()
    if int(partners.max()) >= len(plan):
        check.fail("plan", "of partners in the batch", f"partner {int(partners.max())}", "was it drawn with other=?")
    rows = torch.cat([torch.arange(len(plan))[:, None], partners.clamp(min=0)], 1)
    # added up: a clip may be its own partner, or two of its own partners
    return torch.zeros(len(plan), len(plan), dtype=torch.float64).scatter_add_(1, rows, shares).to(like)
