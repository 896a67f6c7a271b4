"""The bundled data: ten words said by many synthetic voices, one second each, in folds that share no voice.

Made by the project's own script (``assets/make.py``); listed in a ``metadata.jsonl`` of the form that Hugging Face
calls an audio folder.
"""

from pathlib import Path
from typing import Any

from .. import check
from . import tables
from .dataset import Dataset
from .item import Item
from .walk import check_folder

__all__ = ["assets", "index"]

RATE, SECONDS = 16000, 1.0


def assets() -> Path:
    """Return the folder of the bundled sounds: inside the package once installed, beside it in a checkout.

    Raises
    ------
    FileNotFoundError
        It is in neither place.
    """
    package = Path(__file__).parents[1]
    places = (package / "assets", package.parent / "assets")
    for folder in places:
        if (folder / "words" / "metadata.jsonl").is_file():
            return folder
    raise FileNotFoundError(f"the bundled data is neither in {places[0]} nor in {places[1]}")


def index(root: Path | None = None) -> Dataset:
    """List the bundled words, or those of another folder with a ``metadata.jsonl`` of the same form.

    Parameters
    ----------
    root : Path, optional
        The other folder.

    Raises
    ------
    ValueError
        There is no ``metadata.jsonl``, a line of it is no such row, or nothing is to be held out.
    """
    root = assets() / "words" if root is None else check_folder(root, "words with a metadata.jsonl")
    table = root / "metadata.jsonl"
    if not table.is_file():
        check.fail("root", "a folder with a metadata.jsonl", str(root))
    items = [_item(root, where, row) for where, row in tables.rows(table)]
    names = tuple(sorted({name for item in items for name in item.classes}))
    dataset = Dataset("demo", tuple(items), names, RATE, SECONDS, root, speech=True)
    if not dataset.folds:
        check.fail(str(table), "rows with a fold, or some with split test", "neither", "what is to be held out?")
    return dataset


def _item(root: Path, where: str, row: dict[str, Any]) -> Item:
    """Return the item that a row stands for, or say what is wrong with the row."""
    if missing := [key for key in ("file_name", "label") if key not in row]:
        check.fail(where, "a row with file_name and label", f"one without {', '.join(missing)}")
    if wrong := [key for key in ("file_name", "label") if not isinstance(row[key], str)]:
        check.fail(where, "a row whose file_name and label are text", f"{wrong[0]} {row[wrong[0]]!r}")
    fold = None if row.get("fold") is None else str(row["fold"])
    return Item(str(root), row["file_name"], row["label"], fold=fold, group=row.get("group"), split=row.get("split"))
