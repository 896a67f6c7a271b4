r"""RankMixup's losses: a network is less sure of a mix than of a clip, the less the more even the mix is.

.. math:: L_\mathrm{MRL} = \frac{1}{B} \sum_i [a_i \ne b_i] \max(0, \max_k \tilde z_{i,k} - \max_k z_{i,k} + m), \qquad
          L_\mathrm{NDCG} = \frac{1}{B} \sum_i \left(1 - \min(r_i, 1 / r_i)\right)

with r the discounted cumulative gain of the confidences over that of the labels. Both are added to the cross-entropy of
the clips **without** mixing, times 0.1 in the paper. The reference code of the first multiplies a (B,) mask with (B, 1)
numbers, which gives a product of two means; here each pair has its own. Mixes whose labels are equally even share
their discounts in the second, so that their order makes no difference; that is ours.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .. import check
from ..plan import Plan
from ._inputs import check_logits, source_labels

__all__ = ["ranked_gain", "ranking"]

_ROUNDING = 1e-6  # confidences of labels that are nearer to each other are one


def ranking(
    mixed_logits: Tensor,
    clean_logits: Tensor,
    target: Tensor,
    plan: Plan,
    *,
    margin: float = 2.0,
    other: Tensor | None = None,
) -> Tensor:
    """Return how far the largest logit of each mix is above that of its original less `margin`; mean over the batch.

    Source: Noh et al., "RankMixup: Ranking-Based Mixup Training for Network Calibration", ICCV 2023.

    Parameters
    ----------
    mixed_logits, clean_logits : Tensor, shape (B, K), floating point
        Of the network on the mixes, and on the clips in the same order.
    target : Tensor, shape (B,) int64 or (B, K)
        Labels before they were mixed; a mix of clips of one label counts 0.
    plan : Plan
        What the mixes were made by.
    margin : float
        In logits, 0 or above: 2 for CIFAR, 1 for Tiny-ImageNet in the paper.
    other : Tensor, optional
        Labels of the second batch, where partners come from one.

    Returns
    -------
    Tensor, scalar
        In float32 at least.

    Raises
    ------
    ValueError, TypeError
        Logits or labels that do not fit, or another wrong argument.

    See Also
    --------
    ranked_gain : for several mixes of each clip.

    Examples
    --------
    >>> plan = Plan(torch.tensor([1, 0]), torch.tensor([0.5, 0.75], dtype=torch.float64))
    >>> clean, mixed = torch.tensor([[5.0, 0.0], [0.0, 5.0]]), torch.tensor([[4.0, 4.0], [1.0, 2.0]])
    >>> ranking(mixed, clean, torch.tensor([0, 1]), plan)  # (4 - 5 + 2) / 2
    tensor(0.5000)
    """
    z, clean = _check_pair(mixed_logits, clean_logits, plan)
    check.number("margin", margin, 0)
    labels, shares = source_labels(target, plan, clean, other)
    own = labels[:, 0].amax(1) * (shares[:, 0] > 0)
    mixed = (_confidence(labels, shares) < own - _ROUNDING).to(z)
    return (mixed * torch.relu(z.amax(1) - clean.amax(1) + margin)).mean()


def ranked_gain(
    mixed_logits: Sequence[Tensor],
    clean_logits: Tensor,
    target: Tensor,
    plans: Sequence[Plan],
    *,
    other: Tensor | None = None,
) -> Tensor:
    """Return how far the order of the confidences of several mixes is from that of their labels; mean over the batch.

    Source: Noh et al., "RankMixup: Ranking-Based Mixup Training for Network Calibration", ICCV 2023; there of three
    mixes of each clip.

    Parameters
    ----------
    mixed_logits : sequence of Tensor, shape (B, K)
        Of the network on one or more mixes of the batch.
    clean_logits : Tensor, shape (B, K)
        On the clips in the same order.
    target : Tensor, shape (B,) int64 or (B, K)
        Labels before they were mixed.
    plans : sequence of Plan
        What each of the mixes was made by.
    other : Tensor, optional
        Labels of the second batch, where partners come from one.

    Returns
    -------
    Tensor, scalar
        In [0, 1], in float32 at least; 0 where each confidence is that of the label.

    Raises
    ------
    ValueError, TypeError
        Logits or labels that do not fit, or not one plan for each of the mixes.

    Examples
    --------
    >>> plan = Plan(torch.tensor([1, 0]), torch.tensor([0.5, 1.0], dtype=torch.float64))
    >>> sure, even = torch.tensor([[99.0, 0.0], [0.0, 99.0]]), torch.tensor([[0.0, 0.0], [0.0, 99.0]])
    >>> ranked_gain([even], sure, torch.tensor([0, 1]), [plan])
    tensor(0.)
    """
    if not mixed_logits or len(mixed_logits) != len(plans):
        check.fail("mixed_logits", f"logits of one or more mixes, as there are {len(plans)} plans", len(mixed_logits))
    confidences, ideals = [], []
    for logits, plan in zip(mixed_logits, plans):
        z, clean = _check_pair(logits, clean_logits, plan)
        labels, shares = source_labels(target, plan, clean, other)
        confidences.append(z.softmax(1).amax(1))
        ideals.append(_confidence(labels, shares))
    confidence, ideal = torch.stack(confidences, 1), torch.stack(ideals, 1)
    ideal, order = ideal.sort(dim=1, descending=True)
    discount = torch.log2(torch.arange(2, ideal.shape[1] + 3, device=ideal.device, dtype=ideal.dtype)).reciprocal()
    # mixes of one ideal confidence share their discounts: no order of theirs is the right one
    alike = ((ideal[:, :, None] - ideal[:, None, :]).abs() <= _ROUNDING).to(ideal)
    shared = (alike * discount[1:]).sum(2) / alike.sum(2)
    gain = clean.softmax(1).amax(1) * discount[0] + (confidence.gather(1, order) * shared).sum(1)
    ratio = gain / (discount[0] + (ideal * shared).sum(1))
    return (1 - torch.where(ratio > 1, ratio.reciprocal(), ratio)).mean()


def _confidence(labels: Tensor, shares: Tensor) -> Tensor:
    """Return the largest share of a class in each mix, (B,)."""
    # shares of a plan that was printed sum to 1 within 0.001 only
    return (labels * shares[..., None]).sum(1).amax(1) / shares.sum(1)


def _check_pair(mixed: Tensor, clean: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    z, clean = check_logits("mixed_logits", mixed, len(plan)), check_logits("clean_logits", clean)
    if z.shape != clean.shape:
        check.fail("clean_logits", f"of shape {tuple(z.shape)}, as mixed_logits is", tuple(clean.shape))
    return z, clean
