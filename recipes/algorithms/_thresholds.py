r"""What all methods share that guess on a weak view, believe some guesses and teach them to the strong view.

.. math:: L = \frac{1}{B} \sum_i H(y_i, f(x_i)) + \lambda \, \frac{1}{U} \sum_j w_j \, H(\arg\max q_j, f(u'_j)),
          \qquad q_j = f(u_j)

x labelled clips, u_j and u'_j the weak and the strong view of an unlabelled one. A method says what w is.

Batch norm normalises the weak views with their own statistics, labelled clips and strong views with those of both
together, and moves its running statistics with either pass: twice a step. (With a mixer and a threshold that follows
the labelled clips, a third time with these as they are.) The published code has one pass over all three; here no
gradient may reach the weak views through the statistics.
"""

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiomix.mixer import Mixer
from audiomix.schedule import Schedule

from .base import Algorithm, Labelled, Unlabelled

if TYPE_CHECKING:
    from ..training.config import Config

__all__ = ["MEMORIES", "PAPERS", "Belief", "Guess", "Thresholded", "believed_if", "probabilities"]

# Fields of `Config` as in the methods' papers: seven unlabelled clips for each labelled one, whose view is weak. (The
# papers' batches of 64 and 448 hold more clips than ESC-10 has: 30 labelled, as in the founding study.) Seven times the
# study's passes over the unlabelled clips, for about as many steps.
PAPERS: dict[str, Any] = {
    "labelled_view": "weak",
    "decay": "cos7pi16",
    "epochs": 2100,
    "batch_labelled": 30,
    "batch_unlabelled": 210,
    "ema": 0.999,
}
# Options by preset of methods with running means: the papers' 0.999 outlasts a run of a few hundred steps.
MEMORIES: dict[str, dict[str, Any]] = {
    "original": {},
    "study": {"momentum": 0.99},
    "strong": {"momentum": 0.99},
    "small": {"momentum": 0.95},
    "demo": {"momentum": 0.95},
}


class Guess(NamedTuple):
    """What a method decides on.

    Parameters
    ----------
    q : Tensor, shape (U, K)
        Class probabilities on the weak views.
    known : Tensor, shape (L, K)
        Class probabilities on the labelled clips as they are: not mixed, if the method `asks_labelled`.
    target : Tensor, shape (L,)
        Classes of the labelled clips.
    index : Tensor, shape (U,)
        Which of the unlabelled clips they are.
    """

    q: Tensor
    known: Tensor
    target: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here


class Belief(NamedTuple):
    """How much each guess counts.

    Parameters
    ----------
    weight : Tensor, shape (U,)
        w, in [0, 1].
    pseudo : Tensor, shape (U,), int64
        The class to be learnt.
    logs : dict of str to Tensor
        The thresholds, scalars.
    """

    weight: Tensor
    pseudo: Tensor
    logs: dict[str, Tensor]


