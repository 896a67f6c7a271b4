"""Ctrl-C (SIGINT) where it must not come in between."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

__all__ = ["block_interrupts", "defer_interrupts"]


@contextmanager
def defer_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends; then it is raised.

    For a block that an exception in its middle would damage: a callback from C, a worker that is half started. Signal
    handlers belong to the main thread: in another thread, which Ctrl-C never interrupts, nothing is done.

    Examples
    --------
    >>> done = []
    >>> try:
    ...     with defer_interrupts():
    ...         signal.raise_signal(signal.SIGINT)
    ...         done.append("all of the block")
    ... except KeyboardInterrupt:
    ...     done.append("then Ctrl-C")
    >>> done
    ['all of the block', 'then Ctrl-C']
    """
    # None: a handler that Python did not set, and could not set again
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is None:
        yield
        return
    received: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if received:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def block_interrupts() -> Iterator[None]:
    """Start processes in the block that begin with Ctrl-C blocked; it is theirs to ignore and then to unblock it.

    A terminal sends Ctrl-C to all processes of a command, and one that is just starting would print a traceback. If it
    were ignored here, processes would inherit that too, but this one would lose it. The block holds nothing back from
    this process, where any other thread takes the signal: see `defer_interrupts`. On Windows nothing is done.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it unblocks Ctrl-C where it starts, which else is within the block
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
