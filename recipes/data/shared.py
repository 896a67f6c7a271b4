"""Data that several runs share: decoded once, and what the front end keeps computed once a process."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from audiomix.datasets.dataset import Dataset

from ..training.choices import choose
from ..training.config import Config
from ..training.distributed import fabric_for
from .front_end import check_views, make_views
from .loader import Data, check_folds, fingerprint_of, prepare, rate_and_seconds
from .sounds import find_facts
from .store import clip_size, open_store

__all__ = ["FRONT_END", "SharedData", "decode_stores", "front_end"]

FRONT_END = (
    "budget", "rate", "seconds", "embedding", "front", "window", "hop", "n_mels", "floor_db", "device", "threads",
)  # fmt: skip


def front_end(config: Config) -> tuple:
    """Return all that `prepare` reads of `config` but the views, which are made anew for each run."""
    return tuple(getattr(config, name) for name in FRONT_END)


def decode_stores(dataset: Dataset, configs: Sequence[Config], stores: Path) -> dict[tuple[int, float], Data]:
    """Build the stores that runs of `dataset` read, in the folder `stores`, and return their contents.

    They are by rate in Hz and length in seconds, without spectrograms.

    Raises
    ------
    ValueError
        A view or a device that is not there, clips shorter than the window, or a class of which nothing can be read.
    """
    found: dict[tuple[int, float], Data] = {}
    for config in configs:
        rate, seconds = rate_and_seconds(config, dataset)
        check_views(config, rate, clip_size(rate, seconds))
        fabric_for(config)
    for config in configs:
        rate, seconds = rate_and_seconds(config, dataset)
        if (rate, seconds) not in found:
            store = open_store(dataset, stores, rate=rate, seconds=seconds)
            facts = find_facts(store, dataset)
            views = make_views(choose(config, facts)[0], rate)
            check_folds(store.dataset)
            labels, none = torch.tensor(store.dataset.labels), torch.zeros(0)
            digest = fingerprint_of(store)
            data = Data(store.dataset, views, none, labels, store.errors, digest, dataset, stores, facts)
            found[rate, seconds] = data
    return found


class SharedData:
    """The data of one run after another; what the front end keeps is computed anew where the front end changes.

    `stores` is the folder of the decoded clips of `dataset`.
    """

    def __init__(self, dataset: Dataset, stores: Path) -> None:
        self.dataset, self.stores = dataset, stores
        self._key: tuple | None = None
        self._data: Data | None = None

    def get(self, config: Config) -> Data:
        """Return the data for the configuration of a run, with views of its own."""
        key = front_end(config)
        if self._data is None or key != self._key:
            self._data = None  # not two at once in memory
            self._data = prepare(config, self.dataset, self.stores, quiet=True)
            self._key = key
        rate, seconds = rate_and_seconds(config, self.dataset)
        views = make_views(choose(config, self._data.facts)[0], rate, clip_size(rate, seconds))
        views.mel = self._data.views.mel  # on the device of the clips
        return replace(self._data, views=views)
