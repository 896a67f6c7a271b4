r"""Clip labels under a plan.

===========  ==========================================================================================
rule         label, of sources with labels y_k and shares w_k of the target
===========  ==========================================================================================
linear       sum w_k y_k: soft labels; label mass is kept (sums of one stay one)
union        max y_k: all sounds are really there (multi-label tagging)
probability  1 - prod(1 - y_k): union for soft labels, of sounds that are there independently
dominant     the label of the largest share; of equal ones the first's
power        min(1, sum min(1, w_k / threshold)^exponent y_k): above `threshold` (1) a share counts as
             whole, below it by its power (`exponent`, 0.5) [OpenMixup's rescaled lambda]
sharp        min(1, sum w_k^temperature y_k), `temperature` 0.3 [SSLH]
===========  ==========================================================================================

Shares are those of `audiomix.Plan.label_shares`, the original's first; a source without a share counts nowhere. The
last two do not keep the mass. Options stand behind the name: ``"power:threshold=0.8,exponent=0.8"``.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import check
from ..options import read_values
from ..plan import Plan

__all__ = ["RULES", "apply_rule", "check_labels", "check_rule", "mix_labels", "to_float"]


def mix_labels(
    target: Tensor,
    plan: Plan,
    *,
    rule: str = "linear",
    num_classes: int | None = None,
    other: Tensor | None = None,
) -> Tensor:
    """Mix clip labels as the plan says.

    Parameters
    ----------
    target : Tensor, shape (B,) int64, or (B, K) or (B, R) floating point
        Class ids (with `num_classes`), one-hot, multi-hot or soft labels, or regression values.
    plan : Plan
        What a mixer drew for the clips.
    rule : str
        ``linear``, ``union``, ``probability``, ``dominant``, ``power`` or ``sharp``; see the head of this module.
    num_classes : int, optional
        K, for class ids.
    other : Tensor, optional
        Labels of the second batch, where partners come from one.

    Returns
    -------
    Tensor, shape (B, K) or (B, R), floating point.

    Raises
    ------
    ValueError, TypeError
        Class ids without `num_classes` or out of range, a shape that does not fit, an unknown rule.

    Examples
    --------
    >>> plan = Plan(torch.tensor([1, 0]), torch.tensor([0.75, 0.5], dtype=torch.float64))
    >>> mix_labels(torch.tensor([2, 0]), plan, num_classes=3)
    tensor([[0.2500, 0.0000, 0.7500],
            [0.5000, 0.0000, 0.5000]])
    """
    partners, shares = plan.label_shares()
    if rule == "linear" and target.ndim == 1 and (other is None or other.ndim == 1) and num_classes is not None:
        return _add_shares(target, partners, shares, num_classes, other)
    own = to_float("target", target, num_classes)
    source = own if other is None else to_float("other_target", other, num_classes)
    check.batch("target", own, len(plan))
    if own.shape[1:] != source.shape[1:]:
        check.fail("other_target", f"of shape (M, {own.shape[1]}), as target is", tuple(source.shape))
    partners, shares = _send(partners, shares, own.device)
    theirs = [source[rows] for rows in partners.unbind(1)]
    return apply_rule([own, *theirs], [share[:, None] for share in shares.unbind(1)], rule)


def _send(partners: Tensor, shares: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return rows of partners, 0 where there is none, and shares on a device, in one copy."""
    rows = partners.clamp(min=0)
    if device.type == "cpu":
        return rows, shares
    sent = torch.cat([rows.double(), shares], 1).to(device, non_blocking=True)
    return sent[:, : rows.shape[1]].long(), sent[:, rows.shape[1] :]


