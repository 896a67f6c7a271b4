"""The one process pool: a function over many tasks, in this process or in several. What comes out is the same.

Workers are spawned, not forked: torch's threads do not survive a fork. Each has its own function, made in it once, so
that a function may keep what it has loaded; a fixed number of threads, since sums depend on it; and one pipe. A worker
gets a few tasks when it is idle and answers them one by one: neither side ever waits for the other to read, and the
parent knows which task a worker was at when it died.

Whoever stops early ends the workers: Ctrl-C and an exception in the parent do, and so does closing the generator. A
worker whose parent was killed ends at once: what it would still write might meet a new run of the same command.
"""

import atexit
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal, NamedTuple

import torch
from threadpoolctl import ThreadpoolController

from .. import check
from ..interrupts import block_interrupts, defer_interrupts
from ..memory import keep_freed_pages
from .journal import RunStopped

__all__ = [
    "Lanes", "TaskQueue", "TaskResult", "ThreadLimit", "WorkerDied", "check_pickles", "in_order", "limit_workers",
    "make_function", "pack_error", "run_tasks", "unpack", "usable_cores", "usable_workers",
]  # fmt: skip

# OpenMP and the BLAS of numpy and scipy read these when they are loaded, before a worker's own code could set them.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Seconds that workers have to end by themselves: little while some are at a task, which may be a long one.
_PATIENCE_BUSY, _PATIENCE_IDLE = 1.0, 10.0


class WorkerDied(RunStopped):
    """A worker ended while it was at a task, for instance because it was killed for want of memory.

    Parameters
    ----------
    task : str
        Name of the task that it was at.
    how : str
        How it ended: its signal or its exit code.
    """

    def __init__(self, task: str, how: str) -> None:
        super().__init__(f"a worker ended unexpectedly at {task} ({how})")
        self.how = how


class TaskResult(NamedTuple):
    """What became of one task.

    Parameters
    ----------
    number : int
        Place of the task in the order in which the tasks came, from 0.
    task : object
        The task itself.
    value : object
        What the function returned; None where it raised.
    error : Exception, optional
        What it raised, or `WorkerDied`. One from a worker has the worker's traceback as its ``__cause__``.
    """

    number: int
    task: Any
    value: Any = None
    error: Exception | None = None

    def get(self) -> Any:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


class Lanes(Iterable[Any]):
    """Tasks in several sequences: each worker takes those of its own, and when it has none left, of the others.

    So workers that keep what they have loaded need not all load the same.

    Parameters
    ----------
    lanes : sequence of iterable
        One for each worker, or fewer.
    """

    def __init__(self, lanes: Sequence[Iterable[Any]]) -> None:
        self.lanes = [*lanes]

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(self.lanes)


class TaskQueue:
    """The tasks of a run, numbered from 0 as they are taken.

    Parameters
    ----------
    tasks : iterable
        Taken one by one. `Lanes` says which worker takes which.
    ahead : int, optional
        How far past the oldest task that is not done others are begun.

    Attributes
    ----------
    returned : deque of (int, object)
        Tasks with their numbers that are to be taken again, before all others.
    exhausted : bool
        No other tasks are left, as far as is known.
    """

    def __init__(self, tasks: Iterable[Any], ahead: int | None = None) -> None:
        self.lanes = [iter(lane) for lane in (tasks.lanes if isinstance(tasks, Lanes) else [tasks])]
        self.ahead, self.begun, self.exhausted = ahead, 0, False
        self.returned: deque[tuple[int, Any]] = deque()

    def take(self, lane: int, count: int, at_work: Iterable[int] = ()) -> deque[tuple[int, Any]]:
        """Return the next tasks with their numbers: none where there are none, or others have to be done first.

        Parameters
        ----------
        lane : int
            Which worker takes them.
        count : int
            How many, at most.
        at_work : iterable of int
            Numbers of tasks that were taken and are not done; the lowest of each worker will do.
        """
        if self.returned:
            return deque(self.returned.popleft() for _ in range(min(count, len(self.returned))))
        room = count
        if self.ahead is not None:
            room = max(0, min(room, min(at_work, default=self.begun) + self.ahead - self.begun))
        order = range(lane, lane + len(self.lanes))
        tasks = chain.from_iterable(self.lanes[k % len(self.lanes)] for k in order)
        taken = deque(enumerate(islice(tasks, room), self.begun))
        self.begun += len(taken)
        self.exhausted |= len(taken) < room
        return taken


