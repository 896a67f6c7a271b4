r"""How features lie on the sphere: near what they belong to, spread out, and near what was trained on.

.. math:: \mathrm{alignment} = \mathrm{E} \|a_i - b_i\|^2, \qquad
          \mathrm{uniformity} = \log \mathrm{E}_{i \ne j} \exp(-2 \|x_i - x_j\|^2), \qquad
          \mathrm{tolerance} = \mathrm{E}_{y_i = y_j} \, x_i \cdot x_j, \qquad
          \mathrm{utilisation} = \mathrm{E}_q \min_x \|q - x\|^2

All vectors are taken at length 1; zeros, which have no direction, stay.
"""

import torch
from torch import Tensor

from .. import check

__all__ = ["alignment", "tolerance", "uniformity", "utilisation"]

_ROWS = 1024  # of distances at a time


def alignment(a: Tensor, b: Tensor) -> float:
    """Return the mean squared distance of pairs, from 0 to 4: small is near.

    Source: Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere", ICML 2020.

    Parameters
    ----------
    a, b : Tensor, shape (N, D), floating point
        Features of two views, or of a sound and its caption.

    Examples
    --------
    >>> alignment(torch.eye(2), torch.eye(2)), alignment(torch.eye(2), -torch.eye(2))
    (0.0, 4.0)
    """
    u, v = _unit("a", a), _unit("b", b)
    if u.shape != v.shape:
        check.fail("b", f"of shape {tuple(u.shape)}, as a is", tuple(v.shape))
    return float((u - v).square().sum(1).mean())


def uniformity(x: Tensor) -> float:
    """Return the logarithm of the mean Gaussian potential of all pairs, from -8 to 0: small is spread out.

    Source: Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere", ICML 2020.

    Parameters
    ----------
    x : Tensor, shape (N, D), floating point
        Features of two clips or more.

    Examples
    --------
    >>> round(uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])), 6), uniformity(torch.ones(2, 3))
    (-8.0, 0.0)
    """
    u = _unit("x", x, 2)
    total = torch.zeros((), dtype=u.dtype, device=u.device)
    for rows in u.split(_ROWS):
        total = total + torch.exp(-2 * _square(rows, u)).sum()
    return float(((total - len(u)) / (len(u) * (len(u) - 1))).log())


def tolerance(x: Tensor, labels: Tensor) -> float:
    """Return the mean cosine of all pairs of clips of one class, from -1 to 1: large is near.

    Source: Wang and Liu, "Understanding the Behaviour of Contrastive Loss", CVPR 2021.

    Parameters
    ----------
    x : Tensor, shape (N, D), floating point
        Features.
    labels : Tensor, shape (N,), int64
        Classes; of one there are two clips or more.

    Examples
    --------
    >>> tolerance(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1]))
    1.0
    """
    u = _unit("x", x)
    labels = check.batch("labels", labels, len(u), ndim=1).to(u.device)
    if labels.ndim != 1:
        check.fail("labels", "one a clip, (N,)", tuple(labels.shape))
    _, group = labels.unique(return_inverse=True)
    count = torch.bincount(group).double()
    if not bool((count > 1).any()):
        check.fail("labels", "of two clips or more of one class", "one clip of each")
    # the sum of the cosines of all pairs of a class is the square of its sum, less each with itself
    sums = torch.zeros(len(count), u.shape[1], dtype=u.dtype, device=u.device).index_add_(0, group, u)
    itself = torch.zeros(len(count), dtype=u.dtype, device=u.device).index_add_(0, group, u.square().sum(1))
    return float((sums.square().sum(1) - itself).sum() / (count * (count - 1)).sum())


def utilisation(query: Tensor, x: Tensor) -> float:
    """Return the mean squared distance of features from the nearest trained one, from 0 to 4: small is well covered.

    Source: Venkataramanan et al., "It Takes Two to Tango: Mixup for Deep Metric Learning", ICLR 2022.

    Parameters
    ----------
    query : Tensor, shape (Q, D), floating point
        Features of test clips.
    x : Tensor, shape (N, D), floating point
        Features of what was trained on, of clips and of mixes.

    Examples
    --------
    >>> utilisation(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    2.0
    """
    q, u = _unit("query", query), _unit("x", x)
    if q.shape[1] != u.shape[1]:
        check.fail("query", f"of shape (Q, {u.shape[1]}), as x is", tuple(q.shape))
    return float(torch.cat([_square(rows, u).amin(1) for rows in q.split(_ROWS)]).mean())


def _square(a: Tensor, b: Tensor) -> Tensor:
    """Return squared distances of vectors, (N, M)."""
    return (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * (a @ b.T)).clamp(min=0)


def _unit(name: str, value: Tensor, least: int = 1) -> Tensor:
    check.batch(name, check.finite(name, check.floating(name, value)))
    if value.ndim != 2 or len(value) < least:
        check.fail(name, f"features (N, D) of {least} clips or more", tuple(value.shape))
    return torch.nn.functional.normalize(value.double(), dim=1)