def _add_shares(target: Tensor, partners: Tensor, shares: Tensor, num_classes: int, other: Tensor | None) -> Tensor:
    """Return ``linear`` labels of class ids: each share is added to its class, without a one-hot table a source."""
    own = check_labels("target", target, num_classes).long()
    source = own if other is None else check_labels("other_target", other, num_classes).long()
    check.batch("target", own, len(partners), ndim=1)
    dtype = torch.get_default_dtype()
    if own.is_cpu and source.is_cpu:
        mixed = _add_on_cpu(own.numpy(), source.numpy(), partners.numpy(), shares.numpy(), num_classes)
        return torch.from_numpy(mixed.astype(np.float32) if dtype == torch.float32 else mixed).to(dtype)
    partners, shares = _send(partners, shares, own.device)
    ids = torch.cat([own[:, None], source[partners]], 1)
    mixed = torch.zeros(len(own), num_classes, dtype=torch.float64, device=own.device)
    return mixed.scatter_add_(1, ids, shares).to(dtype)


def _add_on_cpu(own: Any, source: Any, partners: Any, shares: Any, num_classes: int) -> Any:
    """Do the same with NumPy, whose calls on the few numbers of a batch cost a fifth of torch's."""
    size = len(own)
    place = np.empty(shares.shape, dtype=np.int64)  # in the table, row after row
    place[:, 0], place[:, 1:] = own, source[partners]  # a partner of -1 has no share: some class gets 0 more
    place += np.arange(0, size * num_classes, num_classes)[:, None]
    return np.bincount(place.ravel(), shares.ravel(), size * num_classes).reshape(size, num_classes)


def apply_rule(labels: Sequence[Tensor], shares: Sequence[Tensor], rule: str) -> Tensor:
    """Combine the labels of the original and of its partners.

    Parameters
    ----------
    labels : sequence of Tensor, shape (B, ...) each
        The original's first.
    shares : sequence of Tensor, float64
        Of each; broadcast over the labels, and brought to their device.
    rule : str
        See the head of this module.
    """
    combine, options = check_rule(rule)
    device = labels[0].device
    return combine(labels, [share.to(device) for share in shares], **options).to(labels[0].dtype)


def _linear(labels: Sequence[Tensor], shares: Sequence[Tensor]) -> Tensor:
    mixed = shares[0] * labels[0]
    for label, share in zip(labels[1:], shares[1:]):
        mixed = mixed + share * label
    return mixed


def _union(labels: Sequence[Tensor], shares: Sequence[Tensor]) -> Tensor:
    found = torch.where(shares[0] > 0, labels[0], -torch.inf)
    for label, share in zip(labels[1:], shares[1:]):
        found = torch.where(share > 0, torch.maximum(found, label), found)
    return found


def _probability(labels: Sequence[Tensor], shares: Sequence[Tensor]) -> Tensor:
    found = torch.where(shares[0] > 0, labels[0], 0.0)
    for label, share in zip(labels[1:], shares[1:]):
        found = torch.where(share > 0, found + label * (1 - found), found)  # of one label its own bits
    return found


def _dominant(labels: Sequence[Tensor], shares: Sequence[Tensor]) -> Tensor:
    found, largest = labels[0], shares[0]
    for label, share in zip(labels[1:], shares[1:]):
        found, largest = torch.where(share > largest, label, found), torch.maximum(share, largest)
    return found


def _power(
    labels: Sequence[Tensor], shares: Sequence[Tensor], *, threshold: float = 1.0, exponent: float = 0.5
) -> Tensor:
    return _linear(labels, [(share / threshold).clamp(max=1) ** exponent for share in shares]).clamp(max=1)


def _sharp(labels: Sequence[Tensor], shares: Sequence[Tensor], *, temperature: float = 0.3) -> Tensor:
    return _linear(labels, [share**temperature for share in shares]).clamp(max=1)


RULES: dict[str, Callable[..., Tensor]] = {
    "linear": _linear,
    "union": _union,
    "probability": _probability,
    "dominant": _dominant,
    "power": _power,
    "sharp": _sharp,
}


