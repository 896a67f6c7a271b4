"""ESC-50's archive, of which ESC-10 is a part: ``audio/`` and ``meta/esc50.csv``.

Files may be wav or Ogg Vorbis, whatever suffix the table gives. Clips that do not decode to exactly 5 s are cut or
zero-padded at the end, as in the published wav version.
"""

import csv
from pathlib import Path

from audiomix import check

from . import Dataset, Item, existing, whole

__all__ = ["read"]

RATE, SECONDS = 44100, 5.0
_SUFFIXES = (".wav", ".ogg", ".flac")
_COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file")


def read(root: Path | None, name: str, *, flagged: bool) -> Dataset:
    """List the clips under `root`; with `flagged` those of ESC-10 alone.

    Raises
    ------
    ValueError
        `root` is not such an archive, or its table has other columns.
    """
    root = existing(root, "ESC-50 (audio/ and meta/esc50.csv)")
    table = root / "meta" / "esc50.csv"
    if not table.is_file() or not (root / "audio").is_dir():
        slip = "one folder too high or too low?"
        check.fail("root", "an ESC-50 archive, with audio/ and meta/esc50.csv", str(root), slip)
    with open(table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = [c for c in _COLUMNS if not rows or c not in rows[0]]
    if missing:
        check.fail(str(table), f"a table with the columns {', '.join(_COLUMNS)}", f"one without {', '.join(missing)}")
    if not flagged and all(_is_esc10(row) for row in rows):
        check.fail(str(table), "a table of all classes", "rows of ESC-10 alone", "the data set esc10?")
    rows = [row for row in rows if not flagged or _is_esc10(row)]
    if not rows:
        check.fail(str(table), "a table with rows flagged esc10", "none")
    # its ids in ascending order become 0, 1, ...: ESC-10's are 0, 1, 10, 11, 12, 20, 21, 38, 40, 41
    numbers = [whole(table, "target", row["target"]) for row in rows]
    names = dict(sorted((number, row["category"]) for number, row in zip(numbers, rows)))
    new = {old: i for i, old in enumerate(names)}
    items = [
        Item(
            path=_found(root / "audio" / row["filename"]),
            label=new[number],
            id=Path(row["filename"]).stem,
            fold=row["fold"],
            group=row["src_file"],
        )
        for number, row in zip(numbers, rows)
    ]
    return Dataset(name, tuple(items), tuple(names.values()), RATE, SECONDS, root)


def _is_esc10(row: dict[str, str]) -> bool:
    return row["esc10"].strip().lower() in ("true", "1")


def _found(path: Path) -> Path:
    """Return the file as it is on disk: the table may say .wav where .ogg is, and the reverse."""
    for candidate in (path, *(path.with_suffix(s) for s in _SUFFIXES)):
        if candidate.is_file():
            return candidate
    return path  # listed as unreadable when the store is built
