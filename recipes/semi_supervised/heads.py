r"""Linear heads in closed form on the features of a trained network: from its own guesses, or from spread labels.

Two heads, each from the features (N, D) of all training clips, labelled and unlabelled; no held-out clip is used:

``refit``  a ridge regression on the labels of the labelled clips and the network's guesses of the unlabelled ones.
``graph``  the labels are spread over the graph of nearest neighbours of the training clips (Zhou et al., "Learning with
           Local and Global Consistency", NIPS 2003; Iscen et al., "Label Propagation for Deep Semi-Supervised
           Learning", CVPR 2019), then a ridge regression is fitted on the spread labels. So a new clip needs no graph.

Both are linear in the features: `fold` puts one into the network's own linear layer.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import cg
from torch import Tensor, nn

from audiomix import check

__all__ = [
    "LinearHead", "align_to_prior", "build_graph", "certainty", "fit_graph_head", "fit_refit_head",
    "fit_ridge", "fold", "spread_labels",
]  # fmt: skip

STRENGTHS = tuple(10 ** (i / 2) for i in range(-8, 5))  # 1e-4 to 100, two a decade
_BLOCK = 1 << 24  # numbers of one block: 64 MB of float32
_SCALES = (1e-2, 1e3)  # range of the factor of the scores


@dataclass(frozen=True, eq=False)
class LinearHead:
    """A linear layer on features: ``features @ weight.T + bias`` are logits."""

    weight: Tensor  # (K, D), float64
    bias: Tensor  # (K,), float64
    strength: float  # of the ridge, relative to the mean variance of the features times their weights
    loo_error: float  # weighted mean of the squared leave-one-out residuals that it was chosen by
    scale: float  # factor that turns regression scores into logits; in weight and bias already

    def __call__(self, features: Tensor) -> Tensor:
        """Return the logits, float64 (N, K), of features (N, D)."""
        return features.double() @ self.weight.T + self.bias


def fit_ridge(
    features: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    *,
    strength: float | None = None,
    measured: Tensor | None = None,
) -> LinearHead:
    r"""Fit a linear head on standardised features by weighted ridge regression, in closed form and in float64.

    .. math:: \min_{W, b} \sum_i w_i \| y_i - W z_i - b \|^2 + \lambda \| W \|^2, \qquad
              \lambda = s \, \frac{1}{D} \mathrm{tr} \sum_i w_i z_i z_i^T

    z: the features, minus their mean, over their standard deviation. b has no penalty. Unless the strength s
    is given, it is the one of `STRENGTHS` with the smallest squared leave-one-out residual: that of clip i is
    (y_i - f(x_i)) / (1 - h_i), where h is the diagonal of the hat matrix (Allen, "The Relationship Between Variable
    Selection and Data Augmentation and a Method for Prediction", Technometrics 1974: PRESS). Mean and deviation are
    weighted, and those of all clips: a clip of weight 2 counts like two, one of weight 0 not at all.

    The scores are regressions on class shares, no logits: they are multiplied by the one factor for which the softmax
    of the leave-one-out scores has the least cross-entropy with the targets. The predicted classes do not depend on it.

    Parameters
    ----------
    features : Tensor, shape (N, D)
        Features of the training clips.
    targets : Tensor, shape (N, K)
        Class shares of each clip: one-hot labels, or guesses.
    weights : Tensor, shape (N,), optional
        Weight of each clip, at least 0; by default all have 1.
    strength : float, optional
        s, the strength of the penalty; by default chosen by leave-one-out.
    measured : Tensor, shape (N,), bool, optional
        Clips whose residuals choose the strength and the factor of the scores: by default all.

    Raises
    ------
    ValueError
        Features, targets or weights that are not finite or of other shapes, a weight below 0, or no clip that counts.

    Examples
    --------
    >>> x = torch.tensor([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]])
    >>> y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> fit_ridge(x, y)(x).argmax(-1)
    tensor([0, 0, 1, 1])
    """
    x, y, w = _checked(features, targets, weights)
    counted = torch.ones_like(w, dtype=torch.bool) if measured is None else measured.to(w.device)
    check.batch("measured", counted, len(x), ndim=1)
    if not bool((w[counted] > 0).any()):
        check.fail("measured", "clips of which some have a weight above 0", "none")
    strengths = STRENGTHS if strength is None else (check.number("strength", strength, 1e-12, 1e12),)
    mean, y_mean = _weighted_mean(x, w), (w @ y) / w.sum()
    deviation = _deviation(x, w, mean)
    gram, cross = _moments(x, y - y_mean, w, mean, deviation)
    values, vectors = torch.linalg.eigh(gram)
    unit = float(gram.diagonal().mean()) or 1.0  # 0 where all features are constant
    inverse = 1 / (values.clamp_min(0) + unit * torch.tensor(strengths, device=x.device)[:, None].double())  # (S, D)
    coefficients = inverse[:, :, None] * (vectors.T @ cross)  # (S, D, K), on the features turned by `vectors`

    def left_out(which: slice, at: slice) -> Tensor:
        """Return the scores (S, n, K) of some clips, each of the head that is fitted without that clip."""
        turned = ((x[at].double() - mean) / deviation) @ vectors
        hat = w[at] * (1 / w.sum() + inverse[which] @ turned.square().T)
        rest = (1 - hat).clamp_min(1e-9)[..., None]  # 0 where one clip alone decides its score
        return y[at] - (y[at] - turned @ coefficients[which] - y_mean) / rest

    counts = torch.where(counted, w, 0.0)
    blocks = _rows(x, max(x.shape[1], y.shape[1] * len(strengths)))
    squares = [(left_out(slice(None), at) - y[at]).square().sum(-1) @ counts[at] for at in blocks]
    errors = torch.stack(squares).sum(0) / counts.sum()
    best = int(errors.argmin())
    scores = torch.cat([left_out(slice(best, best + 1), at)[0] for at in blocks])
    scale = _best_scale(scores, y, counts)
    weight = (vectors @ coefficients[best]).T / deviation  # (K, D)
    return LinearHead(scale * weight, scale * (y_mean - weight @ mean), strengths[best], float(errors[best]), scale)


def _checked(features: Tensor, targets: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    check.batch("features", features, ndim=2)
    check.batch("targets", targets, len(features))
    y = check.finite("targets", targets.double())
    w = torch.ones(len(features), dtype=torch.float64, device=y.device) if weights is None else weights.double()
    check.batch("weights", w, len(features), ndim=1)
    if bool((check.finite("weights", w) < 0).any()) or not bool((w > 0).any()):
        check.fail("weights", "at least 0, and some above", f"{float(w.min()):g} to {float(w.max()):g}")
    return check.finite("features", features), y, w


def _rows(x: Tensor, width: int) -> list[slice]:
    """Return slices of the rows of `x`, so small that `width` numbers a row make a block."""
    size = max(1, _BLOCK // max(1, width))
    return [slice(i, i + size) for i in range(0, len(x), size)]


def _weighted_mean(x: Tensor, w: Tensor) -> Tensor:
    return torch.stack([w[at] @ x[at].double() for at in _rows(x, x.shape[1])]).sum(0) / w.sum()


def _deviation(x: Tensor, w: Tensor, mean: Tensor) -> Tensor:
    """Return the weighted standard deviation of each feature, 1 where it is constant: its weight is 0 then."""
    squares = torch.stack([w[at] @ (x[at].double() - mean).square() for at in _rows(x, x.shape[1])]).sum(0)
    deviation = (squares / w.sum()).sqrt()
    return torch.where(deviation > 1e-9 * (1 + mean.abs()), deviation, torch.ones_like(deviation))


def _moments(x: Tensor, y: Tensor, w: Tensor, mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted sums of z z^T, (D, D), and of z y^T, (D, K), of standardised features z."""
    gram, cross = (torch.zeros(x.shape[1], n, dtype=torch.float64, device=x.device) for n in (x.shape[1], y.shape[1]))
    for at in _rows(x, x.shape[1]):
        z = (x[at].double() - mean) / deviation
        weighted = z * w[at, None]
        gram += weighted.T @ z
        cross += weighted.T @ y[at]
    return gram, cross


