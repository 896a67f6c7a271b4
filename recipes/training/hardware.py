"""Device, precision and threads of a run."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric

from audiomix import check

from .config import Config

__all__ = ["autocast", "device_name", "fabric_for", "threads"]


def fabric_for(config: Config) -> Fabric:
    """Return Lightning Fabric for the configured devices and precision; several are processes that `launch` starts.

    Raises
    ------
    ValueError
        ``cuda`` is asked for and there is none, or there are fewer GPUs than asked for.
    """
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
    """Return the device that a run really uses: ``cpu``, or a GPU by its name; several as ``2 x cpu``."""
    device = fabric_for(config).device
    name = f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
    return name if config.devices == 1 else f"{config.devices} x {name}"


@contextmanager
def autocast(fabric: Fabric) -> Iterator[None]:
    """Run the block in the run's precision.

    Weights are cast anew at every use: older torch keeps a cast that was made without gradient, as where a label is
    guessed, for the uses after it, which then train nothing (pytorch/pytorch issue 112583).
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
    """Run the block with `count` CPU threads, then go back to what was set before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
