r"""The contrastive loss, with a view of which negatives its temperature makes it learn from.

.. math:: L = -\frac{1}{B} \sum_i \log \frac{\exp(s_{i,i} / \tau)}{\sum_j \exp(s_{i,j} / \tau)}, \qquad
          r_{i,j} = \frac{\exp(s_{i,j} / \tau)}{\sum_{k \ne i} \exp(s_{i,k} / \tau)}

s are cosines. The gradient of the loss in the cosine of a negative is in proportion to r: the smaller the temperature,
the more of it goes to the nearest ones. `hardest` leaves the others out altogether.
"""

import torch
from torch import Tensor

from .. import check
from ._inputs import dots, unit_features

__all__ = ["info_nce", "negative_weights"]


def info_nce(
    a: Tensor,
    b: Tensor,
    *,
    temperature: float = 0.1,
    hardest: float = 1.0,
    labels: Tensor | None = None,
    symmetric: bool = False,
) -> Tensor:
    """Return the contrastive loss of pairs (a_i, b_i), all other b being negatives; mean over the batch.

    Source: Wang and Liu, "Understanding the Behaviour of Contrastive Loss", CVPR 2021.

    Parameters
    ----------
    a, b : Tensor, shape (B, D), floating point
        Embeddings of two views, or of a sound and its caption; of any length.
    temperature : float
        Divides the cosines, above 0.
    hardest : float
        Share of the negatives of each clip, the nearest first, that count; in (0, 1], at least one of them.
    labels : Tensor, shape (B,), optional
        Clips of one label are no negatives of each other.
    symmetric : bool
        Half of the loss, and half of that of b among all a.

    Returns
    -------
    Tensor, scalar
        In float32 at least; 0 where no clip has a negative.

    Raises
    ------
    ValueError, TypeError
        Embeddings of different shape, or another wrong argument.

    See Also
    --------
    audiomix.losses.mix_contrast : for mixes, which are near to two clips.

    Examples
    --------
    >>> info_nce(torch.eye(2), torch.eye(2), temperature=1.0)  # log(1 + 1 / e)
    tensor(0.3133)
    """
    u = unit_features("a", a)
    v = unit_features("b", b, u)
    scaled = dots(u, v) / check.number("temperature", temperature, 1e-6)
    count = check.number("hardest", hardest, 1e-6)
    check.fraction("hardest", count)
    negative = _negatives(labels, len(u), u.device)
    loss = _one_way(scaled, negative, count)
    return (loss + _one_way(scaled.T, negative, count)) / 2 if symmetric else loss


def negative_weights(cosine: Tensor, temperature: float) -> Tensor:
    """Return how much of the gradient each negative gets, by row.

    Parameters
    ----------
    cosine : Tensor, shape (B, B), floating point
        Cosines of all pairs; those on the diagonal are of the positives.
    temperature : float
        That of the loss, above 0.

    Returns
    -------
    Tensor, shape (B, B)
        Rows sum to 1; 0 on the diagonal.

    Examples
    --------
    >>> cosine = torch.tensor([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> negative_weights(cosine, 0.1)[0].round(decimals=3)
    tensor([0.0000, 0.9930, 0.0070])
    """
    check.batch("cosine", check.floating("cosine", cosine))
    if cosine.ndim != 2 or cosine.shape[0] != cosine.shape[1] or len(cosine) < 2:
        check.fail("cosine", "of shape (B, B), of two clips or more", tuple(cosine.shape))
    itself = torch.eye(len(cosine), dtype=torch.bool, device=cosine.device)
    return (cosine / check.number("temperature", temperature, 1e-6)).masked_fill(itself, -torch.inf).softmax(1)


def _negatives(labels: Tensor | None, size: int, device: torch.device) -> Tensor:
    """Return which clips (B, B) are negatives of which."""
    negative = ~torch.eye(size, dtype=torch.bool, device=device)
    if labels is None:
        return negative
    labels = check.batch("labels", labels, size, ndim=1).to(device)
    if labels.ndim != 1:
        check.fail("labels", "one a clip, (B,)", tuple(labels.shape))
    return negative & (labels[:, None] != labels)


def _one_way(scaled: Tensor, negative: Tensor, hardest: float) -> Tensor:
    found = scaled.masked_fill(~negative, -torch.inf)
    if hardest < 1:
        # in float64 and less its rounding: 0.3 of 10 are 3; at least one
        count = (negative.sum(1, keepdim=True).double() * hardest - 1e-9).ceil().clamp(min=1)
        ranks = found.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        found = found.masked_fill(ranks >= count, -torch.inf)
    own = scaled.diagonal()
    return (torch.cat([own[:, None], found], 1).logsumexp(1) - own).mean()
