r"""Neural collapse: how far features and classifier are from the simplex that a trained network ends in.

.. math:: \mathrm{NC1} = \frac{1}{K} \mathrm{tr}(\Sigma_W \Sigma_B^\dagger), \qquad
          \mathrm{NC2} = \left\| \frac{W W^T}{\|W W^T\|_F} - \frac{I - 1 1^T / K}{\sqrt{K - 1}} \right\|_F, \qquad
          \mathrm{NC3} = \left\| \frac{W \bar H}{\|W \bar H\|_F} - \frac{I - 1 1^T / K}{\sqrt{K - 1}} \right\|_F

with the columns of H bar the class means less their own mean; NC4 is the share of clips that the nearest class mean
and the classifier give different classes. All are 0 at collapse. `mixed_features` is the view of a network trained on
mixes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import check
from ..plan import Plan
from .calibration import check_classes

__all__ = ["MixedFeatures", "NeuralCollapse", "mixed_features", "neural_collapse"]


class NeuralCollapse(NamedTuple):
    """What `neural_collapse` returns; each is 0 at collapse."""

    nc1: float  # variation within classes against that between them; infinite, or NaN, where all means are one
    nc2: float  # distance of the classifier's rows from a simplex
    nc2_means: float  # and of the class means
    nc3: float  # distance of the classifier from the class means
    nc4: float  # share of clips whose nearest class mean is another class than the classifier's


class MixedFeatures(NamedTuple):
    """What `mixed_features` returns, a row a mix."""

    share: Tensor  # (B,), of the original
    same_class: Tensor  # (B,), bool
    cosine: Tensor  # (B,), with the classifier's row of the original's class
    plane: Tensor  # (B, 2), place between the rows of both classes: (1, 0) and (0, 1); NaN where these are in line
    logit_gap: Tensor  # (B,), how far apart the logits of both classes are


def neural_collapse(features: Tensor, labels: Tensor, weight: Tensor, *, bias: Tensor | None = None) -> NeuralCollapse:
    """Return how far a network is from neural collapse.

    Source: Papyan, Han and Donoho, "Prevalence of neural collapse during the terminal phase of deep learning training",
    PNAS 2020.

    Parameters
    ----------
    features : Tensor, shape (N, D), floating point
        What the last layer is given, of clips of all classes.
    labels : Tensor, shape (N,), int64
        True classes; each has a clip.
    weight : Tensor, shape (K, D)
        Of the last layer.
    bias : Tensor, shape (K,), optional
        Of the last layer.

    Raises
    ------
    ValueError, TypeError
        A class without a clip, fewer than two classes, or sizes that do not fit.

    Examples
    --------
    >>> simplex = torch.eye(3) - 1 / 3
    >>> found = neural_collapse(simplex.repeat(2, 1), torch.arange(3).repeat(2), simplex)
    >>> [round(value, 6) for value in found]
    [0.0, 0.0, 0.0, 0.0, 0.0]
    """
    labels = check.batch("labels", labels, ndim=1)
    check.batch("features", check.finite("features", check.floating("features", features)), len(labels))
    w = check.finite("weight", check.floating("weight", weight)).double()
    if features.ndim != 2 or w.ndim != 2 or w.shape[1] != features.shape[1] or len(w) < 2:
        got = f"{tuple(features.shape)} and {tuple(w.shape)}"
        check.fail("features and weight", "of shape (N, D) and (K, D), of two classes or more", got)
    classes = len(w)
    h, labels = features.double(), check_classes(labels, classes).to(features.device)
    w = w.to(h.device)
    count = torch.bincount(labels, minlength=classes)
    if bool((count == 0).any()):
        check.fail("labels", "of all classes", f"none of class {int((count == 0).nonzero()[0])}")
    means = torch.zeros(classes, h.shape[1], dtype=h.dtype, device=h.device).index_add_(0, labels, h) / count[:, None]
    centred = means - means.mean(0)
    within = h - means[labels]
    between = centred.T @ centred / classes
    # the pseudo-inverse of a matrix of rank K - 1 at most: what rounding left behind it is no variance
    values, vectors = torch.linalg.eigh(between)
    spread = h.square().sum() / len(h)
    kept = values > torch.maximum(values.amax() * 1e-10, spread * 1e-26)
    inverse = vectors[:, kept] / values[kept] @ vectors[:, kept].T
    nc1 = torch.einsum("nd,de,ne->", within, inverse, within) / len(h) / classes
    if not bool(kept.any()):  # no variation between classes: not collapsed, but nothing to compare with
        nc1 = within.square().sum() / 0.0
    if bias is not None and bias.shape != (classes,):
        check.fail("bias", f"of shape ({classes},)", tuple(bias.shape))
    logits = h @ w.T + (0 if bias is None else bias.to(h))
    nearest = torch.cdist(h, means).argmin(1)
    return NeuralCollapse(
        float(nc1),
        _from_simplex(w @ w.T),
        _from_simplex(centred @ centred.T),
        _from_simplex(w @ centred.T),
        float((nearest != logits.argmax(1)).double().mean()),
    )


def _from_simplex(gram: Tensor) -> float:
    """Return the distance of a matrix (K, K), at norm 1, from that of a simplex."""
    classes = len(gram)
    ideal = (torch.eye(classes, dtype=gram.dtype, device=gram.device) - 1 / classes) / (classes - 1) ** 0.5
    norm = torch.linalg.matrix_norm(gram)
    return float(torch.linalg.matrix_norm(gram / torch.where(norm > 0, norm, 1.0) - ideal))


def mixed_features(features: Tensor, target: Tensor, plan: Plan, weight: Tensor) -> MixedFeatures:
    """Return where the features of mixes lie, seen from the classifier's rows of their two classes.

    Source: Fisher et al., "Pushing Boundaries: Mixup's Influence on Neural Collapse", ICLR 2024. Its own way to draw
    them could not be read: the plane is ours.

    Parameters
    ----------
    features : Tensor, shape (B, D), floating point
        What the last layer is given, of mixes.
    target : Tensor, shape (B,), int64
        Classes of the originals.
    plan : Plan
        What the mixes were made by, of one partner each, in the batch.
    weight : Tensor, shape (K, D)
        Of the last layer.

    Raises
    ------
    ValueError, TypeError
        Sizes that do not fit, partners of a second batch, or more than one partner a clip.

    Examples
    --------
    >>> weight = torch.eye(2)
    >>> plan = Plan(torch.tensor([1, 0]), torch.tensor([0.75, 1.0], dtype=torch.float64))
    >>> found = mixed_features(torch.tensor([[0.75, 0.25], [0.0, 1.0]]), torch.tensor([0, 1]), plan, weight)
    >>> found.plane[0].tolist()
    [0.75, 0.25]
    """
    check.batch("features", check.floating("features", features), len(plan))
    w = check.floating("weight", weight).to(features.device).double()
    if features.ndim != 2 or w.ndim != 2 or w.shape[1] != features.shape[1]:
        got = f"{tuple(features.shape)} and {tuple(w.shape)}"
        check.fail("features and weight", "of shape (B, D) and (K, D)", got)
    partners, _ = plan.label_shares()
    if partners.shape[1] != 1:
        check.fail("plan", "of one partner a clip", partners.shape[1])
    if int(plan.partner.max()) >= len(plan):
        check.fail("plan", "of partners in the batch", f"partner {int(plan.partner.max())}")
    h = features.double()
    label = check_classes(check.batch("target", target, len(plan), ndim=1), len(w)).to(h.device)
    partner = plan.partner.to(h.device)
    a, b = w[label], w[label[partner]]
    same = label == label[partner]
    rows = torch.stack([a, b], 2)  # (B, D, 2)
    gram = rows.transpose(1, 2) @ rows
    # of one class the two rows are one, and there is no plane; nor is there of rows in line
    size = gram.diagonal(dim1=1, dim2=2).prod(1)
    flat = torch.linalg.det(gram) <= 1e-12 * size
    gram = torch.where(flat[:, None, None], torch.eye(2, dtype=h.dtype, device=h.device), gram)
    plane = torch.linalg.solve(gram, (rows.transpose(1, 2) @ h[:, :, None]))[..., 0]
    plane = torch.where(flat[:, None], torch.nan, plane)
    cosine = torch.nn.functional.cosine_similarity(h, a, dim=1)
    return MixedFeatures(plan.weight, same, cosine, plane, ((h * a).sum(1) - (h * b).sum(1)).abs())