def limit_workers(workers: int, tasks: Iterable[Any], on_death: str, chunk: int) -> int:
    """Return how many workers have something to do, of those asked for; the arguments of `run_tasks` are checked.

    Raises
    ------
    ValueError
        One of them is wrong.

    Examples
    --------
    >>> limit_workers(8, ["a", "b"], "stop", 1)
    2
    """
    check.integer("workers", workers, 1)
    check.choice("on_death", on_death, ["stop", "report"])
    check.integer("chunk", chunk, 1)
    return min(workers, max(1, len(tasks))) if isinstance(tasks, Sized) else workers


def run_tasks(
    make: Callable[..., Callable[[Any], Any]],
    arguments: tuple[Any, ...],
    tasks: Iterable[Any],
    *,
    workers: int = 1,
    on_death: Literal["stop", "report"] = "stop",
    chunk: int = 1,
    ahead: int | None = None,
    threads: int | None = 1,
    name: Callable[[Any], str] = str,
) -> Generator[TaskResult, None, None]:
    """Call one function for every task, and yield what becomes of each as it comes; see `in_order`.

    Parameters
    ----------
    make : callable
        ``make(*arguments)`` returns the function of one task. It is called once in each process.
    arguments : tuple
        For several workers they must pickle, as must `make`, tasks and results.
    tasks : iterable
        Taken one by one: at most `chunk` for each worker are held. `Lanes` says which worker takes which.
    workers : int
        Processes. With one, or with a single task, the work is done in this process and nothing need pickle.
    on_death : str
        What happens when a worker is killed or exits. ``stop``: the run ends with `WorkerDied`. ``report``: the task it
        was at has that as its error, another worker takes its place.
    chunk : int
        Tasks that a worker gets at a time: 1 for tasks of seconds, some more where the way there and back counts.
    ahead : int, optional
        How far past the oldest task that is not done others are begun. It bounds what `in_order` has to hold back.
    threads : int, optional
        Threads of torch, OpenMP and BLAS while a function works, in this process too. None leaves them as they are.
    name : callable
        Gives a task's name for messages.

    Yields
    ------
    TaskResult
        One for each task. What the function raises is its error, and stops nothing.

    Raises
    ------
    ValueError
        An argument is wrong, or does not pickle; at the call, before any work.
    RunStopped
        The workers do not start.
    WorkerDied
        A worker died, and `on_death` is ``stop``.

    Examples
    --------
    >>> from functools import partial
    >>> [result.get() for result in run_tasks(partial, (pow, 2), [3, 4])]
    [8, 16]
    """
    workers = limit_workers(workers, tasks, on_death, chunk)
    if workers == 1:
        return _run_here(make, arguments, tasks, threads)
    job = check_pickles("make with its arguments", (make, arguments))
    return _Pool(job, TaskQueue(tasks, ahead), workers, on_death, chunk, threads, name).results()


def in_order(results: Generator[TaskResult, None, None]) -> Generator[TaskResult, None, None]:
    """Yield results in the order of their tasks.

    Parameters
    ----------
    results : generator of TaskResult
        Of `run_tasks`. It is closed with this one. Give `run_tasks` a bound, `ahead`: a result that comes early is held
        until those before it have come.
    """
    early: dict[int, TaskResult] = {}
    due = 0
    with closing(results):
        for result in results:
            early[result.number] = result
            while due in early:
                yield early.pop(due)
                due += 1


