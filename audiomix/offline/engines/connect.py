"""A connection to a Ray cluster that is running, for as long as a run lasts; without one it is said why."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ... import check

__all__ = ["connect_ray"]

# Seconds that the head of a cluster has to take a connection: Ray itself tries for two minutes.
_PATIENCE = 10.0
_WHERE = "HOST:PORT of the head of a Ray cluster that is running"
_SLIP = "ray start --head --port 6379 starts one, ray start --address HOST:6379 adds a node to it"


@contextmanager
def connect_ray(address: str | None = None) -> Iterator[Any]:
    """Connect to a cluster and yield the module ``ray``; disconnect at the end.

    A connection that this process has already is taken as it is, and kept.

    Parameters
    ----------
    address : str, optional
        ``HOST:PORT`` of the head of the cluster; by default that in the environment variable ``RAY_ADDRESS``, or else
        the one that runs on this machine.

    Raises
    ------
    ValueError
        Ray is not installed, or the cluster is not there. None is ever started.
    """
    ray = _import_ray()
    if ray.is_initialized():
        yield ray
        return
    _connect(ray, address)
    try:
        yield ray
    finally:
        ray.shutdown()


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        slip = "pip install 'audiomix[cluster]'"
        check.fail("engine (--engine)", "local, or ray where Ray is installed", f"'ray' ({error})", slip)
    return ray


def _connect(ray: Any, address: str | None) -> None:
    name = "ray_address (--ray-address)"
    if address is None and (address := os.environ.get("RAY_ADDRESS") or None):
        name = "RAY_ADDRESS"
    if address is None:
        address, got = "auto", "none, and on this machine none is found"
    else:
        got = repr(address)
    if address != "auto":
        _check_address(name, address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError) as error:  # nobody there, another version of Ray or Python, a password
        check.fail(name, _WHERE, f"{got} ({' '.join(str(error).split())})", _SLIP)
    finally:
        # Ray sets a handler of its own
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _check_address(name: str, address: str) -> None:
    """Raise unless something answers at an address."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        check.fail(name, f"{_WHERE}, or auto", repr(address))
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE):
            pass
    except (OSError, OverflowError) as error:
        check.fail(name, _WHERE, f"{address!r}, where nobody answers ({error})", _SLIP)
