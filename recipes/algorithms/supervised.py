r"""Supervised training on the labelled clips alone: the baseline of all other methods, at equal augmentation.

.. math:: L = \frac{1}{B} \sum_i H(y_i, f(x_i))

With a mixer: x_i and y_i mixed within the batch (Zhang et al., "mixup", ICLR 2018).

With the option `networks` L is the sum of the L of several networks, and their mean prediction is reported: the
baseline of methods that train several.

Its labelled view is that of the other methods in every preset, ``original`` included: against a
weakly augmented baseline a method looks better than it is.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._ensemble import EnsembleAlgorithm
from ._thresholds import PAPERS
from .base import Labelled, Unlabelled

__all__ = ["Supervised"]


class Supervised(EnsembleAlgorithm):
    """Cross-entropy on the labelled clips.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        Mixes the labelled clips with one another, labels too: alpha 0.4 and one weight a batch by default, as in the
        founding study.
    networks : int
        Networks that are trained side by side, with first weights and mixing of their own.

    References
    ----------
    Sohn et al., "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence", NeurIPS 2020: its
    optimiser and labelled batches, so that it is the baseline of FixMatch and its successors.

    Deviations
    ----------
    - The published baselines are trained on all labels, with optimisers of their own; this one sees the labelled clips
      of the other methods.
    """

    uses_mixer = True
    needs_unlabelled = False
    mixing: ClassVar[dict[str, Any]] = {"alpha": 0.4, "per": "batch"}
    configs: ClassVar[dict[str, dict[str, Any]]] = {"original": PAPERS, "study": {"batch_labelled": 60}}

    def losses(
        self,
        model: nn.Module,
        labelled: Labelled,
        unlabelled: Unlabelled | None = None,
        *,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return the term ``labelled``; see `Algorithm.losses`."""
        terms = []
        for network in (model, *self.others):
            x, target = labelled.x, self.one_hot(labelled.target)
            if self.mixer is not None:
                x, plan = self.mix_views(x, None, progress, generator)
                target = self.mixer.mix_target(target, plan)
            terms.append(F.cross_entropy(network(x), target))
        return {"labelled": torch.stack(terms).sum()}
