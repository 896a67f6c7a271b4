r"""SFTMix: the last hidden states of a sequence that the model is sure of, mixed with those of one that it is not.

.. math:: \tilde h = w h + (1 - w) h_p, \qquad
          L = -\frac{1}{N} \sum_n \left[ w \log q(\tilde h_n)_{y_n} + (1 - w) \log q(\tilde h_n)_{y_{p,n}} \right]

up to the end of the shorter one: one more call of the output layer, none of the model. It is added to the loss of the
task, times 0.2, for captioning and for speech recognition with an attention decoder. The equations could not be read in
the paper itself: they are as others tell them.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import check
from ..plan import Plan
from ._inputs import wide

__all__ = ["sft_mix"]


def sft_mix(
    hidden: Tensor,
    target: Tensor,
    plan: Plan,
    head: Callable[[Tensor], Tensor],
    *,
    lengths: Tensor | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """Return the loss of mixed hidden states, mean over the positions that both sequences of a pair have.

    Source: Xiao et al., "SFTMix: Elevating Language Model Instruction Tuning with Mixup Recipe", arXiv:2410.05248,
    2024.

    Parameters
    ----------
    hidden : Tensor, shape (B, N, D), floating point
        Last hidden states.
    target : Tensor, shape (B, N), int64
        The token that each position is to predict.
    plan : Plan
        One partner a sequence, in the batch: of ``MixUp(0.5, pairing="confidence")``. What is not mixed counts nowhere.
    head : callable
        The output layer: hidden states (R, D) to logits (R, K).
    lengths : Tensor, shape (B,), optional
        Valid positions of each sequence.
    ignore_index : int
        A target that is none, as in `torch.nn.functional.cross_entropy`.

    Returns
    -------
    Tensor, scalar
        In float32 at least; 0 where no position counts.

    Raises
    ------
    ValueError, TypeError
        Sizes that do not fit, partners of a second batch, or another wrong argument.

    Examples
    --------
    >>> hidden = torch.zeros(2, 3, 4)
    >>> plan = Plan(torch.tensor([1, 0]), torch.tensor([0.5, 1.0], dtype=torch.float64))
    >>> sft_mix(hidden, torch.zeros(2, 3, dtype=torch.int64), plan, lambda h: h[:, :2])  # log 2
    tensor(0.6931)
    """
    check.batch("hidden", check.floating("hidden", hidden), len(plan), ndim=3)
    if hidden.ndim != 3 or target.shape != hidden.shape[:2] or target.is_floating_point():
        got = f"{tuple(hidden.shape)} and {target.dtype} {tuple(target.shape)}"
        check.fail("hidden and target", "of shape (B, N, D) and, of class ids, (B, N)", got)
    partners, _ = plan.label_shares()
    if partners.shape[1] != 1:
        check.fail("plan", "of one partner a sequence", partners.shape[1])
    if int(partners.max()) >= len(plan):
        check.fail("plan", "of partners in the batch", f"partner {int(partners.max())}", "was it drawn with other=?")
    partner = plan.partner.to(hidden.device)
    size = torch.full((len(plan),), hidden.shape[1], device=hidden.device)
    if lengths is not None:
        size = check.lengths("lengths", lengths, hidden.transpose(1, 2)).to(hidden.device)
    position = torch.arange(hidden.shape[1], device=hidden.device)
    there = position < torch.minimum(size, size[partner])[:, None]
    # both are to be tokens: half of a target would leave the other half to nothing
    there &= (target != ignore_index) & (target[partner] != ignore_index) & (plan.weight < 1).to(hidden.device)[:, None]
    rows, columns = there.nonzero().unbind(1)
    weight = plan.weight.to(hidden.device, wide(hidden))[rows]
    own, theirs = hidden[rows, columns], hidden[partner[rows], columns]
    if not len(rows):
        return own.to(weight.dtype).sum()  # of nothing: what stands behind the ends is not looked at
    mixed = weight[:, None] * own.to(weight.dtype) + (1 - weight)[:, None] * theirs.to(weight.dtype)
    logits = head(mixed.to(hidden.dtype))
    logits = logits.to(wide(logits))
    losses = [F.cross_entropy(logits, target[r, columns], reduction="none") for r in (rows, partner[rows])]
    return (weight * losses[0] + (1 - weight) * losses[1]).mean()
