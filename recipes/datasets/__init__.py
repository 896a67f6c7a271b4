"""One data set a file. The folder is the registry: a data set's name is its file's stem.

A file offers ``index(root) -> Dataset``: what there is, read from names and tables alone. No sound is decoded here.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from audiomix import check
from audiomix.audio import io
from audiomix.registry import Registry

from ..console import console

__all__ = ["UNKNOWN", "Dataset", "Item", "available", "check_copies", "get", "with_unlabelled"]

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
    start, seconds : float, optional
        The piece of the file that it is; None is all of it.
    """

    path: Path
    label: int
    id: str
    fold: str | None = None
    group: str | None = None
    split: str | None = None
    start: float | None = None
    seconds: float | None = None


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
    configs : dict
        Fields of `Config` by preset, where these sounds want others than the preset has, and by ``PRESET:METHOD`` what
        a method wants on them, its options too; the user's come first.
    """

    name: str
    items: tuple[Item, ...]
    class_names: tuple[str, ...]
    rate: int
    seconds: float
    root: Path | None = None
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", tuple(sorted(self.items, key=lambda item: item.id)))
        if not any(item.label != UNKNOWN for item in self.items):
            check.fail("the data set", "one with labelled clips", f"{len(self.items)} clips, none with a class")
        _check_apart(self.items)

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


_REGISTRY: Registry[Callable[..., Dataset]] = Registry(
    "dataset", __name__, "audiomix.datasets", function="index", positional=1
)


def available() -> list[str]:
    """Return the names of all data sets, those of installed packages too, sorted.

    >>> {"demo", "esc10", "folder", "manifest", "urbansound8k"} <= set(available())
    True
    """
    return _REGISTRY.available()


def get(text: str) -> Callable[[Path | None], Dataset]:
    """Return the function that lists a data set below a root.

    Parameters
    ----------
    text : str
        One of `available`, or a path to one's own function (``mine.py:my_data_set``), with options behind it or
        without: ``speech_commands:words=up+down``.

    Raises
    ------
    ValueError
        There is none of this name, or it has no such option; a near miss is named.
    """
    chosen = _REGISTRY.read(text)

    def index(root: Path | None = None) -> Dataset:
        found = chosen.member(root, **chosen.options)
        return check.one_of_types(f"what {chosen.name} returns", found, Dataset, "a Dataset")

    return index


def with_unlabelled(dataset: Dataset, root: Path) -> Dataset:
    """Return the data set with all sounds under `root` as unlabelled clips: they train, and are never tested on.

    A file with the bytes of one of the data set's is left out, and told: a held-out clip would be trained on. A copy
    that was encoded anew, resampled or cut has other bytes, and is not found.

    Raises
    ------
    ValueError
        There are none, some are clips of the data set itself, or all are copies: held-out clips would be trained on.
    """
    root = existing(root, "unlabelled audio", name="unlabelled")
    own = {item.path.resolve() for item in dataset.items}
    paths = list(audio_under(root))
    if not paths:
        check.fail("unlabelled", "a folder with audio files", str(root), "is it empty?")
    if same := [path for path in paths if path.resolve() in own]:
        got = f"{len(same)} clips of the data set itself, e.g. {same[0]}"
        check.fail("unlabelled", "other clips than those of the data set", got, "held-out clips would be trained on")
    copies = _copies(paths, dataset.items)
    if copies:
        path, name = next(iter(copies.items()))
        told = f"{len(copies)} files are copies of clips of the data set, e.g. {path} of {name}"
        if len(copies) == len(paths):
            check.fail("unlabelled", "other clips than those of the data set", told)
        paths = [p for p in paths if p not in copies]
        text = f"{root}: left out: {told}; held-out clips would be trained on"
        console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
    more = [Item(p, UNKNOWN, f"unlabelled/{p.relative_to(root).as_posix()}", split="unlabelled") for p in paths]
    return replace(dataset, items=dataset.items + tuple(more))


def _copies(paths: list[Path], items: Iterable[Item]) -> dict[Path, str]:
    """Return the files whose bytes are those of a clip's file, with its id; only files of one size are read."""
    by_size: dict[int, dict[Path, str]] = {}
    for item in items:
        by_size.setdefault(_size(item.path), {}).setdefault(item.path, item.id)
    alike = {path: size for path in paths if (size := _size(path)) in by_size and size >= 0}
    known = {_digest(path): name for size in sorted(set(alike.values())) for path, name in by_size[size].items()}
    return {path: name for path in alike if (name := known.get(_digest(path)))}


