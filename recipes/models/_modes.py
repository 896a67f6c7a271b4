"""Modes of a network that are held for a while: eval mode, and batch norm with frozen running statistics."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["batch_norm_frozen", "eval_mode"]


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Hold all modules in eval mode; afterwards each one is in the mode it had.

    Parameters
    ----------
    model : nn.Module
        Any module; a frozen part may already be in eval mode.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def batch_norm_frozen(model: nn.Module) -> Iterator[None]:
    """Normalise with each batch as in training, but leave the running statistics of all batch norms unchanged.

    Parameters
    ----------
    model : nn.Module
        Any module, in training mode.
    """
    kind = nn.modules.batchnorm._BatchNorm  # of any dimension, and across processes
    norms = [m for m in model.modules() if isinstance(m, kind) and m.track_running_stats]
    for module in norms:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in norms:
            module.track_running_stats = True
