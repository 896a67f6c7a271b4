r"""AdaMatch: FixMatch with a threshold relative to the labelled clips, and aligned to the predictions on them.

.. math:: L = \frac{1}{B} \sum_i H(y_i, z_i) + \mu(t) \, \frac{1}{U} \sum_j
          [\max \tilde q_j \ge c_\tau] \, H(\arg\max \tilde q_j, f(u'_j))

.. math:: z = \lambda \odot f(x \mid x, u') + (1 - \lambda) \odot f(x \mid x), \quad \lambda \sim U(0, 1)^{B \times K},
          \qquad \tilde q_j \propto q_j \, \hat p_\mathrm{labelled} / \hat p_\mathrm{guessed}

.. math:: c_\tau = \tau \, \frac{1}{B} \sum_i \max_k \operatorname{softmax}(z_i)_k, \qquad
          \mu(t) = \tfrac12 - \tfrac12 \cos(\min(\pi, 2 \pi t))

Roelofs et al., "AdaMatch: A Unified Approach to Semi-Supervised Learning and Domain Adaptation", ICLR 2022, section 3.

Batch norm makes z differ from f(x): f(x | x, u') normalises with the statistics of labelled clips and strong
views together and moves the running statistics; f(x | x) normalises with the labelled clips' alone and leaves the
running statistics as they were, as Google's code does. Without batch norm the two are the same.

What differs from the paper at the preset ``original`` stands with the class.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from audiomix import check, draw
from audiomix.mixer import Mixer

from ..models._modes import freeze_batch_norm
from ._alignment import RunningAlignment
from ._pseudo_labels import study_passes
from ._thresholds import MOMENTA, PAPERS, Predictions, PseudoLabels, ThresholdAlgorithm, above_threshold

__all__ = ["AdaMatch"]


class AdaMatch(ThresholdAlgorithm):
    """AdaMatch with hard pseudo-labels.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        Mixes as FixMatch's does; threshold and alignment then follow a pass over the unmixed labelled clips.
    threshold : float
        tau: share of the mean confidence on labelled clips from which a pseudo-label is accepted; 0.9 in the paper.
    weight : str or float
        mu, the factor of the unlabelled term; the paper's warm-up over the first half of the training by default.
    interpolation : bool
        Learn the labels on random interpolations between the logits of the joint pass and those of the labelled clips
        alone.
    momentum : float
        Momentum of the two running class distributions, on labelled and on unlabelled clips: about 1 / (1 - momentum)
        batches are remembered.
    window_batches : int
        Of the predictions on unlabelled clips, remember the means of so many batches alike instead: 128 in the authors'
        code; 0: `momentum` is theirs too.
    align_to : str
        What the predictions on unlabelled clips are aligned to: those on labelled clips (predictions: the paper), or
        the run's prior (prior).
    mix_labels : bool
        Whether a mixer mixes the labels too; if not, the original's label is kept.

    References
    ----------
    Roelofs et al., "AdaMatch: A Unified Approach to Semi-Supervised Learning and Domain Adaptation", ICLR 2022.

    Deviations
    ----------
    - A labelled clip has one view, a weak one; in the paper a weak and a strong one, whose losses are averaged.
    - The strong view is one of the founding study's, drawn at random; there is no CTAugment.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        name: options | ({} if name in ("original", "study") else {"align_to": "prior"})
        for name, options in MOMENTA.items()
    } | {"original": {"window_batches": 128}}
    # github.com/google-research/adamatch at 7a0b40c, defaults of semi_supervised/adamatch.py: three unlabelled clips
    # for each labelled one, objax's momentum, which is not Nesterov's, and twice FixMatch's penalty
    configs: ClassVar[dict[str, dict[str, Any]]] = {
        "original": PAPERS
        | {"batch_unlabelled": 192, "epochs": study_passes(192), "nesterov": False, "weight_decay": 1e-3}
        | {"decay": "cos_to_quarter"}
    }
    needs_labelled_predictions = True

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        threshold: float = 0.9,
        weight: str | float = "cosine:0:1:0.5",
        interpolation: bool = True,
        momentum: float = 0.999,
        window_batches: int = 0,
        align_to: Literal["predictions", "prior"] = "predictions",
        mix_labels: bool = True,
    ) -> None:
        super().__init__(num_classes, mixer, weight=weight, mix_labels=mix_labels)
        self.threshold = check.fraction("threshold", threshold)
        self.interpolation = interpolation
        self.align_to = check.choice("align_to", align_to, ["predictions", "prior"])
        self.align = RunningAlignment(num_classes, momentum, window=window_batches)

    def predict(
        self, model: nn.Module, x: Tensor, strong: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Return logits of labelled clips (L, K), between those of two passes, and of strong views (U, K).

        See `ThresholdAlgorithm.predict`.
        """
        joint, on_strong = super().predict(model, x, strong, generator)
        if not self.interpolation:
            return joint, on_strong
        with freeze_batch_norm(model):
            alone = model(x).float()
        share = draw.uniform(0, 1, joint.numel(), generator=generator).view(joint.shape)
        return torch.lerp(alone, joint, share.to(joint)), on_strong

    def choose(self, predictions: Predictions) -> PseudoLabels:
        """Accept aligned predictions about as certain as those on labelled clips; see `ThresholdAlgorithm.choose`."""
        q, known = predictions.q, predictions.known
        fixed = self.align_to == "prior"
        q = self.align(q, self.batch_mean(q), self.prior if fixed else self.batch_mean(known), fixed=fixed)
        threshold = self.threshold * self.batch_mean(known.amax(-1))
        confidence, target = q.max(-1)
        return above_threshold(confidence, threshold, target)
