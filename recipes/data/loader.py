"""A data set as it is trained on, its splits, and the clips of each step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from audiomix import check, identity
from audiomix.datasets.dataset import Dataset
from audiomix.draw import generator_for, permutation

from ..training.choices import Facts, choose, choose_rate
from ..training.config import Config, parse_amount, parse_share, parse_validation
from ..training.distributed import fabric_for, threads
from ..training.run_folder import Split
from .batch import Labelled, Unlabelled
from .front_end import check_views, make_views
from .rows import Rows
from .sounds import find_facts
from .split import draw_labelled_split, draw_noisy_labels, long_tail, thin_classes
from .store import Store, clip_size, open_store
from .views import Views

__all__ = [
    "Batches",
    "Data",
    "check_folds",
    "fingerprint_of",
    "make_split",
    "prepare",
    "rate_and_seconds",
    "step_indices",
]


@dataclass(frozen=True, eq=False)
class Data:
    """A data set with what the front end keeps of each clip."""

    dataset: Dataset  # the N clips that could be read
    views: Views  # the front end
    kept: Rows  # (N, ...): what the front end keeps of the clips; batches come to the device that trains
    labels: Tensor  # (N,), int64: classes, below 0 where they are unknown
    errors: dict[str, str]  # clips that could not be read: id and reason
    # hash of what was read: the files' bytes, their names, classes, folds, groups; the rate and the length. It does not
    # depend on where they lie
    fingerprint: str
    source: Dataset  # the argument of `prepare`, with the clips that could not be read
    stores: Path  # folder of the stores of decoded audio
    facts: Facts  # what open fields of a configuration are chosen by: `recipes.training.choices.choose`


def rate_and_seconds(config: Config, dataset: Dataset) -> tuple[int, float]:
    """Return rate in Hz and length in seconds of the clips of a run; the rate may be open, see `choose_rate`."""
    return choose_rate(config, dataset.rate), config.seconds or dataset.seconds


def prepare(
    config: Config, dataset: Dataset, stores: Path, *, quiet: bool = False, device: torch.device | None = None
) -> Data:
    """Decode (once) and compute what the front end keeps; the same for all methods, folds and seeds.

    Parameters
    ----------
    config : Config
        Its front end, rate, length, device and threads are read. Open fields are chosen, as `train` will.
    dataset : Dataset
        The clips.
    stores : Path
        Folder of the stores of decoded audio.
    quiet : bool
        Show no progress.
    device : torch.device, optional
        Where to; by default the configured device.

    Raises
    ------
    ValueError
        A view or a device that is not there, or clips shorter than the window; before anything is decoded.
    """
    rate, seconds = rate_and_seconds(config, dataset)
    device, size = device or fabric_for(config).device, clip_size(rate, seconds)
    check_views(config, rate, size)
    store = open_store(dataset, stores, rate=rate, seconds=seconds, quiet=quiet)
    with threads(config.threads):
        facts = find_facts(store, dataset)
        views = make_views(choose(config, facts)[0], rate, size)
        kept = views.load(store, device, quiet=quiet)
    labels = torch.tensor(store.dataset.labels, device=device)
    return Data(store.dataset, views, kept, labels, store.errors, fingerprint_of(store), dataset, Path(stores), facts)


def fingerprint_of(store: Store) -> str:
    """Return the hash of what was read into a store, see `Data`."""
    data = store.dataset
    items = [[i.id, label, i.fold, i.group, i.split] for i, label in zip(data.items, data.labels)]
    return identity.digest([[store.digest, store.rate, store.size, data.class_names, items]], size=8)


def check_folds(dataset: Dataset, folds: Sequence[str] = ()) -> list[str]:
    """Return `folds` of `dataset` without repetitions (by default all), if each can be trained and tested on.

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
        if not any(dataset.labels[i] >= 0 for i in test):
            check.fail(f"the held-out clips of fold {fold}", "some of known class that can be read", "none")
    return folds


