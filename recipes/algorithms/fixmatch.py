r"""FixMatch: the strong view learns the pseudo-label of the weak view, where that is certain.

.. math:: L = \frac{1}{B} \sum_i H(y_i, f(x_i)) + \lambda \, \frac{1}{U} \sum_j
          [\max q_j \ge \tau] \, H(\arg\max q_j, f(u'_j)), \qquad q_j = f(u_j)

x labelled clips, u_j and u'_j the weak and the strong view of an unlabelled one. Sohn et al., "FixMatch: Simplifying
Semi-Supervised Learning with Consistency and Confidence", NeurIPS 2020, equations 3 and 4.

Two options come from AdaMatch (Roelofs et al., ICLR 2022): a threshold relative to the confidence on labelled clips
and distribution alignment (Berthelot et al., "ReMixMatch", ICLR 2020; here to the run's `prior`). With both it is
reported as AdaMatch-like: it lacks AdaMatch's random logit interpolation.

Presets: ``original`` has the paper's threshold of 0.95, its optimiser and its batches (`PAPERS`). All others have the
founding study's threshold on ESC-10 and Speech Commands (it took 0.95 on UrbanSound8K; with 30 labels 0.95 may never be
reached) and its one unlabelled clip for each labelled one or two, and see labelled clips as supervised training does in
the same preset: methods are compared at equal augmentation.
"""

from typing import Any, ClassVar

from audiomix import check
from audiomix.mixer import Mixer

from ._alignment import RunningAlignment
from ._thresholds import PAPERS, Predictions, PseudoLabels, ThresholdAlgorithm, above_threshold

__all__ = ["FixMatch"]

_MOMENTUM = 0.95  # of the running class frequencies of the predictions: about twenty batches


class FixMatch(ThresholdAlgorithm):
    """FixMatch with hard pseudo-labels.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        Mixes labelled clips with strong views and strong views with labelled clips, the larger share to the original
        (alpha 0.75, one weight a batch), labels too. Pseudo-labels are chosen before mixing. As the founding study did.
    threshold : float
        tau, the confidence from which a pseudo-label is accepted: 0.95 in the paper, 0.8 in the founding study's ESC-10
        runs.
    weight : str or float
        lambda, the factor of the unlabelled term: a number, or a schedule such as "linear:0:1:0.4".
    relative_threshold : bool
        Multiply the threshold by the mean confidence on the labelled clips of the batch.
    distribution_alignment : bool
        Multiply the predictions by the ratio of the class frequencies of the run's prior and of the predictions: a
        running mean of about twenty batches, this one included.
    mix_labels : bool
        Whether a mixer mixes the labels too; if not, the original's label is kept.

    References
    ----------
    Sohn et al., "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence", NeurIPS 2020.

    Deviations
    ----------
    - The strong view is one of the founding study's, drawn at random; there is no CTAugment, whose strengths follow
      what the network still recognises.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {"original": {"threshold": 0.95}}
    configs: ClassVar[dict[str, dict[str, Any]]] = {"original": PAPERS}

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
        super().__init__(num_classes, mixer, weight=weight, mix_labels=mix_labels)
        self.threshold = check.fraction("threshold", threshold)
        self.needs_labelled_predictions = relative_threshold
        self.align = RunningAlignment(num_classes, _MOMENTUM) if distribution_alignment else None

    @property
    def title(self) -> str:
        """Name under which results are reported."""
        relative, aligned = self.needs_labelled_predictions, self.align is not None
        parts = {"relative threshold": relative, "distribution alignment": aligned}
        if all(parts.values()):
            return "fixmatch (AdaMatch-like)"
        return " + ".join(["fixmatch", *(name for name, on in parts.items() if on)])

    def choose(self, predictions: Predictions) -> PseudoLabels:
        """Accept the predictions whose confidence reaches the threshold; see `ThresholdAlgorithm.choose`."""
        q = predictions.q
        if self.align is not None:
            q = self.align(q, self.batch_mean(q), self.prior, fixed=True)
        threshold = q.new_full((), self.threshold)
        if self.needs_labelled_predictions:
            threshold = threshold * self.batch_mean(predictions.known.amax(-1))
        confidence, target = q.max(-1)  # (U,)
        return above_threshold(confidence, threshold, target)
