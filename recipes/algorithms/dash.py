r"""Dash: FixMatch with a threshold on the loss, which starts at the loss on labelled clips and falls.

.. math:: L = \frac{1}{B} \sum_i H(y_i, f(x_i)) + \lambda \, \frac{1}{U} \sum_j
          [\ell_j \le \rho_t] \, H(\hat q_j, f(u'_j)), \qquad \ell_j = -\log \max q_j, \quad q_j = f(u_j)

.. math:: \rho_t = \max\left(C \gamma^{-k} \hat\rho, \; \rho_{\min}\right), \qquad
          \hat\rho \leftarrow m \hat\rho + (1 - m) \frac{1}{B} \sum_i H(y_i, f(x_i)) \text{ during the warm-up}

x labelled clips, u_j and u'_j the weak and the strong view of an unlabelled one; k counts the periods since the end of
the warm-up, in which only labelled clips are learnt. q-hat is q, sharpened, while the threshold falls, and the most
likely class alone once it has reached rho_min. Xu et al., "Dash: Semi-Supervised Learning with Dynamic Thresholding",
ICML 2021, algorithm 1 and equations 9 and 10. A loss of at most rho is a confidence of at least exp(-rho), which is
logged as ``threshold``.

rho-hat is the mean loss of the **labelled** clips at the end of the warm-up. It is a running mean over the batches of
the warm-up (m = 0.9, from log K), of all processes, as there is no pass over all labelled clips here. Published code
differs from the paper: USB takes the loss of the clips that are evaluated, and the authors' own code the unlabelled
loss of its first epoch, a mean over the accepted clips alone, and a factor of 0.9.

What differs from the paper at the preset ``original`` stands with the class.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from audiomix import check
from audiomix.mixer import Mixer

from ._pseudo_labels import sharpen
from ._thresholds import PAPERS, Predictions, PseudoLabels, ThresholdAlgorithm

__all__ = ["Dash"]

_MOMENTUM = 0.9  # of the labelled loss: about ten batches
_SMALL: dict[str, Any] = {"start": 0.1, "period": 0.02}


class Dash(ThresholdAlgorithm):
    """Dash on FixMatch's objective.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        Mixes as FixMatch's does; the threshold follows a pass over the unmixed labelled clips.
    weight : str or float
        lambda, the factor of the unlabelled term: a number, or a schedule such as "linear:0:1:0.4".
    scale : float
        C; 1.0001 in the paper.
    gamma : float
        gamma, above 1: the threshold is divided by it every period. 1.27 in the paper.
    period : float
        Share of the training after which the threshold falls again.
    start : float
        Share of the training that the warm-up takes.
    least_loss : float
        rho_min, in nats; 0.05 in the paper, which is a confidence of 0.95.
    temperature : float
        Of the sharpening, which divides the logits.
    mix_labels : bool
        Whether a mixer mixes the labels too; if not, the original's label is kept.

    References
    ----------
    Xu et al., "Dash: Semi-Supervised Learning with Dynamic Thresholding", ICML 2021.

    Deviations
    ----------
    - The first threshold is a running mean of the labelled loss over the batches of the warm-up; in the paper it is the
      mean over all labelled clips at its end.
    - Warm-up and period are 10 and 9 of 1,024 epochs, as shares of the training. The warm-up is the run's own
      beginning, with its learning rate.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "original": {},
        "study": _SMALL,
        "small": _SMALL,
        "strong": _SMALL,
        "demo": _SMALL,
    }
    configs: ClassVar[dict[str, dict[str, Any]]] = {"original": PAPERS}
    needs_labelled_predictions = True
    labelled_mean: Tensor

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        weight: str | float = 1.0,
        scale: float = 1.0001,
        gamma: float = 1.27,
        period: float = 0.0088,
        start: float = 0.0098,
        least_loss: float = 0.05,
        temperature: float = 0.5,
        mix_labels: bool = True,
    ) -> None:
        super().__init__(num_classes, mixer, weight=weight, mix_labels=mix_labels)
        self.scale = check.number("scale", scale, 0)
        self.gamma = check.number("gamma", gamma, 1, slip="the threshold falls")
        self.period = check.number("period", period, 1e-6, 1, slip="a share of the training")
        self.start = check.fraction("start", start)
        self.least_loss = check.number("least_loss", least_loss, 0)
        self.temperature = check.number("temperature", temperature, 0.01, 100)
        self.register_buffer("labelled_mean", torch.full((), math.log(num_classes)))

    def choose(self, predictions: Predictions) -> PseudoLabels:
        """Accept what is learnt as well as labelled clips were, or better; see `ThresholdAlgorithm.choose`."""
        confidence, target = predictions.q.max(-1)
        warming = predictions.progress < self.start
        if warming:
            own = predictions.known.gather(1, predictions.target[:, None]).squeeze(1)
            self.labelled_mean.lerp_(self.batch_mean(-_log(own)), 1 - _MOMENTUM)
        falling = self.falling_threshold(predictions.progress)
        rho = falling.clamp(min=self.least_loss)
        weight = torch.zeros_like(confidence) if warming else (-_log(confidence) <= rho).float()
        soft = torch.where(falling > self.least_loss, sharpen(predictions.q, self.temperature), self.one_hot(target))
        return PseudoLabels(weight, target, {"threshold": torch.exp(-rho), "rho": rho}, soft)

    def falling_threshold(self, progress: float) -> Tensor:
        """Return C gamma^-k rho-hat, before its minimum, at `progress` of the training."""
        periods = math.floor(max(progress - self.start, 0.0) / self.period + 1e-6)
        return self.labelled_mean * (self.scale * self.gamma**-periods)


def _log(probability: Tensor) -> Tensor:
    return probability.clamp_min(torch.finfo(torch.float32).tiny).log()
