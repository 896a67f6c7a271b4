r"""UDA: the strong view learns the sharpened prediction on the weak view, where that is certain.

.. math:: L = L_s + \lambda \, \frac{1}{U} \sum_j [\max q_j \ge \beta] \, H(\tilde q_j, f(u'_j)), \qquad
          q_j = \operatorname{softmax}(z(u_j)), \quad \tilde q_j = \operatorname{softmax}(z(u_j) / T)

.. math:: L_s = \frac{\sum_i [p_i \le \eta_t] \, H(y_i, f(x_i))}{\max(\sum_i [p_i \le \eta_t], 1)}, \quad
          p_i = f(x_i)_{y_i}, \qquad \eta_t = \alpha_t \left(1 - \tfrac1K\right) + \tfrac1K

x labelled clips, u_j and u'_j the weak and the strong view of an unlabelled one, z logits. Xie et al., "Unsupervised
Data Augmentation for Consistency Training", NeurIPS 2020: the objective is equation 1, threshold and temperature are of
section 3.2. Confidence is that of q, before it is sharpened. Its loss, a divergence, differs from this cross-entropy by
the entropy of the target, a number without gradient.

The second line is training signal annealing, for the option `annealing`: labelled clips whose true class is already
more likely than eta_t are left out, so that few labels are not learnt by heart. alpha_t is 1 - exp(-5 t) (log), t
(linear) or exp(5 (t - 1)) (exp) at progress t. Without it L_s is the mean over all labelled clips. The number of clips
that are kept, by which the sum is divided, is that of each process.

What differs from the paper at the preset ``original`` stands with the class.
"""

import math
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from audiomix import check
from audiomix.mixer import Mixer

from ._pseudo_labels import sharpen
from ._thresholds import PAPERS, Predictions, PseudoLabels, ThresholdAlgorithm, above_threshold

__all__ = ["UDA"]


class UDA(ThresholdAlgorithm):
    """UDA with soft pseudo-labels.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        Mixes as FixMatch's does. With `annealing` p_i is the probability of the mixed label.
    threshold : float
        beta, the confidence from which a pseudo-label is accepted: 0.8 in the paper's CIFAR-10 and SVHN runs.
    temperature : float
        T, which divides the logits: below 1 the pseudo-labels have less entropy. 0.4 in the paper, 0.5 in the founding
        study's code.
    weight : str or float
        lambda, the factor of the unlabelled term: a number, or a schedule such as "linear:0:1:0.4".
    annealing : str
        Schedule of eta_t, for training signal annealing: none, log, linear or exp. The paper takes exp where labels are
        few and log where they are many, on text; its runs on images have none.
    mix_labels : bool
        Whether a mixer mixes the labels too; if not, the original's label is kept.

    References
    ----------
    Xie et al., "Unsupervised Data Augmentation for Consistency Training", NeurIPS 2020.

    Deviations
    ----------
    - A pseudo-label is accepted where its confidence is at least the threshold; the authors' code has above.
    - The running average has a decay of 0.999; the authors' 0.9999 outlasts trainings of this length.
    - The strong view is one of the founding study's, drawn at random, in place of RandAugment.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {"study": {"temperature": 0.5}}
    # github.com/google-research/uda at 960684e, image/main.py, utils.decay_weights and scripts/run_cifar10_gpu.sh: the
    # numbers that FixMatch took over, but for a penalty on all weights
    configs: ClassVar[dict[str, dict[str, Any]]] = {"original": PAPERS | {"weight_decay_on": "all"}}

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        threshold: float = 0.8,
        temperature: float = 0.4,
        weight: str | float = 1.0,
        annealing: Literal["none", "log", "linear", "exp"] = "none",
        mix_labels: bool = True,
    ) -> None:
        super().__init__(num_classes, mixer, weight=weight, mix_labels=mix_labels)
        self.threshold = check.fraction("threshold", threshold)
        self.temperature = check.number("temperature", temperature, 0.01, 100)
        self.annealing = check.choice("annealing", annealing, ["none", "log", "linear", "exp"])

    def choose(self, predictions: Predictions) -> PseudoLabels:
        """Accept the predictions whose confidence reaches the threshold, sharpened; see `ThresholdAlgorithm.choose`."""
        confidence, target = predictions.q.max(-1)
        pseudo = above_threshold(confidence, confidence.new_full((), self.threshold), target)
        # the softmax of z / T: the logarithm of q is z but for a number that the softmax takes out
        pseudo = pseudo._replace(soft=sharpen(predictions.q, self.temperature))
        if self.annealing != "none":
            pseudo.logs["signal"] = confidence.new_full((), self.signal_threshold(predictions.progress))
        return pseudo

    def labelled_loss(self, logits: Tensor, y: Tensor, progress: float) -> Tensor:
        """Return L_s; see `ThresholdAlgorithm.labelled_loss`."""
        if self.annealing == "none":
            return super().labelled_loss(logits, y, progress)
        p = (logits.detach().softmax(-1) * y).sum(-1)  # (L,)
        kept = (p <= self.signal_threshold(progress)).float()
        return (kept * F.cross_entropy(logits, y, reduction="none")).sum() / kept.sum().clamp(min=1)

    def signal_threshold(self, progress: float) -> float:
        """Return eta_t at `progress` t of the training, from 1 / K or a little above it to about 1."""
        alpha = {
            "log": 1 - math.exp(-5 * progress),
            "linear": progress,
            "exp": math.exp(5 * (progress - 1)),
        }[self.annealing]
        return alpha * (1 - 1 / self.num_classes) + 1 / self.num_classes
