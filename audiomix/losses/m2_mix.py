r"""m2-mix: points between a sound and its own caption on the sphere are hard negatives of other pairs.

.. math:: v_j = \mathrm{slerp}(a_j, t_j; s), \qquad
          L = \sum_{x \in \{a, t\}} -\frac{1}{B} \sum_i \log
          \frac{\exp(a_i \cdot t_i / \tau)}{\exp(a_i \cdot t_i / \tau) + \sum_{j \ne i} \exp(x_i \cdot v_j / \tau_m)}

It is added to the contrastive loss of the pairs with a small weight (0.001 to 0.05 in the paper's scripts, less with
each epoch). The reference code's arc is 0 / 0 for parallel vectors; that of `audiomix.mixers.geodesic_mix.geodesic`
is not.
"""

import torch
from torch import Tensor

from .. import check
from ..mixers.geodesic_mix import geodesic
from ._inputs import dots, unit_features

__all__ = ["m2_mix"]


def m2_mix(
    a: Tensor, b: Tensor, share: Tensor | float, *, temperature: float = 0.01, mix_temperature: float | None = None
) -> Tensor:
    """Return the loss of pairs of two modalities with mixes of the two as negatives; the sum of both ways.

    Source: Oh et al., "Geodesic Multi-Modal Mixup for Robust Fine-Tuning", NeurIPS 2023.

    Parameters
    ----------
    a, b : Tensor, shape (B, D), floating point
        Embeddings of sounds and of their captions, of any length.
    share : float or Tensor, shape (B,)
        Of the first modality in the mixes, in [0, 1]: ``draw.beta(0.5, 1)`` in the paper, one for the batch.
    temperature, mix_temperature : float
        Divide the cosines of the pairs and those with mixes, above 0; the second is by default the first.

    Returns
    -------
    Tensor, scalar
        In float32 at least; 0 of one pair.

    Raises
    ------
    ValueError, TypeError
        Embeddings of different shape, or another wrong argument.

    Examples
    --------
    >>> pairs = torch.eye(2)
    >>> m2_mix(pairs, pairs, 0.5, temperature=1.0)  # 2 log(1 + 1 / e)
    tensor(0.6265)
    """
    u = unit_features("a", a)
    v = unit_features("b", b, u).to(u)
    weight = torch.as_tensor(share, dtype=u.dtype, device=u.device)
    if weight.shape not in ((), (len(u),)) or not bool(((weight >= 0) & (weight <= 1)).all()):
        check.fail("share", f"in [0, 1], one or ({len(u)},)", share)
    tau = check.number("temperature", temperature, 1e-6)
    tau_mix = tau if mix_temperature is None else check.number("mix_temperature", mix_temperature, 1e-6)
    mixed = geodesic(u, v, weight.reshape(-1, 1))
    own = (u * v).sum(1) / tau
    itself = torch.eye(len(u), dtype=torch.bool, device=u.device)
    loss = torch.zeros((), dtype=u.dtype, device=u.device)
    for x in (u, v):
        negatives = (dots(x, mixed) / tau_mix).masked_fill(itself, -torch.inf)
        loss = loss + (torch.cat([own[:, None], negatives], 1).logsumexp(1) - own).mean()
    return loss
