"""A run in several processes: each takes its slice of every batch, and all go on with the same gradients.

The clips of a step and their views are drawn for the whole batch, so they do not depend on how many share it. Gradients
are means over processes, so are the running statistics of batch norm; but batch norm normalises each process's slice by
that slice's own mean and deviation, as torch's DistributedDataParallel does. And a mixer's partners and weights,
ReMixMatch's turns and Deep Co-Training's halves are drawn within each slice: MixMatch, ReMixMatch, Deep Co-Training and
any method with a mixer come to other numbers than in one process. The others, with a network without batch norm, come
to the same up to rounding.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessRaisedException

__all__ = ["average", "gathered", "launch", "shared"]

_TOLD = {kind.__name__: kind for kind in (ValueError, TypeError, FloatingPointError, OSError)}


def launch(fabric: Fabric, function: Callable[..., Any], *arguments: Any) -> None:
    """Call ``function(fabric, *arguments)`` in each of the processes; spawned, so everything must be picklable.

    Raises
    ------
    ValueError, TypeError, FloatingPointError, OSError
        What the first process that failed raised.
    """
    try:
        fabric.launch(_Call(function, arguments))
    except ProcessRaisedException as error:
        name, _, message = str(error).strip().splitlines()[-1].partition(": ")
        if name in _TOLD:
            raise _TOLD[name](message) from None
        raise


class _Call:
    """A call: Fabric looks into arguments for modules, and refuses frozen dataclasses."""

    def __init__(self, function: Callable[..., Any], arguments: tuple) -> None:
        self.function, self.arguments = function, arguments

    def __call__(self, fabric: Fabric) -> None:
        self.function(fabric, *self.arguments)


def gathered(fabric: Fabric, x: Tensor) -> Tensor:
    """Return the tensors (B, ...) of all processes as one, in the order of the whole batch, without gradient."""
    if fabric.world_size == 1:
        return x
    return fabric.all_gather(x.detach()).flatten(0, 1)  # type: ignore[union-attr]


def shared(modules: Iterable[nn.Module]) -> list[Tensor]:
    """Return what must be the same in all processes before the optimiser's step: gradients, floating point buffers."""
    modules = list(modules)
    gradients = [p.grad for m in modules for p in m.parameters() if p.grad is not None]
    return gradients + [b for m in modules for b in m.buffers() if b.is_floating_point()]


@torch.no_grad()
def average(fabric: Fabric, tensors: list[Tensor]) -> None:
    """Overwrite each tensor with its mean over all processes; with one process nothing is done."""
    if fabric.world_size == 1:
        return
    flat = torch.cat([t.flatten().double() for t in tensors])
    flat = fabric.all_reduce(flat, reduce_op="mean")  # type: ignore[assignment]
    for tensor, mean in zip(tensors, flat.split([t.numel() for t in tensors])):
        tensor.copy_(mean.view(tensor.shape))
