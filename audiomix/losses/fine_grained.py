r"""The fine-grained loss of SMMix: the tokens of each of the two clips in a mix are classified on their own.

.. math:: L = \frac{1}{2B} \sum_i \left[ H(y_i, q(\bar t_i)) + H(y_{p(i)}, q(\bar t_{p,i})) \right]

The means are over the tokens of the mix that are the original's and over those that are its partner's, q is a head of
its own. The loss of the whole mix is added by the caller, and so is `audiomix.losses.mix_consistency`.
"""

import torch
from torch import Tensor

from .. import check
from ..plan import Plan
from ._inputs import label_mean, source_labels, wide

__all__ = ["fine_grained_loss", "region_means"]


def region_means(tokens: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of the tokens of the original and of those of its partner; (B, D) each.

    Parameters
    ----------
    tokens : Tensor, shape (B, M, D), floating point
        What the network has of the patches of the mixes, without class tokens.
    shares : Tensor, shape (B, F', T') or (B, M)
        The original's share of each token: `audiomix.targets.attention.token_shares`. A token that both have counts
        for each by its share.

    Returns
    -------
    own, partner : Tensor, shape (B, D)
        Zeros where a clip has no token.

    Raises
    ------
    ValueError
        There are more or fewer tokens than shares.

    Examples
    --------
    >>> own, partner = region_means(torch.tensor([[[1.0], [2.0], [6.0]]]), torch.tensor([[1.0, 1.0, 0.0]]))
    >>> own, partner
    (tensor([[1.5000]]), tensor([[6.]]))
    """
    check.batch("tokens", check.floating("tokens", tokens), ndim=3)
    shares = check.batch("shares", check.floating("shares", shares), len(tokens)).flatten(1)
    if tokens.ndim != 3 or shares.shape[1] != tokens.shape[1]:
        got = f"{tuple(tokens.shape)} and {shares.shape[1]} shares"
        check.fail("tokens", "of shape (B, M, D), with one share for each of M", got, "class tokens? tokens[:, 1:]")
    shares = shares.detach().to(tokens)
    means = []
    for weights in (shares, 1 - shares):
        total = weights.sum(1, keepdim=True)
        means.append((weights[..., None] * tokens).sum(1) / torch.where(total > 0, total, 1.0))
    return means[0], means[1]


def fine_grained_loss(
    own_logits: Tensor,
    partner_logits: Tensor,
    target: Tensor,
    plan: Plan,
    *,
    num_classes: int | None = None,
    other: Tensor | None = None,
) -> Tensor:
    """Return half of the cross-entropies of both clips' tokens with the labels of both clips.

    Source: Chen et al., "SMMix: Self-Motivated Image Mixing for Vision Transformers", ICCV 2023.

    Parameters
    ----------
    own_logits, partner_logits : Tensor, shape (B, K), floating point
        Of a head on what `region_means` returns.
    target : Tensor, shape (B,) int64 or (B, K)
        Labels before they were mixed.
    plan : Plan
        What the mixes were made by; of one partner a clip. A clip without a share counts nowhere.
    num_classes : int, optional
        K, by default that of the logits.
    other : Tensor, optional
        Labels of the second batch, where partners come from one.

    Returns
    -------
    Tensor, scalar
        In float32 at least.

    Raises
    ------
    ValueError, TypeError
        Labels that do not fit the logits, partners that are not there, or more than one partner a clip.

    See Also
    --------
    audiomix.mix_consistency : the other loss of SMMix.

    Examples
    --------
    >>> plan = Plan(torch.tensor([1, 0]), torch.tensor([0.5, 1.0], dtype=torch.float64))
    >>> logits = torch.zeros(2, 2)
    >>> fine_grained_loss(logits, logits, torch.tensor([0, 1]), plan, num_classes=2)  # 3/4 log 2
    tensor(0.5199)
    """
    check.batch("own_logits", check.floating("own_logits", own_logits), len(plan))
    if own_logits.ndim != 2 or partner_logits.shape != own_logits.shape:
        got = f"{tuple(own_logits.shape)} and {tuple(partner_logits.shape)}"
        check.fail("own_logits and partner_logits", "of the same shape (B, K)", got)
    if num_classes not in (None, own_logits.shape[1]):
        check.fail("num_classes", f"{own_logits.shape[1]}, as the logits have", num_classes)
    dtype = wide(own_logits, partner_logits)
    labels, shares = source_labels(target, plan, own_logits.to(dtype), other)
    if shares.shape[1] != 2:
        check.fail("plan", "of one partner a clip", shares.shape[1] - 1)
    total = torch.zeros((), dtype=dtype, device=own_logits.device)
    for logits, label, share in zip((own_logits, partner_logits), labels.unbind(1), shares.unbind(1)):
        # before the logarithm: the logits of a clip that is not there may be anything, and would spoil the gradient
        z = logits.to(dtype).masked_fill(share[:, None] == 0, 0.0)
        total = total + ((share > 0) * label_mean(label, -z.log_softmax(1))).sum()
    return total / (2 * len(plan))
