"""A data set ready to be trained on, and the clips of each step."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from audiomix import check
from audiomix.datasets.dataset import UNKNOWN, Dataset
from audiomix.draw import generator_for, permutation

from ..algorithms.base import Labelled, Unlabelled
from ..training.config import Config, validation_share
from ..training.hardware import fabric_for, threads
from ..training.run_folder import Split
from .split import amount, labelled_split
from .store import Store, clip_size, open_store
from .views import Views, make_views

__all__ = ["Batches", "Data", "check_folds", "fingerprint_of", "make_split", "prepare", "turn"]


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
    fingerprint : str
        Hash of what was read: the files' bytes, their names, classes, folds, groups; the rate and the length. Not where
        they lie.
    source : Dataset
        What `prepare` was given: the clips that could not be read too.
    stores : Path
    """

    dataset: Dataset
    views: Views
    kept: Tensor
    labels: Tensor
    errors: dict[str, str]
    fingerprint: str
    source: Dataset
    stores: Path


def prepare(
    config: Config, dataset: Dataset, stores: Path, *, quiet: bool = False, device: torch.device | None = None
) -> Data:
    """Decode (once) and compute what the front end keeps; the same for all methods, folds and seeds.

    Parameters
    ----------
    config : Config
    dataset : Dataset
    stores : Path
        Folder of the stores of decoded audio.
    quiet : bool
        Show no progress.
    device : torch.device, optional
        The configuration's by default.

    Raises
    ------
    ValueError
        A view or a device that is not there, or clips shorter than the window; before anything is decoded.
    """
    rate, seconds = config.rate or dataset.rate, config.seconds or dataset.seconds
    device, views = device or fabric_for(config).device, make_views(config, rate, clip_size(rate, seconds))
    store = open_store(dataset, stores, rate=rate, seconds=seconds, quiet=quiet)
    with threads(config.threads):
        kept = views.load(store, device)
    labels = torch.tensor(store.dataset.labels, device=device)
    return Data(store.dataset, views, kept, labels, store.errors, fingerprint_of(store), dataset, Path(stores))


def fingerprint_of(store: Store) -> str:
    """Return the hash of what was read, see `Data`."""
    data = store.dataset
    items = [[i.id, label, i.fold, i.group, i.split] for i, label in zip(data.items, data.labels)]
    what = [store.digest, store.rate, store.size, data.class_names, items]
    return hashlib.blake2b(json.dumps(what).encode(), digest_size=8).hexdigest()


def check_folds(dataset: Dataset, folds: Sequence[str] = ()) -> list[str]:
    """Return `folds` without repetitions, all of the data set's by default, if each can be trained and tested on.

    Raises
    ------
    ValueError
        No such fold, fewer than two classes, a class without a clip to learn it from, or nothing to test on.
    """
    names = dataset.class_names
    if not dataset.folds:
        check.fail("the data set", "one with folds or with clips marked test", "neither")
    if len(names) < 2:
        check.fail("the data set", "one of at least two classes", f"one of {len(names)}: {', '.join(names)}")
    for fold in (folds := list(dict.fromkeys(folds)) or list(dataset.folds)):
        train, test = dataset.holdout(fold)
        found = {dataset.labels[i] for i in train}
        if missing := [name for label, name in enumerate(names) if label not in found]:
            slip = "too few of its clips, or none that can be read?"
            got = f"none of {', '.join(missing)}"
            check.fail(f"the training clips of fold {fold}", "some of every class", got, slip)
        if not any(dataset.labels[i] != UNKNOWN for i in test):
            check.fail(f"the held-out clips of fold {fold}", "some of known class that can be read", "none")
    return folds


def make_split(config: Config, dataset: Dataset, fold: str, seed: int, *, needed_by: str = "") -> Split:
    """Draw which of the training clips keep their labels; `fold` is held out, and a part for validation if asked for.

    Clips of the held-out fold whose class nobody knows are in no part.

    Raises
    ------
    ValueError
        More labels than clips, a share that is not one clip of some class, no clips for validation, or none is left
        unlabelled though the method `needed_by` learns from such.
    """
    train, test = (torch.tensor(indices, dtype=torch.int64) for indices in dataset.holdout(fold))
    labels = torch.tensor(dataset.labels)
    train, valid = _validation(config, dataset, train, labels, fold, seed)
    wanted = amount(config.labelled)
    for c, name in enumerate(dataset.class_names):
        members = int((labels[train] == c).sum())
        if wanted.get("fraction", 1) * members < 0.5:
            got = f"{config.labelled} of {members} clips of class {name}"
            check.fail("labelled", "at least one clip of each class", got, "a number of clips of each class: 1?")
        if wanted.get("per_class", 0) > members:
            check.fail("labelled", f"at most {members}, the clips of class {name} that train", config.labelled)
    labelled, rest = labelled_split(
        labels[train],
        **wanted,
        seed=seed,
        key=(fold,),
        groups=[dataset.groups[i] for i in train.tolist()] if config.grouped else None,
    )
    if config.reuse_labelled:
        rest = torch.arange(len(train))
    if needed_by and not len(rest):
        expected = f"less than all clips: {needed_by} learns from unlabelled ones"
        check.fail("labelled", expected, config.labelled, "--reuse-labelled takes the labelled ones for that too")
    return Split(train[labelled], train[rest], test[labels[test] != UNKNOWN], valid)


