r"""FreeMatch: thresholds that follow the network's confidence, over all and in each class, and a fairness term.

.. math:: L = \frac{1}{B} \sum_i H(y_i, f(x_i)) + \lambda \left( \frac{1}{U} \sum_j
          [\max q_j \ge \tau_{k_j}] \, H(k_j, f(u'_j)) + \lambda_f L_f \right), \quad k_j = \arg\max q_j

.. math:: \tau_k = \tau \, \tilde p_k / \max \tilde p, \qquad \tau \leftarrow m \tau + (1 - m) \overline{\max q}, \quad
          \tilde p \leftarrow m \tilde p + (1 - m) \bar q, \quad \tilde h \leftarrow m \tilde h + (1 - m) \bar{[k]}

.. math:: L_f = \sum_k S(\tilde p / \tilde h)_k \log S(\bar p / \bar h)_k, \qquad S(v) = v / \sum v

p-bar is the mean of the predictions on the strong views of accepted clips, h-bar the histogram of their classes. Wang
et al., "FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning", ICLR 2023, equations 5 to 12. tau, p and h
start at 1 / K (in the authors' later code at 1) and take this batch in before they are used; all means are of the whole
batch, of all processes.

**The sign of L_f.** The paper minimises -H(S, S'), which is the sum above without a minus, and so do the authors' code
and its ports; it is asked about in USB's issues 182 and 231. The intention is a large entropy of the mean prediction,
but the first distribution has no gradient: minimising the sum drives the second one away from the first. A `fairness`
below 0 draws it there instead. Its size matters little at the paper's factors of 0.01 and 0.05.

With `fair_to` prior, L_f is instead the divergence of the mean prediction from the run's prior pi (Arazo et al.,
"Pseudo-Labeling and Confirmation Bias in Deep Semi-Supervised Learning", IJCNN 2020, R_A), which is least where they
are equal:

.. math:: L_f = \sum_k \pi_k \log \frac{\pi_k}{S(\bar p)_k}

The option `weight` scales L_f too; the paper's is always 1.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from audiomix import check
from audiomix.mixer import Mixer

from ._thresholds import MOMENTA, PAPERS, Predictions, PseudoLabels, ThresholdAlgorithm, above_threshold

__all__ = ["FreeMatch"]

_EPSILON = 1e-6  # frequency below which a class counts as never predicted
_TINY = torch.finfo(torch.float32).tiny


class FreeMatch(ThresholdAlgorithm):
    """FreeMatch with hard pseudo-labels.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        Mixes as FixMatch's does; the fairness term is of the mixed strong views.
    weight : str or float
        lambda, the factor of the two unlabelled terms: a number, or a schedule such as "linear:0:1:0.4".
    momentum : float
        m, of threshold, predictions and histogram: 0.999 in the paper.
    fairness : float
        lambda_f, the factor of the fairness term: 0.01 or 0.05 in the paper, by data set; below 0 inverts its sign.
    fair_to : str
        The fairness term is the paper's, from predictions alone (predictions), or draws the mean prediction to the
        run's prior (prior).
    mix_labels : bool
        Whether a mixer mixes the labels too; if not, the original's label is kept.

    References
    ----------
    Wang et al., "FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning", ICLR 2023.

    Deviations
    ----------
    - A class that no accepted strong view is predicted to be has no part in the fairness term; the authors' code adds
      log 1e-12 for it, a number without gradient.
    - A pseudo-label is accepted where its confidence is at least the threshold, as in the authors' code; equation 8 has
      above.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        name: options | ({} if name in ("original", "study") else {"fair_to": "prior"})
        for name, options in MOMENTA.items()
    }
    configs: ClassVar[dict[str, dict[str, Any]]] = {"original": PAPERS}
    confidence: Tensor
    guessed: Tensor
    histogram: Tensor

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        weight: str | float = 1.0,
        momentum: float = 0.999,
        fairness: float = 0.01,
        fair_to: Literal["predictions", "prior"] = "predictions",
        mix_labels: bool = True,
    ) -> None:
        super().__init__(num_classes, mixer, weight=weight, mix_labels=mix_labels)
        self.momentum = check.fraction("momentum", momentum)
        self.fairness = check.number("fairness", fairness)
        self.fair_to = check.choice("fair_to", fair_to, ["predictions", "prior"])
        self.register_buffer("confidence", torch.full((), 1 / num_classes))
        self.register_buffer("guessed", torch.full((num_classes,), 1 / num_classes))
        self.register_buffer("histogram", torch.full((num_classes,), 1 / num_classes))

    def choose(self, predictions: Predictions) -> PseudoLabels:
        """Accept the predictions that reach the threshold of their class; see `ThresholdAlgorithm.choose`."""
        confidence, target = predictions.q.max(-1)
        self.confidence.lerp_(self.batch_mean(confidence), 1 - self.momentum)
        self.guessed.lerp_(self.batch_mean(predictions.q), 1 - self.momentum)
        self.histogram.lerp_(self.batch_mean(self.one_hot(target)), 1 - self.momentum)
        return above_threshold(confidence, self.confidence * self.guessed / self.guessed.max(), target)

    def more_terms(self, on_strong: Tensor, pseudo: PseudoLabels) -> dict[str, Tensor]:
        """Return the term ``fairness``, with its factor; see `ThresholdAlgorithm.more_terms`."""
        p = on_strong.softmax(-1)  # (U, K)
        seen = self.batch_mean(pseudo.weight[:, None] * self.one_hot(p.argmax(-1)))  # (K,)
        # the mean over all processes, with the gradient of this process's share
        mine = (pseudo.weight[:, None] * p).mean(0)
        mean = self.batch_mean(pseudo.weight[:, None] * p) + mine - mine.detach()
        if self.fair_to == "prior":
            some = (mean.sum() > 0).float()  # 0 where no pseudo-label is accepted
            ratio = self.prior * mean.sum().clamp(min=_EPSILON) / mean.clamp(min=_TINY)
            return {"fairness": some * self.fairness * (self.prior * ratio.log()).sum()}
        present = seen > 0
        target = _normalise(self.guessed / self.histogram.clamp(min=_EPSILON))[present]
        return {"fairness": self.fairness * (target * _normalise(mean[present] / seen[present]).log()).sum()}


def _normalise(values: Tensor) -> Tensor:
    return values / values.sum()
