"""Several networks of one kind that are trained together, and what they believe on average."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from audiomix import check
from audiomix.mixer import Mixer

from .base import Algorithm

__all__ = ["Mean", "Several"]


class Mean(nn.Module):
    """What networks believe, as logits: the logarithm of the mean of their probabilities, but for a constant."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K)."""
        return torch.stack([network(x).float().log_softmax(-1) for network in self.networks]).logsumexp(0)


class Several(Algorithm):
    """A method with the option `networks`: the mean of what they believe is reported, with averaged weights (EMA) too.

    Parameters
    ----------
    num_classes : int
    mixer : Mixer, optional
    networks : int
    """

    def __init__(self, num_classes: int, mixer: Mixer | None = None, *, networks: int = 1) -> None:
        super().__init__(num_classes, mixer)
        self.networks = check.integer("networks", networks, 1)
        self.others = nn.ModuleList()

    def setup(self, model: nn.Module, spare: Callable[[str], nn.Module], unlabelled: int) -> None:
        """Make the networks besides the run's own, each with first weights of its own."""
        self.others = nn.ModuleList(spare(f"network{i}") for i in range(2, self.networks + 1))

    def reported(self, model: nn.Module) -> nn.Module:
        """Return the network, or the mean of several."""
        return Mean(model, *self.others) if len(self.others) else model

    def averaged(self, model: nn.Module) -> nn.Module:
        """Return what is reported."""
        return self.reported(model)