def _best_scale(scores: Tensor, y: Tensor, w: Tensor) -> float:
    """Return the factor of scores (N, K) with the least cross-entropy: convex, so its slope is bisected."""
    low, high = (float(np.log(bound)) for bound in _SCALES)

    def slope(log: float) -> float:
        p = (scores * float(np.exp(log))).softmax(-1)
        return float((((p * y.sum(-1, keepdim=True) - y) * scores).sum(-1) * w).sum())

    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return float(np.exp((low + high) / 2))


def align_to_prior(probabilities: Tensor, prior: Tensor) -> Tensor:
    r"""Return distributions whose mean is nearer to the prior.

    .. math:: q_k = p_k \frac{\pi_k}{\bar p_k} \Big/ \sum_j p_j \frac{\pi_j}{\bar p_j}

    Distribution alignment, with the mean over the rows; Berthelot et al., "ReMixMatch", ICLR 2020, section 3.1.

    Parameters
    ----------
    probabilities : Tensor, shape (N, K)
        p, a distribution a row.
    prior : Tensor, shape (K,)
        pi, the share of each class.

    Examples
    --------
    >>> align_to_prior(torch.tensor([[0.9, 0.1], [0.7, 0.3]]), torch.tensor([0.5, 0.5])).round(decimals=3)
    tensor([[0.6920, 0.3080],
            [0.3680, 0.6320]])
    """
    check.batch("prior", prior, probabilities.shape[-1], ndim=1)
    tiny = torch.finfo(probabilities.dtype).tiny
    aligned = probabilities * (prior.to(probabilities) / probabilities.mean(0).clamp_min(tiny))
    return aligned / aligned.sum(-1, keepdim=True).clamp_min(tiny)