class Thresholded(Algorithm):
    """Base of the methods with pseudo-labels; subclasses state `believe`.

    Parameters
    ----------
    num_classes : int
    mixer : Mixer, optional
        See `recipes.algorithms.fixmatch`: all mix as the founding study's FixMatch did.
    weight : str or float
        Factor of all that is learnt from unlabelled clips.
    mix_labels : bool
        Whether labels follow their clips.
    """

    mixing: ClassVar[dict[str, Any]] = {"alpha": 0.75, "keep_larger": True, "per": "batch"}
    # Whether `believe` looks at `Guess.known`: with a mixer it costs a pass.
    asks_labelled: bool = False

    def __init__(
        self, num_classes: int, mixer: Mixer | None = None, *, weight: str | float = 1.0, mix_labels: bool = True
    ) -> None:
        super().__init__(num_classes, mixer)
        self.weight = Schedule.of(weight, "weight").within("weight", 0)
        self.mix_labels = mix_labels

    def check_config(self, config: "Config") -> None:
        """Refuse labels that are not mixed where nothing is."""
        self.needs_mixer("mix_labels", not self.mix_labels)

    def losses(
        self,
        model: nn.Module,
        labelled: Labelled,
        unlabelled: Unlabelled | None,
        *,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms ``labelled``, ``unlabelled`` and those of `more_terms`, all but the first with `weight`."""
        assert unlabelled is not None
        x, strong = labelled.x, unlabelled.strong
        if self.mixer is not None:
            x, x_plan = self.mix_views(labelled.x, unlabelled.strong, progress, generator)
            strong, strong_plan = self.mix_views(unlabelled.strong, labelled.x, progress, generator)

        # A pass of its own: in one pass with the others, batch norm would let gradient through to the weak view.
        with torch.no_grad():
            q = probabilities(model(unlabelled.weak))  # (U, K)
            # a mixed clip is less certain by construction: thresholds follow the clips as they are
            plain = model(labelled.x) if self.mixer is not None and self.asks_labelled else None
        on_labelled, on_strong = self.predict(model, x, strong, generator)
        known = probabilities(on_labelled if plain is None else plain)
        with torch.no_grad():
            belief = self.believe(Guess(q, known, labelled.target, unlabelled.index))

        y, y_pseudo = self.one_hot(labelled.target), self.one_hot(belief.pseudo)
        if self.mixer is not None and self.mix_labels:
            mix = self.mixer.mix_target
            y, y_pseudo = mix(y, x_plan, other=y_pseudo), mix(y_pseudo, strong_plan, other=y)
        surprise = F.cross_entropy(on_strong, y_pseudo, reduction="none")  # (U,)

        self._logs = belief.logs | self.reliability(belief, q.argmax(-1), unlabelled.hidden)
        # The mean over the whole batch: over the believed alone, one clip would weigh as much as all.
        terms = {"unlabelled": (belief.weight * surprise).mean()} | self.more_terms(on_strong, belief)
        factor = self.weight(progress)
        return {"labelled": F.cross_entropy(on_labelled, y)} | {name: factor * term for name, term in terms.items()}

    def believe(self, guess: Guess) -> Belief:
        """Return how much each guess counts; called once a step, without gradient, so statistics may be updated."""
        raise NotImplementedError(f"{type(self).__name__}.believe")

    def predict(
        self, model: nn.Module, x: Tensor, strong: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Return logits of labelled clips (L, K) and strong views (U, K), float32: by default, of one joint pass."""
        on_labelled, on_strong = model(torch.cat([x, strong])).float().split([len(x), len(strong)])
        return on_labelled, on_strong

    def more_terms(self, on_strong: Tensor, belief: Belief) -> dict[str, Tensor]:
        """Return further terms of the objective, given the logits (U, K) of the strong views."""
        return {}

    def reliability(self, belief: Belief, first: Tensor, hidden: Tensor) -> dict[str, Tensor]:
        """Return how many guesses, of all processes, are believed and right, and how many of each class here.

        ``guess_accuracy`` is of all guesses, before alignment; ``believed_accuracy`` weighs what is learnt by w; both
        are NaN where nobody knows. ``count`` (K,) is the sum of w by class, of this process: whoever logs adds them up.
        """
        rows = torch.stack([belief.weight.double(), belief.pseudo.double(), first.double(), hidden.double()], 1)
        count = rows[:, 0] @ self.one_hot(belief.pseudo).double()
        weight, pseudo, first, hidden = self.gather(rows).unbind(1)
        known = hidden >= 0
        credit = weight * known
        return {
            "mask": weight.mean(),
            "guess_accuracy": (first == hidden)[known].double().mean(),
            "believed_accuracy": (credit * (pseudo == hidden)).sum() / credit.sum(),
            "count": count,
        }


def believed_if(confidence: Tensor, threshold: Tensor, pseudo: Tensor) -> Belief:
    """Return belief in the guesses whose confidence (U,) reaches the threshold: one for all, or (K,) by class.

    Logged is the threshold; where there are several, the lowest and the highest.
    """
    if threshold.ndim == 0:
        return Belief((confidence >= threshold).float(), pseudo, {"threshold": threshold})
    logs = {"threshold_low": threshold.min(), "threshold_high": threshold.max()}
    return Belief((confidence >= threshold[pseudo]).float(), pseudo, logs)


def probabilities(logits: Tensor) -> Tensor:
    """Return class probabilities (B, K) in float32, without gradient: bfloat16 has steps of 0.004 below 1."""
    return logits.detach().float().softmax(-1)
