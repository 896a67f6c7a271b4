"""Copies of clips, found by the bytes of their files: a held-out clip must not train under another name.

A copy that was encoded anew, resampled or cut has other bytes, and is not found.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from audiomix import check
from audiomix.datasets.dataset import Dataset
from audiomix.datasets.item import Item
from audiomix.datasets.walk import Skipped, check_folder, list_files

from ..console import warn
from .protocol import check_parts, place

__all__ = ["add_unlabelled", "check_copies"]


def add_unlabelled(dataset: Dataset, root: Path) -> Dataset:
    """Return the data set with all sounds under `root` as unlabelled clips: they train, and are never tested on.

    A file with the bytes of one of the data set's is left out, and a line printed: a held-out clip would be trained on.

    Parameters
    ----------
    dataset : Dataset
        The clips that there are.
    root : Path
        The folder of the others.

    Raises
    ------
    ValueError
        There are none, some are clips of the data set itself, or all are copies: held-out clips would be trained on.
    """
    root = check_folder(root, "unlabelled audio", name="unlabelled")
    own = {Path(item.path).resolve() for item in dataset.items}
    skipped: Skipped = []
    names = list(list_files(root, skipped=skipped))
    if not names:
        check.fail("unlabelled", "a folder with audio files", str(root), "is it empty?")
    if same := [name for name in names if (root / name).resolve() in own]:
        got = f"{len(same)} clips of the data set itself, e.g. {root / same[0]}"
        check.fail("unlabelled", "other clips than those of the data set", got, "held-out clips would be trained on")
    copies = _find_copies([root / name for name in names], dataset.items)
    if copies:
        path, original = next(iter(copies.items()))
        got = f"{len(copies)} files are copies of clips of the data set, e.g. {path} of {original}"
        if len(copies) == len(names):
            check.fail("unlabelled", "other clips than those of the data set", got)
        names = [name for name in names if root / name not in copies]
        warn(f"{root}: left out: {got}; held-out clips would be trained on")
    more = [Item(str(root), f"unlabelled/{name}", split="unlabelled", file=name) for name in names]
    arguments = (*dataset.arguments, ("unlabelled", root.absolute()))
    found = replace(
        dataset, items=dataset.items + tuple(more), skipped=(*dataset.skipped, *skipped), arguments=arguments
    )
    return check_parts(found)


def check_copies(dataset: Dataset, hashes: Sequence[str], *, quiet: bool = False) -> None:
    """Refuse a data set of one's own in which a held-out clip is trained on as another file of the same bytes.

    Two clips are alike if their files' hashes and the pieces of them are; they may lie in one fold or part, and where
    clips marked ``test`` or ``validation`` are held out, in any two folds. Of a data set with official folds such clips
    are kept, and a line printed.

    Parameters
    ----------
    dataset : Dataset
        The N clips.
    hashes : sequence of N str
        Of each clip's file.
    quiet : bool
        Print nothing of a data set with official folds.

    Raises
    ------
    ValueError
        Copies lie in different folds or parts of a data set whose folds are not official.
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
    named = " and ".join(f"{item.id} ({place(item.fold, item.split)})" for item in copies[0])
    got = f"{len(copies)} files with the bytes of another, e.g. {named}"
    if not dataset.official:
        slip = "copies: remove one of each, else held-out clips are trained on"
        check.fail("the folds", "apart: each sound in one", got, slip)
    if not quiet:
        warn(f"{dataset.name}: its folds share clips: {got}; they are kept, as the folds are official")


def _find_copies(paths: list[Path], items: Iterable[Item]) -> dict[Path, str]:
    """Return the files whose bytes are those of a clip's file, with its id; only files of one size are read."""
    by_size: dict[int, dict[Path, str]] = {}
    for item in items:
        path = Path(item.path)
        by_size.setdefault(_size(path), {}).setdefault(path, item.id)
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
