"""The engines by name: where the tasks of a run are done."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from ... import check
from ..parallel import TaskResult, run_tasks, usable_workers
from .cluster import RayEngine
from .connect import connect_ray

__all__ = ["ENGINES", "Engine", "LocalEngine", "open_engine"]

ENGINES = ("local", "ray")


class Engine(Protocol):
    """Does the tasks of a run somewhere.

    Attributes
    ----------
    remote : bool
        Whether all that a task needs is pickled, also for one worker.
    deaths : int
        Workers that ended unexpectedly, and whose tasks others did.
    """

    remote: bool
    deaths: int

    def usable_workers(self, workers: int, oversubscribe: bool = False) -> tuple[int, list[str]]:
        """Return how many workers to start, and a note where that is less; see `parallel.usable_workers`."""
        ...

    def require(self, paths: Iterable[str | Path]) -> None:
        """Check from now on, before a worker begins, that it sees these files and folders."""
        ...

    def run_tasks(self, *arguments: Any, **options: Any) -> Generator[TaskResult, None, None]:
        """Call one function for every task; see `parallel.run_tasks`."""
        ...


class LocalEngine:
    """Processes of this machine."""

    remote = False
    deaths = 0
    run_tasks = staticmethod(run_tasks)
    usable_workers = staticmethod(usable_workers)

    def require(self, paths: Iterable[str | Path]) -> None:
        """Do nothing: there is one machine."""


@contextmanager
def open_engine(name: str = "local", address: str | None = None) -> Iterator[Engine]:
    """Yield an engine, ready for work, for as long as the block lasts.

    Parameters
    ----------
    name : str
        ``local`` or ``ray``.
    address : str, optional
        Of a Ray cluster; see `connect.connect_ray`.

    Raises
    ------
    ValueError
        There is no such engine, Ray is not installed, or there is no cluster.

    Examples
    --------
    >>> from functools import partial
    >>> with open_engine("local") as engine:
    ...     [result.get() for result in engine.run_tasks(partial, (pow, 2), [3, 4])]
    [8, 16]
    """
    if check.choice("engine (--engine)", name, ENGINES) == "local":
        if address is not None:
            check.fail("ray_address (--ray-address)", "left out for this engine", repr(address), "engine='ray'?")
        yield LocalEngine()
        return
    with connect_ray(address) as ray:
        yield RayEngine(ray)
