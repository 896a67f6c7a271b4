"""Where tasks are rendered: in this process, or in several. What comes out is the same.

Workers are spawned, not forked: torch's threads do not survive a fork. Each has one thread (sums depend on the number
of threads), its own cache, and one pipe. A worker whose parent is killed finds its pipe closed and ends; a worker that
is killed is noticed by its parent.
"""

import json
import multiprocessing
import os
import signal
import traceback
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import torch

from ..audio import io
from ..audio.io import AudioError, Clip
from .cache import enough_memory
from .journal import RunStopped, stopping
from .render import Rendered, Renderer, Settings, Task

__all__ = ["Outcome", "processes", "serial"]

# Tasks a worker gets at a time: few enough to share the end of a run, enough to hide the way there and back.
_CHUNK = 8


_Pool = dict[Connection, BaseProcess]


class Outcome(NamedTuple):
    """What became of a task: its manifest row (JSON), size in bytes and seconds of sound, or the reason it failed."""

    number: int
    row: str = ""
    size: int = 0
    seconds: float = 0.0
    reason: str = ""


def serial(tasks: Iterable[Task], settings: Settings, out: Path) -> Generator[Outcome, None, None]:
    """Render in this process, one after the other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as every worker does: sums depend on it
    try:
        renderer = Renderer(settings)
        for task in tasks:
            yield _done(renderer, task, out)
    finally:
        torch.set_num_threads(threads)


def processes(tasks: Iterable[Task], settings: Settings, out: Path, workers: int) -> Generator[Outcome, None, None]:
    """Render in `workers` processes, yielding outcomes as they come.

    Raises
    ------
    RunStopped
        A worker was killed, or found the disk full.
    """
    tasks = iter(tasks)
    context = multiprocessing.get_context("spawn")
    pool: _Pool = {}
    try:
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, settings, out), daemon=True)
            process.start()
            theirs.close()  # or a dead worker would not be noticed
            pool[ours] = process
        busy = [pipe for pipe in pool if _feed(pipe, tasks, pool)]
        while busy:
            for pipe in wait(busy):
                assert isinstance(pipe, Connection)
                outcomes = _received(pipe, pool)
                if not _feed(pipe, tasks, pool):  # fed before its results are looked at: it need not wait for us
                    busy.remove(pipe)
                yield from outcomes
    finally:
        _end(pool)


def _feed(pipe: Connection, tasks: Iterator[Task], pool: _Pool) -> bool:
    """Send the next tasks, if there are any. The worker is idle, so that neither side waits for the other."""
    chunk = list(islice(tasks, _CHUNK))
    if chunk:
        try:
            pipe.send(chunk)
        except (BrokenPipeError, ConnectionResetError):
            raise _died(pool[pipe]) from None
    return bool(chunk)


def _received(pipe: Connection, pool: _Pool) -> list[Outcome]:
    try:
        answer = pipe.recv()
    except (EOFError, ConnectionResetError):
        raise _died(pool[pipe]) from None
    if isinstance(answer, RunStopped):
        raise answer
    if isinstance(answer, str):
        raise RuntimeError(f"a worker failed:\n{answer}")
    return answer


def _died(process: BaseProcess) -> RunStopped:
    process.join(5)
    code = process.exitcode
    how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
    slip = "too little memory?" if code == -9 else "in a script, call augment under: if __name__ == '__main__'"
    return RunStopped(f"a worker ended unexpectedly ({how}; {slip}). What is done is kept; the same command goes on")


def _end(pool: _Pool) -> None:
    for pipe in pool:
        pipe.close()  # a worker ends when it next looks at its pipe
    for process in pool.values():
        process.join(10)
        if process.is_alive():
            process.terminate()
            process.join()


def _work(pipe: Connection, settings: Settings, out: Path) -> None:
    """Live as a worker: until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    torch.set_num_threads(1)
    renderer = Renderer(settings)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent has ended, or needs no more
        while True:
            tasks = pipe.recv()
            try:
                pipe.send([_done(renderer, task, out) for task in tasks])
            except RunStopped as error:
                pipe.send(error)
            except (BrokenPipeError, ConnectionResetError):
                raise
            except Exception:
                pipe.send(traceback.format_exc())  # raised again in the parent


def _done(renderer: Renderer, task: Task, out: Path) -> Outcome:
    """Render and write one task; a file that cannot be read or mixed is an outcome, a full disk is not."""
    try:
        with enough_memory(task.item.path, " to mix and write it"):
            rendered = renderer.render(task)
            size = _write(rendered, out)
    except (AudioError, ValueError) as error:
        return Outcome(task.number, reason=str(error).replace(f"{task.item.path}: ", ""))
    row = json.dumps(rendered.row, ensure_ascii=False, allow_nan=False)
    return Outcome(task.number, row, size, rendered.row["seconds"])


def _write(rendered: Rendered, out: Path) -> int:
    """Write stems, then the mix; return the size of the mix in bytes."""
    path = out / rendered.row["file_name"]
    with stopping(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for name, samples in [*zip(rendered.row["stems"], rendered.stems), (path.name, rendered.mix)]:
            _write_one(path.parent / Path(name).name, Clip(samples, rendered.rate))
        return os.path.getsize(path)


def _write_one(path: Path, clip: Clip) -> None:
    try:
        io.write(path, clip)
    except AudioError as error:
        if isinstance(error.__context__, OSError):  # the disk, not the sound
            raise error.__context__ from None
        raise
