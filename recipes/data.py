"""A data set ready to be trained on, and the clips of each step."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from audiomix.draw import generator_for, permutation

from .algorithms.base import Labelled, Unlabelled
from .audio_store import open_store
from .datasets import Dataset
from .hardware import fabric_for, threads
from .presets import Config
from .runfolder import Split
from .split import amount, labelled_split
from .views import Views, make_views

__all__ = ["Batches", "Data", "make_split", "prepare", "turn"]


@dataclass(frozen=True, eq=False)
class Data:
    """A data set with what the front end keeps of each clip.

    Parameters
    ----------
    dataset : Dataset
        The N clips that could be read.
    views : Views
    kept : Tensor, shape (N, ...)
        On the device that trains.
    labels : Tensor, shape (N,), int64
    errors : dict of str to str
        Clips that could not be read: id and reason.
    """

    dataset: Dataset
    views: Views
    kept: Tensor
    labels: Tensor
    errors: dict[str, str]


def prepare(config: Config, dataset: Dataset, stores: Path, *, quiet: bool = False) -> Data:
    """Decode (once) and compute what the front end keeps; the same for all methods, folds and seeds.

    Parameters
    ----------
    config : Config
    dataset : Dataset
    stores : Path
        Folder of the stores of decoded audio.
    quiet : bool
        Show no progress.
    """
    seconds = config.seconds or dataset.seconds
    store = open_store(dataset, stores, rate=config.rate or dataset.rate, seconds=seconds, quiet=quiet)
    device = fabric_for(config).device
    views = make_views(config, store.rate)
    with threads(config.threads):
        kept = views.load(store, device)
    return Data(store.dataset, views, kept, torch.tensor(store.dataset.labels, device=device), store.errors)


def make_split(config: Config, dataset: Dataset, fold: str, seed: int) -> Split:
    """Draw which of the training clips keep their labels; `fold` is held out."""
    train, test = (torch.tensor(indices, dtype=torch.int64) for indices in dataset.holdout(fold))
    labelled, unlabelled = labelled_split(
        torch.tensor(dataset.labels)[train],
        **amount(config.labelled),
        seed=seed,
        groups=[dataset.groups[i] for i in train.tolist()] if config.grouped else None,
    )
    return Split(train[labelled], train[unlabelled], test)


class Batches:
    """The clips of each step, and their views: functions of the seed and the step.

    Both kinds of clips are gone through in turn, each in an order of its own that is new every time round. A batch that
    reaches the end of one round takes the rest from the next: every clip is used once a round and none is dropped.
    """

    def __init__(self, config: Config, data: Data, split: Split, seed: int, *, unlabelled: bool) -> None:
        self.config, self.data, self.split, self.seed = config, data, split, seed
        self.unlabelled = unlabelled

    def __call__(self, step: int, generator: torch.Generator) -> tuple[Labelled, Unlabelled | None]:
        """Return the batches of a step; `generator` draws the views."""
        config, data = self.config, self.data
        index = turn(self.split.labelled, config.batch_labelled, step, self.seed, "labelled").to(data.kept.device)
        labelled = Labelled(
            data.views(data.kept[index], config.labelled_view, generator=generator), data.labels[index]
        )
        if not self.unlabelled:
            return labelled, None
        index = turn(self.split.unlabelled, config.batch_unlabelled, step, self.seed, "unlabelled").to(data.kept.device)
        kept = data.kept[index]
        weak = data.views(kept, config.weak_view, generator=generator)
        strong = data.views(kept, config.strong_view, generator=generator)
        return labelled, Unlabelled(weak, strong, data.labels[index])


def turn(indices: Tensor, size: int, step: int, seed: int, name: str) -> Tensor:
    """Return the `size` indices of a step, from an endless sequence of seeded permutations.

    >>> both = [turn(torch.arange(4), 2, step, 0, "labelled") for step in (0, 1)]
    >>> torch.cat(both).sort().values
    tensor([0, 1, 2, 3])
    """
    count, first = len(indices), step * size
    rounds = range(first // count, (first + size - 1) // count + 1)
    orders = [permutation(count, generator=generator_for(seed, name, r)) for r in rounds]
    start = first - rounds[0] * count
    return indices[torch.cat(orders)[start : start + size]]
