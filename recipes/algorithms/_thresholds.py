r"""What the methods share that learn pseudo-labels of the weak view on the strong view, if they are certain enough.

.. math:: L = \frac{1}{B} \sum_i H(y_i, f(x_i)) + \lambda \, \frac{1}{U} \sum_j w_j \, H(\arg\max q_j, f(u'_j)),
          \qquad q_j = f(u_j)

x are labelled clips; u_j and u'_j are the weak and the strong view of an unlabelled one. A method defines w.

Batch norm normalises the weak views with their own statistics, and labelled clips and strong views with those of both
together; either pass moves its running statistics, so they move twice a step. (A third time, with the unmixed labelled
clips, where there is a mixer and the threshold follows the labelled clips.) The published code has one pass over all
three; here no gradient may reach the weak views through the statistics.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiomix.datasets.dataset import OUTLIER
from audiomix.mixer import Mixer
from audiomix.schedule import Schedule

from ..training.config import Config
from ._pseudo_labels import study_passes
from .base import Algorithm, Labelled, Unlabelled

__all__ = [
    "MOMENTA",
    "PAPERS",
    "Predictions",
    "PseudoLabels",
    "ThresholdAlgorithm",
    "above_threshold",
    "probabilities",
    "weighted_logs",
]

# Fields of `Config` as in FixMatch's code (github.com/google-research/fixmatch at d4985a1: defaults of fixmatch.py) and
# in TorchSSL (config/{flexmatch,freematch_entropy,softmatch}/*_cifar10_40_0.yaml and get_optimizer): 64 labelled clips,
# in a weak view, and 7 times as many unlabelled ones, SGD with Nesterov's momentum, a penalty on kernels alone, an
# average with 0.999, and all clips unlabelled too.
PAPERS: dict[str, Any] = {
    "labelled_view": "weak",
    "reuse_labelled": True,
    "optimiser": "sgd",
    "lr": 0.03,
    "sgd_momentum": 0.9,
    "nesterov": True,
    "weight_decay": 5e-4,
    "weight_decay_on": "kernels",
    "decay": "cos7pi16",
    "batch_labelled": 64,
    "batch_unlabelled": 448,
    "epochs": study_passes(448),
    "ema": 0.999,
}
# Options by preset of methods with running means: the papers' 0.999 outlasts a run of a few hundred steps.
MOMENTA: dict[str, dict[str, Any]] = {
    "original": {},
    "study": {"momentum": 0.99},
    "strong": {"momentum": 0.99},
    "small": {"momentum": 0.95},
    "demo": {"momentum": 0.95},
}


class Predictions(NamedTuple):
    """What a method chooses pseudo-labels from."""

    q: Tensor  # (U, K): class probabilities on the weak views
    # (L, K): class probabilities on the labelled clips; on the unmixed ones, if the method `needs_labelled_predictions`
    known: Tensor
    target: Tensor  # (L,), int64: classes of the labelled clips
    # (U,), int64: position of each clip among the unlabelled ones
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    progress: float  # fraction of the training in [0, 1]


class PseudoLabels(NamedTuple):
    """Pseudo-labels, and how much each one counts."""

    weight: Tensor  # (U,): w, in [0, 1]
    target: Tensor  # (U,), int64: the class to be learnt
    logs: dict[str, Tensor]  # thresholds, as scalars
    # (U, K): the distribution to be learnt where it is not all on `target`
    soft: Tensor | None = None


class ThresholdAlgorithm(Algorithm):
    """Base of these methods; subclasses implement `choose`.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        Mixes labelled clips with strong views and strong views with labelled clips, as the founding study's FixMatch
        did.
    weight : str or float
        lambda, the factor of all that is learnt from unlabelled clips: a number or a schedule.
    mix_labels : bool
        Whether labels are mixed as their clips are.

    Deviations
    ----------
    - The weak views pass the network by themselves, without gradient; labelled clips and strong views pass together.
      The published code has one pass over all three, whose batch norm lets gradient through to the weak views. Batch
      norm's running statistics move twice a step, not once.
    """

    uses_mixer = True
    mixing: ClassVar[dict[str, Any]] = {"alpha": 0.75, "keep_larger": True, "per": "batch"}
    # Whether `choose` reads `Predictions.known`: with a mixer this costs a pass.
    needs_labelled_predictions: bool = False

    def __init__(
        self, num_classes: int, mixer: Mixer | None = None, *, weight: str | float = 1.0, mix_labels: bool = True
    ) -> None:
        super().__init__(num_classes, mixer)
        self.weight = Schedule.of(weight, "weight").within("weight", 0)
        self.mix_labels = mix_labels

    def check_config(self, config: Config) -> None:
        """Refuse `mix_labels` without a mixer; see `Algorithm.check_config`."""
        self.require_mixer("mix_labels", not self.mix_labels)

    def losses(
        self,
        model: nn.Module,
        labelled: Labelled,
        unlabelled: Unlabelled | None,
        *,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return ``labelled``, ``unlabelled`` and the terms of `more_terms`, all but the first times `weight`.

        See `Algorithm.losses`.
        """
        assert unlabelled is not None
        x, strong = labelled.x, unlabelled.strong
        if self.mixer is not None:
            x, x_plan = self.mix_views(labelled.x, unlabelled.strong, progress, generator)
            strong, strong_plan = self.mix_views(unlabelled.strong, labelled.x, progress, generator)

        # A pass of its own: in one pass with the others, batch norm would let gradient through to the weak view.
        with torch.no_grad():
            q = probabilities(model(unlabelled.weak))  # (U, K)
            # a mixed clip is less certain by construction: thresholds follow the unmixed clips
            unmixed = model(labelled.x) if self.mixer is not None and self.needs_labelled_predictions else None
        on_labelled, on_strong = self.predict(model, x, strong, generator)
        known = probabilities(on_labelled if unmixed is None else unmixed)
        with torch.no_grad():
            pseudo = self.choose(Predictions(q, known, labelled.target, unlabelled.index, progress))

        y = self.one_hot(labelled.target)
        y_pseudo = self.one_hot(pseudo.target) if pseudo.soft is None else pseudo.soft
        if self.mixer is not None and self.mix_labels:
            mix = self.mixer.mix_target
            y, y_pseudo = mix(y, x_plan, other=y_pseudo), mix(y_pseudo, strong_plan, other=y)
        each = F.cross_entropy(on_strong, y_pseudo, reduction="none")  # (U,)

        self._logs = pseudo.logs | weighted_logs(pseudo, q, unlabelled.hidden, self.gather)
        # The mean over the whole batch: over the accepted clips alone, one clip would weigh as much as all.
        terms = {"unlabelled": (pseudo.weight * each).mean()} | self.more_terms(on_strong, pseudo)
        factor, on_known = self.factor(progress), self.labelled_loss(on_labelled, y, progress)
        return {"labelled": on_known} | {name: factor * term for name, term in terms.items()}

    def choose(self, predictions: Predictions) -> PseudoLabels:
        """Return pseudo-labels and weights; called once a step, without gradient, so it may update statistics."""
        raise NotImplementedError(f"{type(self).__name__}.choose")

    def predict(
        self, model: nn.Module, x: Tensor, strong: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Return logits of labelled clips (L, K) and strong views (U, K), float32; by default from one joint pass.

        `x` (L, 1, F, N) and `strong` (U, 1, F, N) are mixed where there is a mixer; `generator` is for further draws.
        """
        on_labelled, on_strong = model(torch.cat([x, strong])).float().split([len(x), len(strong)])
        return on_labelled, on_strong

    def factor(self, progress: float) -> float:
        """Return the factor of all that is learnt from unlabelled clips, at `progress` of the training."""
        return self.weight(progress)

    def labelled_loss(self, logits: Tensor, y: Tensor, progress: float) -> Tensor:
        """Return the term of the labelled clips, of logits (L, K) and labels (L, K): by default the cross-entropy."""
        return F.cross_entropy(logits, y)

    def more_terms(self, on_strong: Tensor, pseudo: PseudoLabels) -> dict[str, Tensor]:
        """Return further terms of the objective, by default none; `on_strong` are logits (U, K) of the strong views."""
        return {}


def above_threshold(confidence: Tensor, threshold: Tensor, target: Tensor) -> PseudoLabels:
    """Return pseudo-labels that count fully where the confidence reaches the threshold, and else not at all.

    Parameters
    ----------
    confidence : Tensor, shape (U,)
        Probability of each pseudo-label.
    threshold : Tensor, shape () or (K,)
        One threshold for all, or one for each class. Of several, the lowest and the highest are logged.
    target : Tensor, shape (U,), int64
        The pseudo-labels.
    """
    if threshold.ndim == 0:
        return PseudoLabels((confidence >= threshold).float(), target, {"threshold": threshold})
    logs = {"threshold_low": threshold.min(), "threshold_high": threshold.max()}
    return PseudoLabels((confidence >= threshold[target]).float(), target, logs)


def weighted_logs(
    pseudo: PseudoLabels, q: Tensor, hidden: Tensor, gather: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Return how many pseudo-labels, of all processes, are accepted and correct, and how many of each class.

    `q` (U, K) are the predictions before alignment, `hidden` (U,) the true classes, below 0 where unknown; `gather`
    joins the tensors of all processes.

    Returns
    -------
    dict of str to Tensor
        ``mask``, the mean weight; ``guess_accuracy``, the share of correct classes in `q`;
        ``believed_accuracy``, the same of what is learnt, weighted by w (both NaN where no true class is known);
        ``outlier_mask``, the mean weight of clips of a class that the task does not have, NaN where there are none;
        ``count`` (K,), the sum of w by class, of this process: whoever logs it adds up the processes.
    """
    first = q.argmax(-1)
    rows = torch.stack([pseudo.weight.double(), pseudo.target.double(), first.double(), hidden.double()], 1)
    count = rows[:, 0] @ F.one_hot(pseudo.target, q.shape[-1]).double()
    weight, target, first, hidden = gather(rows).unbind(1)
    known = hidden >= 0
    credit = weight * known
    return {
        "mask": weight.mean(),
        "guess_accuracy": (first == hidden)[known].double().mean(),
        "believed_accuracy": (credit * (target == hidden)).sum() / credit.sum(),
        "outlier_mask": weight[hidden == OUTLIER].mean(),
        "count": count,
    }


def probabilities(logits: Tensor) -> Tensor:
    """Return class probabilities (B, K) in float32, without gradient: bfloat16 has steps of 0.004 below 1."""
    return logits.detach().float().softmax(-1)
