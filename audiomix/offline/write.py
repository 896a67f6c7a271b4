"""Render tasks and write what comes out: each mix with its stems, under its final name only when it is whole."""

import json
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from ..audio import io
from ..audio.io import AudioError, Clip
from .cache import Fingerprint, enough_memory, fingerprint
from .journal import RunStopped, stop_on_oserror
from .limits import Settings
from .parallel import TaskResult, WorkerDied, run_tasks
from .remote.store import Store, url_of
from .render import NoPartner, Rendered, Renderer, Task

__all__ = ["LEAST", "Outcome", "write_mixes"]

# Tasks a worker gets at a time, at most: enough to hide the way there and back; and into how many such parts a run is
# split for each worker, at least, so that they share it to its end.
_CHUNK, _PARTS = 8, 4
# Mixes for which it pays to start a worker: its imports take two seconds.
LEAST = 32


class Outcome(NamedTuple):
    """What became of a task: a file that was written, or the reason why there is none.

    Parameters
    ----------
    number : int
        Number of the task in its run.
    row : str
        Row of the manifest, as JSON.
    state : dict
        Fingerprints: of its ``files`` by name, of the ``sources`` that were read for it by id, and of those that could
        not be (``failed``).
    seconds : float
        Duration of the mix in seconds.
    reason : str
        Why it could not be made; empty where it was.
    tried : int
        How many partners there were, where none of them could be read; else 0.
    stages : dict of str to float
        Seconds by stage, where `Settings.profile` asks for them.
    """

    number: int
    row: str = ""
    state: dict[str, Any] = {}  # noqa: RUF012 (never written to)
    seconds: float = 0.0
    reason: str = ""
    tried: int = 0
    stages: dict[str, float] = {}  # noqa: RUF012 (never written to)


def write_mixes(
    tasks: Iterable[Task],
    settings: Settings,
    out: Path,
    count: int,
    workers: int = 1,
    renderer: Callable[[Settings], Renderer] = Renderer,
    run: Callable[..., Generator[TaskResult, None, None]] = run_tasks,
) -> Generator[Outcome, None, None]:
    """Render tasks and write their files; yield what became of them, in any order.

    Parameters
    ----------
    tasks : iterable of Task, or Lanes
        Taken one by one, as they are needed.
    settings : Settings
        What the files of the run have in common.
    out : Path
        Folder of the run. Where its files are sent elsewhere (`audiomix.offline.remote`), each goes when it is whole.
    count : int
        How many tasks there are.
    workers : int
        Processes, at most one a task; 1 works in this one. The bytes do not depend on it.
    renderer : callable
        Makes what renders a task from the settings; for several workers it must pickle.
    run : callable
        Does the tasks: `run_tasks`, or that of another of `audiomix.offline.engines`.

    Yields
    ------
    Outcome
        One for each task. A file that cannot be read or mixed is an outcome with a reason.

    Raises
    ------
    RunStopped
        The disk is full, or a worker was killed.
    """
    workers = max(1, min(workers, count))
    chunk = max(1, min(_CHUNK, count // (_PARTS * workers)))
    arguments = (settings, out, renderer, url_of(out))
    results = run(_Writer, arguments, tasks, workers=workers, chunk=chunk, name=lambda task: task.item.path)
    with closing(results):
        try:
            for result in results:
                yield result.get()
        except WorkerDied as error:
            raise RunStopped(f"{error}. What is done is kept; the same command goes on") from None


class _Writer:
    """Renders and writes one task after another; keeps decoded sources between them."""

    def __init__(self, settings: Settings, out: Path, renderer: Callable[[Settings], Renderer], url: str = "") -> None:
        self.renderer, self.out = renderer(settings), out
        self.store = Store(url) if url else None

    def __call__(self, task: Task) -> Outcome:
        """Render and write one task."""
        with self.renderer.watch.stage("fit, label and row"):
            outcome = self._make(task)
        return outcome._replace(stages=self.renderer.watch.take())

    def _make(self, task: Task) -> Outcome:
        sources = self.renderer.sources
        sources.note()
        try:
            with enough_memory(task.item.path, " to mix and write it"):
                rendered = self.renderer.render(task)
                files = self._write(rendered)
        except (AudioError, ValueError) as error:  # this file's fault: the others are done
            tried = error.tried if isinstance(error, NoPartner) else 0
            reason = str(error).replace(f"{task.item.path}: ", "")
            return Outcome(task.number, state={"failed": _by_id(task, sources.failed)}, reason=reason, tried=tried)
        state = {
            "files": files, "sources": _by_id(task, sources.used or {}), "failed": _by_id(task, sources.failed),
        }  # fmt: skip
        row = json.dumps(rendered.row, ensure_ascii=False, allow_nan=False)
        return Outcome(task.number, row, state, rendered.row["seconds"])

    def _write(self, rendered: Rendered) -> dict[str, Fingerprint]:
        """Write stems, then the mix, and send them; return fingerprints by names relative to the run's folder."""
        path, files = self.out / rendered.row["file_name"], {}
        with stop_on_oserror(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            names = [*rendered.row["stems"], rendered.row["file_name"]]
            for name, samples in zip(names, [*rendered.stems, rendered.mix]):
                try:
                    with self.renderer.watch.stage("encode and write"):
                        io.write(self.out / name, Clip(samples, rendered.rate))
                except AudioError as error:
                    if isinstance(error.__context__, OSError):  # the disk, not the sound
                        raise error.__context__ from None
                    raise
                with self.renderer.watch.stage("fingerprints"):
                    files[name] = fingerprint(self.out / name)
            if self.store is not None:
                with self.renderer.watch.stage("send"):
                    for name in names:
                        self.store.put(self.out / name, name)
                        (self.out / name).unlink()
        return files


def _by_id(task: Task, read: Mapping[str, Fingerprint]) -> dict[str, Fingerprint]:
    """Return the fingerprints of the files of a task that were looked at, by id."""
    return {one.id: read[one.path] for one in (task.item, *task.partners) if one.path in read}
