r"""Intrusion: mixes that look like a clip of a class that is not in them.

A mix intrudes where the nearest clip, by features, is of a class that neither of its clips has: its label says
something else than what it looks like. The word is AdaMixUp's, which tells mixes from clips by a network of its own; to
count by the nearest clip is ours.
"""

import torch
from torch import Tensor

from .. import check
from ..plan import Plan

__all__ = ["intrusion_rate"]

_ROWS = 1024  # of distances at a time


def intrusion_rate(mixed: Tensor, clean: Tensor, labels: Tensor, plan: Plan) -> float:
    """Return the share of the mixes whose nearest clip is of a class that is not in them, in percent.

    Source: Guo, Mao and Zhang, "MixUp as Locally Linear Out-Of-Manifold Regularization", AAAI 2019, for the idea; the
    measure is ours.

    Parameters
    ----------
    mixed : Tensor, shape (B, D), floating point
        Features of the mixes.
    clean : Tensor, shape (N, D), floating point
        Features of the clips, the batch first, in its order; more clips may follow.
    labels : Tensor, shape (N,), int64
        Classes of the clips.
    plan : Plan
        What the mixes were made by, of partners in the batch.

    Returns
    -------
    float
        NaN where nothing is mixed. The clips of a mix themselves count among the near ones.

    Raises
    ------
    ValueError, TypeError
        Sizes that do not fit, features that are not finite, or partners of a second batch.

    Examples
    --------
    >>> clean, labels = torch.tensor([[-1.0], [1.0], [0.0]]), torch.tensor([0, 1, 2])
    >>> plan = Plan(torch.tensor([1, 0, 2]), torch.tensor([0.5, 0.9, 1.0], dtype=torch.float64))
    >>> intrusion_rate(torch.tensor([[0.0], [0.8], [0.0]]), clean, labels, plan)
    50.0
    """
    check.batch("mixed", check.floating("mixed", mixed), len(plan))
    check.batch("clean", check.floating("clean", clean))
    if mixed.ndim != 2 or clean.ndim != 2 or mixed.shape[1] != clean.shape[1] or len(clean) < len(mixed):
        got = f"{tuple(mixed.shape)} and {tuple(clean.shape)}"
        check.fail("mixed and clean", "of shape (B, D) and (N, D), N at least B", got)
    check.finite("mixed", mixed), check.finite("clean", clean)
    labels = check.batch("labels", labels, len(clean), ndim=1).to(mixed.device)
    if labels.ndim != 1 or labels.is_floating_point():
        check.fail("labels", "class ids (N,)", f"{labels.dtype} of shape {tuple(labels.shape)}")
    partners, shares = plan.label_shares()
    if int(partners.max()) >= len(plan):
        check.fail("plan", "of partners in the batch", f"partner {int(partners.max())}", "was it drawn with other=?")
    rows = torch.cat([torch.arange(len(plan))[:, None], partners.clamp(min=0)], 1).to(mixed.device)
    inside = (shares > 0).to(mixed.device)
    nearest = torch.cat([torch.cdist(some.double(), clean.double()).argmin(1) for some in mixed.split(_ROWS)])
    intrudes = ~((labels[rows] == labels[nearest][:, None]) & inside).any(1)
    there = plan.mixed.to(mixed.device)
    return 100 * float(intrudes[there].double().mean()) if bool(there.any()) else float("nan")
