r"""What a network still knows that has learned task after task: average accuracy, and forgetting.

.. math:: A = \frac{1}{T} \sum_{k=1}^{T} a_{T,k}, \qquad
          F = \frac{1}{T - 1} \sum_{k=1}^{T-1} \left( \max_{t = k, \dots, T-1} a_{t,k} - a_{T,k} \right)

a_tk is the accuracy on the clips of task k, after task t.
"""

import torch
from torch import Tensor

from .. import check

__all__ = ["average_accuracy", "forgetting"]


def average_accuracy(accuracy: Tensor) -> float:
    """Return the mean accuracy over all tasks, after the last of them.

    Source: Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017.

    Parameters
    ----------
    accuracy : Tensor, shape (T, T), floating point
        Row t has the accuracy on the clips of each task (column) after task t. What stands above the diagonal, of tasks
        that are still to come, counts nowhere and may be NaN.

    Raises
    ------
    ValueError, TypeError
        Another shape, or a number that is not finite on or below the diagonal.

    Examples
    --------
    >>> average_accuracy(torch.tensor([[90.0, torch.nan], [50.0, 80.0]]))
    65.0
    """
    return float(_check(accuracy)[-1].mean())


def forgetting(accuracy: Tensor) -> float:
    """Return by how much the accuracy on each earlier task was better at its best than after the last task; the mean.

    Source: Chaudhry et al., "Riemannian Walk for Incremental Learning: Understanding Forgetting and Intransigence",
    ECCV 2018.

    Parameters
    ----------
    accuracy : Tensor, shape (T, T), floating point
        See `average_accuracy`.

    Returns
    -------
    float
        Below 0 where earlier tasks have become better. NaN for one task.

    Raises
    ------
    ValueError, TypeError
        See `average_accuracy`.

    Examples
    --------
    >>> forgetting(torch.tensor([[90.0, torch.nan], [50.0, 80.0]]))
    40.0
    """
    found = _check(accuracy)
    if len(found) == 1:
        return float("nan")
    known = torch.ones_like(found, dtype=torch.bool).tril()
    best = torch.where(known, found, -torch.inf)[:-1, :-1].amax(0)
    return float((best - found[-1, :-1]).mean())


def _check(accuracy: Tensor) -> Tensor:
    found = check.floating("accuracy", accuracy).detach().cpu().double()
    if found.ndim != 2 or not len(found) or found.shape[0] != found.shape[1]:
        check.fail("accuracy", "of shape (T, T), tasks learned by tasks tested", tuple(accuracy.shape))
    check.finite("accuracy on and below the diagonal", found[torch.ones_like(found, dtype=torch.bool).tril()])
    return found