def build_graph(features: Tensor, neighbours: int = 8, *, power: float = 3.0) -> sparse.csr_matrix:
    r"""Return the symmetrically normalised graph of nearest neighbours by cosine similarity, N x N.

    .. math:: a_{ij} = [\cos(x_i, x_j)]_+^\gamma \text{ for the k nearest } j \ne i, \qquad A' = A + A^T, \qquad
              S = D^{-1/2} A' D^{-1/2}

    Iscen et al., CVPR 2019, equations 3 and 9. Rows are compared in blocks of bounded memory. Of equally similar clips
    any may be taken; a clip without a similar one has no edge.

    Parameters
    ----------
    features : Tensor, shape (N, D)
        Features of the clips; centre them first where all are positive.
    neighbours : int
        k, the neighbours of each clip, fewer where there are fewer clips.
    power : float
        gamma: larger ones give distant neighbours less weight.

    Examples
    --------
    >>> build_graph(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]), 1).toarray().round(3).tolist()
    [[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]]
    """
    check.batch("features", features, ndim=2)
    check.integer("neighbours", neighbours, 1)
    check.number("power", power, 0, 100)
    count = len(features)
    x = nn.functional.normalize(check.finite("features", features).float(), dim=-1)
    k, similar, places = min(neighbours, count - 1), [], []
    if k == 0:
        return sparse.csr_matrix((count, count))
    for at in _rows(x, count):
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 has steps of 0.004 below 1
            cosines = x[at] @ x.T
        own = torch.arange(count, device=x.device)[at]
        cosines[torch.arange(len(own), device=x.device), own] = -2.0  # below every cosine: no clip is its own neighbour
        best = cosines.topk(k, dim=-1)
        similar.append(best.values.cpu())
        places.append(best.indices.cpu())
    values = torch.cat(similar).clamp_min(0).double().pow(power).flatten().numpy()
    indices, starts = torch.cat(places).flatten().numpy(), np.arange(0, count * k + 1, k)
    one_way = sparse.csr_matrix((values, indices, starts), shape=(count, count))
    both = (one_way + one_way.T).tocsr()
    both.eliminate_zeros()
    degree = np.asarray(both.sum(1)).ravel()
    factor = sparse.diags(np.divide(1, np.sqrt(degree), out=np.zeros(count), where=degree > 0))
    return (factor @ both @ factor).tocsr()


def spread_labels(graph: sparse.csr_matrix, targets: Tensor, *, alpha: float = 0.9) -> Tensor:
    r"""Return the scores (N, K), float64, that labels reach by spreading over a graph.

    .. math:: F = (1 - \alpha) (I - \alpha S)^{-1} Y

    Zhou et al., NIPS 2003, equation 4 and the limit of its iteration; solved by conjugate gradients, a class at a time.

    Parameters
    ----------
    graph : scipy.sparse.csr_matrix, N x N
        S, as `build_graph` returns it.
    targets : Tensor, shape (N, K)
        Y, at least 0: one-hot labels, and zeros for clips without a label.
    alpha : float
        Share that a clip takes from its neighbours, between 0 and 1; the rest stays with its own label.

    Raises
    ------
    ValueError
        alpha is not between 0 and 1, or the targets are of other shapes or below 0.
    ArithmeticError
        The solver did not converge.

    Examples
    --------
    >>> graph = build_graph(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]), 1)
    >>> spread_labels(graph, torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])).argmax(-1)
    tensor([0, 0, 1, 1])
    """
    if not 0 < check.number("alpha", alpha, 0, 1) < 1:
        check.fail("alpha", "between 0 and 1, neither included", alpha)
    check.batch("targets", targets, graph.shape[0])
    y = check.finite("targets", targets.double()).cpu().numpy()
    if (y < 0).any():
        check.fail("targets", "at least 0", f"{y.min():g}", "logits? take their softmax")
    system = sparse.identity(graph.shape[0], format="csr") - alpha * graph
    columns = []
    for k in range(y.shape[1]):
        # its condition number is at most (1 + alpha) / (1 - alpha): about 60 iterations for 0.95
        column, info = cg(system, (1 - alpha) * y[:, k], rtol=1e-8, atol=0.0, maxiter=10_000)
        if info:
            raise ArithmeticError(f"spreading the labels did not converge: {info} iterations for class {k}")
        columns.append(column)
    return torch.from_numpy(np.stack(columns, 1)).clamp_min(0).to(targets.device)


