"""Processes side by side: those of `side_by_side` take one task after another and keep what they have prepared.

A task that fails is reported and the next begins; a process that dies (killed for memory, say) takes its task with it
and is replaced. A worker ends with its parent, however that ends, and so does one of a `mapper`, which maps many short
tasks in order.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

__all__ = ["Failed", "mapper", "side_by_side"]


class Failed(str):
    """Why a task came to nothing."""


def side_by_side(
    make: Callable[..., Callable[[Any], Any]], arguments: tuple, tasks: Sequence[Any], jobs: int
) -> Iterator[tuple[Any, Any]]:
    """Yield each task with what came of it, or `Failed`, as they end.

    Parameters
    ----------
    make : callable
        ``make(*arguments)`` returns the function of a task: called once in each process, which keeps what it holds.
        With one job that process is this one, else it is spawned, so `make` and its arguments must be picklable.
    arguments : tuple
    tasks : sequence
        Begun in this order.
    jobs : int
    """
    if min(jobs, len(tasks)) <= 1:
        function = make(*arguments)
        for task in tasks:
            yield task, _tried(function, task)
        return
    workers: list[_Worker] = []
    left = deque(tasks)
    try:
        workers += [_Worker(make, arguments) for _ in range(min(jobs, len(tasks)))]
        for worker in workers:
            worker.give(left.popleft())
        while busy := [worker for worker in workers if worker.task is not None]:
            ready = wait([*(w.pipe for w in busy), *(w.process.sentinel for w in busy)])
            for worker in busy:
                if worker.pipe not in ready and worker.process.sentinel not in ready:
                    continue
                task, outcome = worker.taken()
                if not worker.process.is_alive() and left:
                    workers[workers.index(worker)] = worker = _Worker(make, arguments)
                if left:
                    worker.give(left.popleft())
                yield task, outcome
    finally:
        for worker in workers:
            worker.end()


@contextmanager
def mapper(workers: int) -> Iterator[Callable[..., Iterator]]:
    """Give a `map` that keeps the order: this process's own, or that of `workers` processes.

    An error, Ctrl-C too, ends the block when the tasks that are being done have ended.
    """
    if workers == 1:
        yield map
        return
    # spawned: a fork would copy torch's threads in an undefined state
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_depend_on_parent)
    try:
        yield partial(pool.map, chunksize=16)
    finally:
        pool.shutdown(cancel_futures=True)


class _Worker:
    """A process and its task."""

    def __init__(self, make: Callable, arguments: tuple) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(theirs, make, arguments))
        self.process.start()
        theirs.close()
        self.task: Any = None

    def give(self, task: Any) -> None:
        self.task = task
        with suppress(OSError):  # where it died meanwhile `taken` says so
            self.pipe.send(task)

    def taken(self) -> tuple[Any, Any]:
        """Return the task and what came of it."""
        task, self.task = self.task, None
        try:
            return task, self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            slip = ": out of memory? fewer --jobs" if code == -signal.SIGKILL else ""
            return task, Failed(f"its process ended with code {code}{slip}")

    def end(self) -> None:
        self.process.terminate()
        self.process.join()
        self.pipe.close()


def _work(pipe: Connection, make: Callable, arguments: tuple) -> None:
    _depend_on_parent()
    function: Any = None
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        if function is None:
            made = _tried(lambda _: make(*arguments), None)
            if isinstance(made, Failed):
                pipe.send(made)
                continue
            function = made
        pipe.send(_tried(function, task))


def _depend_on_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End at once: what is left would write beside a command that goes on with the same runs."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _tried(function: Callable[[Any], Any], task: Any) -> Any:
    try:
        return function(task)
    except Exception as error:  # of whatever kind: listed by the caller, and the other runs go on
        return Failed(str(error) if isinstance(error, (ValueError, FloatingPointError, OSError)) else repr(error))