@lru_cache(maxsize=64)
def check_rule(rule: str) -> tuple[Callable[..., Tensor], dict[str, Any]]:
    """Return what a rule does and its options, or raise ValueError.

    Parameters
    ----------
    rule : str
        ``NAME`` or ``NAME:key=value,...``.

    Examples
    --------
    >>> check_rule("sharp:temperature=0.5")[1]
    {'temperature': 0.5}
    """
    name, _, text = str(rule).partition(":")
    combine = RULES[check.choice("rule", name, RULES)]
    kinds = dict.fromkeys(combine.__kwdefaults__ or {}, float)
    options = read_values(text, kinds, f"rule {name}")
    for option, value in options.items():  # a power of 0 would give a share to sources that have none
        check.number(f"the option {option} of rule {name}", value, 1e-6, 1 if option == "threshold" else 1e6)
    return combine, options


# Labels that were mixed may exceed 1 by rounding.
_ROUNDING = 1e-3


def check_labels(name: str, target: Tensor, num_classes: int | None = None) -> Tensor:
    """Return labels that a mixer can take, unchanged, or raise.

    Parameters
    ----------
    name : str
        What they are called in the message.
    target : Tensor, shape (B,), (B, K), (B, R) or (B, K, N)
        Class ids, labels, regression values, or labels of N frames.
    num_classes : int, optional
        K. With it labels are shares of classes, in [0, 1].
    """
    check.batch(name, target, ndim=1)
    if target.is_complex() or target.ndim > 3:
        expected = "class ids (B,), labels (B, K) or frame labels (B, K, N)"
        check.fail(name, expected, f"{target.dtype} of shape {tuple(target.shape)}")
    if target.ndim == 3 and not target.is_floating_point():
        check.fail(name, "floating point for frame labels (B, K, N)", target.dtype, f"{name}.float()?", TypeError)
    if target.is_floating_point() and target.ndim == 1:
        slip = f"class ids? {name}.long(); one regression value? {name}[:, None]"
        check.fail(name, "of shape (B, K) or (B, R)", f"shape {tuple(target.shape)}", slip)
    if target.ndim > 1:
        if num_classes is not None:
            _check_shares(name, target, num_classes)
        return target
    if num_classes is None:
        check.fail(name, "floating point (B, K)", f"class ids of shape {tuple(target.shape)}", "pass num_classes=K")
    if target.device.type == "cpu":  # elsewhere looking would make the host wait; torch then asserts on the device
        ids = target.tolist()
        low, high = min(ids), max(ids)
        if low < 0 or high >= num_classes:
            check.fail(name, f"class ids in 0..{num_classes - 1}", f"{low}..{high}", "ids of a larger set? remap them")
    return target


def _check_shares(name: str, target: Tensor, num_classes: int) -> None:
    """Raise where labels (B, K) or (B, K, N) are not of so many classes, or no shares of them."""
    if target.shape[1] != num_classes:
        slip = f"class ids? {name}[:, 0]" if target.shape[1:] == (1,) else ""
        if target.shape[-1] == num_classes:
            slip = f"frames before classes? {name}.transpose(1, 2)"
        shape = f"(B, {num_classes}{', N' * (target.ndim - 2)})"
        check.fail(name, f"of shape {shape}, as num_classes says", tuple(target.shape), slip)
    if target.device.type == "cpu":  # elsewhere looking would make the host wait
        low, high = (float(value) for value in target.detach().aminmax())
        if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # NaN is not
            slip = "logits? softmax or sigmoid first" if target.is_floating_point() else "class ids? one number a clip"
            check.fail(name, "shares of classes in [0, 1]", f"{low:g}..{high:g}", slip)


def to_float(name: str, target: Tensor, num_classes: int | None = None) -> Tensor:
    """Return labels as floating point (B, ...): class ids become one-hot, others keep their shape.

    Half precision holds whole numbers up to 2048 only, so labels are never cast to the dtype of the sound.
    """
    target = check_labels(name, target, num_classes)
    if target.ndim > 1:  # whole numbers are multi-hot
        return target if target.is_floating_point() else target.to(torch.get_default_dtype())
    return torch.nn.functional.one_hot(target.long(), num_classes or -1).to(torch.get_default_dtype())
