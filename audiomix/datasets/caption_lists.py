"""What the readers of Clotho's and AudioCaps' lists share: finding the lists, and the files that they name."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import check
from . import tables
from .columns import merge_captions, read_rows
from .dataset import Dataset, usual_form
from .item import SPLITS
from .walk import list_files

__all__ = ["CaptionLists", "NamedFiles", "Row", "csv_files", "split_in"]

Row = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class CaptionLists:
    """A published form of lists of captions: by which columns it is known, and how its rows are read.

    Parameters
    ----------
    name : str
        The data set's name in the registry.
    columns : frozenset of str
        Names of columns that such a list has.
    others : frozenset of str
        Names of columns that it lacks: with one of them it is a manifest that says itself where its files are.
    rows : callable
        ``rows(table, notes)`` yields where each row stands and its cells, the path of the file among them.
    """

    name: str
    columns: frozenset[str]
    others: frozenset[str]
    rows: Callable[[Path, list[str]], Iterator[Row]]

    def matches(self, table: Path) -> bool:
        """Say whether a table is such a list."""
        names = set(tables.header(table))
        return names >= self.columns and not names & self.others

    def read(self, root: Path | None, notes: list[str] | None) -> Dataset:
        """Return the captioned clips of a list, or of all lists in a folder; there are no classes.

        Parameters
        ----------
        root : Path or None
            A list, or a folder with some.
        notes : list of str, optional
            What a person should know of is appended.

        Raises
        ------
        ValueError
            There are no such lists, or not one file that they name can be read.
        """
        notes = [] if notes is None else notes
        expected = f"a list of captions of {self.name}, or a folder with some"
        if root is None:
            check.fail("root", expected, None)
        if not Path(root).exists():
            check.fail("root", expected, str(root), "no such path")
        root = Path(root)
        folder = root if root.is_dir() else root.parent
        lists = [table for table in (csv_files(root) if root.is_dir() else [root]) if self.matches(table)]
        if not lists:
            check.fail("root", expected, str(root))
        items = (item for one in lists for item in read_rows(self.rows(one, notes), one, folder))
        clips = merge_captions(items, notes)
        rate, seconds = usual_form([clip.path for clip in clips], root)
        return Dataset(self.name, tuple(clips), (), rate, seconds, root)


def csv_files(folder: Path) -> list[Path]:
    """Return the CSV files in a folder, or else in its folders, sorted; hidden ones are left out."""
    tables = sorted(folder.glob("*.csv")) or sorted(folder.glob("*/*.csv"))
    return [path for path in tables if path.name[0] != "." and path.is_file()]


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
        paths = self._find(split or "")
        for path in sorted(paths, key=lambda p: ("/" + (split or "\0")) not in "/" + p.rpartition("/")[0]):
            name = path.rpartition("/")[2]
            self._whole.setdefault(name, path)
            self._stems.setdefault(name.rpartition(".")[0], path)
        if not self._whole:
            expected = f"beside or below its audio files, or with a folder {split!r} beside it"
            check.fail(str(table), expected, "no audio files", "move the list to them")

    def get(self, *names: str) -> str | None:
        """Return the path, relative to the table, of the first name that there is, with its own or any suffix."""
        paths = (index.get(name) for index in (self._whole, self._stems) for name in names)
        return next((path for path in paths if path), None)

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
