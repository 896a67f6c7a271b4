"""Which column of a manifest is what, and the items that its rows become."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .. import check
from . import tables
from .item import Item

__all__ = ["COLUMNS", "merge_captions", "option_of", "read_rows"]

# What each column may be called when it is not named by the caller; the first name that is there counts.
COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("path", "file_name", "filename", "file", "audio_filepath"),
    "label": ("label", "labels", "category", "class"),
    "caption": ("caption", "captions"),
    "split": ("split",),
    "fold": ("fold",),
    "group": ("group",),
    "licence": ("licence", "license"),
    "attribution": ("attribution",),
    "role": ("role",),
    "bpm": ("bpm", "tempo"),
    "key": ("key", "musical_key"),
    "beats": ("beats",),
    "tags": ("tags", "keywords"),
}
# Captions that have a column each; `caption` and `captions` come first.
_NUMBERED = re.compile(r"caption_\d+")
_PLAIN = ("split", "fold", "group", "licence", "attribution", "role")


def read_rows(
    rows: Iterable[tuple[str, dict[str, Any]]],
    table: Path,
    root: Path,
    columns: Mapping[str, str] | None = None,
    separator: str | None = None,
) -> Iterator[Item]:
    """Yield the items that the rows of a manifest stand for.

    Parameters
    ----------
    rows : iterable of (str, dict)
        Where each row stands, for messages, and its cells by the names of the columns.
    table : Path
        The manifest: paths in it are relative to its folder.
    root : Path
        What ids are relative to; where the manifest lies in a folder below, that is the split of rows without one.
    columns : mapping, optional
        Names of columns by what they are, a key of `COLUMNS`; that of the captions may be a pattern. None where a
        caller's user cannot name any: no message then says how.
    separator : str, optional
        What separates several labels in one cell.

    Yields
    ------
    Item
        In the order of the rows.

    Raises
    ------
    TypeError, ValueError
        A row without a path, a column that is not there, a cell that is no label or text.
    """
    prefix = os.path.relpath(table.parent, root)
    split = None if prefix == "." else prefix.replace(os.sep, "/")
    column_of: dict[str, str] = {}
    captions: list[str] = []
    for where, row in rows:
        if not column_of or table.suffix.lower() == ".jsonl":  # JSON rows may lack keys
            column_of, captions = _match(row, columns or {}, where), _caption_columns(row, columns or {}, where)
        name = row.get(column_of.get("path", ""))
        if not isinstance(name, str) or not name:
            slip = "give the column with the files one of these names"
            if columns is not None:
                slip = "name it: --path-column wav, or columns={'path': 'wav'}"
            expected = f"in a column {' | '.join(COLUMNS['path'])}"
            check.fail(f"the path in {where}", expected, sorted(map(str, row)), slip)
        cells: dict[str, Any] = {key: tables.cell(row.get(column_of.get(key, ""))) for key in _PLAIN}
        cells["split"] = cells["split"] or split
        yield Item(
            str(root),
            os.path.normpath(os.path.join(prefix, name)).replace(os.sep, "/"),
            tables.label(row.get(column_of.get("label", "")), separator, where),
            **cells,
            captions=tuple(dict.fromkeys(text for column in captions for text in tables.texts(row.get(column), where))),
            tags=tables.tags(row.get(column_of.get("tags", "")), where),
            **_music({key: row.get(column_of.get(key, "")) for key in ("bpm", "key", "beats")}, prefix),
        )


def _music(cells: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return what is said of tempo, key and beats, as `Item` has it; whether it makes sense is seen where it is used.

    >>> _music({"bpm": 120.0, "key": "Am", "beats": "0.5; 1 1.5"}, ".")
    {'bpm': '120', 'key': 'Am', 'beats': '[0.5, 1.0, 1.5]'}
    >>> _music({"bpm": None, "key": "", "beats": "rock.beats"}, "songs")
    {'bpm': None, 'key': None, 'beats': 'songs/rock.beats'}
    """
    bpm, key, beats = (None if isinstance(cells[name], (dict, bool)) else cells[name] for name in cells)
    bpm, key = (None if isinstance(value, list) else tables.cell(value) for value in (bpm, key))
    if isinstance(beats, list):
        return {"bpm": bpm, "key": key, "beats": json.dumps(beats) if beats else None}
    return {"bpm": bpm, "key": key, "beats": _beats(tables.cell(beats), prefix)}


def _beats(text: str | None, prefix: str) -> str | None:
    """Return times as a JSON list, a path as relative to the root; one number is how many beats there are."""
    if text is None:
        return None
    try:
        times = [float(word) for word in re.split(r"[\s,;]+", text.strip("[]() "))]
    except ValueError:
        return os.path.normpath(os.path.join(prefix, text)).replace(os.sep, "/")
    return json.dumps(times) if len(times) > 1 else None


def merge_captions(items: Iterable[Item], notes: list[str]) -> list[Item]:
    """Merge items that are one file and differ in their caption alone; they stand in the place of the first.

    Where they differ in more, all stay.

    Parameters
    ----------
    items : iterable of Item
        One for each row of a manifest.
    notes : list of str
        How many were merged is appended.
    """
    first: dict[str, int] = {}
    merged: list[Item] = []
    twice: Counter[str] = Counter()
    for item in items:
        at = first.setdefault(item.id, len(merged))
        both = tuple(dict.fromkeys((*merged[at].captions, *item.captions))) if at < len(merged) else ()
        if both and replace(item, captions=both) == replace(merged[at], captions=both):
            merged[at] = replace(item, captions=both)
            twice[item.id] += 1
        else:
            merged.append(item)
    if twice:
        name, more = next(iter(twice.items()))
        note = f"{len(twice)} files are listed more than once and have their captions merged"
        notes.append(f"{note}, e.g. {name!r}: {more + 1} rows")
    return merged


def option_of(column: str) -> str:
    """Return the option of the command line that names a column."""
    return f"--{column}-column"


def _match(row: dict[str, Any], columns: Mapping[str, str], where: str) -> dict[str, str]:
    """Return which column of `row` is what."""
    column_of = {key: next((n for n in names if n in row), "") for key, names in COLUMNS.items()}
    for key, name in columns.items():
        if key != "caption" and name not in row:
            expected = f"one of the columns {', '.join(map(str, row))}"
            check.fail(f"columns[{key!r}] ({option_of(key)})", expected, repr(name), where)
        column_of[key] = name
    return {key: name for key, name in column_of.items() if name}


def _caption_columns(row: dict[str, Any], columns: Mapping[str, str], where: str) -> list[str]:
    """Return the columns that have captions; `caption` alone where `captions` is there too.

    What this package writes has the captions of the sources in `captions`, and that of the mix in `caption`.
    """
    if "caption" in columns:
        pattern = columns["caption"]
        names = [pattern] if pattern in row else [name for name in row if fnmatchcase(name, pattern)]
        if not names and not where.split(", line")[0].lower().endswith(".jsonl"):  # a JSON row may lack it
            expected = f"one of the columns {', '.join(map(str, row))}"
            check.fail("columns['caption'] (--caption-column)", expected, f"{pattern!r}: {where}")
        return names
    names = [name for name in COLUMNS["caption"] if row.get(name) is not None][:1]
    return names or [name for name in row if _NUMBERED.fullmatch(name)]
