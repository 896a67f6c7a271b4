r"""Metrix: a mix of a positive and a negative of an anchor is to be as near to it as it has of the positive.

.. math:: v = \lambda p + (1 - \lambda) n, \qquad
          L = \lambda \, [d(a, v) - m_+]_+ + (1 - \lambda) \, [m_- - d(a, v)]_+, \qquad \lambda \sim \mathrm{Beta}(2, 2)

d is the Euclidean distance of embeddings of length 1. It is added to the loss of the clips without mixing, times 0.4 in
the paper's code. Negatives are those of the anchor itself: that code takes others where it numbers them within a part
of the batch.
"""

from typing import Literal

import torch
from torch import Tensor

from .. import check, draw
from ..draw import Generator
from ._inputs import unit_features

__all__ = ["metrix"]

Pairs = Literal["positive", "anchor"]


def metrix(
    embedding: Tensor,
    label: Tensor,
    *,
    pairs: Pairs = "positive",
    alpha: float = 2.0,
    positive_margin: float = 0.0,
    negative_margin: float = 0.5,
    generator: Generator = None,
) -> Tensor:
    """Return the contrastive loss of anchors with mixes of their positives and negatives; mean over what is above 0.

    Source: Venkataramanan et al., "It Takes Two to Tango: Mixup for Deep Metric Learning", ICLR 2022.

    Parameters
    ----------
    embedding : Tensor, shape (B, D), floating point
        Of any length.
    label : Tensor, shape (B,), int64
        Classes.
    pairs : str
        ``positive``: each positive of an anchor is mixed with each of its negatives. ``anchor``: the anchor itself is.
        The paper tosses a coin in each step.
    alpha : float
        Of Beta(alpha, alpha), above 0.
    positive_margin, negative_margin : float
        Distances below which a positive, and above which a negative costs nothing; 0 or more.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.

    Returns
    -------
    Tensor, scalar
        In float32 at least; 0 where no anchor has both. Memory is in proportion to D times the number of triples, up to
        B^3 / 4.

    Raises
    ------
    ValueError, TypeError
        Labels that do not fit the embeddings, or another wrong argument.

    Examples
    --------
    >>> far = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    >>> bool(metrix(far, torch.tensor([0, 0, 1]), generator=torch.Generator().manual_seed(0)) > 0)
    True
    """
    x = unit_features("embedding", embedding)
    label = check.batch("label", label, len(x), ndim=1).to(x.device)
    if label.ndim != 1 or label.is_floating_point():
        check.fail("label", "class ids (B,)", f"{label.dtype} of shape {tuple(label.shape)}")
    check.choice("pairs", pairs, ["positive", "anchor"])
    check.number("alpha", alpha, 1e-3)
    near, far = (check.number(n, m, 0) for n, m in
                 (("positive_margin", positive_margin), ("negative_margin", negative_margin)))  # fmt: skip
    same = label[:, None] == label
    itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
    first = same & ~itself if pairs == "positive" else itself
    anchor, positive, negative = (first[:, :, None] & ~same[:, None, :]).nonzero().unbind(1)
    if not len(anchor):
        return (x * 0).sum()
    share = draw.beta(alpha, len(anchor), generator=generator).to(x)
    mixed = share[:, None] * x[positive] + (1 - share[:, None]) * x[negative]
    square = (x[anchor] - mixed).square().sum(1)
    # the root has no gradient at 0
    distance = torch.where(square > 0, torch.where(square > 0, square, 1.0).sqrt(), 0.0)
    loss = share * torch.relu(distance - near) + (1 - share) * torch.relu(far - distance)
    return loss.sum() / (loss > 0).sum().clamp(min=1)
