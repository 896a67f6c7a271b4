r"""The consistency loss of mixes: the prediction on a mix is that on its clips, mixed.

.. math:: L = \frac{1}{B} \sum_i \mathrm{KL}\left( \mathrm{softmax}(w_i z_i + (1 - w_i) z_{p(i)})
          \,\|\, \mathrm{softmax}(z'_i) \right)

z are the outputs on the clips themselves, z' those on the mixes; no gradient goes through z. The paper calls it the
feature consistency constraint.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import check
from ..plan import Plan

__all__ = ["mix_consistency"]


def mix_consistency(
    mixed_logits: Tensor, clean_logits: Tensor, plan: Plan, *, other_logits: Tensor | None = None
) -> Tensor:
    """Return how far the predictions on mixes are from the mixed predictions on their clips; mean over the batch.

    Source: Chen et al., "SMMix: Self-Motivated Image Mixing for Vision Transformers", ICCV 2023.

    Parameters
    ----------
    mixed_logits : Tensor, shape (B, K), floating point
        Of the network on the mixes.
    clean_logits : Tensor, shape (B, K), floating point
        Of the network on the clips themselves, in the same order.
    plan : Plan
        What the mixes were made by.
    other_logits : Tensor, shape (M, K), optional
        On the second batch, where partners come from one.

    Returns
    -------
    Tensor, scalar
        In float32 at least; 0 where all predictions agree.

    Raises
    ------
    ValueError
        Logits of different shape, or partners that are not there.

    See Also
    --------
    audiomix.fine_grained_loss : the other loss of SMMix.

    Examples
    --------
    >>> plan = Plan(torch.tensor([1, 0]), torch.tensor([0.5, 1.0], dtype=torch.float64))
    >>> clean = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    >>> mix_consistency(torch.tensor([[1.0, 1.0], [0.0, 2.0]]), clean, plan)
    tensor(0.)
    """
    check.batch("mixed_logits", check.floating("mixed_logits", mixed_logits), len(plan))
    clean = check.floating("clean_logits", clean_logits).detach()
    source = clean if other_logits is None else check.floating("other_logits", other_logits).detach()
    if mixed_logits.ndim != 2 or clean.shape != mixed_logits.shape or source.shape[1:] != clean.shape[1:]:
        got = f"{tuple(mixed_logits.shape)}, {tuple(clean.shape)} and {tuple(source.shape)}"
        check.fail("logits", "of the same shape (B, K)", got)
    partners, shares = plan.label_shares()
    if int(partners.max()) >= len(source):
        check.fail("plan", f"of partners in 0..{len(source) - 1}", int(partners.max()), "was it drawn with other=?")
    wide = torch.promote_types(mixed_logits.dtype, torch.float32)
    shares = shares.to(mixed_logits.device, wide)
    target = _part(shares[:, 0], clean.to(wide))
    for rows, share in zip(partners.clamp(min=0).to(clean.device).unbind(1), shares[:, 1:].unbind(1)):
        target = target + _part(share, source[rows].to(wide))
    predicted = mixed_logits.to(wide).log_softmax(1)
    return F.kl_div(predicted, target.log_softmax(1), reduction="batchmean", log_target=True)


def _part(share: Tensor, logits: Tensor) -> Tensor:
    """Return logits times their share; 0 of what has none, whatever stands there."""
    return torch.where(share[:, None] > 0, share[:, None] * logits, 0.0)
