r"""MixMatch: sharpened mean predictions as labels, and all clips mixed with all.

.. math:: q_j = \mathrm{sharpen}\Big(\frac{1}{K} \sum_k f(u_{j,k}), T\Big), \qquad
          X, Y = \mathrm{mix}\big((x, y) \cup (u_1, q) \cup \dots \cup (u_K, q)\big)

.. math:: L = \frac{1}{B} \sum_{i \le B} H(Y_i, f(X_i)) + \lambda(t) \, \frac{1}{K U} \sum_{i > B} d(Y_i, f(X_i))

x labelled clips, u_1 .. u_K weak views of the unlabelled ones; d is the mean square difference of probabilities
(original) or the cross-entropy (the founding study). Berthelot et al., "MixMatch: A Holistic Approach to
Semi-Supervised Learning", NeurIPS 2019, equations 2 to 8.

One plan mixes the whole of X with a permutation of itself, and the labels likewise. The original has the larger share,
so the first B mixes belong to labelled clips. No clip is its own partner, as it may be in the paper's permutation.

Batch norm: one pass over all weak views predicts, in training mode and without gradient; one pass over all of X learns.
The published code distributes X over batches of labelled and unlabelled clips alike ("interleave") because it calls the
network once a batch and keeps the statistics of the first; one pass needs no such thing. The study's code has one pass
for the mixed labelled clips and another for the unlabelled ones.
"""

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiomix import check
from audiomix.mixer import Mixer
from audiomix.schedule import Schedule

from ._pseudo_labels import GOOGLE, predict_probabilities, pseudo_label_logs, sharpen
from .base import Algorithm, Labelled, Unlabelled

__all__ = ["MixMatch"]

_SMALL: dict[str, Any] = {"weight": "linear:0:10:0.4"}


class MixMatch(Algorithm):
    """MixMatch; without a mixer only its pseudo-labels are left: sharpened mean predictions on several weak views.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        Mixes labelled clips and weak views, all with all, labels and pseudo-labels too. By default a run has mixup:
        alpha 0.75, the larger share to the original, one weight a batch (study) or a clip (original).
    weight : str or float
        lambda, the factor of the unlabelled term: a number or a schedule. The authors' code: 100, ramped up over one
        64th of the training. The study: cross-entropy with 1, ramped up over 16,000 steps. Its runs on ESC-10 end after
        2,700, at 0.17, which is the preset; those on UrbanSound8K, of 16,200, have "linear:0:1".
    views : int
        K, weak views of each unlabelled clip.
    temperature : float
        T, of the sharpening: below 1 the pseudo-labels have less entropy.
    distance : str
        d: mse (of probabilities) or cross_entropy.
    quiet_guess : bool
        Keep the predicting pass out of batch norm's running statistics, as the authors' code does; the study's does
        not.

    References
    ----------
    Berthelot et al., "MixMatch: A Holistic Approach to Semi-Supervised Learning", NeurIPS 2019.

    Deviations
    ----------
    - One pass learns from all mixed clips, and batch norm normalises them together. The published code has 1 + K passes
      of 64 clips each, interleaved, of which the first moves the running statistics.
    - No clip is its own partner, as it may be in the paper's permutation.
    - The weights decay before the step of Adam, in the authors' code after it: a difference of lr^2 times the decay.
    """

    uses_mixer = True
    mixing: ClassVar[dict[str, Any]] = {"alpha": 0.75, "keep_larger": True, "per": "batch"}
    default_mixers: ClassVar[dict[str, str]] = {"": "mixup", "original": "mixup:per=clip"}
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "original": {"quiet_guess": True},
        "study": {"weight": "linear:0:0.16875", "distance": "cross_entropy"},
        "small": _SMALL,
        "strong": _SMALL,
        "demo": _SMALL,
    }
    configs: ClassVar[dict[str, dict[str, Any]]] = {
        "original": GOOGLE,
        "small": {"weak_view": "mid"},
        "strong": {"weak_view": "mid"},
    }
    strong_views = 0

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        weight: str | float = "linear:0:100:0.015625",
        views: int = 2,
        temperature: float = 0.5,
        distance: Literal["mse", "cross_entropy"] = "mse",
        quiet_guess: bool = False,
    ) -> None:
        super().__init__(num_classes, mixer)
        self.weight = Schedule.of(weight, "weight").within("weight", 0)
        self.weak_views = check.integer("views", views, 1)
        self.temperature = check.number("temperature", temperature, 0.01, 100)
        self.distance = check.choice("distance", distance, ["mse", "cross_entropy"])
        self.quiet_guess = quiet_guess

    def losses(
        self,
        model: nn.Module,
        labelled: Labelled,
        unlabelled: Unlabelled | None,
        *,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms ``labelled`` and ``unlabelled``, the second with its weight; see `Algorithm.losses`."""
        assert unlabelled is not None
        size, views = len(labelled.x), unlabelled.weaks[: self.weak_views]
        q = self.pseudo_labels(model, views)  # (U, K)
        self._logs = pseudo_label_logs(q, unlabelled.hidden)

        x = torch.cat([labelled.x, *views])
        y = torch.cat([self.one_hot(labelled.target), q.repeat(len(views), 1)])  # view by view, as x is
        if self.mixer is not None:
            x, plan = self.mix_views(x, None, progress, generator)
            y = self.mixer.mix_target(y, plan)
        logits = model(x)
        return {
            "labelled": F.cross_entropy(logits[:size], y[:size]),
            "unlabelled": self.weight(progress) * self.distance_to(y[size:], logits[size:]),
        }

    def pseudo_labels(self, model: nn.Module, views: tuple[Tensor, ...]) -> Tensor:
        """Return one distribution (U, K) for all views of a clip: the mean of the predictions on them, sharpened."""
        q = predict_probabilities(model, torch.cat(views), quiet=self.quiet_guess)
        return sharpen(q.view(len(views), -1, self.num_classes).mean(0), self.temperature)

    def distance_to(self, target: Tensor, logits: Tensor) -> Tensor:
        """Return d, the mean over clips, between mixed pseudo-labels (B, K) and the network's logits (B, K)."""
        if self.distance == "mse":
            return F.mse_loss(logits.float().softmax(-1), target)
        return F.cross_entropy(logits, target)