def certainty(probabilities: Tensor) -> Tensor:
    r"""Return 1 for a row with one class, 0 for a uniform one.

    .. math:: \omega_i = 1 - \frac{H(p_i)}{\log K}

    Iscen et al., CVPR 2019, equation 11.

    Parameters
    ----------
    probabilities : Tensor, shape (N, K)
        A distribution a row.

    Examples
    --------
    >>> certainty(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    tensor([1., 0.])
    """
    classes = check.integer("the number of classes", probabilities.shape[-1], 2)
    entropy = -torch.special.xlogy(probabilities, probabilities).sum(-1)
    return (1 - entropy / float(np.log(classes))).clamp(0, 1)


def fit_refit_head(
    features: Tensor,
    targets: Tensor,
    labelled: Tensor,
    *,
    weight_labelled: float = 1.0,
    strength: float | None = None,
) -> LinearHead:
    """Fit the head ``refit``: ridge regression on labels and guesses of all training clips.

    Parameters
    ----------
    features : Tensor, shape (N, D)
        Features of the training clips.
    targets : Tensor, shape (N, K)
        One-hot labels of the labelled clips, guesses of the others: distributions.
    labelled : Tensor, shape (N,), bool
        Which clips are labelled.
    weight_labelled : float
        Weight of a labelled clip; an unlabelled one has 1.
    strength : float, optional
        See `fit_ridge`.
    """
    check.batch("labelled", labelled, len(features), ndim=1)
    weights = torch.where(labelled, check.number("weight_labelled", weight_labelled, 0, 1e6), 1.0)
    return fit_ridge(features, targets, weights, strength=strength)


def fit_graph_head(
    features: Tensor,
    targets: Tensor,
    labelled: Tensor,
    *,
    neighbours: int = 8,
    alpha: float = 0.9,
    power: float = 3.0,
    guess_weight: float = 0.0,
    prior: Tensor | None = None,
    strength: float | None = None,
) -> tuple[LinearHead, Tensor]:
    """Fit the head ``graph``; return it and the spread labels (N, K), distributions.

    Features are standardised before they are compared. A clip counts by the `certainty` of its spread label.

    Parameters
    ----------
    features : Tensor, shape (N, D)
        Features of the training clips.
    targets : Tensor, shape (N, K)
        One-hot labels of the labelled clips, guesses of the others: distributions.
    labelled : Tensor, shape (N,), bool
        Which clips are labelled.
    neighbours, power, alpha
        See `build_graph` and `spread_labels`.
    guess_weight : float
        What a guess counts where a label counts 1; with 0 labels alone are spread.
    prior : Tensor, shape (K,), optional
        Share of each class that the spread labels are aligned to; by default that of the labels.
    strength : float, optional
        See `fit_ridge`.
    """
    check.batch("labelled", labelled, len(features), ndim=1)
    if not bool(labelled.any()):
        check.fail("labelled", "at least one labelled clip", "none")
    y = targets.double()
    prior = y[labelled].mean(0) if prior is None else prior.double()
    x = (features - features.mean(0)) / features.std(0, correction=0).clamp_min(1e-9)
    sources = y * torch.where(labelled, 1.0, check.fraction("guess_weight", guess_weight))[:, None]
    scores = spread_labels(build_graph(x, neighbours, power=power), sources, alpha=alpha)
    reached = scores.sum(-1) > 0
    # where no label comes along any path nothing is known but the prior: such a clip has no weight
    shares = torch.where(reached[:, None], scores / scores.sum(-1, keepdim=True).clamp_min(1e-300), prior)
    spread = align_to_prior(shares, prior)
    weights = torch.where(reached, certainty(spread), 0.0)
    return fit_ridge(features, spread, weights, strength=strength), spread


def fold(head: LinearHead, layer: nn.Linear) -> None:
    """Put a head into a linear layer (D to K) of a network, in place and in its dtype.

    Raises
    ------
    ValueError
        The layer has no bias, or is of another shape.
    """
    if tuple(layer.weight.shape) != tuple(head.weight.shape):
        check.fail("layer", f"of shape {tuple(head.weight.shape)}", tuple(layer.weight.shape))
    if layer.bias is None:
        check.fail("layer", "one with a bias", "one without")
    with torch.no_grad():
        layer.weight.copy_(head.weight)
        layer.bias.copy_(head.bias)
