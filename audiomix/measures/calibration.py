r"""How far confidences are from the share of predictions that are right, and scores of probabilities.

.. math:: \mathrm{ECE} = 100 \sum_b \frac{n_b}{N} \, | \mathrm{acc}_b - \mathrm{conf}_b |, \qquad
          \mathrm{Brier} = \frac{1}{N} \sum_i \sum_k (p_{i,k} - y_{i,k})^2, \qquad
          \mathrm{NLL} = -\frac{1}{N} \sum_i \log p_{i, y_i}

torchmetrics' bins are [b / bins, (b + 1) / bins), with one more for a confidence of exactly 1, and it computes in
float32: its numbers differ from the ones here, whose bins are those of the papers.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import check

__all__ = [
    "Reliability", "adaptive_calibration_error", "brier_score", "classwise_calibration_error",
    "expected_calibration_error", "negative_log_likelihood", "reliability",
]  # fmt: skip


class Reliability(NamedTuple):
    """Confidence against accuracy: what a reliability diagram shows. One row a bin, float64.

    Bins are in the order of confidence; where one is empty its confidence and accuracy are NaN.
    """

    confidence: Tensor  # (bins,), the mean of its clips
    accuracy: Tensor  # (bins,), the share of them that is right
    clips: Tensor  # (bins,), int64, how many

    @property
    def error(self) -> float:
        """The mean distance between the two over all clips, in percent."""
        gap = (self.accuracy - self.confidence).abs().nan_to_num(0.0)
        return 100 * float((gap * self.clips).sum() / self.clips.sum())


def reliability(probabilities: Tensor, labels: Tensor, *, bins: int = 15, adaptive: bool = False) -> Reliability:
    """Return the mean confidence and the accuracy of bins of clips.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.

    Parameters
    ----------
    probabilities : Tensor, shape (N, K)
        Class probabilities.
    labels : Tensor, shape (N,), int64
        True classes.
    bins : int
        How many.
    adaptive : bool
        Bins of as many clips each, up to one, by confidence; by default of as much confidence each: bin b holds the
        clips whose largest probability is in (b / bins, (b + 1) / bins].

    Raises
    ------
    ValueError
        A row is no distribution: logits, say.

    Examples
    --------
    Three clips with 0.8, of which two are right:

    >>> found = reliability(torch.tensor([[0.8, 0.2]] * 3), torch.tensor([0, 0, 1]), bins=4)
    >>> found.clips.tolist(), round(float(found.accuracy[3]), 3)
    ([0, 0, 0, 3], 0.667)
    """
    p, labels = _check(probabilities, labels)
    confidence, predicted = p.max(-1)
    return _bin(confidence, (predicted == labels).double(), bins, adaptive)


def expected_calibration_error(probabilities: Tensor, labels: Tensor, *, bins: int = 15) -> float:
    r"""Return the mean distance between confidence and accuracy over bins of equal width, in percent.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.

    Parameters
    ----------
    probabilities, labels, bins
        See `reliability`.

    Examples
    --------
    Three clips with 0.8, of which two are right:

    >>> round(expected_calibration_error(torch.tensor([[0.8, 0.2]] * 3), torch.tensor([0, 0, 1])), 2)
    13.33
    """
    return reliability(probabilities, labels, bins=bins).error


def adaptive_calibration_error(probabilities: Tensor, labels: Tensor, *, bins: int = 15) -> float:
    """Return the mean distance between confidence and accuracy over bins of as many clips each, in percent.

    Source: Nixon et al., "Measuring Calibration in Deep Learning", CVPR Workshops 2019.

    Parameters
    ----------
    probabilities, labels, bins
        See `reliability`.

    See Also
    --------
    expected_calibration_error : of bins of equal width, of which most clips of a sure network are in one.

    Examples
    --------
    >>> p = torch.tensor([[0.91, 0.09], [0.99, 0.01]])  # two bins of equal width would have both in one
    >>> round(adaptive_calibration_error(p, torch.tensor([1, 0]), bins=2), 1)
    46.0
    """
    return reliability(probabilities, labels, bins=bins, adaptive=True).error


def classwise_calibration_error(probabilities: Tensor, labels: Tensor, *, bins: int = 15) -> float:
    """Return the mean over the classes of how far each one's probability is from how often it is there, in percent.

    Source: Kull et al., "Beyond temperature scaling: Obtaining well-calibrated multi-class probabilities with
    Dirichlet calibration", NeurIPS 2019.

    Parameters
    ----------
    probabilities : Tensor, shape (N, K)
        Class probabilities.
    labels : Tensor, shape (N,) int64, or (N, K)
        True classes. Of shape (N, K), 0 and 1 say which of several are there, and rows of probabilities need not add up
        to 1.
    bins : int
        How many, of equal width.

    Examples
    --------
    >>> p = torch.tensor([[0.75, 0.25]] * 4)
    >>> [classwise_calibration_error(p, torch.tensor(labels)) for labels in ([0, 0, 0, 1], [0, 0, 0, 0])]
    [0.0, 25.0]
    """
    several = check.tensor("labels", labels).ndim == 2
    p, labels = _check(probabilities, labels, several=several)
    there = labels.double() if several else torch.nn.functional.one_hot(labels, p.shape[1]).double()
    errors = [_bin(p[:, k], there[:, k], bins, False).error for k in range(p.shape[1])]
    return sum(errors) / len(errors)


def brier_score(probabilities: Tensor, labels: Tensor) -> float:
    """Return the mean squared distance of the probabilities from the label, from 0 to 2.

    Source: Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 1950.

    Parameters
    ----------
    probabilities, labels
        See `reliability`.

    Examples
    --------
    >>> brier_score(torch.tensor([[0.5, 0.5]]), torch.tensor([0]))
    0.5
    """
    p, labels = _check(probabilities, labels)
    return float((p - torch.nn.functional.one_hot(labels, p.shape[1])).square().sum(1).mean())


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """Return the mean of minus the logarithm of the true class's probability.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 2: the cross-entropy, in
    float64.

    Parameters
    ----------
    logits : Tensor, shape (N, K)
        Of the network, not their softmax: the logarithm of a probability that rounds to 0 is lost.
    labels : Tensor, shape (N,), int64
        True classes.

    Raises
    ------
    ValueError, TypeError
        Logits that are not finite, or labels that do not fit them.

    Examples
    --------
    >>> round(negative_log_likelihood(torch.tensor([[0.0, 0.0]]), torch.tensor([1])), 4)  # log 2
    0.6931
    """
    z, labels = check_logits(logits, labels)
    return float(torch.nn.functional.cross_entropy(z, labels))


def check_logits(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return finite logits (N, K) in float64 and class ids (N,), which fit."""
    labels = check.batch("labels", labels, ndim=1)
    check.batch("logits", check.finite("logits", check.floating("logits", logits)), len(labels))
    if logits.ndim != 2:
        check.fail("logits", "of shape (N, K)", tuple(logits.shape))
    return logits.double(), check_classes(labels, logits.shape[1]).to(logits.device)


