"""Several networks of one kind that are trained together, and what they believe on average."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["Mean", "mean_of", "others"]


def others(networks: int, spare: Callable[[str], nn.Module]) -> nn.ModuleList:
    """Return the networks besides the run's own, each with first weights of its own."""
    return nn.ModuleList(spare(f"network{i}") for i in range(2, networks + 1))


def mean_of(model: nn.Module, rest: nn.ModuleList) -> nn.Module:
    """Return the mean of the networks, or `model` where there is no other."""
    return Mean(model, *rest) if len(rest) else model


class Mean(nn.Module):
    """What networks believe, as logits: the logarithm of the mean of their probabilities, but for a constant."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K)."""
        return torch.stack([network(x).float().log_softmax(-1) for network in self.networks]).logsumexp(0)
