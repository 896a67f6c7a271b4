r"""MI-Mix: the contrastive loss of mixes of hidden states, with C2LR's weights of hard negatives.

.. math:: L = -\frac{1}{B} \sum_i \left[ w_i \log \frac{s_{i,i}}{N_i + s_{i,i}}
          + (1 - w_i) \log \frac{s_{i,p(i)}}{N_i + s_{i,i}} \right], \qquad
          N_i = \frac{\sum_{j \ne i} s_{i,j}^2}{\frac{1}{B - 1} \sum_{j \ne i} s_{i,j}}

with :math:`s_{i,j} = \exp(\cos(u_i, v_j) / \tau)`, u of the mixes and v of the second views without mixing. As in the
paper's code both terms have the sum of the original's row below. First the paper trains a third of the epochs without
mixing: that is this loss with ``Plan.identity``.
"""

import math

import torch
from torch import Tensor

from .. import check
from ..plan import Plan
from ._inputs import dots, pair_shares, unit_features

__all__ = ["mi_mix"]


def mi_mix(mixed: Tensor, clean: Tensor, plan: Plan, *, temperature: float = 0.05) -> Tensor:
    """Return the contrastive loss of mixes with second views, hard negatives weighted; mean over the batch.

    Source: Zhou et al., "DNABERT-S: Pioneering Species Differentiation with Species-Aware DNA Embeddings", 2024.

    Parameters
    ----------
    mixed : Tensor, shape (B, D), floating point
        Features of the mixes of the first views, such as those of `audiomix.manifold_mixup`. In the paper the original
        has the larger share: ``MixUp(1.0, keep_larger=True)``.
    clean : Tensor, shape (B, D), floating point
        Features of the second views, in the order of the originals.
    plan : Plan
        What the mixes were made by, of partners in the batch.
    temperature : float
        Divides the cosines, above 0.

    Returns
    -------
    Tensor, scalar
        In float32 at least.

    Raises
    ------
    ValueError, TypeError
        Fewer than two clips, features of different shape, partners of a second batch, or another wrong argument.

    See Also
    --------
    audiomix.losses.mix_contrast : without weights of negatives, and with a sum of its own below each term.

    Examples
    --------
    >>> mi_mix(torch.eye(2), torch.eye(2), Plan.identity(2), temperature=1.0)  # log(1 + 1 / e)
    tensor(0.3133)
    """
    u = unit_features("mixed", mixed)
    v = unit_features("clean", clean, u).to(u)
    check.batch("mixed", u, len(plan))
    if len(u) < 2:
        check.fail("mixed", "of two clips or more: the others are the negatives", len(u))
    similarity = dots(u, v) / check.number("temperature", temperature, 1e-6)
    others = similarity.masked_fill(torch.eye(len(u), dtype=torch.bool, device=u.device), -torch.inf)
    # in logarithms: exp(2 / 0.05) has no place in float16, and little in float32
    negatives = (2 * others).logsumexp(1) - (others.logsumexp(1) - math.log(len(u) - 1))
    below = torch.logaddexp(negatives, similarity.diagonal())
    return -(pair_shares(plan, similarity) * (similarity - below[:, None])).sum(1).mean()
