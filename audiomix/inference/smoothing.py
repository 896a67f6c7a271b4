r"""Adaptive smoothing: the probabilities of an accurate network and of a robust one, mixed clip by clip.

.. math:: \log\left( (1 - a) \, \mathrm{softmax}(c_s z_s) + a \, \mathrm{softmax}(c_r z_r) \right)

a is the share of the robust network. In the paper a small network finds it from features of both; here it is given, or
comes from the entropies of the two, which is ours.
"""

import torch
from torch import Tensor

from .. import check
from .views import entropy

__all__ = ["entropy_share", "smooth_adaptively"]


def smooth_adaptively(
    accurate: Tensor, robust: Tensor, share: Tensor | float, *, scales: tuple[float, float] = (1.0, 1.0)
) -> Tensor:
    """Return logarithms of the mixed probabilities, (B, K).

    Source: Bai et al., "Improving the Accuracy-Robustness Trade-Off of Classifiers via Adaptive Smoothing", SIAM
    Journal on Mathematics of Data Science 2024.

    Parameters
    ----------
    accurate, robust : Tensor, shape (B, K), floating point
        Logits of the two networks.
    share : float or Tensor, shape (B,)
        a, in [0, 1]: 0 is the first network alone, 1 the second.
    scales : (float, float)
        c, above 0: how sharp the probabilities of each are made.

    Raises
    ------
    ValueError, TypeError
        Logits of different shape, or another wrong argument.

    Examples
    --------
    >>> smooth_adaptively(torch.tensor([[50.0, 0.0]]), torch.tensor([[0.0, 50.0]]), 0.25).exp()
    tensor([[0.7500, 0.2500]])
    """
    _check_pair(accurate, robust)
    if len(scales) != 2:
        check.fail("scales", "two numbers", scales)
    first, second = (check.number("scales", scale, 1e-6) for scale in scales)
    dtype = torch.promote_types(torch.promote_types(accurate.dtype, robust.dtype), torch.float32)
    a = torch.as_tensor(share, dtype=dtype, device=accurate.device)
    if a.shape not in ((), (len(accurate),)) or not bool(((a >= 0) & (a <= 1)).all()):
        check.fail("share", f"in [0, 1], one or ({len(accurate)},)", share)
    a = a.reshape(-1, 1).expand(len(accurate), 1)
    log_p = (first * accurate.to(dtype)).log_softmax(1)
    log_q = (second * robust.to(dtype)).log_softmax(1)
    inner = (a > 0) & (a < 1)
    safe = torch.where(inner, a, 0.5)  # the logarithm has no gradient at the ends, where one network is all
    mixed = torch.logaddexp(torch.log1p(-safe) + log_p, safe.log() + log_q)
    return torch.where(inner, mixed, torch.where(a > 0, log_q, log_p))


def entropy_share(accurate: Tensor, robust: Tensor) -> Tensor:
    """Return a share of the robust network for each clip: the more the less sure the accurate one is; (B,).

    The rule is ours: the entropy of the accurate network over the sum of both.

    Parameters
    ----------
    accurate, robust : Tensor, shape (B, K), floating point
        Logits of the two networks.

    Examples
    --------
    >>> entropy_share(torch.tensor([[9.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [9.0, 0.0]])).round(decimals=2)
    tensor([0., 1.])
    """
    _check_pair(accurate, robust)
    dtype = torch.promote_types(torch.promote_types(accurate.dtype, robust.dtype), torch.float32)
    ours, theirs = entropy(accurate.to(dtype)), entropy(robust.to(dtype))
    total = ours + theirs
    return torch.where(total == 0, 0.5, ours / torch.where(total == 0, 1.0, total))


def _check_pair(accurate: Tensor, robust: Tensor) -> None:
    check.batch("accurate", check.floating("accurate", accurate))
    if accurate.ndim != 2 or check.floating("robust", robust).shape != accurate.shape:
        got = f"{tuple(accurate.shape)} and {tuple(robust.shape)}"
        check.fail("accurate and robust", "logits of the same shape (B, K)", got)
