r"""Partners by weight: those of rare classes as often as those of common ones, or as the caller weighs them.

.. math:: P(j \mid i) \propto v_j, \; j \ne i, \qquad v_j = 1 / n_{c(j)}

n is how many of the candidates have a class. So for a clip of one class every other class is equally likely, however
rare; its own class counts (n - 1) / n, since it is not its own partner.

Source: ours.
"""

from dataclasses import replace

import torch
from torch import Tensor

from .. import check
from ..draw import Generator
from ._pool import Pool

__all__ = ["class_balance", "pair"]


def pair(pool: Pool, generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw partners by the weights given, or balanced over classes; see `audiomix.pairing.pair`."""
    if pool.weights is None:
        target = pool.candidate_target
        if target is None:
            name = "target" if pool.other_size is None else "other_target"
            check.fail(name, "given for pairing 'weighted'", None, "or weights of your own, pairing_weights=")
        pool = replace(pool, weights=class_balance(target, None if pool.other_size is not None else pool.eligible))
    return pool.choose(lambda rows, may: may, generator)


def class_balance(target: Tensor, eligible: Tensor | None = None) -> Tensor:
    """Return weights by which every class is drawn equally often: 1 / n of a clip's class, the mean where it has many.

    Parameters
    ----------
    target : Tensor, shape (M,) int64, (M, K) or (M, K, N)
        Class ids, labels or frame labels; every class above 0 counts. Clips without a class are a class of their own.
    eligible : Tensor, shape (M,), bool, optional
        Clips that are counted, all by default; the others have weight 0.

    Returns
    -------
    Tensor, shape (M,), float64

    Examples
    --------
    >>> class_balance(torch.tensor([0, 0, 0, 0, 1]))
    tensor([0.2500, 0.2500, 0.2500, 0.2500, 1.0000], dtype=torch.float64)
    """
    counted = torch.ones(len(target), dtype=torch.bool) if eligible is None else eligible
    if target.ndim == 1:
        _, ids = target.unique(return_inverse=True)
        count = torch.zeros(len(target), dtype=torch.float64).index_add_(0, ids, counted.double())
        weights = 1 / count[ids].clamp(min=1)
    else:
        has = (target.amax(-1) if target.ndim == 3 else target) > 0
        has = torch.cat([has, ~has.any(1, keepdim=True)], 1).double()  # those without a class
        share = 1 / has[counted].sum(0).clamp(min=1)
        weights = (has @ share) / has.sum(1)
    return torch.where(counted, weights, 0.0)
