"""Device, precision, threads and processes of a run.

In a run of several processes each takes its slice of every batch, and all go on with the same gradients. The clips of a
step and their views are drawn for the whole batch, so they do not depend on the number of processes. Gradients are
means over processes, and so are the running statistics of batch norm; but batch norm normalises each process's slice by
that slice's own mean and deviation, as torch's DistributedDataParallel does. And a mixer's partners and weights,
ReMixMatch's turns, VAT's first changes, Deep Co-Training's halves and CoMatch's comparisons are within each slice:
these methods, MixMatch and any method with a mixer give other numbers than in one process. The others, with a network
without batch norm, give the same up to rounding.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessRaisedException

from audiomix import check
from audiomix.interrupts import block_interrupts, defer_interrupts

from .config import Config

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = [
    "autocast",
    "average",
    "device_name",
    "fabric_for",
    "gather_batch",
    "launch",
    "list_shared_tensors",
    "threads",
]

# What a process may raise, by name: its error arrives as text.
_ERRORS = {kind.__name__: kind for kind in (ValueError, TypeError, FloatingPointError, OSError)}


def fabric_for(config: Config) -> Fabric:
    """Return Lightning Fabric for device, devices and precision of `config`; `launch` starts several processes.

    Raises
    ------
    ValueError
        ``cuda`` is asked for and there is none, or there are fewer GPUs than asked for.
    """
    from lightning_fabric import Fabric  # slow: help and a mistyped option are answered without it

    cuda = torch.cuda.is_available()
    if config.device == "cuda" and not cuda:
        check.fail("device", "one that is there", "cuda", "use --device auto or cpu")
    accelerator = "cuda" if cuda and config.device != "cpu" else "cpu"
    if accelerator == "cuda" and config.devices > torch.cuda.device_count():
        check.fail("devices", f"at most {torch.cuda.device_count()}, the GPUs there are", config.devices)
    return Fabric(
        accelerator=accelerator,
        devices=config.devices,
        strategy="auto" if config.devices == 1 else "ddp_spawn",
        precision=config.precision,  # type: ignore[arg-type]
    )


def device_name(config: Config) -> str:
    """Return the device that a run of `config` really uses: ``cpu``, or a GPU by its name; several as ``2 x cpu``."""
    device = fabric_for(config).device
    name = f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
    return name if config.devices == 1 else f"{config.devices} x {name}"


@contextmanager
def autocast(fabric: Fabric) -> Iterator[None]:
    """Run the block in the precision of `fabric`.

    Weights are cast anew at every use: older torch keeps a cast that was made without gradient, as where pseudo-labels
    are predicted, for later uses, which then train nothing (pytorch/pytorch issue 112583).
    """
    before = torch.is_autocast_cache_enabled()
    with fabric.autocast():
        torch.set_autocast_cache_enabled(False)
        try:
            yield
        finally:
            torch.set_autocast_cache_enabled(before)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run the block with `count` threads of torch on the CPU, then go back to the number before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def launch(fabric: Fabric, function: Callable[..., Any], *arguments: Any) -> None:
    """Call ``function(fabric, *arguments)`` in each process of `fabric`; spawned, so everything must be picklable.

    Raises
    ------
    ValueError, TypeError, FloatingPointError, OSError
        What the first process that failed raised.
    """
    try:
        with _quiet_start():
            fabric.launch(_Call(function, arguments))
    except KeyboardInterrupt:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    except ProcessRaisedException as error:
        name, _, message = str(error).strip().splitlines()[-1].partition(": ")
        if name in _ERRORS:
            raise _ERRORS[name](message) from None
        raise


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Let processes that Fabric starts in the block be born with Ctrl-C blocked: it is for this one to answer."""
    start: Any = torch.multiprocessing.start_processes

    def start_quietly(*arguments: Any, join: bool = True, **options: Any) -> Any:
        """Start processes as torch does, and wait for them where `join` says so."""
        with defer_interrupts(), block_interrupts():
            context = start(*arguments, **options, join=False)
        while join and not context.join():
            pass
        return None if join else context

    torch.multiprocessing.start_processes = start_quietly
    try:
        yield
    finally:
        torch.multiprocessing.start_processes = start


class _Call:
    """A call: Fabric looks into arguments for modules, and refuses frozen dataclasses."""

    def __init__(self, function: Callable[..., Any], arguments: tuple) -> None:
        self.function, self.arguments = function, arguments

    def __call__(self, fabric: Fabric) -> None:
        if fabric.world_size > 1:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # one that waits since the start, and all that come
        self.function(fabric, *self.arguments)


def gather_batch(fabric: Fabric, x: Tensor) -> Tensor:
    """Return `x`, shape (B, ...), of all processes as one batch, in the order of the processes, without gradient."""
    if fabric.world_size == 1:
        return x
    return fabric.all_gather(x.detach()).flatten(0, 1)  # type: ignore[union-attr]


def list_shared_tensors(modules: Iterable[nn.Module]) -> list[Tensor]:
    """Return gradients and floating point buffers of `modules`: they must be equal in all processes before a step."""
    modules = list(modules)
    gradients = [p.grad for m in modules for p in m.parameters() if p.grad is not None]
    return gradients + [b for m in modules for b in m.buffers() if b.is_floating_point()]


@torch.no_grad()
def average(fabric: Fabric, tensors: list[Tensor]) -> None:
    """Overwrite `tensors`, of the same shapes in all processes, with their means over the processes of `fabric`."""
    if fabric.world_size == 1:
        return
    flat = torch.cat([t.flatten().double() for t in tensors])
    flat = fabric.all_reduce(flat, reduce_op="mean")  # type: ignore[assignment]
    for tensor, mean in zip(tensors, flat.split([t.numel() for t in tensors])):
        tensor.copy_(mean.view(tensor.shape))
