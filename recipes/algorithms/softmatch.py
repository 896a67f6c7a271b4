r"""SoftMatch: every pseudo-label counts; less, the further its confidence lies below the mean confidence.

.. math:: w_j = \exp\left(-\frac{s^2 \min(\max \tilde q_j - \mu, 0)^2}{2 \sigma^2}\right), \qquad
          \tilde q_j \propto q_j \, \tfrac1K / \hat p

.. math:: \mu \leftarrow m \mu + (1 - m) \bar c, \qquad
          \sigma^2 \leftarrow m \sigma^2 + (1 - m) \frac{1}{U - 1} \sum_j (c_j - \bar c)^2, \qquad c_j = \max \tilde q_j

Chen et al., "SoftMatch: Addressing the Quantity-Quality Trade-off in Semi-supervised Learning", ICLR 2023, equations 6
to 9; from mu = 1 / K and sigma^2 = 1. The variance is the unbiased one (over U - 1) of the whole batch, of all
processes; a batch of one leaves it as it is. Uniform alignment (to 1 / K) changes the weights only: the pseudo-label is
the class of q, not of the aligned prediction. s = 2 is section 4.1's "2 sigma". mu and sigma^2 are of aligned
predictions, as in the authors' code. With m = 0.999 two thirds of the first sigma^2 are left after 400 steps: short
runs need less.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from audiomix import check
from audiomix.mixer import Mixer

from ._alignment import RunningAlignment
from ._thresholds import MOMENTA, PAPERS, Predictions, PseudoLabels, ThresholdAlgorithm

__all__ = ["SoftMatch"]


class SoftMatch(ThresholdAlgorithm):
    """SoftMatch with one truncated Gaussian for all classes.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        Mixes as FixMatch's does; the weights of pseudo-labels are computed before mixing.
    weight : str or float
        lambda, the factor of the unlabelled term: a number, or a schedule such as "linear:0:1:0.4".
    momentum : float
        m, the momentum of mean, variance and class frequencies: 0.999 in the paper.
    sigmas : float
        s: the Gaussian is so many times narrower than the spread of the confidences.
    alignment : str
        What the predictions are aligned to before their confidence is taken: equally frequent classes (uniform: the
        paper), the run's prior (prior), or nothing (none).
    mix_labels : bool
        Whether a mixer mixes the labels too; if not, the original's label is kept.

    References
    ----------
    Chen et al., "SoftMatch: Addressing the Quantity-Quality Trade-off in Semi-supervised Learning", ICLR 2023.

    Deviations
    ----------
    - Mean and variance of the confidences are those of aligned predictions, as in the authors' code; equation 7 has the
      predictions as they are.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        name: options | ({} if name in ("original", "study") else {"alignment": "prior"})
        for name, options in MOMENTA.items()
    }
    configs: ClassVar[dict[str, dict[str, Any]]] = {"original": PAPERS}
    mean: Tensor
    variance: Tensor

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        weight: str | float = 1.0,
        momentum: float = 0.999,
        sigmas: float = 2.0,
        alignment: Literal["uniform", "prior", "none"] = "uniform",
        mix_labels: bool = True,
    ) -> None:
        super().__init__(num_classes, mixer, weight=weight, mix_labels=mix_labels)
        self.momentum = check.fraction("momentum", momentum)
        self.sigmas = check.number("sigmas", sigmas, 0)
        self.alignment = check.choice("alignment", alignment, ["uniform", "prior", "none"])
        self.align = RunningAlignment(num_classes, momentum) if alignment != "none" else None
        self.register_buffer("mean", torch.full((), 1 / num_classes))
        self.register_buffer("variance", torch.ones(()))

    def choose(self, predictions: Predictions) -> PseudoLabels:
        """Return weights of 1 from the mean confidence on, and less below; see `ThresholdAlgorithm.choose`."""
        q = predictions.q
        target = q.argmax(-1)
        if self.align is not None:
            target_mean = self.prior if self.alignment == "prior" else torch.full_like(self.prior, 1 / self.num_classes)
            q = self.align(q, self.batch_mean(q), target_mean, fixed=True)
        confidence = q.amax(-1)  # (U,)
        every = self.gather(confidence)
        self.mean.lerp_(every.mean(), 1 - self.momentum)
        if len(every) > 1:
            self.variance.lerp_(every.var(correction=1), 1 - self.momentum)
        below = self.sigmas * (confidence - self.mean).clamp(max=0)
        # a variance of 0 with no clip below the mean would be 0 / 0
        weight = torch.exp(-(below**2) / (2 * self.variance).clamp(min=torch.finfo(torch.float32).tiny))
        return PseudoLabels(weight, target, {"threshold": self.mean.clone(), "spread": self.variance.sqrt()})
