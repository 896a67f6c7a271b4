"""UrbanSound8K: 8,732 clips of at most 4 s, 10 classes, 10 folds that are never reshuffled.

Salamon, Jacoby, Bello, "A Dataset and Taxonomy for Urban Sound Research", ACM Multimedia 2014. Its archive:
``audio/fold1`` to ``audio/fold10`` and ``metadata/UrbanSound8K.csv``. All slices of one recording (``fsID``) lie in one
fold; other folds would test on recordings that were trained on. Labels are drawn from slices, so that slices of one
recording may be labelled and unlabelled; ``--grouped`` draws whole recordings. Files have 8 to 192 kHz, one or two
channels and 4 to 32 bits; clips are cut or zero-padded to 4 s at their end.
"""

import csv
from pathlib import Path

from audiomix import check

from ..training.study_settings import study
from . import Dataset, Item, existing, whole

__all__ = ["CONFIGS", "index"]

RATE, SECONDS = 44100, 4.0
# The study's rate, and its threshold here. Nine folds hold 7,859 clips on average, nine tenths of them unlabelled.
_RATE = {"rate": 22050}
CONFIGS = {"study": _RATE, "original": _RATE} | study(7073, fixmatch={"threshold": 0.95})
_COLUMNS = ("slice_file_name", "fsID", "fold", "classID", "class")


def index(root: Path | None = None) -> Dataset:
    """List the clips under `root`.

    Raises
    ------
    ValueError
        `root` is not such an archive, its table has other columns, or slices of a recording lie in two folds.
    """
    root = existing(root, "UrbanSound8K (audio/fold1.. and metadata/UrbanSound8K.csv)")
    table = root / "metadata" / "UrbanSound8K.csv"
    if not table.is_file() or not (root / "audio").is_dir():
        slip = "one folder too high or too low?"
        check.fail("root", "UrbanSound8K, with audio/ and metadata/UrbanSound8K.csv", str(root), slip)
    with open(table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = [c for c in _COLUMNS if not rows or c not in rows[0]]
    if missing:
        check.fail(str(table), f"a table with the columns {', '.join(_COLUMNS)}", f"one without {', '.join(missing)}")
    numbers = [whole(table, "classID", row["classID"]) for row in rows]
    names = dict(sorted((number, row["class"]) for number, row in zip(numbers, rows)))
    new = {old: i for i, old in enumerate(names)}
    items = [
        Item(
            path=root / "audio" / f"fold{row['fold']}" / row["slice_file_name"],
            label=new[number],
            id=f"fold{row['fold']}/{row['slice_file_name']}",
            fold=row["fold"],
            group=row["fsID"],
        )
        for number, row in zip(numbers, rows)
    ]
    return Dataset("urbansound8k", tuple(items), tuple(names.values()), RATE, SECONDS, root, CONFIGS)
