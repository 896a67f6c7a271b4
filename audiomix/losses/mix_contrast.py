r"""The contrastive loss of mixes: each mix is as near to its two clips as they are in it.

.. math:: L = -\frac{1}{B} \sum_i \left[ w_i \log q_{i,i} + (1 - w_i) \log q_{i,p(i)} \right], \qquad
          q_{i,j} = \frac{\exp(\cos(u_i, v_j) / \tau)}{\sum_k \exp(\cos(u_i, v_k) / \tau)}

u are features of the mixes, v those of the clips. The first paper has temperature 0.06; the form is that of the
second.
"""

import torch
from torch import Tensor

from .. import check
from ..plan import Plan
from ._inputs import dots, pair_shares, unit_features

__all__ = ["mix_contrast"]


def mix_contrast(
    mixed: Tensor, clean: Tensor, plan: Plan, *, temperature: float = 0.06, labels: Tensor | None = None
) -> Tensor:
    """Return the contrastive loss of a batch of mixes.

    Source: Bae et al., "Patch-Mix Contrastive Learning with Audio Spectrogram Transformer on Respiratory Sound
    Classification", Interspeech 2023; Kim et al., "MixCo: Mix-up Contrastive Learning for Visual Representation",
    2020.

    Parameters
    ----------
    mixed : Tensor, shape (B, D), floating point
        Features of the mixes, of any length.
    clean : Tensor, shape (B, D), floating point
        Features of the clips themselves, in the same order; detach them where they are to be targets alone.
    plan : Plan
        What the mixes were made by, of partners in the batch. Of a clip that is not mixed all is its own.
    temperature : float
        Divides the cosines, above 0.
    labels : Tensor, shape (B,), int64, optional
        Class ids. With them clips of the classes of a mix are no negatives of it.

    Returns
    -------
    Tensor, scalar
        In float32 at least.

    Raises
    ------
    ValueError, TypeError
        Features of different shape, partners of a second batch, or another wrong argument.

    Examples
    --------
    >>> plan = Plan(torch.tensor([1, 0]), torch.tensor([0.5, 1.0], dtype=torch.float64))
    >>> clean = torch.eye(2)
    >>> round(float(mix_contrast(torch.tensor([[1.0, 1.0], [0.0, 1.0]]), clean, plan, temperature=1.0)), 4)
    0.5032
    """
    check.batch("mixed", check.floating("mixed", mixed), len(plan))
    clean = check.floating("clean", clean)
    if mixed.ndim != 2 or clean.shape != mixed.shape:
        shapes = f"{tuple(mixed.shape)} and {tuple(clean.shape)}"
        check.fail("mixed and clean", "features of the same shape (B, D)", shapes)
    check.number("temperature", temperature, 1e-6)
    u, v = unit_features("mixed", mixed), unit_features("clean", clean)
    logits = dots(u, v) / temperature
    target = pair_shares(plan, logits)
    if labels is not None:
        logits = logits.masked_fill(_same_class(labels, target), -torch.inf)
    return -torch.where(target > 0, target * logits.log_softmax(1), 0.0).sum(1).mean()


def _same_class(labels: Tensor, target: Tensor) -> Tensor:
    """Return which clips (B, B) have a class that a mix has, and are not in it."""
    labels = check.batch("labels", labels, len(target), ndim=1).to(target.device)
    if labels.ndim != 1 or labels.is_floating_point():
        check.fail("labels", "class ids (B,)", f"{labels.dtype} of shape {tuple(labels.shape)}")
    same = (target > 0).to(target) @ (labels[:, None] == labels).to(target)
    return (same > 0) & (target == 0)
