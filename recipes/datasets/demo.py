"""The bundled data: ten words said by many synthetic voices, one second each, in folds that share no voice.

Made by the project's own script (``assets/make.py``); listed in a ``metadata.jsonl`` of the form that Hugging Face
calls an audio folder.
"""

import json
from pathlib import Path

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
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines() if line.strip()]
    for number, row in enumerate(rows, 1):
        missing = [key for key in ("file_name", "label") if key not in row]
        if missing:
            check.fail(f"{table}, line {number}", "a row with file_name and label", f"one without {', '.join(missing)}")
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
    return Dataset("demo", tuple(items), names, RATE, SECONDS)
