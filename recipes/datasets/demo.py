"""The bundled data: ten words said by many synthetic voices, one second each, in folds that share no voice.

Made by the project's own script (``assets/make.py``); listed in a ``metadata.jsonl`` of the form that Hugging Face
calls an audio folder.
"""

import json
from pathlib import Path
from typing import Any

import audiomix
from audiomix import check

from . import Dataset, Item, existing

__all__ = ["assets", "index"]

RATE, SECONDS = 16000, 1.0


def assets() -> Path:
    """Return the folder of the bundled sounds: inside the package once installed, beside it in a checkout."""
    package = Path(audiomix.__file__).parent
    places = (package / "assets", package.parent / "assets")
    for folder in places:
        if (folder / "words" / "metadata.jsonl").is_file():
            return folder
    raise FileNotFoundError(f"the bundled data is neither in {places[0]} nor in {places[1]}")


def index(root: Path | None = None) -> Dataset:
    """List the bundled words, or those of another folder with a ``metadata.jsonl`` of the same form."""
    root = assets() / "words" if root is None else existing(root, "words with a metadata.jsonl")
    table = root / "metadata.jsonl"
    if not table.is_file():
        check.fail("root", "a folder with a metadata.jsonl", str(root))
    lines = enumerate(table.read_text(encoding="utf-8").splitlines(), 1)
    rows = [_row(f"{table}, line {number}", line) for number, line in lines if line.strip()]
    names = tuple(sorted({row["label"] for row in rows}))
    items = [
        Item(
            path=root / row["file_name"],
            label=names.index(row["label"]),
            id=row["file_name"],
            fold=None if row.get("fold") is None else str(row["fold"]),
            group=row.get("group"),
            split=row.get("split"),
        )
        for row in rows
    ]
    dataset = Dataset("demo", tuple(items), names, RATE, SECONDS, root)
    if not dataset.folds:
        check.fail(str(table), "rows with a fold, or some with split test", "neither", "what is to be held out?")
    return dataset


def _row(where: str, line: str) -> dict[str, Any]:
    """Return a line of the table as a row, or say what is wrong with it."""
    expected = "a row with file_name and label"
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        check.fail(where, expected, f"no JSON ({error})")
    if not isinstance(row, dict):
        check.fail(where, expected, f"a {type(row).__name__}")
    if missing := [key for key in ("file_name", "label") if key not in row]:
        check.fail(where, expected, f"one without {', '.join(missing)}")
    if wrong := [key for key in ("file_name", "label") if not isinstance(row[key], str)]:
        check.fail(where, "a row whose file_name and label are text", f"{wrong[0]} {row[wrong[0]]!r}")
    return row