def usable_cores() -> int:
    """Return the number of cores that this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_workers(workers: int, oversubscribe: bool = False) -> tuple[int, list[str]]:
    """Return how many workers to start: not more than the cores that this process may use; and a note where it is less.

    Parameters
    ----------
    workers : int
        How many were asked for.
    oversubscribe : bool
        Take as many all the same.

    Raises
    ------
    ValueError
        Less than one.
    """
    check.integer("workers", workers, 1)
    cores = usable_cores()
    if oversubscribe or workers <= cores:
        return workers, []
    return cores, [f"{cores} workers, as many as there are cores, in place of {workers} (--oversubscribe takes all)"]


def check_pickles(name: str, value: Any) -> bytes:
    """Return a value pickled.

    Parameters
    ----------
    name : str
        What messages call it.
    value : object
        What is to be sent to a worker.

    Raises
    ------
    ValueError
        It does not pickle; the message says why.
    """
    try:
        return pickle.dumps(value)
    except Exception as error:  # of any kind: an object says itself how it is pickled
        check.fail(name, "one that pickles, for several workers", f"{type(value).__name__} ({error})")


def _run_here(
    make: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...], tasks: Iterable[Any], threads: int | None
) -> Generator[TaskResult, None, None]:
    limit = ThreadLimit(threads)
    with limit.apply():
        function = make(*arguments)
    for number, task in enumerate(tasks):
        with limit.apply():
            try:
                result = TaskResult(number, task, function(task))
            except Exception as error:
                result = TaskResult(number, task, error=error)
        yield result
        del result  # an error holds all that its task had in memory


class ThreadLimit:
    """Works with so many threads, as a worker does: librosa's beats depend by 1e-10 s on those of numpy."""

    def __init__(self, threads: int | None) -> None:
        self.threads, self.modules = threads, 0

    @contextmanager
    def apply(self) -> Iterator[None]:
        """Work with so many threads in the block, and with as many as before after it."""
        if self.threads is None:
            yield
            return
        if self.modules != len(sys.modules):  # else no library was loaded since: to look for them takes 2 ms
            self.controller, self.modules = ThreadpoolController(), len(sys.modules)
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with self.controller.limit(limits=self.threads):
                yield
        finally:
            torch.set_num_threads(before)


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    lane: int
    given: deque[tuple[int, Any]] = field(default_factory=deque)  # the task it is at, and those after it
    started: bool = False


@dataclass(eq=False)
class _Pool:
    """The workers of one run; the parameters are those of `run_tasks`, and `job` is `make` with its arguments."""

    job: bytes
    queue: TaskQueue
    count: int
    on_death: str
    chunk: int
    threads: int | None
    name: Callable[[Any], str]
    workers: list[_Worker] = field(default_factory=list)
    processes: list[BaseProcess] = field(default_factory=list)  # of all workers that ever were
    ended: bool = False

    def results(self) -> Generator[TaskResult, None, None]:
        """Yield what becomes of the tasks; end the workers at the end, or when the caller stops."""
        atexit.register(self.end)  # at the end of the interpreter multiprocessing waits for workers that go on
        try:
            self.feed()
            while busy := {worker.pipe: worker for worker in self.workers if worker.given}:
                for pipe in wait([*busy]):
                    assert isinstance(pipe, Connection)
                    result = self.receive(busy[pipe])
                    self.feed()  # before the result is looked at: a worker need not wait for that
                    if result is not None:
                        yield result
        finally:
            if not self.ended:  # else the interpreter is ending, and there may be no modules any more
                self.end()
                atexit.unregister(self.end)

    def feed(self) -> None:
        """Give tasks to idle workers, start workers that are missing, and let go those for which nothing is left."""
        for worker in [worker for worker in self.workers if not worker.given]:
            worker.given = self.take(worker.lane)
            if worker.given:
                self.send(worker)
            elif self.queue.exhausted:
                self.let_go(worker)
        while len(self.workers) < self.count:
            lane = min({*range(self.count)} - {worker.lane for worker in self.workers})
            if not (tasks := self.take(lane)):
                break
            self.start(tasks, lane)

    def take(self, lane: int) -> deque[tuple[int, Any]]:
        """Return the next tasks of a worker."""
        return self.queue.take(lane, self.chunk, (worker.given[0][0] for worker in self.workers if worker.given))

    def start(self, tasks: deque[tuple[int, Any]], lane: int) -> None:
        """Start a worker; it gets its tasks when it says that it is there."""
        context = multiprocessing.get_context("spawn")
        pipe, theirs = context.Pipe()
        # no daemon: a training may start processes of its own
        process = context.Process(target=_work, args=(theirs, self.job, self.threads))
        with defer_interrupts(), _environment(self.threads), block_interrupts():
            process.start()
            # known before Ctrl-C can end the run: it is ended too
            self.workers.append(_Worker(process, pipe, lane, tasks))
            self.processes.append(process)
        theirs.close()  # or a dead worker would not be noticed

    def send(self, worker: _Worker) -> None:
        """Send an idle worker its tasks, each pickled for itself; one that has died is noticed by `receive`."""
        packed = [check_pickles(self.name(task), task) for _, task in worker.given]
        with suppress(OSError):
            worker.pipe.send_bytes(pickle.dumps(packed))

    def receive(self, worker: _Worker) -> TaskResult | None:
        """Return the result that a worker has sent; None from one that has just started."""
        try:
            message = worker.pipe.recv_bytes()
        except (EOFError, OSError):
            return self.handle_death(worker)
        if not worker.started:
            _, error = unpack(message)
            if error is not None:
                raise error
            worker.started = True
            self.send(worker)
            return None
        number, task = worker.given.popleft()
        return TaskResult(number, task, *unpack(message))

    def handle_death(self, worker: _Worker) -> TaskResult:
        """Return the death of a worker as the result of the task that it was at, or raise it."""
        self.let_go(worker)
        worker.process.join(60)  # its pipe is closed: on a busy machine it may take its time to end
        code = worker.process.exitcode
        how = f"exit code {code}"
        if code is not None and code < 0:
            how = f"signal {signal.Signals(-code).name}" + (": too little memory?" if code == -9 else "")
        if not worker.started:
            slip = "in a script, call it under: if __name__ == '__main__'"
            raise RunStopped(f"a worker did not start ({how}): {slip}")
        number, task = worker.given.popleft()
        error = WorkerDied(self.name(task), how)
        if self.on_death == "stop":
            raise error
        self.queue.returned.extend(worker.given)
        return TaskResult(number, task, error=error)

    def let_go(self, worker: _Worker) -> None:
        """Give a worker nothing more to do."""
        worker.pipe.close()  # a worker ends when it next looks at its pipe
        self.workers.remove(worker)

    def end(self) -> None:
        """End all workers: they may end by themselves for a while, then they are told to (SIGTERM); wait for each."""
        busy = any(worker.given for worker in self.workers)
        until = time.monotonic() + (_PATIENCE_BUSY if busy else _PATIENCE_IDLE)
        for worker in [*self.workers]:
            self.let_go(worker)
        for process in self.processes:
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                process.terminate()
        for process in self.processes:
            process.join()
        self.ended = True


