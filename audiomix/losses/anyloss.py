r"""AnyLoss: measures of a confusion matrix as losses, for classes of very different size.

.. math:: A(p) = \frac{1}{1 + \exp(-L (p - 1/2))}, \quad
          \mathrm{TP} = \sum y A, \; \mathrm{FP} = \sum A - \mathrm{TP}, \; \mathrm{FN} = \sum y - \mathrm{TP}, \;
          \mathrm{TN} = N - \sum y - \sum A + \mathrm{TP}

A is near 0 or 1 for all but probabilities near one half, so that the counts are nearly those of decisions and have a
gradient. The larger L, the nearer, and the smaller the gradient of what is far from one half: at most L / 4 at it.
"""

from typing import Literal

import torch
from torch import Tensor

from .. import check
from ._inputs import check_logits, check_targets

__all__ = ["anyloss"]

Measure = Literal["f", "balanced_accuracy", "geometric"]


def anyloss(
    logits: Tensor, target: Tensor, *, measure: Measure = "f", beta: float = 1.0, sharpness: float = 30.0
) -> Tensor:
    """Return 1 less a measure of the decisions on a batch, mean over the classes that have a positive clip.

    Source: Han, Moniz and Chawla, "AnyLoss: Transforming Classification Metrics into Loss Functions", KDD 2024.

    Parameters
    ----------
    logits : Tensor, shape (B, K), floating point
        Of the network; a class each is decided by the sigmoid.
    target : Tensor, shape (B, K), or (B,) class ids
        What is there, in [0, 1]; mixed labels may be.
    measure : str
        ``f``: the F measure. ``balanced_accuracy``: the mean of the recall of what is there and of what is not.
        ``geometric``: the product of the two, the square of their geometric mean. A class that all clips are of has no
        second recall, and does not count for these.
    beta : float
        Of ``f``: how many times as much as precision recall counts.
    sharpness : float
        L, above 0: 2 to 70 in the paper's code.

    Returns
    -------
    Tensor, scalar
        In [0, 1], in float32 at least; 0 with a gradient of 0 where no class counts.

    Raises
    ------
    ValueError, TypeError
        A target that does not fit the logits, or another wrong argument.

    Examples
    --------
    >>> logits = torch.tensor([[9.0, -9.0], [-9.0, -9.0]])  # the first clip is of class 0, the second of none
    >>> anyloss(logits, torch.tensor([[1.0, 0.0], [0.0, 0.0]])).round(decimals=4)
    tensor(0.)
    """
    z = check_logits("logits", logits)
    labels = check_targets(target, z)
    check.choice("measure", measure, ["f", "balanced_accuracy", "geometric"])
    check.number("beta", beta, 0)
    check.number("sharpness", sharpness, 1e-6)
    decision = torch.sigmoid(sharpness * (z.sigmoid() - 0.5))
    true_positive = (labels * decision).sum(0)
    positive, negative = labels.sum(0), (1 - labels).sum(0)
    true_negative = ((1 - labels) * (1 - decision)).sum(0)
    counts = positive > 0
    if measure == "f":
        # (1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP), whose denominator is b^2 P + sum of A
        below = beta**2 * positive + decision.sum(0)
        value = (1 + beta**2) * true_positive / torch.where(counts & (below > 0), below, 1.0)
    else:
        counts = counts & (negative > 0)
        recall = true_positive / torch.where(counts, positive, 1.0)
        other = true_negative / torch.where(counts, negative, 1.0)
        value = (recall + other) / 2 if measure == "balanced_accuracy" else recall * other
    return (counts * (1 - value)).sum() / counts.sum().clamp(min=1)
