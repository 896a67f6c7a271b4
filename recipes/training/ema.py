r"""A running average of a model's weights over the steps, which usually errs less than the last weights.

.. math:: \theta' \leftarrow d_i \theta' + (1 - d_i) \theta, \qquad d_i = \min(d, (1 + i) / (10 + i))

Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017; the start d_i is TensorFlow's.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from audiomix import check

__all__ = ["EMA", "move_towards", "tensors"]


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

    Examples
    --------
    >>> model = nn.Linear(1, 1).requires_grad_(False)
    >>> ema = EMA(model, 0.999)
    >>> _ = model.weight.add_(1.0)
    >>> ema.update(model)  # the first update has decay 0.1
    >>> round(float(model.weight - ema.average.weight), 3)
    0.1
    """

    updates: Tensor

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = check.fraction("decay", decay)
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def update(self, model: nn.Module) -> None:
        """Move the average towards `model`, which must be of the kind that was copied."""
        i = int(self.updates)
        move_towards(tensors(self.average), tensors(model), min(self.decay, (1 + i) / (10 + i)))
        self.updates += 1

    def forward(self, x: Tensor) -> Tensor:
        """Return the averaged model's output for `x`, its input."""
        return self.average(x)


def tensors(model: nn.Module) -> list[Tensor]:
    """Return parameters and buffers of `model`, in their fixed order."""
    return [*model.parameters(), *model.buffers()]


@torch.no_grad()
def move_towards(means: Sequence[Tensor], values: Sequence[Tensor], decay: float) -> None:
    """Overwrite each of `means` with ``decay * mean + (1 - decay) * value``; whole numbers are copied."""
    for mean, value in zip(means, values, strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)
