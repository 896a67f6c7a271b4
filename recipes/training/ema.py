r"""An average of the model over the steps: what is usually better than its last state.

.. math:: \theta' \leftarrow d_i \theta' + (1 - d_i) \theta, \qquad d_i = \min(d, (1 + i) / (10 + i))

Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017; the start d_i is TensorFlow's.
"""

import copy

import torch
from torch import Tensor, nn

from audiomix import check

__all__ = ["EMA"]


class EMA(nn.Module):
    """Exponential moving average of parameters and of floating point buffers.

    Batch norm's running mean and variance are averaged like the weights they belong to; whole-number buffers (batches
    seen) are copied. To be updated once the optimiser has moved the model.

    Parameters
    ----------
    model : nn.Module
        Copied; its own tensors stay as they are.
    decay : float in [0, 1]
        d: about 1 / (1 - d) steps are remembered.
    """

    updates: Tensor

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = check.fraction("decay", decay)
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards `model`."""
        i = int(self.updates)
        decay = min(self.decay, (1 + i) / (10 + i))
        for mean, value in zip(tensors(self.average), tensors(model)):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)
        self.updates += 1

    def forward(self, x: Tensor) -> Tensor:
        """Return what the averaged model says."""
        return self.average(x)


def tensors(model: nn.Module) -> list[Tensor]:
    """Return parameters and buffers, in their fixed order."""
    return [*model.parameters(), *model.buffers()]
