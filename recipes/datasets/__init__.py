"""One data set a file. The folder is the registry: a data set's name is its file's stem.

A file offers ``index(root) -> Dataset``: what there is, read from names and tables alone. No sound is decoded here.
"""

import importlib
import os
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from audiomix import check

__all__ = ["UNKNOWN", "Dataset", "Item", "available", "get"]

UNKNOWN = -1  # the label of a clip whose class nobody has written down


@dataclass(frozen=True)
class Item:
    """One clip of a data set.

    Parameters
    ----------
    path : Path
        The sound.
    label : int
        Index into the data set's class names, or `UNKNOWN`.
    id : str
        Name within the data set, with forward slashes: the same on every machine.
    fold : str, optional
        The official fold, where there is one.
    group : str, optional
        Recording or speaker that several clips stem from.
    split : str, optional
        ``train``, ``validation``, ``test`` or ``unlabelled``, where the data set says so.
    """

    path: Path
    label: int
    id: str
    fold: str | None = None
    group: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Dataset:
    """Clips, sorted by id so that the order of a listing never matters, and what their labels mean.

    Parameters
    ----------
    name : str
    items : tuple of Item
    class_names : tuple of str
    rate : int
        The rate most files have, in Hz: a hint for presets that train at the native rate.
    seconds : float
        The length every clip is cut or zero-padded to, at its end.
    root : Path, optional
        The folder it was found in.
    """

    name: str
    items: tuple[Item, ...]
    class_names: tuple[str, ...]
    rate: int
    seconds: float
    root: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", tuple(sorted(self.items, key=lambda item: item.id)))
        if not any(item.label != UNKNOWN for item in self.items):
            check.fail("the data set", "one with labelled clips", f"{len(self.items)} clips, none with a class")

    def __len__(self) -> int:
        return len(self.items)

    @property
    def labels(self) -> list[int]:
        """The label of each item."""
        return [item.label for item in self.items]

    @property
    def groups(self) -> list[str]:
        """The group of each item; an item without one is its own."""
        return [item.group if item.group is not None else item.id for item in self.items]

    @property
    def folds(self) -> tuple[str, ...]:
        """What can be held out: ``test`` where the data set names such clips, else its folds, else ``validation``."""
        splits = {item.split for item in self.items}
        folds = tuple(sorted({item.fold for item in self.items if item.fold is not None}, key=natural))
        if "test" in splits:
            return ("test",)
        return folds or (("validation",) if "validation" in splits else ())

    def holdout(self, fold: str) -> tuple[list[int], list[int]]:
        """Return the indices of the training clips and of the clips held out for testing.

        Clips marked ``validation`` are in neither, unless it is they that are held out.
        """
        check.choice("fold", fold, self.folds)
        kept = [i for i, item in enumerate(self.items) if item.split != "validation" or fold == "validation"]
        marked = fold in ("test", "validation")
        test = [i for i in kept if (self.items[i].split if marked else self.items[i].fold) == fold]
        held = set(test)
        return [i for i in kept if i not in held], test

    def only(self, indices: Iterable[int]) -> "Dataset":
        """Return the data set without the items that are not in `indices`."""
        return replace(self, items=tuple(self.items[i] for i in indices))


def available() -> list[str]:
    """Return the names of all data sets, sorted.

    >>> available()
    ['demo', 'esc10', 'folder']
    """
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def get(name: str) -> Callable[[Path | None], Dataset]:
    """Return the `index` function of the file `name`.

    Raises
    ------
    ValueError
        There is no such file; a near miss is named.
    """
    check.choice("dataset", name, available())
    return importlib.import_module(f"{__name__}.{name}").index


def natural(text: str) -> tuple:
    """Sort key that puts fold 2 before fold 10."""
    return (0, int(text), "") if text.isdigit() else (1, 0, text)


def existing(root: Path | None, what: str) -> Path:
    """Return `root` if it is a folder, else raise with what was expected there."""
    if root is None:
        check.fail("root", f"the folder of {what}", None, "audiomix-recipes run METHOD DATASET ROOT")
    root = Path(os.path.expanduser(root))
    if not root.is_dir():
        slip = "that is a file" if root.exists() else "there is no such folder"
        check.fail("root", f"the folder of {what}", str(root), slip)
    return root