@contextmanager
def _environment(threads: int | None) -> Iterator[None]:
    """Let libraries of a process that is started in the block have so many threads."""
    before = {name: os.environ.get(name) for name in _THREADS}
    if threads is not None:
        os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _work(pipe: Connection, job: bytes, threads: int | None) -> None:
    """Live as a worker: until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business, and so is one that waits here
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_pages()
    if threads is not None:
        torch.set_num_threads(threads)
    with suppress(EOFError, OSError):  # the parent needs no more
        try:
            function = make_function(job)
        except Exception as error:
            pipe.send_bytes(pack_error(error))
            return
        pipe.send_bytes(pickle.dumps((None, None, "")))  # started
        while True:
            for packed in pickle.loads(pipe.recv_bytes()):
                try:
                    answer = pickle.dumps((function(pickle.loads(packed)), None, ""))
                except Exception as error:
                    answer = pack_error(error)
                pipe.send_bytes(answer)


def _end_with_parent() -> None:
    """Wait until the parent has ended, then end at once."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def make_function(job: bytes) -> Callable[[Any], Any]:
    """Return the function of one task, in the worker that is to call it.

    Parameters
    ----------
    job : bytes
        Pickled: what makes the function, and a tuple of its arguments.

    Raises
    ------
    RunStopped
        It cannot be unpickled here, as what it names cannot be imported.
    """
    try:
        make, arguments = pickle.loads(job)
    except Exception as error:
        slip = "what is of your own must stand in a file that can be imported"
        raise RunStopped(f"a worker did not start ({type(error).__name__}: {error}): {slip}") from error
    return make(*arguments)


def pack_error(error: Exception) -> bytes:
    """Pickle an exception that is being handled, with its traceback, for `unpack`.

    Where it does not pickle, the nearest kind above it with its message does.
    """
    text = traceback.format_exc()
    with suppress(Exception):
        pickle.loads(message := pickle.dumps((None, error, text)))
        return message
    for kind in type(error).__mro__[1:]:
        with suppress(Exception):
            pickle.loads(message := pickle.dumps((None, kind(f"{type(error).__name__}: {error}"), text)))
            return message
    return pickle.dumps((None, RuntimeError(type(error).__name__), text))


def unpack(message: bytes) -> tuple[Any, Exception | None]:
    """Return the value or the error that a worker has sent; the error's ``__cause__`` is the worker's traceback."""
    value, error, text = pickle.loads(message)
    if error is not None:
        error.__cause__ = RuntimeError(f"in a worker:\n{text}")
    return value, error
