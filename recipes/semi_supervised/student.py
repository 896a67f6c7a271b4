r"""Training again from scratch on what an earlier network of the same run predicts: the rounds behind the first.

.. math:: L = \frac{1}{B + U} \sum_{i \in \mathrm{mix}(L \cup U)} H(Y_i, f(X_i)), \qquad Y_u = q_u

q_u are fixed: the predictions of the earlier network with a head that was fitted afterwards (`--head`), aligned to the
prior (`recipes.semi_supervised.rounds`). Xie et al., "Self-training with Noisy Student improves ImageNet
classification", CVPR 2020: the student learns soft guesses on noised inputs, here strong views, mixed where the method
mixes.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..algorithms._pseudo_labels import pseudo_label_logs
from ..algorithms.base import Algorithm, Labelled, Unlabelled

__all__ = ["Student"]


class Student(Algorithm):
    """Cross-entropy on labels and on fixed guesses, all mixed with all where there is a mixer.

    It is no method of its own: a run with several rounds has it behind the first.
    """

    uses_mixer = True
    targets: Tensor

    @property
    def title(self) -> str:
        """Name of what it is; results have the method's."""
        return "student"

    def setup(self, model: nn.Module, make_network: Callable[[str], nn.Module], unlabelled: int) -> None:
        """Make room for the guesses of all unlabelled clips; see `Algorithm.setup`."""
        self.register_buffer("targets", torch.full((unlabelled, self.num_classes), 1 / self.num_classes))

    def losses(
        self,
        model: nn.Module,
        labelled: Labelled,
        unlabelled: Unlabelled | None,
        *,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms ``labelled`` and ``unlabelled``; see `Algorithm.losses`."""
        assert unlabelled is not None
        size, q = len(labelled.x), self.targets[unlabelled.index]
        self._logs = pseudo_label_logs(q, unlabelled.hidden)
        x, y = torch.cat([labelled.x, unlabelled.strong]), torch.cat([self.one_hot(labelled.target), q])
        if self.mixer is not None:
            x, plan = self.mix_views(x, None, progress, generator)
            y = self.mixer.mix_target(y, plan)
        each = F.cross_entropy(model(x), y, reduction="none") / len(x)
        return {"labelled": each[:size].sum(), "unlabelled": each[size:].sum()}
