"""Ctrl-C (SIGINT) and SIGTERM: how a command ends by them, and where they must not come in between."""

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Interrupts", "block_interrupts", "defer_interrupts", "how_to_go_on"]

_PATIENCE = 1.0  # seconds after which a second signal ends a process that is still tidying up
# Seconds that tidying up may take. Runs can be killed at any moment: nothing is lost by an end without it.
_LONGEST_END = 20.0


class Interrupts:
    """Ends the command of this process by Ctrl-C or SIGTERM: with one message and no traceback, at any moment.

    Until `begin` is called (modules are being imported, nothing was written) a signal ends the process at once. From
    then on it is raised as KeyboardInterrupt, so that workers are ended and half-written files removed. A second one,
    a second later, ends the process at once, and so does a clean-up of more than 20 seconds (not on Windows). Signals
    that the process was started to ignore stay ignored, and outside the main thread nothing is done. Use it as a
    context manager.

    Parameters
    ----------
    message : str
        What is printed where the process is ended at once.
    last : bool
        Nothing follows in this process: signals are ignored from the end of the block on, while the interpreter shuts
        down, instead of going back to what they did before.

    Attributes
    ----------
    received : int
        The signal that came; 0 where none did.
    """

    def __init__(self, message: str, *, last: bool = False) -> None:
        self.message, self.last = message, last
        self.received = 0
        self._working = self._again = False
        self._at = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
            # None: a handler that Python did not set, and could not set again
            self._before = {n: kind for n, kind in kept.items() if kind not in (None, signal.SIG_IGN)}
            for number in self._before:
                signal.signal(number, self._receive)
            self._hook, sys.unraisablehook = sys.unraisablehook, self._raise_again
        return self

    def __exit__(self, *_: object) -> None:
        if self.received and not self.last and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, kind in self._before.items():
            signal.signal(number, signal.SIG_IGN if self.last else kind)
        if sys.unraisablehook == self._raise_again:
            sys.unraisablehook = self._hook
        # CPython notes a KeyboardInterrupt that leaves an eval (that of a named tuple, say) as never caught, and would
        # end the process by SIGINT whatever its exit code is; the next eval takes the note away.
        eval("None")

    def begin(self) -> None:
        """Raise signals from now on: there may be work to tidy up."""
        self._working = True

    def _receive(self, number: int, _: FrameType | None) -> None:
        again, self._again = self._again, False
        if not again:
            if self._working and self.received and time.monotonic() - self._at < _PATIENCE:
                return  # terminals and wrappers may send the same Ctrl-C twice
            if not self._working or self.received:
                self._end(self.received or number)
            self.received, self._at = number, time.monotonic()
            if hasattr(signal, "setitimer"):  # what waits for a lock or a process meanwhile would wait for ever
                signal.signal(signal.SIGALRM, lambda *_: self._end(number))
                signal.setitimer(signal.ITIMER_REAL, _LONGEST_END)
        raise KeyboardInterrupt

    def _end(self, number: int) -> None:
        show_cursor = "\x1b[?25h" if os.isatty(2) else ""  # a progress bar hides it
        os.write(2, f"{show_cursor}{self.message}\n".encode(errors="backslashreplace"))
        os._exit(128 + number)

    def _raise_again(self, unraisable: Any) -> None:
        """Raise an interrupt once more that came where Python prints and drops whatever is raised."""
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            self._hook(unraisable)
            return
        self._again = True
        timer = threading.Timer(0.01, _thread.interrupt_main)  # not here, where it would be dropped again
        timer.daemon = True
        timer.start()


def how_to_go_on(name: str, words: Sequence[str], ways: Mapping[str, str]) -> str:
    """Return what a command line says when it is interrupted.

    Parameters
    ----------
    name : str
        Of the program.
    words : sequence of str
        The words behind its name.
    ways : dict of str to str
        How a command goes on, by its name; the others begin anew.

    Examples
    --------
    >>> ways = {"run": "the same command with --resume goes on"}
    >>> how_to_go_on("mine", ["run", "--resume"], ways), how_to_go_on("mine", ["list"], ways)
    ('mine: stopped; the same command goes on', 'mine: stopped; the same command begins anew')
    """
    way = next((ways[word] for word in words if word in ways), None)
    if way is None or "--no-cache" in words:
        way = "the same command begins anew"
    if "--resume" in words:
        way = way.replace(" with --resume", "")
    return f"{name}: stopped; {way}"


@contextmanager
def defer_interrupts() -> Iterator[None]:
    """Hold Ctrl-C, and SIGTERM where it is raised too, back until the block ends; then it is raised.

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
    handlers: dict[int, Any] = {}
    received: list[int] = []
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        handlers = {number: handler for number, handler in found.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, lambda number, _: received.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


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
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # it unblocks Ctrl-C where it starts, which else is within the block
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
