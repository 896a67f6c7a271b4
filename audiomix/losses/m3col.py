r"""M3CoL: a mix of one modality is as near to the two clips of the other modality as they are in it.

.. math:: L = -\frac{1}{2B} \left[ \sum_{i,j} P_{i,j} \log \mathrm{softmax}_j(S)_{i,j}
          + \sum_{i,j} P_{i,j} \log \mathrm{softmax}_i(S)_{i,j} \right], \qquad
          S_{i,j} = \frac{\cos(u_i, v_j)}{\tau}, \quad P_{i,i} = w_i, \; P_{i,p(i)} \mathrel{+}= 1 - w_i

u are embeddings of the mixes, v those of the other modality without mixing. The reference code writes 1 - w in the
place of what is there, which loses the mass of a clip that is its own partner. In the paper each modality is mixed in
turn (``MixUp(0.15, p=0.5)``), the loss counts a tenth, and after a third of the training `soft_clip` takes its place.
"""

from torch import Tensor

from .. import check
from ..plan import Plan
from ._inputs import dots, pair_shares, unit_features

__all__ = ["m3col", "soft_clip"]


def m3col(mixed: Tensor, other: Tensor, plan: Plan, *, temperature: float = 0.1) -> Tensor:
    """Return the contrastive loss of the mixes of one modality with the clips of another, both ways.

    Source: Kumar et al., "Harnessing Shared Relations via Multimodal Mixup Contrastive Learning for Multimodal
    Classification", arXiv:2409.17777, 2024.

    Parameters
    ----------
    mixed : Tensor, shape (B, D), floating point
        Embeddings of the mixes: mixed by the plan themselves, or what an encoder makes of mixed sounds.
    other : Tensor, shape (B, D), floating point
        Embeddings of the clips in the other modality, in the order of the originals.
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
        Embeddings of different shape, partners of a second batch, or another wrong argument.

    See Also
    --------
    audiomix.losses.mix_contrast : one way, within one modality (MixCo).

    Examples
    --------
    >>> import torch
    >>> plan = Plan(torch.tensor([1, 0]), torch.tensor([0.5, 1.0], dtype=torch.float64))
    >>> m3col(torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.eye(2), plan, temperature=1.0)
    tensor(0.5473)
    """
    u = unit_features("mixed", mixed)
    v = unit_features("other", other, u)
    check.batch("mixed", u, len(plan))
    logits = dots(u, v) / check.number("temperature", temperature, 1e-6)
    target = pair_shares(plan, logits)
    return -(target * (logits.log_softmax(1) + logits.log_softmax(0))).sum() / (2 * len(plan))


def soft_clip(a: Tensor, b: Tensor, *, temperature: float = 0.125, target_temperature: float = 0.125) -> Tensor:
    """Return the contrastive loss whose targets are how near the clips are to each other in the second modality.

    Source: Kumar et al., "Harnessing Shared Relations via Multimodal Mixup Contrastive Learning for Multimodal
    Classification", arXiv:2409.17777, 2024.

    Parameters
    ----------
    a, b : Tensor, shape (B, D), floating point
        Embeddings of the clips in two modalities; targets are made of those of the second, without a gradient.
    temperature, target_temperature : float
        Divide the cosines of the loss and of the targets, above 0; 0.125 both in the paper's code.

    Returns
    -------
    Tensor, scalar
        In float32 at least.

    Examples
    --------
    >>> import torch
    >>> sound = caption = torch.eye(2)
    >>> soft_clip(sound, caption)  # as near as the targets: their entropy
    tensor(0.0030)
    """
    u = unit_features("a", a)
    v = unit_features("b", b, u).to(u)
    logits = dots(u, v) / check.number("temperature", temperature, 1e-6)
    near = dots(v.detach(), v.detach()) / check.number("target_temperature", target_temperature, 1e-6)
    target = near.softmax(1)
    return -(target * (logits.log_softmax(1) + logits.T.log_softmax(1))).sum() / (2 * len(u))
