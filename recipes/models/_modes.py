"""States that are held for a while: eval mode, frozen running statistics of batch norm, torch's own generator."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from audiomix.draw import generator_for

__all__ = ["eval_mode", "freeze_batch_norm", "random_state"]


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Hold all modules in eval mode; afterwards each one is in the mode it had, as a frozen part in eval mode."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def freeze_batch_norm(model: nn.Module) -> Iterator[None]:
    """Normalise with each batch as in training, but leave the running statistics of all batch norms unchanged."""
    kind = nn.modules.batchnorm._BatchNorm  # of any dimension, and across processes
    norms = [m for m in model.modules() if isinstance(m, kind) and m.track_running_stats]
    for module in norms:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in norms:
            module.track_running_stats = True


@contextmanager
def random_state(seed: int, *ids: Any) -> Iterator[None]:
    """Give torch's global generator, from which ``nn.init`` and dropout draw, a state of its own within the block.

    It follows from `seed` and `ids`, see `audiomix.draw.generator_for`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator_for(seed, *ids).get_state())
        yield
