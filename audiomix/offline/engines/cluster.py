"""Workers on a Ray cluster: the contract of `audiomix.offline.parallel.run_tasks`, with nodes that may come and go.

Each worker is an actor with one CPU. It holds the function of a task and what that has loaded, gets the tasks of its
own lane, and has at most a few of them at a time, so that memory here and there does not grow with a run. Tasks and
results are pickled here and travel as bytes. Actors do their calls in order: of a worker that has died the first task
without a result is the one it was at. That one and those behind it are done by others.
"""

import pickle
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ... import check
from ...interrupts import defer_interrupts
from ...terminal import say
from ..journal import RunStopped
from ..parallel import TaskQueue, TaskResult, WorkerDied, check_pickles, limit_workers, unpack
from .node import Member, check_for

__all__ = ["RayEngine"]

# Workers that may die at one task, one after the other, until the task is what they die of.
_TRIES = 3
# Workers that may die before they have begun, with none in between that begins, and the seconds between two of them: a
# cluster takes some 15 s to know that a node is dead, and may start workers there meanwhile.
_STARTS, _PAUSE = 5, 5.0
# Seconds without any worker after which it is said what the run waits for.
_PATIENCE = 30.0
WAITING = "no worker has begun on the Ray cluster yet: are its CPUs in use? The run waits for one"


