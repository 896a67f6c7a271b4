"""UrbanSound8K: 8,732 clips of at most 4 s, 10 classes, 10 folds that are never reshuffled.

Salamon, Jacoby, Bello, "A Dataset and Taxonomy for Urban Sound Research", ACM Multimedia 2014. Its archive:
``audio/fold1`` to ``audio/fold10`` and ``metadata/UrbanSound8K.csv``. All slices of one recording (``fsID``) lie in one
fold; other folds would test on recordings that were trained on. Labels are drawn from slices, so that slices of one
recording may be labelled and unlabelled; ``--grouped`` draws whole recordings. Files have 8 to 192 kHz, one or two
channels and 4 to 32 bits; clips are cut or zero-padded to 4 s at their end.
"""

from dataclasses import replace
from pathlib import Path

from .. import check
from . import tables
from .dataset import Dataset
from .item import Item
from .walk import check_folder

__all__ = ["index", "is_archive", "read"]

RATE, SECONDS = 44100, 4.0
_COLUMNS = ("slice_file_name", "fsID", "fold", "classID", "class")


def is_archive(root: Path) -> bool:
    """Say whether a folder is laid out as the archive of UrbanSound8K is."""
    return (root / "metadata" / "UrbanSound8K.csv").is_file() and (root / "audio").is_dir()


def index(root: Path | None = None) -> Dataset:
    """List the clips under `root`.

    Parameters
    ----------
    root : Path
        The folder with ``audio/`` and ``metadata/UrbanSound8K.csv``.

    Raises
    ------
    ValueError
        `root` is not such an archive, or its table has other columns.
    """
    root = check_folder(root, "UrbanSound8K (audio/fold1.. and metadata/UrbanSound8K.csv)")
    if not is_archive(root):
        slip = "one folder too high or too low?"
        check.fail("root", "UrbanSound8K, with audio/ and metadata/UrbanSound8K.csv", str(root), slip)
    items, names = _items(root)
    return Dataset("urbansound8k", tuple(items), names, RATE, SECONDS, root, speech=False)


def read(root: Path) -> list[Item]:
    """Read all clips of an archive, for mixing: official folds, recordings as groups.

    Parameters
    ----------
    root : Path
        The folder with ``audio/`` and ``metadata/UrbanSound8K.csv``.

    Returns
    -------
    list of Item
        In the order of the table; ids are paths relative to `root`.

    Raises
    ------
    ValueError
        Its table has other columns.
    """
    return [replace(item, id=item.file or item.id, file=None) for item in _items(root)[0]]


def _items(root: Path) -> tuple[list[Item], tuple[str, ...]]:
    """Return the clips of the table, and the names of the classes in the order of their numbers."""
    table = root / "metadata" / "UrbanSound8K.csv"
    rows = [row for _, row in tables.rows(table)]
    missing = [c for c in _COLUMNS if not rows or c not in rows[0]]
    if missing:
        check.fail(str(table), f"a table with the columns {', '.join(_COLUMNS)}", f"one without {', '.join(missing)}")
    labels, names = tables.order_classes(table, rows, "classID", "class")
    items = []
    for label, row in zip(labels, rows):
        name = f"fold{row['fold']}/{row['slice_file_name']}"
        items.append(Item(str(root), name, label, fold=row["fold"], group=row["fsID"], file=f"audio/{name}"))
    return items, names