def _size(path: Path) -> int:
    """Return the size in bytes, or -1 of a file that is not there: decoding lists it with the reason."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _digest(path: Path) -> bytes:
    """Return the hash of a file's bytes; of one that cannot be read a hash of its own: decoding lists the reason."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as file:
            while part := file.read(2**20):
                digest.update(part)
    except OSError:
        return os.fsencode(path)
    return digest.digest()


def audio_under(folder: Path, *, recurse: bool = True) -> Iterator[Path]:
    """Yield the audio files in `folder`, sorted, hidden ones left out."""
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".")) if recurse else []
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(io.AUDIO_SUFFIXES):
                yield Path(here, name)


def _check_apart(items: tuple[Item, ...]) -> None:
    """Raise where a name stands twice, a recording or speaker in two folds or parts, or a fold has no name of its own.

    A run's folder has the fold in its name; ``test`` and ``validation`` are held out by an item's `split`.
    """
    for fold in {item.fold for item in items if item.fold is not None}:
        if fold in ("test", "validation") or not fold or "/" in fold or "\\" in fold:
            slip = "a part stands in the column split" if fold in ("test", "validation") else ""
            check.fail("the name of a fold", "a word, or a number", repr(fold), slip)
    names: set[str] = set()
    homes: dict[str, tuple[str | None, str | None]] = {}
    for item in items:
        if item.id in names:
            check.fail("the data set", "one that names each clip once", f"{item.id} twice")
        names.add(item.id)
        home = (item.fold, item.split)
        if item.group is not None and homes.setdefault(item.group, home) != home:
            places = " and ".join(sorted({_place(homes[item.group]), _place(home)}))
            slip = "its clips would be trained and tested on"
            check.fail("the folds", "apart: each recording or speaker in one", f"{item.group} in {places}", slip)


_OWN_FOLDS = ("folder", "manifest")  # who uses these can mend them; the authors of others fixed their folds


def check_copies(dataset: Dataset, hashes: Sequence[str], *, quiet: bool = False) -> None:
    """Refuse a data set of one's own in which a held-out clip is trained on as another file of the same bytes.

    Two clips are alike if their files' hashes and the pieces of them are; they may lie in one fold or part, and where
    clips marked ``test`` or ``validation`` are held out, in any two folds. Of a data set with official folds such clips
    are told, and kept. A copy that was encoded anew, resampled or cut has other bytes, and is not found.

    Parameters
    ----------
    dataset : Dataset
    hashes : sequence of N str
        Of each clip's file.
    quiet : bool
        Tell nothing of a data set with official folds.

    Raises
    ------
    ValueError
        Copies lie in different folds or parts of a ``folder`` or a ``manifest``.
    """
    by_fold = dataset.folds[:1] not in (("test",), ("validation",))
    firsts: dict[tuple, Item] = {}
    copies: list[tuple[Item, Item]] = []

    def home(item: Item) -> tuple[str | None, str | None]:
        return item.fold if by_fold else None, item.split if item.split in ("test", "validation") else None

    for item, hashed in zip(dataset.items, hashes):
        first = firsts.setdefault((hashed, item.start, item.seconds), item)
        if home(item) != home(first):
            copies.append((first, item))
    if not copies:
        return
    named = " and ".join(f"{item.id} ({_place((item.fold, item.split))})" for item in copies[0])
    got = f"{len(copies)} files with the bytes of another, e.g. {named}"
    if dataset.name in _OWN_FOLDS:
        slip = "copies: remove one of each, else held-out clips are trained on"
        check.fail("the folds", "apart: each sound in one", got, slip)
    if not quiet:
        text = f"{dataset.name}: its folds share clips: {got}; they are kept, as the folds are official"
        console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _place(home: tuple[str | None, str | None]) -> str:
    fold, split = home
    return " ".join([*([f"fold {fold}"] if fold else []), *([split] if split else [])]) or "no fold"


def natural(text: str) -> tuple:
    """Sort key that puts fold 2 before fold 10."""
    return (0, int(text), "") if text.isdigit() else (1, 0, text)


def whole(table: Path, column: str, text: str | None) -> int:
    """Return a cell of a table as a whole number, or say which one is none."""
    try:
        return int(text or "")
    except ValueError:
        return check.fail(f"the column {column} of {table}", "whole numbers", repr(text))


def existing(root: Path | None, what: str, *, name: str = "root") -> Path:
    """Return `root` if it is a folder, else raise with what was expected there."""
    if root is None:
        check.fail(name, f"the folder of {what}", None, "audiomix-recipes run METHOD DATASET ROOT")
    root = Path(os.path.expanduser(root))
    if not root.is_dir():
        slip = "that is a file" if root.exists() else "there is no such folder"
        check.fail(name, f"the folder of {what}", str(root), slip)
    return root