def make_split(config: Config, dataset: Dataset, fold: str, seed: int, *, needed_by: str = "") -> Split:
    """Draw which training clips keep their labels, and which are for validation.

    Clips of the held-out fold whose class is unknown, or none of the task, are in no part. Validation and held-out
    clips stay as they are where training clips are left out (`imbalance`) or have wrong labels (`label_noise`).

    Parameters
    ----------
    config : Config
        Its `labelled`, `grouped`, `reuse_labelled`, `validation`, `imbalance`, `imbalance_unlabelled` and `label_noise`
        are read.
    dataset : Dataset
        The clips.
    fold : str
        The fold that is held out.
    seed : int
        Seed of the draw.
    needed_by : str
        Name of the method if it learns from unlabelled clips.

    Raises
    ------
    ValueError
        More labels than clips, a share that is less than one clip of some class, no clips for validation, none is left
        unlabelled for a method that needs them, or a class is left without a label or without a right one.
    """
    train, test = (torch.tensor(indices, dtype=torch.int64) for indices in dataset.holdout(fold))
    labels = torch.tensor(dataset.labels)
    train, valid = _validation(config, dataset, train, labels, fold, seed)
    wanted = parse_amount(config.labelled)
    for c, name in enumerate(dataset.class_names):
        members = int((labels[train] == c).sum())
        if wanted.get("fraction", 1) * members < 0.5:
            got = f"{config.labelled} of {members} clips of class {name}"
            check.fail("labelled", "at least one clip of each class", got, "a number of clips of each class: 1?")
        if wanted.get("per_class", 0) > members:
            check.fail("labelled", f"at most {members}, the clips of class {name} that train", config.labelled)
    labelled, rest = draw_labelled_split(
        labels[train],
        **wanted,
        seed=seed,
        key=(fold,),
        groups=[dataset.groups[i] for i in train.tolist()] if config.grouped else None,
    )
    labelled, rest, left_out = _leave_out(config, dataset, train[labelled], train[rest], labels, fold, seed)
    if config.reuse_labelled:
        rest = torch.cat([labelled, rest]).sort().values
    if needed_by and not len(rest):
        expected = f"less than all clips: {needed_by} learns from unlabelled ones"
        check.fail("labelled", expected, config.labelled, "--reuse-labelled takes the labelled ones for that too")
    noisy = None
    if config.label_noise is not None:
        share = parse_share("label_noise", config.label_noise)
        noisy = draw_noisy_labels(labels[labelled], share, len(dataset.class_names), seed=seed, key=(fold,))
    return Split(labelled, rest, test[labels[test] >= 0], valid, left_out, noisy)


