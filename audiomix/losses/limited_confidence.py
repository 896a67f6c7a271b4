r"""A cross-entropy that stops early to push what is already likely: for how often N draws would find the class.

.. math:: L = -\log\left(1 - (1 - p_y)^N\right)

N = 1 is the cross-entropy. With larger N the gradient of a class of probability p is that of the cross-entropy times
:math:`N (1 - p)^{N - 1} p / (1 - (1 - p)^N)`, which is near 0 as soon as N draws would find it: the network is not
made more confident than that. A mixed label has the mean over its classes; that is ours.
"""

import math

import torch
from torch import Tensor

from .. import check
from ._inputs import check_logits, check_targets, label_mean

__all__ = ["limited_confidence"]


def limited_confidence(logits: Tensor, target: Tensor, *, draws: int = 4) -> Tensor:
    """Return the direct coverage loss, mean over the batch.

    Source: Chen et al., "Rethinking Fine-Tuning when Scaling Test-Time Compute: Limiting Confidence Improves
    Mathematical Reasoning", NeurIPS 2025; there for answers to a question, of a classifier here.

    Parameters
    ----------
    logits : Tensor, shape (B, K), floating point
        Of the network.
    target : Tensor, shape (B,) int64 or (B, K)
        Class ids, or shares of classes.
    draws : int
        N, 1 or more.

    Returns
    -------
    Tensor, scalar
        In float32 at least.

    Raises
    ------
    ValueError, TypeError
        A target that does not fit the logits, or another wrong argument.

    Examples
    --------
    >>> logits, target = torch.tensor([[0.0, 0.0]]), torch.tensor([1])  # p = 1/2
    >>> [round(float(limited_confidence(logits, target, draws=draws)), 4) for draws in (1, 2, 4)]
    [0.6931, 0.2877, 0.0645]
    """
    z = check_logits("logits", logits)
    labels = check_targets(target, z)
    check.integer("draws", draws, 1)
    log_p = z.log_softmax(1)
    if draws == 1:
        each = -log_p
    else:
        # log(1 - p) from the other classes' logits: 1 - exp(log p) has no digits left where p is near 1
        rest = log_one_minus(z)
        miss = draws * rest  # log of the probability that no draw finds the class
        # where p is so small that (1 - p)^N rounds to 1, N p is what is left
        small = miss > -1e-6
        safe = torch.where(small, -1.0, miss)
        each = -torch.where(small, log_p + math.log(draws), torch.log(-torch.expm1(safe)))
    return label_mean(labels, each).mean()


def log_one_minus(logits: Tensor) -> Tensor:
    """Return log(1 - p) of each class, with all digits where p is near 1; (B, K)."""
    top = torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).bool()
    # only the most likely class can be near 1: of that the others' probabilities are summed
    others = logits.masked_fill(top, -torch.inf)
    none = (others == -torch.inf).all(1, keepdim=True)  # all others are ruled out: the sum of nothing has no gradient
    rest = others.masked_fill(none, 0.0).logsumexp(1, keepdim=True) - logits.logsumexp(1, keepdim=True)
    rest = rest.masked_fill(none, -torch.inf)
    return torch.where(top, rest, torch.log1p(-logits.softmax(1).masked_fill(top, 0.0)))
