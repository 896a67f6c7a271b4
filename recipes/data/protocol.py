"""A data set as training takes it: which clips are held out in turn, and nothing of them among the clips that train."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from audiomix import check, datasets
from audiomix.datasets.dataset import Dataset
from audiomix.draw import generator_for, permutation

from ..console import warn
from ..training.config import Config, parse_share
from .split import draw_grouped_folds, draw_stratified_folds

__all__ = [
    "available",
    "check_parts",
    "describe_protocol",
    "place",
    "read_dataset",
    "take_out_classes",
    "with_folds",
]

FOLDS = 5
_CAPTIONED = ("audiocaps", "clotho")  # no classes to be told apart


def available() -> list[str]:
    """Return the names of the data sets with classes, sorted."""
    return [name for name in datasets.available() if name not in _CAPTIONED]


def read_dataset(text: str, root: Path | None) -> Dataset:
    """Return the data set that `text` names, with folds; what a person should know of it is printed.

    Parameters
    ----------
    text : str
        A name, with options where the data set has some, e.g. ``speech_commands:words=up+down``.
    root : Path or None
        Its folder, or its manifest; the bundled demo needs none.

    Raises
    ------
    ValueError
        There is no such data set or option, or `root` is none of it; see also `check_parts`.
    """
    if text.partition(":")[0] in _CAPTIONED:
        check.choice("dataset", text.partition(":")[0], available())
    notes: list[str] = []
    try:
        dataset = datasets.get(text)(root, notes)
    finally:  # they may say why it is refused
        for note in notes:
            warn(note)
    arguments = (("dataset", text), ("root", None if root is None else Path(root).absolute()))
    return check_parts(with_folds(replace(dataset, arguments=arguments)))


def with_folds(dataset: Dataset) -> Dataset:
    """Give clips of known class a fold, stratified and seeded by the names; groups stay together.

    A data set with official folds, or with folds or parts to be held out, is returned as it is.

    Parameters
    ----------
    dataset : Dataset
        Its clips.
    """
    items = dataset.items
    if dataset.official or any(item.fold is not None or item.split in ("test", "validation") for item in items):
        return dataset
    known = [i for i, label in enumerate(dataset.labels) if label >= 0]
    labels = torch.tensor([dataset.labels[i] for i in known])
    if any(items[i].group is not None for i in known):
        folds = draw_grouped_folds(labels, [dataset.groups[i] for i in known], FOLDS, seed=0)
    else:
        folds = draw_stratified_folds(labels, FOLDS, seed=0)
    fold_of = dict(zip(known, folds.tolist()))
    given = [replace(item, fold=str(fold_of[i] + 1)) if i in fold_of else item for i, item in enumerate(items)]
    return replace(dataset, items=tuple(given))


def check_parts(dataset: Dataset) -> Dataset:
    """Return a data set with labelled clips in which nothing that is held out is trained on under another name.

    A run's folder has the fold in its name; ``test`` and ``validation`` are held out by an item's `split`.

    Parameters
    ----------
    dataset : Dataset
        Its clips.

    Raises
    ------
    ValueError
        No clip has a class, a name stands twice, a recording or speaker is in two folds or parts, or a fold has no name
        of its own.
    """
    if all(label < 0 for label in dataset.labels):
        check.fail("the data set", "one with labelled clips", f"{len(dataset)} clips, none with a class")
    for fold in {item.fold for item in dataset.items if item.fold is not None}:
        if fold in ("test", "validation") or not fold or "/" in fold or "\\" in fold:
            slip = "a part stands in the column split" if fold in ("test", "validation") else ""
            check.fail("the name of a fold", "a word, or a number", repr(fold), slip)
    names: set[str] = set()
    homes: dict[str, tuple[str | None, str | None]] = {}
    for item in dataset.items:
        if item.id in names:
            check.fail("the data set", "one that names each clip once", f"{item.id} twice")
        names.add(item.id)
        home = (item.fold, item.split)
        if item.group is not None and homes.setdefault(item.group, home) != home:
            places = " and ".join(sorted({place(*homes[item.group]), place(*home)}))
            slip = "its clips would be trained and tested on"
            check.fail("the folds", "apart: each recording or speaker in one", f"{item.group} in {places}", slip)
    return dataset


def place(fold: str | None, split: str | None) -> str:
    """Return fold and part of a clip as a person reads them.

    >>> place("2", "train"), place(None, None)
    ('fold 2 train', 'no fold')
    """
    return " ".join([*([f"fold {fold}"] if fold else []), *([split] if split else [])]) or "no fold"


def take_out_classes(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """Return a data set in which some classes are not to be told apart: an open set.

    Their training clips stay among the unlabelled ones, as clips of classes that the task does not have; their held-out
    clips are in no part. Groups and folds stay as they are.

    Parameters
    ----------
    dataset : Dataset
        Its clips.
    names : sequence of str
        The classes, or one number: so many, drawn by their names, which are the same in all runs of a data set.

    Raises
    ------
    ValueError
        No such class, or fewer than two would be left.

    Examples
    --------
    >>> from audiomix.datasets.item import Item
    >>> pets = [Item("", f"{i}.wav", name) for i, name in enumerate(["cat", "dog", "owl"])]
    >>> more = take_out_classes(Dataset("pets", tuple(pets), ("cat", "dog", "owl"), 16000, 1.0), ["owl"])
    >>> more.class_names, more.labels
    (('cat', 'dog'), [0, 1, -2])
    """
    classes = dataset.class_names
    if len(names) == 1 and names[0].isdigit() and names[0] not in classes:
        count = min(int(names[0]), len(classes))
        order = permutation(len(classes), generator=generator_for(0, "outlier classes", *classes))
        names = [classes[i] for i in order[:count].tolist()]
    for name in names:
        check.choice("outlier_classes", name, classes)
    left = tuple(name for name in classes if name not in names)
    if not names or len(left) < 2:
        got = f"{len(set(names))} of {len(classes)}"
        check.fail("outlier_classes", "one at least, and two fewer than there are", got)
    outliers = tuple(sorted(set(names)))
    arguments = dataset.arguments and (*dataset.arguments, ("outlier_classes", outliers))
    return replace(dataset, class_names=left, outlier_classes=outliers, arguments=arguments)


def describe_protocol(config: Config, dataset: Dataset) -> list[str]:
    """Return in what a run differs from the usual, as texts.

    That is even classes, right labels, unlabelled clips of the same classes, and spectrograms.

    Parameters
    ----------
    config : Config
        Its `embedding`, `imbalance`, `imbalance_unlabelled` and `label_noise` are read.
    dataset : Dataset
        Its `outlier_classes` are.

    Examples
    --------
    >>> describe_protocol(Config(imbalance=10, label_noise="20%"), Dataset("pets", (), ("cat", "dog"), 16000, 1.0))
    ['training classes 10 to 1', '20 % of the labels wrong']
    """
    labelled, unlabelled = config.imbalance, config.imbalance_unlabelled or config.imbalance
    lines = []
    if config.embedding is not None:
        lines.append(f"embedding {Path(config.embedding).name}, pretrained: not comparable with the founding study")
    if labelled == unlabelled != 1:
        lines.append(f"training classes {labelled:g} to 1")
    elif labelled != unlabelled:
        shown = f"{unlabelled:g} to 1" if unlabelled >= 1 else f"1 to {1 / unlabelled:g} (reversed)"
        lines.append(f"labelled classes {labelled:g} to 1, unlabelled ones {shown}")
    if config.label_noise is not None:
        lines.append(f"{100 * parse_share('label_noise', config.label_noise):g} % of the labels wrong")
    if dataset.outlier_classes:
        lines.append(f"unlabelled clips of other classes too: {', '.join(dataset.outlier_classes)}")
    return lines
