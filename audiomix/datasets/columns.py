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
from ..audio.remote.urls import is_url
from . import tables
from .file_names import FileFinder
from .item import SPLITS, Item, piece_name
from .lhotse import is_lhotse, lhotse_row
from .walk import Skipped, is_audio, is_utf8, special_file

__all__ = [
    "COLUMNS", "END", "PLAIN", "SPLIT_NAMES", "RowReader", "beats_cell", "cluster_cell", "merge_captions",
    "name_pieces", "option_of", "path_cell", "plain_cell", "plain_name", "read_rows", "seconds_cell", "tempo_cell",
]  # fmt: skip

# What each column may be called when it is not named by the caller; the first name that is there counts, as it stands
# or else in whatever case and with spaces or hyphens for underscores.
COLUMNS: dict[str, tuple[str, ...]] = {
    "path": (
        *(
            "path",
            "file_name",
            "filename",
            "file",
            "audio_filepath",
            "audio_filename",
            "file_path",
            "filepath",
            "audio_path",
        ),
        *("wav_path", "audio_file", "wav", "audio", "fname"),
    ),
    "label": ("label", "labels", "category", "class"),
    "caption": ("caption", "captions", "text"),
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
    "cluster": ("cluster",),
    "attribute": ("attribute", "attributes"),
    # where in the file a clip begins, and how long it is, in seconds; a duration alone tells of the file
    "offset": ("offset",),
    "duration": ("duration",),
}
# Columns that are one of splits where the name of a split stands in them.
SPLIT_NAMES = ("set", "subset", "partition", "usage", "data_split")
# Columns that say where a label belongs, perhaps in another file: they are not read.
_SPANS = (("start", "end"), ("start_time", "end_time"), ("begin_time", "end_time"), ("start", "stop"))
# Captions that have a column each; `caption` and `captions` come first.
_NUMBERED = re.compile(r"caption_\d+")
_NO_CLUSTER = re.compile(r"-\d+(\.0*)?")
# The end of a piece, beside the keys of `COLUMNS`.
END = "end"
_MUSIC = ("bpm", "key", "beats")
PLAIN = ("split", "fold", "group", "licence", "attribution", "role")


