r"""What the methods share that compare clips by embeddings besides classifying them.

An embedding z is a vector of length 1: a projection, two linear layers with a ReLU between them, of the network's
features. The projection is trained with the network and is no part of the network that is reported. Chen et al., "A
Simple Framework for Contrastive Learning of Visual Representations", ICML 2020.

The weak views have a pass of their own, without gradient; labelled clips and strong views have one together, as in
`recipes.algorithms._thresholds`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiomix import check
from audiomix.mixer import Mixer
from audiomix.schedule import Schedule

from ..models._modes import random_state
from ._alignment import RunningAlignment
from ._thresholds import above_threshold, probabilities, weighted_logs
from .base import Algorithm, Labelled, Unlabelled

__all__ = ["EmbeddingAlgorithm", "Known", "Match", "similarities"]


class Known(NamedTuple):
    """What pseudo-labels are made of, without gradient."""

    p: Tensor  # (U, K): class probabilities on the weak views, aligned
    z: Tensor  # (U, E): embeddings of the weak views
    z_labelled: Tensor  # (L, E): embeddings of the labelled clips
    target: Tensor  # (L,), int64: classes of the labelled clips
    # (L,), int64: position of each labelled clip among the labelled ones
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here


class Match(NamedTuple):
    """What strong views learn."""

    q: Tensor  # (U, K): pseudo-labels
    graph: Tensor  # (U, N): similarity of the first strong views to N clips; rows sum to 1
    # (N, E): embeddings of these clips; None for the second strong views
    clips: Tensor | None
    logs: dict[str, Tensor]  # scalars


class EmbeddingAlgorithm(Algorithm):
    r"""Base of these methods; subclasses implement `match`. They mix nothing.

    .. math:: L = \frac{1}{B} \sum_i H(y_i, f(x_i))
              + \lambda \, \frac{1}{U} \sum_j [\max q_j \ge \tau] \, H(q_j, f(u'_j))
              + \lambda_s \, \frac{1}{U} \sum_j H(W_j, \operatorname{softmax}(z'_j \cdot z_n / t))

    q and W are of `match`, z_n the embeddings of the clips to which W is a similarity.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        None: the method mixes nothing.
    threshold : float
        tau, the largest value of a pseudo-label from which it is accepted.
    weight : str or float
        lambda, the factor of the pseudo-labels' term: a number or a schedule.
    weight_similarity : str or float
        lambda_s, the factor of the similarities' term: a number or a schedule.
    smoothing : float
        alpha, the share of the prediction in a pseudo-label; the rest is of similar clips.
    temperature : float
        t, which divides similarities.
    dimensions : int
        E, the size of an embedding.
    distribution_alignment : bool
        Align the predictions to the run's prior.
    momentum : float
        Momentum of the running class distribution of the alignment.
    """

    needs_features = True

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        threshold: float,
        weight: str | float,
        weight_similarity: str | float,
        smoothing: float,
        temperature: float,
        dimensions: int,
        distribution_alignment: bool,
        momentum: float,
    ) -> None:
        super().__init__(num_classes, mixer)
        self.threshold = check.fraction("threshold", threshold)
        self.weight = Schedule.of(weight, "weight").within("weight", 0)
        self.weight_similarity = Schedule.of(weight_similarity, "weight_similarity").within("weight_similarity", 0)
        self.smoothing = check.fraction("smoothing", smoothing)
        self.temperature = check.number("temperature", temperature, 0.01, 100)
        self.dimensions = check.integer("dimensions", dimensions, 1)
        self.align = RunningAlignment(num_classes, momentum) if distribution_alignment else None

    def setup(self, model: nn.Module, make_network: Callable[[str], nn.Module], unlabelled: int) -> None:
        """Make the projection, with first weights by the run's seed; see `Algorithm.setup`."""
        head = check.one_of_types("model.head", getattr(model, "head", None), nn.Linear, "a linear layer")
        size = head.in_features
        with random_state(self.seed, "projection"):
            self.projection = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, self.dimensions))

    def embed(self, model: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, K) and embeddings (B, E), float32, of spectrograms (B, 1, F, N)."""
        features = model.features(x)
        return model.head(features).float(), F.normalize(self.projection(features).float(), dim=-1)

    def losses(
        self,
        model: nn.Module,
        labelled: Labelled,
        unlabelled: Unlabelled | None,
        *,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms ``labelled``, ``unlabelled`` and ``similarity``, the last two with their weights.

        See `Algorithm.losses`.
        """
        assert unlabelled is not None
        parts = [labelled.x, *unlabelled.strongs[: self.strong_views]]
        sizes = [len(part) for part in parts]
        with torch.no_grad():
            on_weak, z_weak = self.embed(model, unlabelled.weak)
        logits, z = (out.split(sizes) for out in self.embed(model, torch.cat(parts)))
        with torch.no_grad():
            q = probabilities(on_weak)
            p = q if self.align is None else self.align(q, self.batch_mean(q), self.prior, fixed=True)
            match = self.match(Known(p, z_weak, z[0].detach(), labelled.target, labelled.index))
            confidence, target = match.q.max(-1)
            pseudo = above_threshold(confidence, confidence.new_full((), self.threshold), target)
        self._logs = pseudo.logs | match.logs | weighted_logs(pseudo, q, unlabelled.hidden, self.gather)

        # The means are over the whole batch: clips that are not accepted count as 0.
        each = F.cross_entropy(logits[1], match.q, reduction="none")  # (U,)
        near = similarities(z[1], z[2] if match.clips is None else match.clips) / self.temperature  # (U, N)
        return {
            "labelled": F.cross_entropy(logits[0], labelled.target),
            "unlabelled": self.weight(progress) * (pseudo.weight * each).mean(),
            "similarity": self.weight_similarity(progress) * F.cross_entropy(near, match.graph),
        }

    def match(self, known: Known) -> Match:
        """Return what strong views learn; called once a step, without gradient, so it may update what is kept."""
        raise NotImplementedError(f"{type(self).__name__}.match")

    def smooth(self, p: Tensor, similar: Tensor) -> Tensor:
        """Return predictions `p` (U, K), smoothed by class probabilities (U, K) of similar clips."""
        return self.smoothing * p + (1 - self.smoothing) * similar


def similarities(a: Tensor, b: Tensor) -> Tensor:
    """Return all scalar products (A, B) of embeddings (A, E) and (B, E), in float32 inside autocast too.

    In bfloat16 a similarity near 1 has steps of 0.004 to 0.008: 8 % of a temperature of 0.1.
    """
    with torch.autocast(a.device.type, enabled=False):
        return a.float() @ b.float().T