def _validation(
    config: Config, dataset: Dataset, train: Tensor, labels: Tensor, fold: str, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the clips that are trained on and those for validation: no recording or speaker is in both."""
    none = torch.zeros(0, dtype=torch.int64)
    if config.validation is None:
        return train, none
    share = validation_share(config.validation)
    if share is None:
        clips = enumerate(dataset.items)  # none of the fold that is held out
        marked = [i for i, c in clips if c.split == "validation" and dataset.labels[i] != UNKNOWN and c.fold != fold]
        if not marked or fold == "validation":
            slip = "--validation 20% takes a part of the training clips"
            check.fail("validation", "a share where no clips are marked for it", "official", slip)
        return train, torch.tensor(marked)
    groups = [dataset.groups[i] for i in train.tolist()]
    drawn, _ = labelled_split(labels[train], fraction=share, seed=seed, key=(fold, "validation"), groups=groups)
    held = {groups[i] for i in drawn.tolist()}
    kept = torch.tensor([group not in held for group in groups])
    valid = train[~kept]
    left = set(labels[train[kept]].tolist())
    if missing := [name for c, name in enumerate(dataset.class_names) if c not in left]:
        slip = "few recordings, each with many clips? a smaller share"
        check.fail("validation", "a share that leaves clips of every class", f"none of {', '.join(missing)}", slip)
    return train[kept], valid[labels[valid] != UNKNOWN]


class Batches:
    """The clips of each step, and their views: functions of the seed and the step.

    Both kinds of clips are gone through in turn, each in an order of its own that is new every time round. A batch that
    reaches the end of one round takes the rest from the next: every clip is used once a round and none is dropped.

    Parameters
    ----------
    config, data, split, seed
    views : tuple of int
        Weak and strong views of each unlabelled clip; none of either, and there are no unlabelled clips.
    part : tuple of int
        ``(rank, world)``: which of so many equal slices of the batch, for runs in several processes.
    """

    def __init__(
        self,
        config: Config,
        data: Data,
        split: Split,
        seed: int,
        *,
        views: tuple[int, int],
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.config, self.data, self.split, self.seed = config, data, split, seed
        self.views, self.part = views, part

    @property
    def size(self) -> int:
        """Clips of a step, labelled and unlabelled."""
        return self.config.batch_labelled + (self.config.batch_unlabelled if any(self.views) else 0)

    def __call__(self, step: int, generator: torch.Generator) -> tuple[Labelled, Unlabelled | None]:
        """Return the batches of a step; `generator` draws the views, of the whole batch."""
        config, data = self.config, self.data
        at, where = self.indices(step)
        index = at.to(data.kept.device)
        (x,) = self._made(data.kept[index], config.labelled_view, 1, generator)
        labelled = Labelled(x, data.labels[index])
        if where is None:
            return labelled, None
        index = self.split.unlabelled[where].to(data.kept.device)
        kept = data.kept[index]
        weaks = self._made(kept, config.weak_view, self.views[0], generator)
        strongs = self._made(kept, config.strong_view, self.views[1], generator)
        return labelled, Unlabelled(weaks, strongs, data.labels[index], where.to(index.device))

    def indices(self, step: int) -> tuple[Tensor, Tensor | None]:
        """Return the clips of a step: labelled ones by their place in the data set, others by that in the split."""
        at = self._own(turn(self.split.labelled, self.config.batch_labelled, step, self.seed, "labelled"))
        if not any(self.views):
            return at, None
        places = torch.arange(len(self.split.unlabelled))
        return at, self._own(turn(places, self.config.batch_unlabelled, step, self.seed, "unlabelled"))

    def _own(self, indices: Tensor) -> Tensor:
        rank, world = self.part
        return indices.chunk(world)[rank]

    def _made(self, kept: Tensor, name: str, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        views = self.data.views
        return tuple(views(kept, name, generator=generator, part=self.part) for _ in range(count))


def turn(indices: Tensor, size: int, step: int, seed: int, name: str) -> Tensor:
    """Return the `size` indices of a step, from an endless sequence of seeded permutations.

    >>> both = [turn(torch.arange(4), 2, step, 0, "labelled") for step in (0, 1)]
    >>> torch.cat(both).sort().values
    tensor([0, 1, 2, 3])
    """
    count, first = len(indices), step * size
    rounds = range(first // count, (first + size - 1) // count + 1)
    start = first - rounds[0] * count
    return indices[torch.cat([_order(count, seed, name, r) for r in rounds])[start : start + size]]


@lru_cache(maxsize=8)
def _order(count: int, seed: int, name: str, round_: int) -> Tensor:
    """Return the order of a round, which many steps read: of 80,000 clips it takes 4 ms to draw."""
    return permutation(count, generator=generator_for(seed, name, round_))
