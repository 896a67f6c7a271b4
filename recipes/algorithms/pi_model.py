r"""Pi-model: two predictions on the same clip, under different augmentation, agree.

.. math:: L = \frac{1}{B} \sum_i H(y_i, f(x_i)) + w(t) \, \frac{1}{U K} \sum_j \lVert f(u_j) - f(u'_j) \rVert^2

x labelled clips, u_j and u'_j two views of an unlabelled one; f are class probabilities. Laine and Aila, "Temporal
Ensembling for Semi-Supervised Learning", ICLR 2017, algorithm 1. The gradient goes through both predictions, as in the
paper and its code; later code stops it in one of them (Oliver et al., "Realistic Evaluation of Deep Semi-Supervised
Learning Algorithms", NeurIPS 2018), which `both_learn` chooses.

w(t) is 100 in the paper, ramped up over 80 of 300 epochs. It multiplies that by M / N, the share of labelled clips. It
also divides the first sum by all clips of the batch, of which about that share is labelled, so the ratio of both terms
is that of 100 to a mean over the labelled clips, as here.

Labelled clips and both views are one pass, so batch norm normalises them together. What differs from the paper at the
preset ``original`` stands with the class.
"""

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiomix import check
from audiomix.mixer import Mixer
from audiomix.schedule import Schedule

from ._pseudo_labels import pseudo_label_logs, study_passes
from .base import Algorithm, Labelled, Unlabelled

__all__ = ["PiModel"]

_SMALL: dict[str, Any] = {"weight": "sigmoid_ramp:0:10:0.4", "second_view": "strong", "both_learn": False}


class PiModel(Algorithm):
    """Consistency of two predictions; without a mixer (`mean_teacher` with `interpolate` mixes what is consistent).

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        None: the method mixes nothing.
    weight : str or float
        w, the factor of the consistency term: a number or a schedule.
    second_view : str
        u', weak or strong; u is weak.
    both_learn : bool
        Let the gradient go through both predictions; if not, the one on u is the target of the other.

    References
    ----------
    Laine and Aila, "Temporal Ensembling for Semi-Supervised Learning", ICLR 2017.

    Deviations
    ----------
    - The consistency is over unlabelled clips alone, as a labelled clip has one view; in the paper it is over all
      clips.
    - Labelled clips and both views are one pass; the paper has two passes, mean-only batch norm, dropout and noise on
      the input.
    - The learning rate falls as a cosine after its warm-up, in the paper over the last 50 of 300 epochs alone; Adam's
      beta_1 stays at 0.9, in the paper it falls to 0.5 over those.
    - Batches hold 8 labelled and 92 unlabelled clips, as for 4,000 of CIFAR-10's 50,000 labels, whatever the share of
      clips with labels; in the paper it is that share.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "original": {},
        "study": {"weight": "sigmoid_ramp:0:1:0.25"},
        "small": _SMALL,
        "strong": _SMALL,
        "demo": _SMALL,
    }
    # github.com/smlaine2/tempens at a32743a, config.py: Adam with at most 0.003, which rises over 80 of 300 epochs, and
    # batches of 100 clips as they come, 8 of them labelled on CIFAR-10 with 4,000 labels. The study's: five steps an
    # epoch on ESC-10 with 10 % of the labels.
    configs: ClassVar[dict[str, dict[str, Any]]] = {
        "original": {
            "optimiser": "adam",
            "lr": 3e-3,
            "warmup": 0.267,
            "decay": "cosine",
            "batch_labelled": 8,
            "batch_unlabelled": 92,
            "epochs": study_passes(92),
        },
        "study": {"batch_labelled": 6, "batch_unlabelled": 58, "epochs": 540},
    }

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        weight: str | float = "sigmoid_ramp:0:100:0.267",
        second_view: Literal["weak", "strong"] = "weak",
        both_learn: bool = True,
    ) -> None:
        super().__init__(num_classes, mixer)
        self.weight = Schedule.of(weight, "weight").within("weight", 0)
        self.second_view = check.choice("second_view", second_view, ["weak", "strong"])
        self.both_learn = both_learn
        self.weak_views, self.strong_views = (2, 0) if second_view == "weak" else (1, 1)

    def losses(
        self,
        model: nn.Module,
        labelled: Labelled,
        unlabelled: Unlabelled | None,
        *,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms ``labelled`` and ``consistency``, the second with its weight; see `Algorithm.losses`."""
        assert unlabelled is not None
        first, second = unlabelled.weak, unlabelled.weaks[-1] if self.second_view == "weak" else unlabelled.strong
        parts = [labelled.x, first, second]
        on_labelled, *both = model(torch.cat(parts)).float().split([len(part) for part in parts])
        p, p_second = (logits.softmax(-1) for logits in both)
        self._logs = pseudo_label_logs(p.detach(), unlabelled.hidden)
        return {
            "labelled": F.cross_entropy(on_labelled, labelled.target),
            "consistency": self.weight(progress) * F.mse_loss(p_second, p if self.both_learn else p.detach()),
        }