def check_classes(labels: Tensor, classes: int) -> Tensor:
    """Return class ids (N,), int64, of 0..classes - 1."""
    if check.tensor("labels", labels).ndim != 1 or labels.is_floating_point():
        check.fail("labels", "class ids (N,), int64", f"{labels.dtype} of shape {tuple(labels.shape)}")
    if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= classes):
        check.fail("labels", f"in 0..{classes - 1}", f"{int(labels.min())}..{int(labels.max())}")
    return labels.long()


def _check(probabilities: Tensor, labels: Tensor, *, several: bool = False) -> tuple[Tensor, Tensor]:
    """Return probabilities in float64, and labels, which fit."""
    labels = check.batch("labels", labels, ndim=1)
    check.batch("probabilities", probabilities, len(labels))
    p = check.finite("probabilities", probabilities.double())
    if p.ndim != 2 or not len(p):
        check.fail("probabilities", "of shape (N, K), of one clip or more", tuple(p.shape))
    if bool((p < 0).any()) or bool((p > 1 + 1e-6).any()):
        got = f"{float(p.min()):g}..{float(p.max()):g}"
        check.fail("probabilities", "in [0, 1]", got, "logits? take their softmax")
    if several:
        if labels.shape != p.shape:
            check.fail("labels", f"of shape {tuple(p.shape)}, as probabilities is", tuple(labels.shape))
        if not bool(((labels == 0) | (labels == 1)).all()):
            check.fail("labels", "0 or 1 of each class", f"{float(labels.min()):g}..{float(labels.max()):g}")
        return p, labels.to(p.device)
    if bool(((p.sum(-1) - 1).abs() > 0.02).any()):
        check.fail("probabilities", "rows that add up to 1", "others", "logits? take their softmax")
    return p, check_classes(labels.to(p.device), p.shape[1])


def _bin(confidence: Tensor, right: Tensor, bins: int, adaptive: bool) -> Reliability:
    check.integer("bins", bins, 1)
    if adaptive:
        order = confidence.argsort(stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device) * bins // len(order)
    else:
        place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    sums = [torch.zeros(bins, dtype=torch.float64, device=confidence.device).index_add_(0, place, v)
            for v in (confidence, right, torch.ones_like(right))]  # fmt: skip
    return Reliability(sums[0] / sums[2], sums[1] / sums[2], sums[2].long())
