"""Several networks of one kind that are trained together, and the mean of their predictions."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from audiomix import check
from audiomix.mixer import Mixer

from .base import Algorithm

__all__ = ["Ensemble", "EnsembleAlgorithm"]


class Ensemble(nn.Module):
    """The mean of the probabilities of several networks, as logits: its logarithm, up to a constant.

    Each network maps spectrograms (B, 1, F, N) to logits (B, K).
    """

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K) of spectrograms (B, 1, F, N)."""
        return torch.stack([network(x).float().log_softmax(-1) for network in self.networks]).logsumexp(0)


class EnsembleAlgorithm(Algorithm):
    """A method with the option `networks`. Their mean prediction is reported, with averaged weights (EMA) too.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        Mixes the batches.
    networks : int
        Number of networks, the run's own included.
    """

    def __init__(self, num_classes: int, mixer: Mixer | None = None, *, networks: int = 1) -> None:
        super().__init__(num_classes, mixer)
        self.networks = check.integer("networks", networks, 1)
        self.others = nn.ModuleList()

    def setup(self, model: nn.Module, make_network: Callable[[str], nn.Module], unlabelled: int) -> None:
        """Make the networks besides the run's own, each with first weights of its own; see `Algorithm.setup`."""
        self.others = nn.ModuleList(make_network(f"network{i}") for i in range(2, self.networks + 1))

    def select_reported(self, model: nn.Module) -> nn.Module:
        """Return the network, or the mean of several; see `Algorithm.select_reported`."""
        return Ensemble(model, *self.others) if len(self.others) else model

    def select_averaged(self, model: nn.Module) -> nn.Module:
        """Return the reported network; see `Algorithm.select_averaged`."""
        return self.select_reported(model)
