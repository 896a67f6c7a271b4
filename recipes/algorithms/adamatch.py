r"""AdaMatch: FixMatch whose threshold follows the labelled clips, whose guesses are aligned to what is said of them.

.. math:: L = \frac{1}{B} \sum_i H(y_i, z_i) + \mu(t) \, \frac{1}{U} \sum_j
          [\max \tilde q_j \ge c_\tau] \, H(\arg\max \tilde q_j, f(u'_j))

.. math:: z = \lambda \odot f(x \mid x, u') + (1 - \lambda) \odot f(x \mid x), \quad \lambda \sim U(0, 1)^{B \times K},
          \qquad \tilde q_j \propto q_j \, \hat p_\mathrm{labelled} / \hat p_\mathrm{guessed}

.. math:: c_\tau = \tau \, \frac{1}{B} \sum_i \max_k \operatorname{softmax}(z_i)_k, \qquad
          \mu(t) = \tfrac12 - \tfrac12 \cos(\min(\pi, 2 \pi t))

Roelofs et al., "AdaMatch: A Unified Approach to Semi-Supervised Learning and Domain Adaptation", ICLR 2022, section 3.

Batch norm is what makes z differ from f(x): f(x | x, u') normalises with the statistics of labelled clips and strong
views together and moves the running statistics; f(x | x) normalises with the labelled clips' alone and leaves the
running statistics as they were, as Google's code does. Without batch norm the two are the same.

Departures from the paper: the joint pass holds labelled clips and strong views, the weak views have a pass of their own
(so that no gradient reaches them through the statistics); a labelled clip has one view, not a weak and a strong one;
both running distributions are exponential, where Google's code keeps the guesses' as a mean of 128 batches.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from audiomix import check, draw
from audiomix.mixer import Mixer

from ._alignment import Alignment
from ._guess import statistics_kept
from ._thresholds import MEMORIES, PAPERS, Belief, Guess, Thresholded, believed_if

__all__ = ["AdaMatch"]


class AdaMatch(Thresholded):
    """AdaMatch with hard pseudo-labels.

    Parameters
    ----------
    num_classes : int
    mixer : Mixer, optional
        Mixes as FixMatch's does; threshold and alignment then follow a pass over the labelled clips as they are.
    threshold : float
        Share of the mean confidence on labelled clips from which a guess is believed, tau: 0.9 in the paper.
    weight : str or float
        Factor of the unlabelled term, mu; the paper's warm-up over the first half of the training by default.
    interpolation : bool
        Learn the labels on logits between those of the joint pass and those of the labelled clips alone.
    momentum : float
        Of the two running class distributions, the predictions' on labelled clips and the guesses': about
        1 / (1 - momentum) batches are remembered.
    mix_labels : bool
        Whether a mixer mixes the labels too; without, the original's label is kept.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = MEMORIES
    # three unlabelled clips for each labelled one
    configs: ClassVar[dict[str, dict[str, Any]]] = {"original": PAPERS | {"batch_unlabelled": 90, "epochs": 900}}
    asks_labelled = True

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        threshold: float = 0.9,
        weight: str | float = "cosine:0:1:0.5",
        interpolation: bool = True,
        momentum: float = 0.999,
        mix_labels: bool = True,
    ) -> None:
        super().__init__(num_classes, mixer, weight=weight, mix_labels=mix_labels)
        self.threshold = check.fraction("threshold", threshold)
        self.interpolation = interpolation
        self.align = Alignment(num_classes, momentum)

    def predict(
        self, model: nn.Module, x: Tensor, strong: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Return logits of labelled clips (L, K), between those of two passes, and of strong views (U, K)."""
        joint, on_strong = super().predict(model, x, strong, generator)
        if not self.interpolation:
            return joint, on_strong
        with statistics_kept(model):
            alone = model(x).float()
        share = draw.uniform(0, 1, joint.numel(), generator=generator).view(joint.shape)
        return torch.lerp(alone, joint, share.to(joint)), on_strong

    def believe(self, guess: Guess) -> Belief:
        """Return belief in the aligned guesses that are as sure as labelled clips are, or nearly."""
        q = self.align(guess.q, self.batch_mean(guess.q), self.batch_mean(guess.known))
        threshold = self.threshold * self.batch_mean(guess.known.amax(-1))
        confidence, pseudo = q.max(-1)
        return believed_if(confidence, threshold, pseudo)
