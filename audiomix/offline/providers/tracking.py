"""Beats of many files: in this process, or in several. What comes out is the same, in the order of the paths.

Workers are spawned, as in `audiomix.offline.parallel`, and have one thread each. They get one file at a time, so that
it is known which file a worker was at when it was killed: that file is listed, and another worker takes its place. A
worker whose parent is killed finds its pipe closed and ends.
"""

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, Protocol

import torch

from ... import check
from ...audio import io
from ...audio.io import AudioError
from ...beats import BeatGrid
from ...beats.key import estimate
from ..cache import enough_memory
from ..journal import RunStopped
from ..progress import bar

__all__ = ["Tracked", "Tracks", "track_files"]

# What numpy and scipy multiply with reads these when it is loaded, before a worker's own code could set them.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Seconds that workers have to end by themselves; those that are at a long file are ended.
_PATIENCE = 1.0
_CTRL_C = {signal.SIGINT}


class Tracks(Protocol):
    """What finds the beats of a file, e.g. `audiomix.beats.track.Tracking`; for several workers it must pickle."""

    def file(self, path: str) -> BeatGrid:
        """Return the beats of the sound in a file."""
        ...


class Tracked(NamedTuple):
    """What became of a file: its beats and its duration in seconds, or the reason there are none."""

    path: str
    grid: BeatGrid | None = None
    seconds: float = 0.0
    reason: str = ""


_Numbered = Generator[tuple[int, Tracked], None, None]


def track_files(
    paths: Sequence[str], tracking: Tracks, *, workers: int = 1, progress: bool = True, keys: bool = False
) -> Generator[Tracked, None, None]:
    """Find the beats of many files.

    Parameters
    ----------
    paths : sequence of str
        The files.
    tracking : object with ``file(path) -> BeatGrid``
        Who finds them.
    workers : int
        Processes; 1 works in this one. Results do not depend on it.
    progress : bool
        Show a progress bar on stderr.
    keys : bool
        Estimate the key too (`audiomix.beats.key.estimate`), where a grid has none.

    Yields
    ------
    Tracked
        One for each path, in their order. A file that fails, for whatever reason, has the reason and stops nothing.

    Raises
    ------
    TypeError, ValueError
        A wrong argument; at the call, not at the first result.
    RunStopped
        The workers do not start.

    Examples
    --------
    >>> class Steady:
    ...     def file(self, path):
    ...         return BeatGrid([0.0, 0.5, 1.0])
    >>> [(t.path, t.grid.bpm) for t in track_files(["a.wav"], Steady(), progress=False)]
    [('a.wav', 120.0)]
    """
    if isinstance(paths, (str, bytes)):
        check.fail("paths", "a sequence of paths", repr(paths), "did you mean [path]?", TypeError)
    if not callable(getattr(tracking, "file", None)):
        expected, slip = "an object with file(path) -> BeatGrid", "did you mean Tracking(...)?"
        check.fail("tracking", expected, repr(tracking), slip, TypeError)
    paths = [str(path) for path in paths]
    workers = min(check.integer("workers", workers, 1), max(1, len(paths)))
    if workers > 1:
        _check_pickles(tracking)
    job = _Job(tracking, keys)
    return _ordered(_processes(paths, job, workers) if workers > 1 else _serial(paths, job), len(paths), progress)


def _check_pickles(tracking: Tracks) -> None:
    try:
        pickle.dumps(tracking)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        check.fail("tracking", "one that pickles, for several workers", f"{type(tracking).__name__} ({error})")


def _ordered(found: _Numbered, total: int, progress: bool) -> Generator[Tracked, None, None]:
    """Yield in the order of the paths; the bar goes on with whichever file is done."""
    waiting: dict[int, Tracked] = {}
    due = 0
    with closing(found), bar(total, 0, 0.0, progress, "finding beats") as advance:
        for number, tracked in found:
            advance(tracked.seconds)
            waiting[number] = tracked
            while due in waiting:
                yield waiting.pop(due)
                due += 1


@dataclass(frozen=True)
class _Job:
    """What is done with each file of a run."""

    tracking: Tracks
    keys: bool

    def done(self, path: str) -> Tracked:
        """Track one file; whatever the tracker raises is about this file."""
        try:
            with enough_memory(path, " to find its beats"):
                return self._tracked(path)
        except (AudioError, ValueError, FileNotFoundError) as error:  # the file, or its annotation
            return Tracked(path, reason=str(error).replace(f"{path}: ", ""))
        except Exception as error:  # a tracker is other people's code, and one file in it must not end a run
            return Tracked(path, reason=f"{type(error).__name__}: {error}")

    def _tracked(self, path: str) -> Tracked:
        grid = self.tracking.file(path)
        if self.keys and grid.key is None:
            clip = io.read(path)
            grid = replace(grid, key=estimate(clip.samples, clip.rate)[0])
        with suppress(AudioError):  # the duration is for the progress bar only
            return Tracked(path, grid, io.info(path).seconds)
        return Tracked(path, grid)


