r"""Clip labels under a plan.

========  =============================================================================================
rule      label
========  =============================================================================================
linear    w y + (1 - w) y': soft labels; label mass is kept (sums of one stay one)
union     max(y, y'): both sounds are really there (multi-label tagging); an unmixed clip keeps its own
dominant  the label of the larger share
========  =============================================================================================

w is the plan's weight, the original's share.
"""

import torch
from torch import Tensor

from .. import check
from ..plan import Plan

__all__ = ["RULES", "apply_rule", "check_labels", "mix_labels", "to_float"]

RULES = ("linear", "union", "dominant")


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
        ``linear``, ``union`` or ``dominant``.
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
    own = to_float("target", target, num_classes)
    source = own if other is None else to_float("other_target", other, num_classes)
    check.batch("target", own, len(plan))
    if own.shape[1:] != source.shape[1:]:
        check.fail("other_target", f"of shape (M, {own.shape[1]}), as target is", tuple(source.shape))
    return apply_rule(own, source[plan.partner.to(own.device)], plan.weight[:, None], rule)


def apply_rule(own: Tensor, partner: Tensor, weight: Tensor, rule: str) -> Tensor:
    """Combine labels of originals and partners; `weight` (float64, CPU) broadcasts over them."""
    check.choice("rule", rule, RULES)
    w = weight.to(own.device)
    if rule == "linear":
        return (w * own + (1 - w) * partner).to(own.dtype)
    if rule == "dominant":
        return torch.where(w >= 0.5, own, partner)
    both = torch.maximum(own, partner)
    return torch.where(w == 1, own, torch.where(w == 0, partner, both))


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
        low, high = (int(value) for value in target.aminmax())
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
