r"""MixOE: the network is to be the less sure of a clip the more of an unknown sound is mixed into it.

.. math:: L = H\left(w y + \frac{1 - w}{K}, z\right)

of mixes of a clip of a known class with a clip that is of none of the K classes. It is added to the cross-entropy of
the clips, times 5 in the paper's script. Of clips that may have no class at all the unknown sound has the target 0;
that is ours.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import check
from ..plan import Plan
from ._inputs import check_logits, check_targets, label_mean

__all__ = ["mixoe", "outlier_target"]

Task = Literal["one", "any"]


def outlier_target(target: Tensor, plan: Plan, num_classes: int, *, classes: Task = "one") -> Tensor:
    """Return the targets of mixes of clips with unknown sounds.

    Parameters
    ----------
    target : Tensor, shape (B,) int64 or (B, K)
        Labels of the clips; those of the unknown sounds are not asked for.
    plan : Plan
        What the mixes were made by, with the unknown sounds as ``other=``.
    num_classes : int
        K.
    classes : str
        ``one``: a clip is of one class, what is unknown could be each of them. ``any``: it may have none, as what is
        unknown has.

    Returns
    -------
    Tensor, shape (B, K), floating point
        With ``one`` each row has the mass of its label.

    Examples
    --------
    >>> plan = Plan(torch.tensor([0]), torch.tensor([0.75], dtype=torch.float64))
    >>> outlier_target(torch.tensor([1]), plan, 4)
    tensor([[0.0625, 0.8125, 0.0625, 0.0625]])
    """
    check.choice("classes", classes, ["one", "any"])
    check.batch("target", target, len(plan), ndim=1)
    labels = check_targets(target, torch.empty(len(target), num_classes, device=target.device))
    weight = plan.weight.to(labels)[:, None]
    rest = labels.sum(1, keepdim=True) / num_classes if classes == "one" else torch.zeros_like(weight)
    return weight * labels + (1 - weight) * rest


def mixoe(logits: Tensor, target: Tensor, plan: Plan, *, classes: Task = "one") -> Tensor:
    """Return the cross-entropy of mixes with unknown sounds, mean over the batch.

    Source: Zhang et al., "Mixture Outlier Exposure: Towards Out-of-Distribution Detection in Fine-grained
    Environments", WACV 2023.

    Parameters
    ----------
    logits : Tensor, shape (B, K), floating point
        Of the network on the mixes.
    target : Tensor, shape (B,) int64 or (B, K)
        Labels of the clips.
    plan : Plan
        What the mixes were made by, with the unknown sounds as ``other=``.
    classes : str
        ``one`` or ``any``; see `outlier_target`. With ``any`` the cross-entropy is the binary one.

    Returns
    -------
    Tensor, scalar
        In float32 at least.

    Raises
    ------
    ValueError, TypeError
        A target that does not fit the logits, or another wrong argument.

    Examples
    --------
    >>> plan = Plan(torch.tensor([0]), torch.tensor([0.0], dtype=torch.float64))
    >>> mixoe(torch.zeros(1, 4), torch.tensor([1]), plan)  # nothing of the clip: log 4
    tensor(1.3863)
    """
    z = check_logits("logits", logits, len(plan))
    mixed = outlier_target(target, plan, z.shape[1], classes=classes).to(z)
    if classes == "any":
        return F.binary_cross_entropy_with_logits(z, mixed)
    return label_mean(mixed, -z.log_softmax(1)).mean()
