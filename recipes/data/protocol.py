"""A data set as training takes it: which clips are held out in turn, and nothing of them among the clips that train."""

from dataclasses import replace
from pathlib import Path

import torch

from audiomix import check, datasets
from audiomix.datasets.dataset import UNKNOWN, Dataset

from ..console import warn
from .split import draw_grouped_folds, draw_stratified_folds

__all__ = ["available", "check_parts", "place", "read_dataset", "with_folds"]

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
    known = [i for i, label in enumerate(dataset.labels) if label != UNKNOWN]
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
    if all(label == UNKNOWN for label in dataset.labels):
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
