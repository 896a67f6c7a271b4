"""Data of many runs: decoded once, and what the front end keeps computed once a process for all runs that share it."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from audiomix import check
from audiomix.offline.parallel import WorkerDied, run_tasks

from ..datasets import Dataset
from ..training import run_folder as runfolder
from ..training.config import Config
from ..training.engine import settings, train
from ..training.hardware import fabric_for
from ..training.run_folder import RunResult
from .loader import Data, check_folds, fingerprint_of, prepare
from .store import clip_size, open_store
from .views import make_views

if TYPE_CHECKING:
    from ..commands.bench import Task

__all__ = ["Trainer", "check_earlier", "decode", "front_end"]

_FRONT = ("rate", "seconds", "front", "n_fft", "hop", "n_mels", "floor_db", "device", "threads")


def front_end(config: Config) -> tuple:
    """Return all that `prepare` reads of a configuration but the views, which are made anew for each run."""
    return tuple(getattr(config, name) for name in _FRONT)


def _sound(config: Config, dataset: Dataset) -> tuple[int, float]:
    return config.rate or dataset.rate, config.seconds or dataset.seconds


def decode(dataset: Dataset, configs: Sequence[Config], stores: Path) -> dict[tuple[int, float], Data]:
    """Build the stores that the runs read, and return by rate and seconds what is in them, without spectrograms.

    Raises
    ------
    ValueError
        A view or a device that is not there, clips shorter than the window, or a class of which nothing can be read.
    """
    found: dict[tuple[int, float], Data] = {}
    for config in configs:
        rate, seconds = _sound(config, dataset)
        make_views(config, rate, clip_size(rate, seconds))
        fabric_for(config)
    for config in configs:
        rate, seconds = _sound(config, dataset)
        if (rate, seconds) not in found:
            store, views = open_store(dataset, stores, rate=rate, seconds=seconds), make_views(config, rate)
            check_folds(store.dataset)
            labels, none = torch.tensor(store.dataset.labels), torch.zeros(0)
            digest = fingerprint_of(store)
            found[rate, seconds] = Data(store.dataset, views, none, labels, store.errors, digest, dataset, stores)
    return found


def check_earlier(stores: dict[tuple[int, float], Data], tasks: Sequence["Task"]) -> None:
    """Raise if runs of an earlier command stand where those of this one go, with other settings: these are named."""
    for task in tasks:
        if not (task.out / "config.json").is_file():
            continue
        row, data = task.row, stores[_sound(task.config, next(iter(stores.values())).source)]
        now = settings(
            task.config, data, row.method, fold=task.fold, seed=task.seed, options=row.options, mixer=row.mixer
        )
        if changed := runfolder.differences(task.out, now):
            check.fail("the runs to resume", f"those in {task.out}", "; ".join(changed), "choose another --out")


class Trainer:
    """Trains one task after another; keeps the data of the last one's front end.

    Parameters
    ----------
    dataset : Dataset
    stores : Path
    """

    def __init__(self, dataset: Dataset, stores: Path) -> None:
        self.dataset, self.stores = dataset, stores
        self._key: tuple | None = None
        self._data: Data | None = None

    @classmethod
    def all(cls, dataset: Dataset, stores: Path, tasks: Sequence["Task"], jobs: int) -> Iterator[tuple["Task", Any]]:
        """Yield each task with its result, or why there is none, as they end.

        Parameters
        ----------
        dataset : Dataset
            What is trained on.
        stores : Path
            Folder of the decoded audio.
        tasks : sequence of Task
            Begun in this order. One that fails stops nothing, nor does a process that dies.
        jobs : int
            Trainings side by side, each in a process that keeps its data for the next; 1 trains in this one. Each has
            the threads of its own configuration.
        """
        results = run_tasks(
            cls, (dataset, stores), tasks, workers=jobs, on_death="report", threads=None, name=lambda task: task.name
        )
        with closing(results):
            for result in results:
                task, outcome = result.task, result.value if result.error is None else _reason(result.error)
                del result  # an error holds all that its training had in memory
                yield task, outcome

    def __call__(self, task: "Task") -> RunResult:
        """Train, or go on with what was interrupted."""
        data, row = self.data(task.config), task.row
        return train(
            task.config,
            data,
            row.method,
            out=task.out,
            fold=task.fold,
            seed=task.seed,
            options=row.options,
            mixer=row.mixer,
            resume=True,
            quiet=True,
        )

    def data(self, config: Config) -> Data:
        """Return the data for this configuration, with views of its own."""
        key = front_end(config)
        if self._data is None or key != self._key:
            self._data = None  # not two at once in memory
            self._data = prepare(config, self.dataset, self.stores, quiet=True)
            self._key = key
        rate, seconds = _sound(config, self.dataset)
        views = make_views(config, rate, clip_size(rate, seconds))
        views.mel = self._data.views.mel  # where the clips are
        return replace(self._data, views=views)


def _reason(error: Exception) -> str:
    """Return why a training came to nothing, in a sentence where the error has one."""
    if isinstance(error, WorkerDied):
        return f"its process ended ({error.how}): fewer --jobs?"
    return str(error) if isinstance(error, (ValueError, FloatingPointError, OSError)) else repr(error)
