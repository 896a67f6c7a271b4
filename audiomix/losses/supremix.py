r"""SupReMix: contrastive regression with mixes: a clip against mixes near it, and with mixes that have its value.

A negative of clip i is a mix of itself with a clip of another value, :math:`h = \alpha f_i + (1 - \alpha) f_k`, of
value :math:`\alpha t_i + (1 - \alpha) t_k`. A positive is a mix of a clip below and one above it, which has its value:

.. math:: h = \alpha f_j + (1 - \alpha) f_k, \quad \alpha = \frac{t_k - t_i}{t_k - t_j}, \qquad t_j < t_i < t_k

within a window of values. The loss is the supervised contrastive one, each term below the fraction weighted by
:math:`|t - t_i| + 1`. Mixes have length 1 and no gradient. The share of the positive follows from its definition; the
file of the paper's code that has it could not be read.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import check, draw
from ..draw import Generator
from ._inputs import dots, unit_features

__all__ = ["supremix"]


def supremix(
    feature: Tensor,
    value: Tensor,
    *,
    window: float = 5.0,
    alpha: tuple[float, float] = (2.0, 8.0),
    temperature: float = 0.3,
    mixes: int | None = 64,
    generator: Generator = None,
) -> Tensor:
    """Return the contrastive loss of clips with values; mean over those that have a positive.

    Source: Wu et al., "Mixup Your Own Pairs", arXiv:2309.16633, 2023.

    Parameters
    ----------
    feature : Tensor, shape (B, D), floating point
        Of any length; two views of a clip are two rows of the same value.
    value : Tensor, shape (B,)
        What is to be told from the features: a tempo, a level, a score.
    window : float
        How far the two clips of a positive may be from the value of their anchor, in units of it; above 0.
    alpha : (float, float)
        Of Beta, the share of the clip itself in its negatives.
    temperature : float
        Divides the cosines, above 0.
    mixes : int, optional
        The most positives of a clip, drawn among all pairs; None for all of them, of which there are up to B^2 / 4.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.

    Returns
    -------
    Tensor, scalar
        In float32 at least; 0 where no clip has a positive. Memory is in proportion to B D (B + mixes) for a clip at a
        time.

    Raises
    ------
    ValueError, TypeError
        Values that do not fit the features, or another wrong argument.

    Examples
    --------
    >>> feature, tempo = torch.eye(4), torch.tensor([90.0, 90.0, 120.0, 120.0])
    >>> bool(supremix(feature, tempo) > supremix(torch.eye(2)[[0, 0, 1, 1]], tempo))
    True
    """
    f = unit_features("feature", feature)
    t = check.batch("value", value, len(f), ndim=1).to(f.device, torch.promote_types(value.dtype, f.dtype))
    if t.ndim != 1 or not bool(t.isfinite().all()):
        check.fail("value", "finite numbers (B,)", f"shape {tuple(t.shape)}")
    check.number("window", window, 1e-12)
    tau = check.number("temperature", temperature, 1e-6)
    if not isinstance(alpha, (tuple, list)) or len(alpha) != 2:
        check.fail("alpha", "two numbers, of Beta", alpha)
    a, b = (check.number("alpha", one, 1e-3) for one in alpha)
    if mixes is not None:
        check.integer("mixes", mixes, 0)
    # one draw for all pairs, so that how the clips are taken apart below changes nothing
    share = draw.beta(a, len(f) ** 2, partner=b, generator=generator).view(len(f), -1).to(f)
    losses = []
    for i in range(len(f)):
        below = ((t < t[i]) & (t >= t[i] - window)).nonzero()[:, 0]
        above = ((t > t[i]) & (t <= t[i] + window)).nonzero()[:, 0]
        pair = torch.cartesian_prod(below, above) if len(below) and len(above) else below.new_zeros(0, 2)
        if mixes is not None and len(pair) > mixes:
            pair = pair[draw.distinct(len(pair), mixes, generator=generator).to(pair.device, torch.int64)]
        losses.append(_loss_of(i, f, t, pair, share[i], tau))
    found = [loss for loss in losses if loss is not None]
    return torch.stack(found).mean() if found else (f * 0).sum()


def _loss_of(i: int, f: Tensor, t: Tensor, pair: Tensor, share: Tensor, tau: float) -> Tensor | None:
    """Return the loss of one clip; None where it has no positive."""
    others = torch.arange(len(f), device=f.device) != i
    unlike = t != t[i]
    with torch.no_grad():
        negative = F.normalize(share[unlike, None] * f[i] + (1 - share[unlike, None]) * f[unlike], dim=1)
        negative_value = share[unlike] * t[i] + (1 - share[unlike]) * t[unlike]
        low, high = t[pair[:, 0]], t[pair[:, 1]]
        weight = ((high - t[i]) / (high - low)).to(f)[:, None]
        positive = F.normalize(weight * f[pair[:, 0]] + (1 - weight) * f[pair[:, 1]], dim=1)
    cosine = dots(torch.cat([f[others], positive, negative]), f[i : i + 1])[:, 0] / tau
    values = torch.cat([t[others], t[i].expand(len(positive)), negative_value])
    same = torch.cat([~unlike[others], torch.ones(len(positive), dtype=torch.bool, device=f.device),
                      torch.zeros(len(negative), dtype=torch.bool, device=f.device)])  # fmt: skip
    if not bool(same.any()):
        return None
    below = (cosine + torch.log1p((values - t[i]).abs()).to(f)).logsumexp(0)
    return below - cosine[same].mean()
