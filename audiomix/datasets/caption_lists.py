"""What the readers of Clotho's and AudioCaps' lists share: finding the lists, and the files that they name."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from .. import check
from . import tables
from .columns import merge_captions, read_rows
from .dataset import Dataset, usual_form
from .item import SPLITS
from .walk import list_files

__all__ = ["NamedFiles", "Row", "find_lists", "read_lists", "split_in"]

Row = tuple[str, dict[str, Any]]


def find_lists(folder: Path, has_columns: Callable[[set[str]], bool]) -> list[Path]:
    """Return the CSV files in a folder, or in one of its folders, with certain columns, sorted.

    Parameters
    ----------
    folder : Path
        Where they are looked for.
    has_columns : callable
        Says of the names of a table's columns whether it is such a list.
    """
    found = sorted(folder.glob("*.csv")) or sorted(folder.glob("*/*.csv"))
    return [p for p in found if p.name[0] != "." and p.is_file() and has_columns(set(tables.header(p)))]


def read_lists(
    name: str,
    root: Path | None,
    has_columns: Callable[[set[str]], bool],
    rows: Callable[[Path, list[str]], Iterable[Row]],
    notes: list[str] | None,
) -> Dataset:
    """Return the captioned clips of a list, or of all lists in a folder.

    Parameters
    ----------
    name : str
        What the data set is called.
    root : Path or None
        A list, or a folder with some.
    has_columns : callable
        Says of the names of a table's columns whether it is such a list.
    rows : callable
        Reads the rows of a list, given its path and the notes.
    notes : list of str, optional
        What a person should know of is appended.

    Raises
    ------
    ValueError
        There are no such lists, or not one file that they name can be read.
    """
    notes = [] if notes is None else notes
    expected = f"a list of captions of {name}, or a folder with some"
    if root is None or not Path(root).exists():
        check.fail("root", expected, root if root is None else str(root), "" if root is None else "no such path")
    root = Path(root)
    lists = find_lists(root, has_columns) if root.is_dir() else [root]
    if not lists or not has_columns(set(tables.header(lists[0]))):
        check.fail("root", expected, str(root))
    folder = root if root.is_dir() else root.parent
    items = merge_captions((item for one in lists for item in read_rows(rows(one, notes), one, folder)), notes)
    rate, seconds = usual_form([item.path for item in items], root)
    return Dataset(name, tuple(items), (), rate, seconds, root)


def split_in(stem: str) -> str | None:
    """Return the split in the name of a list.

    >>> split_in("audiocaps_train"), split_in("val"), split_in("captions")
    ('train', 'val', None)
    """
    return next((part for part in re.split(r"[^a-z]+", stem.lower()) if part in SPLITS), None)


class NamedFiles:
    """Audio files by name with and without suffix; of several, the one in a folder named like the split.

    Parameters
    ----------
    table : Path
        The list that names them: they lie in its folder or below it, or in ``SPLIT/`` or ``*audio*/SPLIT/`` beside it.
    split : str, optional
        The split that it is a list of.

    Raises
    ------
    ValueError
        There are no audio files.
    """

    def __init__(self, table: Path, split: str | None) -> None:
        self.table, self.folder = table, table.parent
        self._whole: dict[str, str] = {}
        self._stems: dict[str, str] = {}
        found = self._find(split or "")
        for path in sorted(found, key=lambda p: ("/" + (split or "\0")) not in "/" + p.rpartition("/")[0]):
            name = path.rpartition("/")[2]
            self._whole.setdefault(name, path)
            self._stems.setdefault(name.rpartition(".")[0], path)
        if not self._whole:
            expected = f"beside or below its audio files, or with a folder {split!r} beside it"
            check.fail(str(table), expected, "no audio files", "move the list to them")

    def get(self, *names: str) -> str | None:
        """Return the path, relative to the table, of the first name that there is, with its own or any suffix."""
        found = (index.get(name) for index in (self._whole, self._stems) for name in names)
        return next((path for path in found if path), None)

    def _find(self, split: str) -> Iterator[str]:
        below = list(list_files(self.folder))
        if below or not split:
            yield from below
            return
        above = self.folder.parent
        for folder in [above / split, *sorted(above.glob(f"*audio*/{split}"))]:
            if folder.is_dir():
                prefix = Path("..") / folder.relative_to(above)
                yield from (f"{prefix.as_posix()}/{path}" for path in list_files(folder))
