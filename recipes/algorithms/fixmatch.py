r"""FixMatch: the strong view learns what the weak view is already sure of.

.. math:: L = \frac{1}{B} \sum_i H(y_i, f(x_i)) + \lambda \, \frac{1}{U} \sum_j
          [\max q_j \ge \tau] \, H(\arg\max q_j, f(u'_j)), \qquad q_j = f(u_j)

x labelled clips, u_j and u'_j the weak and the strong view of an unlabelled one. Sohn et al., "FixMatch: Simplifying
Semi-Supervised Learning with Consistency and Confidence", NeurIPS 2020, equations 3 and 4.

Two options come from AdaMatch (Roelofs et al., ICLR 2022): a threshold relative to the confidence on labelled clips
and distribution alignment (Berthelot et al., "ReMixMatch", ICLR 2020). With both it is
AdaMatch-like, without AdaMatch's random logit interpolation, and is reported as such.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiomix import check
from audiomix.mixer import Mixer
from audiomix.schedule import Schedule

from .base import Algorithm, Labelled, Unlabelled

__all__ = ["FixMatch"]

_MOMENTUM = 0.95  # of the two running class distributions: about twenty batches


class FixMatch(Algorithm):
    """FixMatch with hard pseudo-labels.

    Parameters
    ----------
    num_classes : int
    mixer : Mixer, optional
        Mixes labelled clips with strong views and strong views with labelled clips, the larger share to the original
        (alpha 0.75, one weight a batch), labels too; who is believed is decided before mixing. As the founding study
        did.
    threshold : float
        Confidence from which a pseudo-label is believed: 0.95 in the paper, 0.8 in the founding study's ESC-10 runs.
    weight : str or float
        Factor of the unlabelled term: a number, or a schedule such as "linear:0:1:0.4".
    relative_threshold : bool
        Multiply the threshold by the mean confidence on the labelled clips of the batch.
    distribution_alignment : bool
        Multiply the guesses by the ratio of the classes' frequencies among labels and among guesses, running means
        that this batch is taken into first.
    mix_labels : bool
        Whether a mixer mixes the labels too; without, the original's label is kept.
    """

    mixing: ClassVar[dict[str, Any]] = {"alpha": 0.75, "keep_larger": True, "per": "batch"}
    expected: Tensor
    guessed: Tensor

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        threshold: float = 0.8,
        weight: str | float = 1.0,
        relative_threshold: bool = False,
        distribution_alignment: bool = False,
        mix_labels: bool = True,
    ) -> None:
        super().__init__(num_classes, mixer)
        self.threshold = check.fraction("threshold", threshold)
        self.weight = Schedule.of(weight, "weight").within("weight", 0)
        self.relative_threshold = relative_threshold
        self.distribution_alignment = distribution_alignment
        self.mix_labels = mix_labels
        self.register_buffer("expected", torch.full((num_classes,), 1 / num_classes))
        self.register_buffer("guessed", torch.full((num_classes,), 1 / num_classes))

    @property
    def title(self) -> str:
        """Name under which results are reported."""
        parts = {"relative threshold": self.relative_threshold, "distribution alignment": self.distribution_alignment}
        if all(parts.values()):
            return "fixmatch (AdaMatch-like)"
        return " + ".join(["fixmatch", *(name for name, on in parts.items() if on)])

    def losses(
        self,
        model: nn.Module,
        labelled: Labelled,
        unlabelled: Unlabelled | None,
        *,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms ``labelled`` and ``unlabelled``, the second with its weight."""
        assert unlabelled is not None
        x, strong = labelled.x, unlabelled.strong
        if self.mixer is not None:
            x, x_plan = self.mix_views(labelled.x, unlabelled.strong, progress, generator)
            strong, strong_plan = self.mix_views(unlabelled.strong, labelled.x, progress, generator)

        # A pass of its own: in one pass with the others, batch norm would let gradient through to the weak view.
        with torch.no_grad():
            guess = self.aligned(model(unlabelled.weak).softmax(-1), labelled.target)  # (U, K)
            # a mixed clip is less certain by construction: the threshold follows the clips as they are
            plain = model(labelled.x) if self.mixer is not None and self.relative_threshold else None
        on_labelled, on_strong = model(torch.cat([x, strong])).split([len(x), len(strong)])

        confidence, pseudo = guess.max(-1)  # (U,)
        believed = confidence >= self.cutoff((on_labelled if plain is None else plain).detach().softmax(-1))

        y, y_pseudo = self.one_hot(labelled.target), self.one_hot(pseudo)
        if self.mixer is not None and self.mix_labels:
            mix = self.mixer.mix_target
            y, y_pseudo = mix(y, x_plan, other=y_pseudo), mix(y_pseudo, strong_plan, other=y)
        surprise = F.cross_entropy(on_strong, y_pseudo, reduction="none")  # (U,)

        self._logs = _reliability(believed, pseudo, unlabelled.hidden)
        return {
            "labelled": F.cross_entropy(on_labelled, y),
            "unlabelled": self.weight(progress) * (believed * surprise).mean(),
        }

    def cutoff(self, labelled: Tensor) -> Tensor | float:
        """Return the confidence from which a guess is believed, given the class probabilities of labelled clips."""
        if not self.relative_threshold:
            return self.threshold
        return self.threshold * labelled.max(-1).values.mean()

    @torch.no_grad()
    def aligned(self, guess: Tensor, target: Tensor) -> Tensor:
        r"""Return the guesses (U, K) aligned to the classes' frequencies among the labels.

        .. math:: q'_j \propto q_j \, p_\mathrm{labels} / p_\mathrm{guesses}

        Both p are running means over batches, uniform at the start. They take this batch in before they are used:
        the guesses are aligned with means that they are part of.
        """
        if not self.distribution_alignment:
            return guess
        self.expected.lerp_(self.one_hot(target).mean(0), 1 - _MOMENTUM)
        self.guessed.lerp_(guess.mean(0).to(self.guessed), 1 - _MOMENTUM)
        aligned = guess * (self.expected / self.guessed)
        return aligned / aligned.sum(-1, keepdim=True)


def _reliability(believed: Tensor, pseudo: Tensor, hidden: Tensor) -> dict[str, Tensor]:
    """Return the share of guesses believed, and how many of all and of the believed ones are right; NaN where none."""
    known, right = hidden >= 0, (pseudo == hidden).double()
    return {
        "mask": believed.double().mean(),
        "guess_accuracy": right[known].mean(),
        "believed_accuracy": right[known & believed].mean(),
    }
