r"""Comp-sum losses: one family from the logistic loss to the mean absolute error.

.. math:: \Phi_\tau(u) = \frac{(1 + u)^{1 - \tau} - 1}{1 - \tau}, \qquad
          u = \sum_{k \ne y} \exp(z_k - z_y) = \frac{1}{p_y} - 1

tau = 1 is the cross-entropy, tau in (1, 2) the generalised cross-entropy, which is less misled by wrong labels, and
tau = 2 the mean absolute error 1 - p. A mixed label has the mean over its classes; that is ours.
"""

import torch
from torch import Tensor

from .. import check
from ._inputs import check_logits, check_targets, label_mean

__all__ = ["comp_sum"]


def comp_sum(logits: Tensor, target: Tensor, *, tau: float = 1.5) -> Tensor:
    """Return the comp-sum loss, mean over the batch.

    Source: Mao, Mohri and Zhong, "Cross-Entropy Loss Functions: Theoretical Analysis and Applications", ICML 2023.

    Parameters
    ----------
    logits : Tensor, shape (B, K), floating point
        Of the network.
    target : Tensor, shape (B,) int64 or (B, K)
        Class ids, or shares of classes.
    tau : float
        0 or above: 0 the sum of exponentials, 1 the cross-entropy, 2 the mean absolute error.

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
    >>> [round(float(comp_sum(logits, target, tau=tau)), 4) for tau in (0, 1, 1.5, 2)]
    [1.0, 0.6931, 0.5858, 0.5]
    """
    z = check_logits("logits", logits)
    labels = check_targets(target, z)
    check.number("tau", tau, 0)
    # a class that is not asked for may cost more than a number can be, and that would spoil the gradient of all
    log_p = torch.where(labels != 0, z.log_softmax(1), 0.0)
    # (p ** (tau - 1) - 1) / (1 - tau), which is -log p at tau = 1; expm1 keeps the digits beside it
    each = -log_p if tau == 1 else torch.expm1((tau - 1) * log_p) / (1 - tau)
    return label_mean(labels, each).mean()
