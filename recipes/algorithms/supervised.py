r"""Supervised training on the labelled clips alone: the baseline of all other methods, at equal augmentation.

.. math:: L = \frac{1}{B} \sum_i H(y_i, f(x_i))

With a mixer: x_i and y_i mixed within the batch (Zhang et al., "mixup", ICLR 2018). A transform changes x_i alone. With
the option `loss` another loss of mixes takes the place of H, or is added to it; with a learned mixing
(`recipes.training.mixing`) L is that method's own.

With the option `networks` L is the sum of the L of several networks, and their mean prediction is reported: the
baseline of methods that train several.

Its labelled view is that of the other methods in every preset, ``original`` included: against a
weakly augmented baseline a method looks better than it is.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from audiomix import check
from audiomix.mixer import Mixer
from audiomix.transform import Transform

from ..data.views import Views
from ..training.config import Config
from ..training.mixing import LearnedMixing
from ..training.mixing._criteria import DEFAULT, MixedBatch, read_loss
from ..training.mixing.base import ReadClips
from ._ensemble import EnsembleAlgorithm
from ._thresholds import PAPERS
from .base import Labelled, Unlabelled

__all__ = ["Supervised"]


class Supervised(EnsembleAlgorithm):
    """Cross-entropy on the labelled clips, or another loss of them and of their mixes.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, Transform or LearnedMixing, optional
        Mixes the labelled clips with one another, labels too: alpha 0.4 and one weight a batch by default, as in the
        founding study. A transform changes single clips. A learned mixing has a training of its own.
    networks : int
        Networks that are trained side by side, with first weights and mixing of their own.
    loss : str
        Loss of the mixes: a name with options, as in comp_sum:tau=1.3; audiomix-recipes list shows all. Several options
        in a row of bench stand in brackets: decoupled(eta=0.2,weighting=none). Those that compare mixes with what they
        are made of need a mixer.

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
    takes_mixing = True
    needs_unlabelled = False
    mixing: ClassVar[dict[str, Any]] = {"alpha": 0.4, "per": "batch"}
    configs: ClassVar[dict[str, dict[str, Any]]] = {"original": PAPERS, "study": {"batch_labelled": 60}}

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | LearnedMixing | None = None,
        *,
        networks: int = 1,
        loss: str = DEFAULT,
    ) -> None:
        learned = mixer if isinstance(mixer, LearnedMixing) else None
        super().__init__(num_classes, None if isinstance(mixer, LearnedMixing) else mixer, networks=networks)
        self.learned, self.criterion = learned, read_loss(loss)
        self.needs_features = self.needs_features or self.criterion.kind.needs_features
        if learned is not None:
            self.needs_features = self.needs_features or learned.needs_features
            if networks != 1:
                check.fail("networks", "1 with a learned mixing, which trains one", networks)
            if self.criterion.name != DEFAULT:
                check.fail("loss", "left out with a learned mixing, which has losses of its own", loss)

    def check_config(self, config: Config) -> None:
        """Refuse a loss of mixes where nothing is mixed, and a network that cannot be compiled.

        See `Algorithm.check_config`.
        """
        if self.learned is not None and config.compile and not self.learned.compiles:
            check.fail("compile", f"left out with {type(self.learned).__name__}", config.compile)
        mixes = self.mixer is not None and not isinstance(self.mixer, Transform)
        if self.criterion.kind.needs_plan and not mixes:
            got = "none" if self.mixer is None else "a transform, which mixes nothing"
            check.fail("mixer", f"a mixer with the loss {self.criterion.name}, which compares mixes", got)

        if self.criterion.kind.own_mixes and mixes:
            slip = "it mixes embeddings by itself, and its pairs are by class"
            check.fail("mixer", f"a transform or none with the loss {self.criterion.name}", "a mixer", slip)

    def setup(self, model: nn.Module, make_network: Callable[[str], nn.Module], unlabelled: int) -> None:
        """Make further networks, and what a learned mixing trains; see `Algorithm.setup`."""
        super().setup(model, make_network, unlabelled)
        if self.learned is not None:
            self.learned.setup(model, self.num_classes, self.labelled_clips, self.seed)

    def fit(self, views: Views) -> None:
        """Tell a learned mixing how the front end normalises; see `Algorithm.fit`."""
        if self.learned is not None:
            self.learned.fit(views.mean, views.std)

    def take_clips(self, read: ReadClips, labels: Tensor) -> None:
        """Tell a learned mixing where the labelled clips are; see `Algorithm.take_clips`."""
        if self.learned is not None:
            self.learned.take_clips(read, labels)

    def losses(
        self,
        model: nn.Module,
        labelled: Labelled,
        unlabelled: Unlabelled | None = None,
        *,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return the term ``labelled``, ``mixing`` for a loss that is added, or those of a learned mixing.

        See `Algorithm.losses`.
        """
        if self.learned is not None:
            return self.learned.losses(model, *labelled, progress=progress, generator=generator)
        terms: dict[str, list[Tensor]] = {}
        for network in (model, *self.others):
            x, target, plan = labelled.x, self.one_hot(labelled.target), None
            mixed, mixed_target = x, target
            if self.mixer is not None:
                mixed, plan = self.mix_views(x, None, progress, generator)
                mixed_target = self.mixer.mix_target(target, plan)
            batch = MixedBatch(x, target, mixed, mixed_target, plan)
            for name, term in self.criterion(network, batch, generator).items():
                terms.setdefault(name, []).append(term)
        return {name: torch.stack(found).sum() for name, found in terms.items()}

    def after_step(self, model: nn.Module) -> None:
        """Update what a learned mixing keeps; see `Algorithm.after_step`."""
        if self.learned is not None:
            self.learned.after_step(model)

    def logs(self) -> dict[str, Tensor]:
        """Return what a learned mixing logs; see `Algorithm.logs`."""
        return {} if self.learned is None else self.learned.logs()
