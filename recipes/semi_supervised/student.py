r"""Training again from scratch on what an earlier network of the same run predicts: the rounds behind the first.

.. math:: L = \frac{1}{B + U} \sum_{i \in \mathrm{mix}(L \cup U)} H(Y_i, f(X_i)), \qquad Y_u = q_u

q_u are fixed: the predictions of the earlier network with a head that was fitted afterwards (`--head`), aligned to the
classes of the labels. Xie et al., "Self-training with Noisy Student improves ImageNet classification", CVPR 2020: the
student learns soft guesses on noised inputs, here strong views, mixed where the method mixes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..algorithms._pseudo_labels import pseudo_label_logs
from ..algorithms.base import Algorithm, Labelled, Unlabelled
from ..data.loader import Data
from ..training.run_folder import Split
from .heads import align_to_prior

__all__ = ["Student", "earlier_folder", "guess_again"]


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


def earlier_folder(out: Path, rounds: int) -> Path:
    """Return the folder of the round before, inside that of a run with so many rounds.

    >>> earlier_folder(Path("runs/x"), 2).as_posix()
    'runs/x/round1'
    """
    return out / f"round{rounds - 1}"


def guess_again(folder: Path, head: str, data: Data, split: Split) -> Tensor:
    """Return the guesses (U, K), float32, of a finished run on the unlabelled clips of a split.

    Parameters
    ----------
    folder : Path
        The run's folder.
    head : str
        The head that predicts.
    data : Data
        The clips, with fitted views.
    split : Split
        Which of them are unlabelled.
    """
    from .inference import load_model  # it reads the specification of runs, which knows the student
    from .refit import predict_features

    network: Any = load_model(folder, head=head, trust=True).network.to(data.kept.device)
    shares = predict_features(network, data.views, data.kept, split.unlabelled)[1]
    labels = data.labels[split.labelled.to(data.labels.device)].cpu()
    return align_to_prior(shares, F.one_hot(labels, shares.shape[1]).double().mean(0)).float()