def _serial(paths: Sequence[str], job: _Job) -> _Numbered:
    for number, path in enumerate(paths):
        with _one_thread():
            tracked = job.done(path)
        yield number, tracked


@contextmanager
def _one_thread() -> Iterator[None]:
    """Work as a worker does: sums depend on the number of threads, and librosa's beats by 1e-10 s on numpy's."""
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


@dataclass
class _Worker:
    process: BaseProcess
    number: int | None = None  # of the file it is at; None until it has started


_Pool = dict[Connection, _Worker]


def _processes(paths: Sequence[str], job: _Job, workers: int) -> _Numbered:
    pool: _Pool = {}
    left = deque(range(len(paths)))
    try:
        while left or pool:
            while len(pool) < min(workers, len(pool) + len(left)):
                _start(pool, job)
            for pipe in wait(list(pool)):
                assert isinstance(pipe, Connection)
                number, tracked = pool[pipe].number, _received(pipe, pool, paths)
                if pipe in pool:
                    _feed(pipe, pool, paths, left)
                if number is not None and tracked is not None:
                    yield number, tracked
    finally:
        _end(pool)


def _start(pool: _Pool, job: _Job) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, job), daemon=True)
    with _held_back(), _for_children():
        process.start()
        pool[ours] = _Worker(process)  # known before Ctrl-C can end the run: it is ended too
    theirs.close()  # or a dead worker would not be noticed


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends: a worker that is half started could neither be fed nor ended."""
    # no other thread may set handlers, nor set again one that is not Python's
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is None:
        yield
        return
    caught: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: caught.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if caught:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def _for_children() -> Iterator[None]:
    """Start processes with one thread each, that leave Ctrl-C to their parent from their first moment on."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        with _blocked():
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def _blocked() -> Iterator[None]:
    """Block Ctrl-C in this thread: a process that it starts begins so, and `_work` ignores what came until then.

    That it were ignored here would be inherited too, but then it would be lost for this process. The mask is not enough
    for that: Ctrl-C goes to a process, and any other thread of it would take it.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # it unblocks Ctrl-C where it starts, which else is within the block
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _CTRL_C)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _received(pipe: Connection, pool: _Pool, paths: Sequence[str]) -> Tracked | None:
    """Return what became of a worker's file, None from one that has just started; a dead one leaves the pool."""
    try:
        return pipe.recv()
    except (EOFError, ConnectionResetError):
        worker = pool.pop(pipe)
        pipe.close()
        how = _died(worker.process)
        if worker.number is None:
            slip = "in a script, call it under: if __name__ == '__main__'"
            raise RunStopped(f"a worker did not start ({how}): {slip}") from None
        return Tracked(paths[worker.number], reason=f"the worker ended while it was at this file ({how})")


def _died(process: BaseProcess) -> str:
    process.join(60)  # its pipe is closed: on a busy machine it may take its time to end
    code = process.exitcode
    if code is None or code >= 0:
        return f"exit code {code}"
    return f"signal {signal.Signals(-code).name}" + (": too little memory?" if code == -signal.SIGKILL else "")


def _feed(pipe: Connection, pool: _Pool, paths: Sequence[str], left: deque[int]) -> None:
    """Give an idle worker the next file; without one it may go. One that has died is noticed by `_received`."""
    if not left:
        _end({pipe: pool.pop(pipe)})
        return
    number = pool[pipe].number = left.popleft()
    with suppress(BrokenPipeError, ConnectionResetError):
        pipe.send(paths[number])


def _end(pool: _Pool) -> None:
    for pipe in pool:
        pipe.close()  # a worker ends when it next looks at its pipe
    until = time.monotonic() + _PATIENCE
    for worker in pool.values():
        worker.process.join(max(0.0, until - time.monotonic()))
        if worker.process.is_alive():
            worker.process.terminate()
            worker.process.join()


def _work(pipe: Connection, job: Any) -> None:
    """Live as a worker: until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business, and so is one that waits here
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _CTRL_C)
    torch.set_num_threads(1)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent has ended, or needs no more
        pipe.send(None)  # started
        while True:
            pipe.send(job.done(pipe.recv()))
