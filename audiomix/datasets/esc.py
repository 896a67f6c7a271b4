"""The archive of ESC-50, of which ESC-10 is a part: ``audio/`` and ``meta/esc50.csv``.

Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015. Files may be wav or Ogg Vorbis,
whatever suffix the table gives. Clips that do not decode to exactly 5 s are cut or zero-padded at the end, as in the
published wav version.
"""

from collections.abc import Iterable
from pathlib import Path
from sys import intern
from typing import Any

from .. import check
from ..audio.io import AUDIO_SUFFIXES
from . import tables
from .dataset import Dataset
from .item import Item
from .walk import check_folder, list_folder

__all__ = ["attribution", "is_archive", "read", "read_task"]

RATE, SECONDS = 44100, 5.0
_COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file")


def is_archive(root: Path) -> bool:
    """Say whether a folder is laid out as the archive of ESC-50 is."""
    return _table(root).is_file() and (root / "audio").is_dir()


def read(root: Path) -> list[Item]:
    """Read all clips of an archive, for mixing: `fold`, `category`, and `src_file`, where there is one, as the group.

    Licences and authors come from ``meta/attribution.csv`` where that is there.

    Parameters
    ----------
    root : Path
        The folder with ``audio/`` and ``meta/esc50.csv``.

    Returns
    -------
    list of Item
        In the order of the table; ids are paths relative to `root`.

    Raises
    ------
    ValueError
        The table has not the columns filename, fold and category.
    """
    credit = {Path(row["filename"]).stem: row for row in _rows(root / "meta" / "attribution.csv")}
    find = _Finder(root / "audio", sorted(AUDIO_SUFFIXES, reverse=True))
    items = []
    for row in _rows(_table(root)):
        missing = {"filename", "fold", "category"} - set(row)
        if missing:
            check.fail(str(_table(root)), "a table with filename, fold and category", f"no {sorted(missing)}")
        origin = credit.get(Path(row["filename"]).stem, {})
        items.append(
            Item(
                str(root),
                f"audio/{find(row['filename'])}",
                label=intern(row["category"]),
                fold=intern(row["fold"]),
                group=row.get("src_file"),
                licence=origin.get("licence") or None,
                attribution=attribution(origin),
            )
        )
    return items


def read_task(root: Path | None, name: str, *, flagged: bool) -> Dataset:
    """Read an archive as a task: its clips, told apart by their targets.

    Parameters
    ----------
    root : Path or None
        The folder with ``audio/`` and ``meta/esc50.csv``.
    name : str
        What the data set is called.
    flagged : bool
        Take the rows of ESC-10 alone.

    Returns
    -------
    Dataset
        Ids are names of files without their suffix.

    Raises
    ------
    ValueError
        `root` is not such an archive, or its table has other columns.
    """
    root = check_folder(root, "ESC-50 (audio/ and meta/esc50.csv)")
    if not is_archive(root):
        slip = "one folder too high or too low?"
        check.fail("root", "an ESC-50 archive, with audio/ and meta/esc50.csv", str(root), slip)
    table = _table(root)
    rows = _rows(table)
    missing = [c for c in _COLUMNS if not rows or c not in rows[0]]
    if missing:
        check.fail(str(table), f"a table with the columns {', '.join(_COLUMNS)}", f"one without {', '.join(missing)}")
    if not flagged and all(_is_esc10(row) for row in rows):
        check.fail(str(table), "a table of all classes", "rows of ESC-10 alone", "the data set esc10?")
    rows = [row for row in rows if not flagged or _is_esc10(row)]
    if not rows:
        check.fail(str(table), "a table with rows flagged esc10", "none")
    # targets in ascending order become 0, 1, ...: ESC-10's are 0, 1, 10, 11, 12, 20, 21, 38, 40, 41
    labels, names = tables.order_classes(table, rows, "target", "category")
    # the suffixes that ESC-50 was published with, and FLAC; `read` takes any audio file of that name
    find = _Finder(root / "audio", (".wav", ".ogg", ".flac"))
    items = [
        Item(
            str(root),
            Path(row["filename"]).stem,
            label,
            fold=row["fold"],
            group=row["src_file"],
            file=f"audio/{find(row['filename'])}",
        )
        for label, row in zip(labels, rows)
    ]
    return Dataset(name, tuple(items), names, RATE, SECONDS, root, speech=False)


def attribution(row: dict[str, Any]) -> str | None:
    """Return whom a sound is from, by a row's `title`, `author` and `url`; None where the author is not known.

    >>> attribution({"title": "Rain", "author": "Ann", "url": "https://x.org"})
    'Rain by Ann (https://x.org)'
    """
    if not row.get("author"):
        return None
    title, url = row.get("freesound_title") or row.get("title"), row.get("url")
    return (f"{title} by " if title else "") + row["author"] + (f" ({url})" if url else "")


class _Finder:
    """Finds a file of a folder as it is on disk: the table may say .wav where .ogg is, and the reverse.

    The file of that very name comes first, then the first of `suffixes` that one of the same stem has.
    """

    def __init__(self, folder: Path, suffixes: Iterable[str]) -> None:
        self.names = set(list_folder(folder))
        self.by_stem: dict[str, str] = {}
        for suffix in suffixes:
            for name in sorted(self.names):
                if Path(name).suffix.lower() == suffix:
                    self.by_stem.setdefault(Path(name).stem, name)

    def __call__(self, name: str) -> str:
        """Return the name on disk; one that is not there is returned as it is, and is named when it is decoded."""
        return name if name in self.names else self.by_stem.get(Path(name).stem, name)


def _table(root: Path) -> Path:
    return root / "meta" / "esc50.csv"


def _rows(table: Path) -> list[dict[str, Any]]:
    return [row for _, row in tables.rows(table)] if table.is_file() else []


def _is_esc10(row: dict[str, str]) -> bool:
    return row["esc10"].strip().lower() in ("true", "1")
