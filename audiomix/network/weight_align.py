r"""Weight Aligning: after a task the rows of new classes are scaled to be as long as those of old ones.

.. math:: W_n \leftarrow \gamma W_n, \quad
          \gamma = \frac{\operatorname{mean}_{k \text{ old}} \|w_k\|}{\operatorname{mean}_{k \text{ new}} \|w_k\|}

A classifier that has seen many clips of new classes and few of old ones has longer rows for the new ones, and so says
new too often. The paper has no biases: they are not aligned, and one that is learned may bring the preference back.

The length of a row tells how large its logits are only where neither features nor weights are negative. So the paper
keeps the weights of the layer at 0 or above while it is trained: ``weight.clamp_(min=0)`` after each step. Without it a
class that training pushes down gets long rows of negative weights, and the factor may be above 1, in favour of the new.
"""

import torch
from torch import Tensor

from .. import check

__all__ = ["align_weights"]


def align_weights(weight: Tensor, old: int, new: int | None = None) -> tuple[Tensor, float]:
    """Return the weights of a classifier with aligned rows, and the factor of the new ones.

    Source: Zhao et al., "Maintaining Discrimination and Fairness in Class Incremental Learning", CVPR 2020.

    Parameters
    ----------
    weight : Tensor, shape (K, D), floating point
        Of the last layer, a row for each class: those of earlier tasks first. Left unchanged.
    old : int
        How many of the rows are of classes of earlier tasks, of at least 1.
    new : int, optional
        How many rows behind them are of the task that has just ended; by default all. Rows of classes that are still to
        come are left as they are, and count nowhere.

    Returns
    -------
    weight : Tensor, shape (K, D)
        A copy. Aligned a second time it stays as it is.
    factor : float
        Gamma; below 1 where the new rows were longer.

    Raises
    ------
    ValueError, TypeError
        No old or no new rows, rows of which all are 0, or weights that are not finite.

    Examples
    --------
    >>> weight, factor = align_weights(torch.tensor([[3.0, 4.0], [0.0, 10.0]]), old=1)
    >>> weight.tolist(), factor
    ([[3.0, 4.0], [0.0, 5.0]], 0.5)
    """
    if check.floating("weight", weight).ndim != 2:
        check.fail("weight", "of shape (K, D), a row for each class", tuple(weight.shape), "head.weight?")
    rows = len(weight)
    old = check.integer("old", old, 1)
    new = rows - old if new is None else check.integer("new", new, 1)
    if new < 1 or old + new > rows:
        check.fail("old", f"so that one or more of the {rows} rows are new", f"{old} old and {new} new")
    wide = check.finite("weight", weight).detach().to(torch.promote_types(weight.dtype, torch.float32))
    sizes = torch.linalg.vector_norm(wide, dim=1)
    before, after = float(sizes[:old].mean()), float(sizes[old : old + new].mean())
    if not before or not after:
        check.fail("weight", "with rows other than 0", f"{'old' if not before else 'new'} rows of 0 alone")
    factor = before / after
    wide = wide.clone()
    wide[old : old + new] *= factor
    return wide.to(weight.dtype), factor
