r"""The loss of Decoupled Mixup: each class of a mix is told from all others but that of the other clip.

.. math:: L = H(\tilde y, z) + \eta \sum_s w_s \, (-\log q_s), \qquad
          q_a = \frac{\exp z_a}{\sum_{k \ne b} \exp z_k}

of a mix of a class a and a class b, and likewise q_b without a: neither class can only grow at the cost of the other,
so that the network may be sure of both. The term of a pair of one class is 0. The modes ``less`` and ``more`` keep one
term of each mix: the reference's configurations of CIFAR-100 have ``less`` for mixes by area and ``more`` for sums.

The reference code of the paper takes one weight for the whole batch, and exchanges the two where the first clip's
class has the larger number; its modes choose the clip once for the whole batch as well. Here each mix has its own.
"""

from typing import Literal

import torch
from torch import Tensor

from .. import check
from ..plan import Plan
from ._inputs import check_logits, label_mean, source_labels

__all__ = ["decoupled"]

Weighting = Literal["share", "none"]
Mode = Literal["both", "less", "more"]


def decoupled(
    logits: Tensor,
    target: Tensor,
    plan: Plan,
    *,
    eta: float = 0.1,
    weighting: Weighting = "share",
    mode: Mode = "both",
    threshold: float = 0.5,
    other: Tensor | None = None,
) -> Tensor:
    """Return the cross-entropy of mixes and, `eta` times, that of each class without its competitors.

    Source: Liu et al., "Harnessing Hard Mixed Samples with Decoupled Regularizer", NeurIPS 2023.

    Parameters
    ----------
    logits : Tensor, shape (B, K), floating point
        Of the network on the mixes.
    target : Tensor, shape (B,) int64 or (B, K)
        Labels before they were mixed. Of several labels of one clip each counts by its share of them; for that the
        extension is ours.
    plan : Plan
        What the mixes were made by. Of more than two clips each is told from all others.
    eta : float
        Weight of the second term; 0 leaves the cross-entropy.
    weighting : str
        ``share``: the terms of the clips count by their shares, as in the paper's configurations; ``none``: alike.
    mode : str
        Whose terms are kept: of ``both`` clips (of all), or of one alone, the one with ``less`` or with ``more`` of the
        mix. Of equal shares the original is the one with more; of more than two clips it is the smallest or the
        largest share [ours].
    threshold : float
        Share below which the original counts as the one with less, in (0, 1). Other than 0.5 for pairs alone.
    other : Tensor, optional
        Labels of the second batch, where partners come from one.

    Returns
    -------
    Tensor, scalar
        Mean over the batch, in float32 at least.

    Raises
    ------
    ValueError, TypeError
        Labels that do not fit, partners that are not there, or another wrong argument.

    Examples
    --------
    >>> plan = Plan(torch.tensor([1, 0]), torch.tensor([0.5, 1.0], dtype=torch.float64))
    >>> logits = torch.tensor([[4.0, 4.0, 0.0], [0.0, 4.0, 0.0]])
    >>> [round(float(decoupled(logits, torch.tensor([0, 1]), plan, eta=eta)), 4) for eta in (0.0, 0.1)]
    [0.3691, 0.37]
    >>> [round(float(decoupled(logits, torch.tensor([0, 1]), plan, mode=m)), 5) for m in ("both", "less", "more")]
    [0.37003, 0.36957, 0.36957]
    """
    z = check_logits("logits", logits)
    check.number("eta", eta, 0)
    check.choice("weighting", weighting, ["share", "none"])
    check.choice("mode", mode, ["both", "less", "more"])
    if not 0 < check.number("threshold", threshold, 0, 1) < 1:
        check.fail("threshold", "above 0 and below 1", threshold, "one term alone: mode='less' or 'more'")
    labels, shares = source_labels(target, plan, z, other)
    mixed = (shares[..., None] * labels).sum(1)
    loss = label_mean(mixed, -z.log_softmax(1))
    if not eta:
        return loss.mean()
    there = shares > 0
    labels = torch.where(there[..., None], labels, 0.0)
    has = labels > 0
    count = has.sum(1, keepdim=True)  # clips of the mix that have a class
    # a class of another clip that this one does not have
    competes = (count - has.to(count.dtype) > 0) & ~has & there[..., None]
    log_norm = z[:, None].masked_fill(competes, -torch.inf).logsumexp(2)
    mass = labels.sum(2)
    term = mass * log_norm - label_mean(labels.transpose(1, 2), z[:, :, None])
    weights = shares if weighting == "share" else there.to(z)
    weights = torch.where(competes.any(2), weights, 0.0)  # clips of the same labels: nothing to tell apart
    if mode != "both":
        weights = weights * _one_of(shares, mode, threshold)
    return (loss + eta * (weights * term).sum(1)).mean()


def _one_of(shares: Tensor, mode: Mode, threshold: float) -> Tensor:
    """Return 1 for the clip of each mix whose term is kept, 0 for the others; (B, S + 1)."""
    size = shares.shape[1]
    if size == 2:
        index = ((shares[:, 0] < threshold) != (mode == "less")).long()
    elif threshold != 0.5:
        return check.fail("threshold", f"0.5 for mixes of {size} clips", threshold)
    elif mode == "more":
        index = shares.argmax(1)
    else:  # the last one of equal shares, as of pairs
        index = size - 1 - torch.where(shares > 0, shares, torch.inf).flip(1).argmin(1)
    return torch.nn.functional.one_hot(index, size).to(shares)
