"""The optimiser of a run, from its configuration."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .config import Config

__all__ = ["make_optimiser"]


def make_optimiser(config: Config, trained: Sequence[nn.Module]) -> torch.optim.Optimizer:
    r"""Return the optimiser of everything in `trained` that requires gradients.

    With g the gradient, eta the learning rate and lambda the weight decay, ``sgd`` is

    .. math:: g' = g + \lambda w, \quad v \leftarrow \mu v + g', \quad
              w \leftarrow w - \eta \, (g' + \mu v) \text{ (Nesterov) or } w - \eta v

    from v = 0. ``adam`` adds lambda w to the gradient as well, and ``adamw`` multiplies w by 1 - eta lambda instead.
    Where ``weight_decay_on`` is ``kernels``, lambda is 0 for biases and for scales and shifts of normalisation.

    Parameters
    ----------
    config : Config
        Its `optimiser`, `lr`, `sgd_momentum`, `nesterov`, `weight_decay` and `weight_decay_on` are read.
    trained : sequence of nn.Module
        The networks.

    References
    ----------
    Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013; Loshchilov and
    Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.

    Examples
    --------
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    >>> config = Config(optimiser="sgd", weight_decay=0.1, weight_decay_on="kernels")
    >>> [(len(g["params"]), g["weight_decay"]) for g in make_optimiser(config, [model]).param_groups]
    [(1, 0.1), (3, 0.0)]
    """
    parameters = [p for module in trained for p in module.parameters() if p.requires_grad]
    groups: list[Any] = parameters
    if config.weight_decay_on == "kernels":
        kernels, others = ([p for p in parameters if (p.ndim > 1) == wanted] for wanted in (True, False))
        groups = [{"params": kernels}, {"params": others, "weight_decay": 0.0}]
    common: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay, "fused": True}
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=config.sgd_momentum, nesterov=config.nesterov, **common)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimiser](groups, **common)
