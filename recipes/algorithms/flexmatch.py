r"""FlexMatch: a lower threshold for each class with fewer certain predictions.

.. math:: w_j = [\max q_j \ge \tau_{k_j}], \quad k_j = \arg\max q_j, \qquad
          \tau_k = \tau \, M(\beta_k), \quad M(\beta) = \frac{\beta}{2 - \beta}

.. math:: \beta_k = \frac{\sigma_k}{\max(\max_c \sigma_c, \; N - \sum_c \sigma_c)}, \qquad
          \sigma_k = \sum_{n=1}^N [s_n = k], \qquad s_j \leftarrow k_j \text{ where } \max q_j \ge \tau

Zhang et al., "FlexMatch: Boosting Semi-Supervised Learning with Curriculum Pseudo Labeling", NeurIPS 2021, equations 5
to 11. s_n is the class that was last predicted for unlabelled clip n with a confidence of at least tau; there is none
at first. It is updated after this batch's pseudo-labels are chosen. A clip keeps its class while predictions on it are
less certain, as in the authors' code (equation 5 counts the clips that are certain now). N minus the sum is the
threshold's warm-up: while most clips have no class all thresholds stay low. So all pseudo-labels are accepted at the
start.

Where a clip is in a batch twice the later prediction counts, on any device: resuming and replaying are exact.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from audiomix import check
from audiomix.mixer import Mixer

from ._thresholds import PAPERS, Predictions, PseudoLabels, ThresholdAlgorithm, above_threshold

__all__ = ["FlexMatch"]


class FlexMatch(ThresholdAlgorithm):
    """FlexMatch with hard pseudo-labels.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        Mixes as FixMatch's does.
    threshold : float
        tau, the threshold of the class with the most certain predictions, and the confidence from which a clip counts
        for a class: 0.95 in the paper, which 30 labels may never reach.
    weight : str or float
        lambda, the factor of the unlabelled term: a number, or a schedule such as "linear:0:1:0.4".
    threshold_warmup : bool
        Count the clips without a class as if they were one, so that thresholds rise from 0.
    mix_labels : bool
        Whether a mixer mixes the labels too; if not, the original's label is kept.

    References
    ----------
    Zhang et al., "FlexMatch: Boosting Semi-Supervised Learning with Curriculum Pseudo Labeling", NeurIPS 2021.

    Deviations
    ----------
    - A clip keeps its class while predictions on it are less certain, as in the authors' code (TorchSSL); equation 5
      counts the clips that are certain now.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "original": {},
        "study": {"threshold": 0.8},
        "strong": {"threshold": 0.8},
        "small": {"threshold": 0.8},
        "demo": {"threshold": 0.8},
    }
    configs: ClassVar[dict[str, dict[str, Any]]] = {"original": PAPERS}
    status: Tensor

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        threshold: float = 0.95,
        weight: str | float = 1.0,
        threshold_warmup: bool = True,
        mix_labels: bool = True,
    ) -> None:
        super().__init__(num_classes, mixer, weight=weight, mix_labels=mix_labels)
        self.threshold = check.fraction("threshold", threshold)
        self.threshold_warmup = threshold_warmup

    def setup(self, model: nn.Module, make_network: Callable[[str], nn.Module], unlabelled: int) -> None:
        """Make the buffer of each unlabelled clip's class, -1 for none; see `Algorithm.setup`."""
        self.register_buffer("status", torch.full((unlabelled,), -1))

    def choose(self, predictions: Predictions) -> PseudoLabels:
        """Accept what reaches the threshold of its class, then count it; see `ThresholdAlgorithm.choose`."""
        confidence, target = predictions.q.max(-1)
        pseudo = above_threshold(confidence, self.thresholds(), target)
        certain = torch.where(confidence >= self.threshold, target, -1)
        self.update_status(*self.gather(torch.stack([predictions.index, certain], 1)).unbind(1))
        return pseudo

    def thresholds(self) -> Tensor:
        """Return the threshold of each class, tau M(beta), (K,)."""
        counts = torch.bincount(self.status + 1, minlength=self.num_classes + 1)  # (1 + K,): clips without class first
        most = (counts if self.threshold_warmup else counts[1:]).max().clamp(min=1)
        beta = counts[1:] / most
        return self.threshold * beta / (2 - beta)

    def update_status(self, index: Tensor, target: Tensor) -> None:
        """Write the classes (U,) of clips that have one, none being -1, at their `index` (U,); of several for one
        clip the last.
        """
        place = torch.where(target >= 0, torch.arange(len(target), device=target.device), -1)
        last = torch.full_like(self.status, -1).scatter_reduce(0, index, place, "amax")
        self.status.copy_(torch.where(last >= 0, target[last], self.status))
