r"""Temperature scaling: one number that divides all logits, found on held-out clips.

.. math:: T = \arg\min_T -\frac{1}{N} \sum_i \log \mathrm{softmax}(z_i / T)_{y_i}

Which class is predicted never changes. It is fitted on validation clips and never on what is reported.
"""

import math

from scipy.optimize import minimize_scalar
from torch import Tensor

from .calibration import check_logits

__all__ = ["fit_temperature"]

_LEAST, _MOST = 0.01, 100.0


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature with the least negative log-likelihood, from 0.01 to 100.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. Chidambaram and Ge, "On the Limitations
    of Temperature Scaling for Distributions with Overlaps", ICLR 2024, show what it cannot do.

    Parameters
    ----------
    logits : Tensor, shape (N, K), floating point
        Of the network on held-out clips.
    labels : Tensor, shape (N,), int64
        Their classes.

    Returns
    -------
    float
        0.01 where the network is right of all clips: the surer the better, and nothing is found out. 100 where its
        logits say nothing, or less than that, of the classes.

    Raises
    ------
    ValueError, TypeError
        Numbers that are not finite, or labels that do not fit.

    Examples
    --------
    A network that is twice as sure as it is right three times out of four:

    >>> import torch
    >>> logits = torch.tensor([[2 * math.log(3), 0.0]] * 4)
    >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 1])), 3)
    2.0
    """
    z, labels = check_logits(logits.detach() if isinstance(logits, Tensor) else logits, labels)
    z = z - z.gather(1, labels[:, None])  # of the true class 0

    def loss(log_inverse: float) -> float:
        """Return the negative log-likelihood, convex in 1 / T."""
        return float((z * math.exp(log_inverse)).logsumexp(1).mean())

    # of one minimum also in log T, in which all of the range is looked at alike
    found = minimize_scalar(loss, bounds=(-math.log(_MOST), -math.log(_LEAST)), method="bounded",
                            options={"xatol": 1e-6})  # fmt: skip
    # of temperatures that are as good the smallest: right of all clips, the loss is 0 in float64 long before the edge
    best = min([-math.log(_LEAST), float(found.x), -math.log(_MOST)], key=loss)
    return min(max(math.exp(-best), _LEAST), _MOST)