class RayEngine:
    """Does the tasks of a run on a Ray cluster; see `audiomix.offline.engines.engine.Engine`.

    Parameters
    ----------
    ray : module
        ``ray``, connected to a cluster.

    Attributes
    ----------
    deaths : int
        Workers that ended unexpectedly, and whose tasks others did.
    """

    remote = True

    def __init__(self, ray: Any) -> None:
        self.ray, self.deaths = ray, 0
        self.check = check_for(())

    def usable_workers(self, workers: int, oversubscribe: bool = False) -> tuple[int, list[str]]:
        """Return how many workers to start: not more than the cluster has CPUs; and a note where it is less.

        Parameters
        ----------
        workers : int
            How many were asked for.
        oversubscribe : bool
            Ask the cluster for as many all the same: one that grows by itself may come to have them.

        Raises
        ------
        ValueError
            Less than one.
        """
        check.integer("workers", workers, 1)
        cpus = max(1, int(self.ray.cluster_resources().get("CPU", 0)))
        if oversubscribe or workers <= cpus:
            return workers, []
        note = f"{cpus} workers, as many as the cluster has CPUs, in place of {workers} (--oversubscribe asks for all)"
        return cpus, [note]

    def require(self, paths: Iterable[str | Path]) -> None:
        """Check from now on, before a worker begins, that it sees these paths, and has the same versions.

        Parameters
        ----------
        paths : iterable of path
            Files and folders that are there.
        """
        self.check = check_for(paths)

    def run_tasks(
        self,
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
        """Call one function for every task, and yield what becomes of each as it comes.

        Parameters, results and errors are those of `audiomix.offline.parallel.run_tasks`, but for these: all must
        pickle, also for one worker. A task whose worker dies, or the node of that, is done again by another one;
        `on_death` is for a task at which three workers died.

        Parameters
        ----------
        make, arguments, tasks, workers, on_death, chunk, ahead, threads, name
            As there. `chunk` tasks are under way to a worker at any time.

        Raises
        ------
        RunStopped
            Workers do not start, or a node does not see what it must.
        """
        workers = limit_workers(workers, tasks, on_death, chunk)
        job = check_pickles("make with its arguments", (make, arguments))
        return _Pool(self, job, TaskQueue(tasks, ahead), workers, on_death, chunk, threads, name).results()


@dataclass(eq=False)
class _Worker:
    actor: Any
    lane: int
    start: Any  # reference to the answer to its start; None once that is there
    given: deque[tuple[int, Any, Any]] = field(default_factory=deque)  # tasks, with references to their answers

    @property
    def awaited(self) -> Any:
        """The reference to its next answer; None where it has nothing to do."""
        if self.start is not None:
            return self.start
        return self.given[0][2] if self.given else None


@dataclass(eq=False)
class _Pool:
    """The workers of one run; the parameters are those of `RayEngine.run_tasks`."""

    engine: RayEngine
    job: bytes
    queue: TaskQueue
    count: int
    on_death: str
    chunk: int
    threads: int | None
    name: Callable[[Any], str]
    workers: list[_Worker] = field(default_factory=list)
    tries: Counter[int] = field(default_factory=Counter)  # deaths by number of the task
    failed_starts: int = 0
    told: bool = False

    @cached_property
    def kind(self) -> Any:
        """The actor of a worker: one for each CPU, on as many nodes as there are; begun again by `feed` alone."""
        options = {"num_cpus": max(1, self.threads or 1), "max_restarts": 0, "max_task_retries": 0}
        return self.engine.ray.remote(Member).options(scheduling_strategy="SPREAD", **options)

    def results(self) -> Generator[TaskResult, None, None]:
        """Yield what becomes of the tasks; end the workers at the end, or when the caller stops."""
        try:
            self.feed()
            while self.has_work():
                worker = self.wait()
                result = None if worker is None else self.receive(worker)
                self.feed()  # before the result is looked at: a worker need not wait for that
                if result is not None:
                    yield result
                del result  # an error holds all that its task had in memory
        finally:
            for worker in [*self.workers]:
                self.let_go(worker)

    def has_work(self) -> bool:
        """Say whether a task is not done, as far as is known."""
        return self.has_tasks() or any(worker.given for worker in self.workers)

    def has_tasks(self) -> bool:
        """Say whether there may be a task that no worker has."""
        return bool(self.queue.returned) or not self.queue.exhausted

    def feed(self) -> None:
        """Give tasks to workers that have begun, start those that are missing, let go those for which there is none."""
        for worker in [*self.workers]:
            if worker.start is not None:
                continue
            while len(worker.given) < self.chunk and (taken := self.take(worker.lane)):
                self.send(worker, *taken)
            if not worker.given and not self.has_tasks():
                self.let_go(worker)
        while self.has_tasks() and len(self.workers) < self.count:
            self.start(min({*range(self.count)} - {worker.lane for worker in self.workers}))

    def take(self, lane: int) -> tuple[int, Any] | None:
        """Return the next task of a worker, with its number."""
        at_work = [number for worker in self.workers for number, *_ in worker.given]
        return next(iter(self.queue.take(lane, 1, at_work)), None)

    def start(self, lane: int) -> None:
        """Start a worker; it gets tasks when it says that it is there."""
        path = [*map(_absolute, sys.path)]
        with defer_interrupts():  # known before Ctrl-C can end the run: it is ended too
            actor = self.kind.remote(self.job, pickle.dumps(self.engine.check), path, self.threads)
            self.workers.append(_Worker(actor, lane, actor.start.remote()))

    def send(self, worker: _Worker, number: int, task: Any) -> None:
        """Send a worker a task; one that has died is noticed by `receive`."""
        packed = check_pickles(self.name(task), task)
        worker.given.append((number, task, worker.actor.work.remote(packed)))

    def wait(self) -> _Worker | None:
        """Return a worker that has answered or died; None where none has for a while."""
        awaited = {ref: worker for worker in self.workers if (ref := worker.awaited) is not None}
        done, _ = self.engine.ray.wait([*awaited], num_returns=1, timeout=_PATIENCE)
        if done:
            return awaited[done[0]]
        if not self.told and all(worker.start is not None for worker in self.workers):
            self.told = True
            say(f"note: {WAITING}")
        return None

    def receive(self, worker: _Worker) -> TaskResult | None:
        """Return the result that a worker has sent; None from one that has just begun, or has died."""
        try:
            value, error = unpack(self.engine.ray.get(worker.awaited))
        except self.engine.ray.exceptions.RayError as death:
            return self.handle_death(worker, death)
        if worker.start is not None:
            if error is not None:
                raise error
            worker.start, self.failed_starts = None, 0
            return None
        number, task, _ = worker.given.popleft()
        return TaskResult(number, task, value, error)

    def handle_death(self, worker: _Worker, death: Exception) -> TaskResult | None:
        """Take the tasks of a worker back for others; raise, or return its death, where others died of its task."""
        self.let_go(worker)
        how = _first_line(death)
        if worker.start is not None:
            self.failed_starts += 1
            if self.failed_starts >= _STARTS:
                slip = "is audiomix installed on every node?"
                raise RunStopped(f"{_STARTS} workers of the Ray cluster did not start ({how}): {slip}")
            time.sleep(_PAUSE)
            return None
        self.engine.deaths += 1
        number, task, _ = worker.given[0]
        again = [(number, task) for number, task, _ in worker.given]
        self.tries[number] += 1
        result = None
        if self.tries[number] >= _TRIES:
            error = WorkerDied(self.name(task), f"{_TRIES} workers of the Ray cluster did, the last: {how}")
            if self.on_death == "stop":
                raise error
            result = TaskResult(number, task, error=error)
            del again[0]
        self.queue.returned.extend(again)
        return result

    def let_go(self, worker: _Worker) -> None:
        """End a worker, whatever it is at."""
        self.workers.remove(worker)
        with suppress(Exception):  # of any kind: it may be dead, and so may be the connection
            self.engine.ray.kill(worker.actor, no_restart=True)


def _absolute(place: str) -> str:
    return str(Path(place).absolute())  # an empty one is the folder of this process


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