def read_rows(
    rows: Iterable[tuple[str, dict[str, Any]]],
    table: Path,
    root: Path,
    columns: Mapping[str, str] | None = None,
    separator: str | None = None,
    *,
    audio_root: str | Path | None = None,
    notes: list[str] | None = None,
    skipped: Skipped | None = None,
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
    audio_root : path, optional
        Another folder that paths may be relative to; a URL, where files are not looked for.
    notes : list of str, optional
        In which other spellings files were found is appended.
    skipped : list of (str, str), optional
        Named pipes and the like, which must not be opened, are appended with the reason.

    Yields
    ------
    Item
        In the order of the rows.

    Raises
    ------
    TypeError, ValueError
        A row without a path, a column that is not there, a cell that is no label or text.
    """
    reader = RowReader(table, root, columns, separator, audio_root=audio_root, notes=notes, skipped=skipped)
    for where, row in rows:
        item = reader.read(where, row)
        if item is not None:
            yield item
    reader.end()


class RowReader:
    """Reads the rows of one manifest, one after the other; the arguments are those of `read_rows`.

    Attributes
    ----------
    column_of : dict of str to str
        Which column of the last row is what, a key of `COLUMNS` or `END`.
    captions : (list of str, list of str)
        Of its columns, those of which the first that is filled has the captions, and those that have some otherwise.
    """

    def __init__(
        self,
        table: Path,
        root: Path,
        columns: Mapping[str, str] | None = None,
        separator: str | None = None,
        *,
        audio_root: str | Path | None = None,
        notes: list[str] | None = None,
        skipped: Skipped | None = None,
    ) -> None:
        self.table, self.root, self.separator, self.notes, self.skipped = table, root, separator, notes, skipped
        self.columns, self.can_choose = columns or {}, columns is not None
        self.prefix = os.path.relpath(table.parent, root)
        self.split = None if self.prefix == "." else self.prefix.replace(os.sep, "/")
        self.find = FileFinder(table, (root, *([] if audio_root is None else [audio_root])))
        self.names: tuple[str, ...] = ()
        self.column_of: dict[str, str] = {}
        self.captions: tuple[list[str], list[str]] = ([], [])

    def match(self, row: dict[str, Any], where: str) -> tuple[dict[str, str], tuple[list[str], list[str]]]:
        """Return `column_of` and `captions` for a row."""
        return _match(row, self.columns, where), _caption_columns(row, self.columns, where)

    def take(
        self, row: dict[str, Any], column_of: dict[str, str], captions: tuple[list[str], list[str]]
    ) -> None:
        """Read rows with the columns of this one by what `match` has returned, until others come."""
        if not self.column_of and self.notes is not None:
            self.notes += _notes_on(self.table, row, column_of)
        self.names, self.column_of, self.captions = tuple(row), column_of, captions

    def path_of(self, spelling: str) -> str:
        """Return a path relative to the manifest as one relative to the root; a URL as it is."""
        if is_url(spelling):
            return spelling
        return os.path.normpath(os.path.join(self.prefix, spelling)).replace(os.sep, "/")

    def read(self, where: str, row: dict[str, Any]) -> Item | None:
        """Return the item of a row; None where its file must not be opened."""
        if is_lhotse(row) and not any(name in row for name in COLUMNS["path"]):
            row = lhotse_row(row, where)
        if self.names != tuple(row):  # JSON rows may lack keys
            self.take(row, *self.match(row, where))
        column_of = self.column_of
        cells = {key: row.get(column_of[key]) if key in column_of else None for key in COLUMNS}
        path = self.path_of(self.find(path_cell(cells["path"], row, where, chosen=self.can_choose)))
        if kind := special_file(os.path.join(self.root, path)):
            reason = f"is {kind}, not a file ({where})"
            if self.skipped is not None:
                self.skipped.append((path, reason))
            elif self.notes is not None:
                self.notes.append(f"{path} {reason}")
            return None
        plain = {key: None if cells[key] is None else plain_cell(cells[key], where) for key in PLAIN}
        plain["split"] = plain["split"] or self.split
        start, seconds = _piece(cells["offset"], cells["duration"], where, row.get(column_of.get(END, "")))
        told = next(([name] for name in self.captions[0] if row[name] is not None), self.captions[1])
        return Item(
            str(self.root),
            path,
            tables.label(cells["label"], self.separator, where),
            **plain,
            captions=tuple(dict.fromkeys(text for column in told for text in tables.texts(row.get(column), where))),
            tags=() if cells["tags"] is None else tables.tags(cells["tags"], where),
            cluster=None if cells["cluster"] is None else cluster_cell(cells["cluster"], where),
            attributes=None if cells["attribute"] is None else tables.tags(cells["attribute"], where) or None,
            **({} if all(cells[key] is None for key in _MUSIC) else _music({k: cells[k] for k in _MUSIC}, self.prefix)),
            start=start,
            seconds=seconds,
            line=int(where.rpartition(" ")[2]),
        )

    def end(self) -> None:
        """Note in which other spellings files were found."""
        if self.notes is not None:
            self.notes += self.find.notes()


def name_pieces(items: list[Item]) -> list[Item]:
    """Name pieces of files so that those of one file have names of their own; one that is alone at 0 s keeps its name.

    >>> [item.id for item in name_pieces([Item("", "a.wav", start=2.0, seconds=1.5), Item("", "b.wav", start=0.0)])]
    ['a@2-3.5.wav', 'b.wav']
    """
    if all(item.start is None for item in items):
        return items
    rows = Counter(item.id for item in items)
    return [_name_piece(item) if item.start or (item.start == 0 and rows[item.id] > 1) else item for item in items]


def _name_piece(item: Item) -> Item:
    return replace(item, id=piece_name(item.id, item.start or 0.0, item.seconds), file=item.id)


def path_cell(value: Any, row: dict[str, Any], where: str, *, chosen: bool) -> str:
    """Return the path in a row, or say what is wrong with it."""
    if isinstance(value, dict) and "bytes" in value:  # a sound as Hugging Face's datasets have it
        if value["bytes"] is not None:
            slip = "write them as files first: soundfile.write, or audiofolder"
            check.fail(f"the path in {where}", "the path of a file", "the sound itself", slip)
        value = value.get("path")
    if not isinstance(value, str) or not value.strip():
        slip = "name it: --path-column wav, or columns={'path': 'wav'}" if chosen else ""
        slip = slip or "give the column with the files one of these names"
        if any(is_audio(str(name)) for name in row):
            slip = "the first line must name the columns"
        expected = f"in a column {' | '.join(COLUMNS['path'])}"
        check.fail(f"the path in {where}", expected, sorted(map(str, row)), slip)
    if not is_utf8(value):
        check.fail(f"the path in {where}", "text", ascii(value), "half of a surrogate pair")
    if "\0" in value:
        check.fail(f"the path in {where}", "the path of a file", repr(value), "a file in UTF-16? save it as UTF-8")
    return value


def plain_cell(value: Any, where: str) -> str | None:
    """Return the text of a cell; None where it says nothing, as printed by Python and by databases too."""
    if isinstance(value, (dict, list)):
        check.fail(f"a cell in {where}", "text or a number", type(value).__name__, error=TypeError)
    text = tables.cell(value)
    if text is None or text in tables.NONE:
        return None
    if not is_utf8(text):
        check.fail(f"a cell in {where}", "text", ascii(text), "half of a surrogate pair")
    return tables.same_name(text)


def cluster_cell(value: Any, where: str) -> str | None:
    """Return the cluster in a cell; None for negative numbers, as DBSCAN calls what is in none."""
    text = plain_cell(value, where)
    return None if text is None or _NO_CLUSTER.fullmatch(text) else text


def _piece(offset: Any, duration: Any, where: str, end: Any = None) -> tuple[float | None, float | None]:
    """Return where a clip begins in its file and how long it is, in seconds; None twice where it is all of the file."""
    start, seconds = (seconds_cell(value, what, where) for value, what in ((offset, "offset"), (duration, "duration")))
    if start is None:
        return None, None
    if (stop := seconds_cell(end, "offset", where)) is not None:
        seconds = round(stop - start, 9)
    if seconds is not None and seconds <= 0:
        check.fail(f"the duration in {where}", "more than 0 s", f"{seconds:g}")
    return start, seconds


def seconds_cell(value: Any, what: str, where: str) -> float | None:
    """Return the seconds in a cell, at least 0; None where it says nothing."""
    text = tables.cell(value)
    if text is None or text in tables.NONE:
        return None
    try:
        return check.number(f"the {what} in {where}", float(text), 0)
    except ValueError:
        check.fail(f"the {what} in {where}", "a number of seconds of at least 0", repr(value))


def _music(cells: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return what is said of tempo, key and beats, as `Item` has it; whether it makes sense is seen where it is used.

    >>> _music({"bpm": 120.0, "key": "Am", "beats": "0.5; 1 1.5"}, ".")
    {'bpm': '120', 'key': 'Am', 'beats': '[0.5, 1.0, 1.5]'}
    >>> _music({"bpm": None, "key": "", "beats": "rock.beats"}, "songs")
    {'bpm': None, 'key': None, 'beats': 'songs/rock.beats'}
    """
    return {
        "bpm": tempo_cell(cells["bpm"]), "key": tempo_cell(cells["key"]), "beats": beats_cell(cells["beats"], prefix)
    }  # fmt: skip


def tempo_cell(value: Any) -> str | None:
    """Return what a cell says of tempo or key."""
    return None if isinstance(value, (dict, bool, list)) else tables.cell(value)


def beats_cell(value: Any, prefix: str) -> str | None:
    """Return times as a JSON list, a path as relative to the root; one number is how many beats there are."""
    if isinstance(value, list):
        return json.dumps(value) if value else None
    text = None if isinstance(value, (dict, bool)) else tables.cell(value)
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
    alike: dict[str, str] = {}
    for name in row:
        alike.setdefault(plain_name(name), name)
    column_of = {key: next((name for name in names if name in row), "") for key, names in COLUMNS.items()}
    for key, names in COLUMNS.items():
        column_of[key] = column_of[key] or next((alike[name] for name in names if name in alike), "")
    for key, name in columns.items():
        found = name if name in row else alike.get(plain_name(name), "")
        if key != "caption" and not found:
            expected = f"one of the columns {', '.join(map(str, row))}"
            check.fail(f"columns[{key!r}] ({option_of(key)})", expected, repr(name), where)
        column_of[key] = found
    if not column_of["split"]:
        named = (alike[name] for name in SPLIT_NAMES if name in alike)
        column_of["split"] = next((name for name in named if str(row[name]).strip().lower() in SPLITS), "")
    if "onset" in alike and column_of["offset"] == alike.get("offset", "") and "offset" not in columns:
        column_of |= {"offset": alike["onset"], END: alike.get("offset", "")}  # as DCASE writes events
    return {key: name for key, name in column_of.items() if name}


def _notes_on(table: Path, row: dict[str, Any], column_of: Mapping[str, str]) -> list[str]:
    """Return what is to be said of how the columns of a manifest are read."""
    notes, alike = [], {plain_name(name): name for name in row}
    if plain_name(column_of.get("split", "")) in SPLIT_NAMES:
        notes.append(f"{table.name}: the column {column_of['split']} is read as split")
    if END in column_of:
        pair = f"{column_of['offset']} and {column_of[END]}"
        notes.append(f"{table.name}: the columns {pair} are start and end of pieces")
    spans = [pair for pair in _SPANS if "offset" not in column_of and set(pair) <= alike.keys()]
    if spans:
        text = f"the columns {' and '.join(alike[name] for name in spans[0])} are not read, and files are taken whole"
        notes.append(f"{table.name}: {text}: columns offset and duration, in seconds, name a piece")
    return notes


def plain_name(name: str) -> str:
    """Return a column's name without what spelling it otherwise would change.

    >>> plain_name(" File-Name ")
    'file_name'
    """
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


def _caption_columns(row: dict[str, Any], columns: Mapping[str, str], where: str) -> tuple[list[str], list[str]]:
    """Return the columns of which the first that is filled has the captions, and those that have some otherwise.

    What this package writes has the captions of the sources in `captions`, and that of the mix in `caption`.
    """
    if "caption" in columns:
        pattern = columns["caption"]
        names = [pattern] if pattern in row else [name for name in row if fnmatchcase(name, pattern)]
        if not names and tables.kind_of(Path(where.partition(", ")[0])) in (".csv", ".tsv"):  # a JSON row may lack it
            expected = f"one of the columns {', '.join(map(str, row))}"
            check.fail("columns['caption'] (--caption-column)", expected, f"{pattern!r}: {where}")
        return [], names
    one = [name for known in COLUMNS["caption"] for name in row if plain_name(name) == known]
    return one, [name for name in row if _NUMBERED.fullmatch(plain_name(name))]
