r"""Pseudo-Label: the network learns the class that it predicts itself, more and more.

.. math:: L = \frac{1}{B} \sum_i H(y_i, f(x_i)) + \alpha(t) \, \frac{1}{U} \sum_j
          [\max q_j \ge \tau] \, H(\arg\max q_j, f(u_j)), \qquad q_j = f(u_j)

.. math:: \alpha(t) = \alpha_f \, \min\left(\max\left(\frac{t - T_1}{T_2 - T_1}, 0\right), 1\right)

x labelled clips, u_j the weak view of an unlabelled one, which is learnt too: the method has no strong view. Lee,
"Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks", ICML 2013 workshop on
challenges in representation learning, equations 14 to 16, with T_1 = 100 and T_2 = 600 epochs. The paper learns every
pseudo-label (tau = 0); a threshold is what later comparisons add (Oliver et al., NeurIPS 2018: 0.95).

T_1 and T_2 are shares of the training here; the defaults are those of 1,000 epochs.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from audiomix import check
from audiomix.mixer import Mixer

from ._thresholds import PAPERS, Predictions, PseudoLabels, ThresholdAlgorithm, above_threshold
from .base import Labelled, Unlabelled

__all__ = ["PseudoLabel"]

_SMALL: dict[str, Any] = {"weight": 1.0, "threshold": 0.8, "start": 0.0, "end": 0.4}


class PseudoLabel(ThresholdAlgorithm):
    """Pseudo-labels of the view that is learnt.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        Mixes labelled clips with weak views and weak views with labelled clips, the larger share to the original (alpha
        0.75, one weight a batch), labels too. Pseudo-labels are chosen before mixing.
    weight : str or float
        alpha_f, the factor of the unlabelled term once the ramp is over: a number or a schedule. 3 in the paper.
    threshold : float
        tau, the confidence from which a pseudo-label is accepted; 0 accepts all, as the paper does.
    start, end : float
        T_1 and T_2, the shares of the training at which alpha(t) starts to rise and has risen.
    mix_labels : bool
        Whether a mixer mixes the labels too; if not, the original's label is kept.

    Raises
    ------
    ValueError
        `end` comes before `start`.

    References
    ----------
    Lee, "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks", ICML 2013
    workshop on challenges in representation learning.

    Deviations
    ----------
    - Optimiser and batches are FixMatch's. The paper's network for handwritten digits has one hidden layer, dropout and
      a learning rate that starts at 1.5: none of it fits this network.
    - The ramp takes the paper's epochs 100 to 600 as shares of 1,000 epochs; the paper does not say how long it trains.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "original": {},
        "study": _SMALL,
        "small": _SMALL,
        "strong": _SMALL,
        "demo": _SMALL,
    }
    configs: ClassVar[dict[str, dict[str, Any]]] = {"original": PAPERS}
    strong_views = 0

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        weight: str | float = 3.0,
        threshold: float = 0.0,
        start: float = 0.1,
        end: float = 0.6,
        mix_labels: bool = True,
    ) -> None:
        super().__init__(num_classes, mixer, weight=weight, mix_labels=mix_labels)
        self.threshold = check.fraction("threshold", threshold)
        self.start, self.end = check.fraction("start", start), check.fraction("end", end)
        if self.end < self.start:
            check.fail("end", f"at least start, {start}", end, "both are shares of the training")

    def losses(
        self,
        model: nn.Module,
        labelled: Labelled,
        unlabelled: Unlabelled | None,
        *,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return ``labelled`` and ``unlabelled``, the second with its weight; see `Algorithm.losses`."""
        assert unlabelled is not None
        same = unlabelled._replace(strongs=unlabelled.weaks)
        return super().losses(model, labelled, same, progress=progress, generator=generator)

    def factor(self, progress: float) -> float:
        """Return alpha; see `ThresholdAlgorithm.factor`."""
        ramp = float(progress >= self.end)
        if self.start < progress < self.end:
            ramp = (progress - self.start) / (self.end - self.start)
        return self.weight(progress) * ramp

    def choose(self, predictions: Predictions) -> PseudoLabels:
        """Accept the predictions whose confidence reaches the threshold; see `ThresholdAlgorithm.choose`."""
        confidence, target = predictions.q.max(-1)
        return above_threshold(confidence, confidence.new_full((), self.threshold), target)