def _leave_out(
    config: Config, dataset: Dataset, labelled: Tensor, rest: Tensor, labels: Tensor, fold: str, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the labelled and the unlabelled clips without those that are left out so that classes are uneven.

    All are indices, also the third, which are left out.
    """
    ratios = (config.imbalance, config.imbalance_unlabelled or config.imbalance)
    kept, left = [], []
    for name, clips, ratio, least in zip(("labelled", "unlabelled"), (labelled, rest), ratios, (1, 0)):
        shares = long_tail(len(dataset.class_names), ratio, seed=seed)
        counts = labels[clips][labels[clips] >= 0].bincount(minlength=len(shares))
        rarest = int((shares * counts).argmin())
        if least and shares[rarest] * counts[rarest] < 0.5:
            got = f"{shares[rarest]:.2g} of {counts[rarest]} labels of class {dataset.class_names[rarest]}"
            slip = f"with --imbalance {ratio:g} more labels: --labelled {math.ceil(0.5 / float(shares[rarest]))}?"
            check.fail("labelled", "enough for one label of the rarest class", got, slip)
        stays = thin_classes(labels[clips], shares, seed=seed, key=(fold, name), least=least)
        kept.append(clips[stays])
        left.append(clips[~stays])
    return kept[0], kept[1], torch.cat(left).sort().values


def _validation(
    config: Config, dataset: Dataset, train: Tensor, labels: Tensor, fold: str, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the indices to train on and those for validation: no recording or speaker is in both."""
    none = torch.zeros(0, dtype=torch.int64)
    if config.validation is None:
        return train, none
    share = parse_validation(config.validation)
    if share is None:
        clips = enumerate(dataset.items)  # none of the fold that is held out
        marked = [i for i, c in clips if c.split == "validation" and dataset.labels[i] >= 0 and c.fold != fold]
        if not marked or fold == "validation":
            slip = "--validation 20% takes a part of the training clips"
            check.fail("validation", "a share where no clips are marked for it", "official", slip)
        return train, torch.tensor(marked)
    groups = [dataset.groups[i] for i in train.tolist()]
    drawn, _ = draw_labelled_split(labels[train], fraction=share, seed=seed, key=(fold, "validation"), groups=groups)
    held = {groups[i] for i in drawn.tolist()}
    kept = torch.tensor([group not in held for group in groups])
    valid = train[~kept]
    left = set(labels[train[kept]].tolist())
    if missing := [name for c, name in enumerate(dataset.class_names) if c not in left]:
        slip = "few recordings, each with many clips? a smaller share"
        check.fail("validation", "a share that leaves clips of every class", f"none of {', '.join(missing)}", slip)
    return train[kept], valid[labels[valid] >= 0]


class Batches:
    """The clips of each step, and their views: functions of the seed and the step.

    Labelled and unlabelled clips are passed through again and again, each kind in an order of its own that is new in
    every pass. A batch at the end of one pass takes the rest from the next: every clip is used once a pass.

    Parameters
    ----------
    config, data, split
        Batch sizes and names of views, the clips, and which of them are labelled and unlabelled.
    seed : int
        Seed of the orders.
    views : tuple of int
        Number of weak and strong views of each unlabelled clip; with (0, 0) a step has no unlabelled clips.
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
        self.labels = split.training_labels(data.labels)

    @property
    def size(self) -> int:
        """Clips of a step, labelled and unlabelled."""
        return self.config.batch_labelled + (self.config.batch_unlabelled if any(self.views) else 0)

    def __call__(self, step: int, generator: torch.Generator) -> tuple[Labelled, Unlabelled | None]:
        """Return the labelled and the unlabelled clips of a step, counted from 0; `generator` draws the whole
        batch's views.
        """
        config, data = self.config, self.data
        labelled_at, unlabelled_at = self.indices(step)
        index = self.split.labelled[labelled_at].to(data.kept.device)
        (x,) = self._views(data.kept[index], config.labelled_view, 1, generator)
        labelled = Labelled(x, self.labels[index], labelled_at.to(index.device))
        if unlabelled_at is None:
            return labelled, None
        index = self.split.unlabelled[unlabelled_at].to(data.kept.device)
        kept = data.kept[index]
        weaks = self._views(kept, config.weak_view, self.views[0], generator)
        strongs = self._views(kept, config.strong_view, self.views[1], generator)
        return labelled, Unlabelled(weaks, strongs, data.labels[index], unlabelled_at.to(index.device))

    def indices(self, step: int) -> tuple[Tensor, Tensor | None]:
        """Return the labelled and the unlabelled clips of a step: positions among those of the split."""
        config, seed = self.config, self.seed
        places = [torch.arange(len(part)) for part in (self.split.labelled, self.split.unlabelled)]
        labelled = self._own(step_indices(places[0], config.batch_labelled, step, seed, "labelled"))
        if not any(self.views):
            return labelled, None
        return labelled, self._own(step_indices(places[1], config.batch_unlabelled, step, seed, "unlabelled"))

    def _own(self, indices: Tensor) -> Tensor:
        rank, world = self.part
        return indices.chunk(world)[rank]

    def _views(self, kept: Tensor, name: str | None, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        views = self.data.views
        assert name is not None  # chosen from the data
        return tuple(views(kept, name, generator=generator, part=self.part) for _ in range(count))


def step_indices(indices: Tensor, size: int, step: int, seed: int, name: str) -> Tensor:
    """Return the indices of a step, from an endless sequence of seeded permutations.

    Parameters
    ----------
    indices : Tensor, shape (N,), int64
        What is permuted.
    size : int
        Number of indices a step.
    step : int
        The step, counted from 0.
    seed, name : int, str
        Seed of the permutations, and what distinguishes sequences of the same seed.

    Examples
    --------
    >>> both = [step_indices(torch.arange(4), 2, step, 0, "labelled") for step in (0, 1)]
    >>> torch.cat(both).sort().values
    tensor([0, 1, 2, 3])
    """
    count, first = len(indices), step * size
    passes = range(first // count, (first + size - 1) // count + 1)
    start = first - passes[0] * count
    return indices[torch.cat([_order(count, seed, name, p) for p in passes])[start : start + size]]


@lru_cache(maxsize=8)
def _order(count: int, seed: int, name: str, number: int) -> Tensor:
    """Return the order of a pass, which many steps read: for 80,000 clips the draw takes 4 ms."""
    return permutation(count, generator=generator_for(seed, name, number))
