r"""Invariance-constrained augmentation: hard views, as far as a constraint on their loss asks for them.

.. math:: L = \frac{L_\mathrm{clean} + \gamma L_\mathrm{MH}}{1 + \gamma}, \qquad
          \gamma \leftarrow \max(0, \gamma + \eta (L_\mathrm{MH} - \epsilon))

The views of a clip are a Metropolis-Hastings chain whose law goes to one in proportion to the loss: each next view is
drawn uniformly and accepted with probability min(1, loss of it / loss of the present one). L_MH is the loss at the end
of the chain. The dual variable gamma grows while views cost more than epsilon, and falls, to 0 at least, while they
cost less.

Source: Hounie, Chamon and Ribeiro, "Automatic Data Augmentation via Invariance-Constrained Learning", ICML 2023; read
from a public copy of its code.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiomix import check, draw, transforms
from audiomix.mixer import Mixer

from .base import LearnedMixing

__all__ = ["InvarianceConstrained", "run_chain"]


class InvarianceConstrained(LearnedMixing):
    """Train on clean clips and on hard views of them, weighted by a dual variable.

    Parameters
    ----------
    epsilon : float
        Loss of views that the constraint allows.
    eta : float
        Step of the dual variable.
    draws : int
        Views of a clip: length of the chain.
    views : str
        Transform that draws a view: ``trivial_augment`` or ``rand_augment``.

    Deviations
    ----------
    - epsilon, eta and gamma's start at 0 are ours: the known values belong to one run on ImageNet. eta is constant.
    - The clean clip is the run's labelled view (`--labelled-view`), the views are changes of it.
    - Running statistics of batch norm are those of clean clips and views together, as in the code.
    """

    gamma: Tensor

    def __init__(
        self,
        *,
        epsilon: float = 0.5,
        eta: float = 0.02,
        draws: int = 2,
        views: Literal["trivial_augment", "rand_augment"] = "trivial_augment",
    ) -> None:
        super().__init__()
        self.epsilon, self.eta = check.number("epsilon", epsilon, 0), check.number("eta", eta, 0)
        self.draws = check.integer("draws", draws, 1)
        self.augment = make_views(views)
        self.register_buffer("gamma", torch.zeros(()))
        self._excess: Tensor | None = None
        self._logs: dict[str, Tensor] = {}

    def fit(self, mean: float, std: float) -> None:
        """Make the views for this normalisation; see `LearnedMixing.fit`."""
        self.augment = self.augment.at_normalisation(mean, std)

    def losses(
        self,
        model: nn.Module,
        x: Tensor,
        target: Tensor,
        index: Tensor,
        *,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms ``labelled`` and ``views``; see `LearnedMixing.losses`."""
        views = [self.augment(x, progress=progress, generator=generator).x for _ in range(self.draws)]
        logits = model(torch.cat([x, *views]))
        each = F.cross_entropy(logits, target.repeat(1 + self.draws), reduction="none").view(1 + self.draws, -1)
        clean, costs = each[0], each[1:]
        end = run_chain(costs.detach(), generator=generator)
        hard = costs.gather(0, end[None])[0]
        self._excess = hard.detach().mean() - self.epsilon
        self._logs = {"gamma": self.gamma.clone()}
        gamma = self.gamma.clone()
        return {"labelled": clean.mean() / (1 + gamma), "views": gamma * hard.mean() / (1 + gamma)}

    @torch.no_grad()
    def after_step(self, model: nn.Module) -> None:
        """Move the dual variable; see `LearnedMixing.after_step`."""
        if self._excess is not None:
            self.gamma.add_(self.eta * self._excess.to(self.gamma)).clamp_(min=0)

    def logs(self) -> dict[str, Tensor]:
        """Return the dual variable of the step."""
        return self._logs


def make_views(name: str) -> Mixer:
    """Return a transform of spectrograms, ``trivial_augment`` or ``rand_augment``."""
    check.choice("views", name, ["trivial_augment", "rand_augment"])
    kind: type[Mixer] = transforms.get(name)
    return kind(domain="spectrogram")  # type: ignore[call-arg]


def run_chain(costs: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Return which view each clip's chain ends at, (B,), int64.

    Parameters
    ----------
    costs : Tensor, shape (M, B)
        Loss of each view, 0 or more, without gradient; views are independent draws.
    generator : torch.Generator, optional
        Of the acceptances.

    Examples
    --------
    >>> run_chain(torch.tensor([[1.0, 1.0], [2.0, 0.0]]))  # a larger loss is always accepted, none never
    tensor([1, 0])
    """
    count, size = costs.shape
    end = torch.zeros(size, dtype=torch.int64, device=costs.device)
    for view in range(1, count):
        present = costs.gather(0, end[None])[0]
        u = draw.uniform(0, 1, size, generator=generator).to(costs)
        end = torch.where(u * present < costs[view], view, end)
    return end
