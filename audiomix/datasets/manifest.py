"""What there is to mix: a source folder or manifest becomes a list of items.

===========================  =====================================================================================
source                       what is read
===========================  =====================================================================================
a CSV, TSV or JSONL file     one row a file: `path`, `label`, `caption`, `split`, `fold`, `group`, `licence`,
                             `attribution`, `tags`; paths are relative to the manifest
several captions a file      `captions`, a list (in a CSV file written as JSON); or ``caption_1``, ``caption_2``...; or
                             one row for each, alike in all other columns
Clotho's captions CSV        ``file_name,caption_1..caption_5``, or a folder with several; see `.captioned`
AudioCaps' CSV               ``audiocap_id,youtube_id,start_time,caption``, or a folder with several; see `.captioned`
Hugging Face audiofolder     ``metadata.jsonl`` or ``metadata.csv`` in the folder, or in each of its split folders
ESC-50-style archive         ``meta/esc50.csv`` and ``audio/``; see `audiomix.datasets.folders`
folder of class folders      ``CLASS/*.wav`` or ``train/CLASS/*.wav``; see `audiomix.datasets.folders`
===========================  =====================================================================================
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .. import check
from . import tables
from .tables import Label

__all__ = ["COLUMNS", "Item", "Label", "read_source", "unlisted"]

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
    "tags": ("tags", "keywords"),
}
# Captions that have a column each; `caption` and `captions` come first.
_NUMBERED = re.compile(r"caption_\d+")


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a data set.

    Parameters
    ----------
    root : str
        Folder that `id` is relative to.
    id : str
        Path relative to the source, with forward slashes: what names the file in manifests and seeds its draws.
    label : str, dict or None
        A class, or shares (or ones, for several labels) by class.
    caption, split, fold, group, licence, attribution : str, optional
        `group` is the recording or speaker a clip was cut from. `caption` is the first of `captions`.
    captions, tags : tuple of str
        All captions in their order; one where only `caption` is given.
    """

    root: str
    id: str
    label: Label = None
    caption: str | None = None
    split: str | None = None
    fold: str | None = None
    group: str | None = None
    licence: str | None = None
    attribution: str | None = None
    captions: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Keep `caption` the first of `captions`."""
        if self.captions:
            object.__setattr__(self, "caption", self.captions[0])
        elif self.caption:
            object.__setattr__(self, "captions", (self.caption,))

    @property
    def path(self) -> str:
        """Where the file is."""
        return os.path.join(self.root, self.id)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes it has a share of."""
        if self.label is None:
            return ()
        return (self.label,) if isinstance(self.label, str) else tuple(self.label)


def read_source(
    source: str | Path,
    columns: Mapping[str, str] | None = None,
    *,
    no_labels: bool = False,
    label_separator: str | None = None,
    need_labels: bool = True,
    notes: list[str] | None = None,
) -> tuple[list[Item], list[str]]:
    """Read what there is to mix.

    Parameters
    ----------
    source : path
        A folder or a manifest; see the table above.
    columns : mapping, optional
        Names of the columns of a manifest, e.g. ``{"label": "species", "group": "speaker"}``. That of the captions
        may be a pattern for several: ``{"caption": "text_*"}``. Where a caller's user cannot name any it is None: no
        message then says how.
    no_labels : bool
        Leave labels out, or do without them.
    label_separator : str, optional
        What separates several labels in one cell of a CSV manifest, e.g. ``","``.
    need_labels : bool
        Refuse a source with unlabelled files; else those have none.
    notes : list of str, optional
        What a person should know of is appended: files of AudioCaps that are gone, a table that is not UTF-8.

    Returns
    -------
    items : list of Item
        In the order of the manifest; of a folder, sorted by name.
    classes : list of str
        Sorted names of all classes.

    Raises
    ------
    ValueError
        Nothing to mix, labels that are missing, a column that is not there, one file listed twice.
    """
    source = Path(source)
    for name in columns or {}:
        check.choice("columns", name, COLUMNS)
    if not source.exists():
        check.fail("source", "a folder or a CSV, TSV or JSONL manifest", repr(str(source)), "there is no such path")
    notes = [] if notes is None else notes
    named = None if columns is None else dict(columns)
    items = _merged(_items(source, named, label_separator, notes), notes)
    if not items:
        check.fail("source", "a folder or manifest with audio files", repr(str(source)), "no audio files were found")
    if no_labels:
        items = [replace(item, label=None) for item in items]
    elif need_labels:
        _check_labels(items, source)
    _check_names(items)
    if columns and "caption" in columns and not any(item.captions for item in items):
        check.fail("columns['caption'] (--caption-column)", "a column with captions in it", repr(columns["caption"]))
    return items, sorted({c for item in items for c in item.classes})


def _items(source: Path, columns: dict[str, str] | None, separator: str | None, notes: list[str]) -> list[Item]:
    from . import captioned
    from . import folders as layouts

    if source.is_file():
        if source.suffix.lower() not in tables.TABLES:
            check.fail("source", "a folder or a CSV, TSV or JSONL manifest", repr(str(source)))
        return list(_table(captioned.rows(source, notes), source, source.parent, columns, separator))
    listed = _metadata(source)
    if listed:
        return [item for one in listed for item in _table(tables.rows(one), one, source, columns, separator)]
    listed = captioned.lists(source)
    if listed:
        return [item for one in listed for item in _table(captioned.rows(one, notes), one, source, columns, separator)]
    if columns or separator:
        flags = ", ".join(map(_flag, columns or ())) or "--label-separator"
        name = f"{'columns' if columns else 'label_separator'} ({flags})"
        check.fail(name, "left out for a source without a manifest", columns or separator, "a folder has no columns")
    return layouts.esc(source) if layouts.is_esc(source) else layouts.class_folders(source)


def _metadata(source: Path) -> list[Path]:
    """Return the metadata files of a Hugging Face audiofolder: its own, or those of its split folders."""
    own = [path for path in (source / name for name in _METADATA) if path.is_file()]
    if own:
        return own
    found = [path for name in _METADATA for path in sorted(source.glob(f"*/{name}")) if path.parent.name[0] != "."]
    if found:
        _check_every_folder(source, {path.parent.name for path in found})
    return found


def _check_every_folder(source: Path, listed: set[str]) -> None:
    """Raise where some folders with audio have metadata and others have none: what is meant is not clear."""
    from . import folders as layouts

    audio = {path.split("/")[0] for path in layouts.audio_files(str(source)) if "/" in path}
    without = sorted(audio - listed)
    if without:
        expected = "a folder with metadata for all of its folders with audio, or for none"
        got = f"{_METADATA[0]} or {_METADATA[1]} in {_few(sorted(listed))} and none in {_few(without)}"
        check.fail("source", expected, got, "a stray file? move it out of the source; or list the others too")


def _few(names: list[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def unlisted(source: Path, items: list[Item]) -> tuple[str, ...]:
    """Return the audio files in an audiofolder that no row of its metadata lists, sorted; nothing for other sources."""
    from . import folders as layouts

    if not source.is_dir() or not _metadata(source):
        return ()
    listed = {item.id for item in items}
    left = [path for path in layouts.audio_files(str(source)) if path not in listed]
    if left:  # they may be listed under the name of a link
        real = {os.path.realpath(item.path) for item in items}
        left = [path for path in left if os.path.realpath(source / path) not in real]
    return tuple(sorted(left))


def _table(
    rows: Iterable[tuple[str, dict[str, Any]]],
    table: Path,
    root: Path,
    columns: dict[str, str] | None,
    separator: str | None,
) -> Iterator[Item]:
    """Yield the items of a manifest; ids are relative to `root`, paths in the manifest to its own folder."""
    prefix = os.path.relpath(table.parent, root)
    split = None if prefix == "." else prefix.replace(os.sep, "/")
    found: dict[str, str] = {}
    captions: list[str] = []
    for where, row in rows:
        if not found or table.suffix.lower() == ".jsonl":  # JSON rows may lack keys
            found, captions = _found(row, columns or {}, where), _caption_columns(row, columns or {}, where)
        name = row.get(found.get("path", ""))
        if not isinstance(name, str) or not name:
            expected = f"in a column {' | '.join(COLUMNS['path'])}"
            slip = _RENAME if columns is None else _NAME_IT
            check.fail(f"the path in {where}", expected, sorted(map(str, row)), slip)
        cells = {key: tables.cell(row.get(found.get(key, ""))) for key in _PLAIN}
        cells["split"] = cells["split"] or split
        yield Item(
            str(root),
            os.path.normpath(os.path.join(prefix, name)).replace(os.sep, "/"),
            tables.label(row.get(found.get("label", "")), separator, where),
            **cells,
            captions=tuple(dict.fromkeys(text for column in captions for text in tables.texts(row.get(column), where))),
            tags=tables.tags(row.get(found.get("tags", "")), where),
        )


def _merged(items: list[Item], notes: list[str]) -> list[Item]:
    """Return items with the captions of those that are one file, alike but for its caption, in the first one's place.

    Where they differ in more, both stay: the check of names refuses them.
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


_METADATA = ("metadata.jsonl", "metadata.csv")
_PLAIN = ("split", "fold", "group", "licence", "attribution")
_RENAME = "give the column with the files one of these names"
_NAME_IT = "name it: --path-column wav, or columns={'path': 'wav'}"


def _flag(column: str) -> str:
    """Return what a column is named by on the command line."""
    return f"--{column}-column"


def _found(row: dict[str, Any], columns: dict[str, str], where: str) -> dict[str, str]:
    """Return which column of `row` is what."""
    found = {key: next((n for n in names if n in row), "") for key, names in COLUMNS.items()}
    for key, name in columns.items():
        if key != "caption" and name not in row:
            check.fail(
                f"columns[{key!r}] ({_flag(key)})", f"one of the columns {', '.join(map(str, row))}", repr(name), where
            )
        found[key] = name
    return {key: name for key, name in found.items() if name}


def _caption_columns(row: dict[str, Any], columns: dict[str, str], where: str) -> list[str]:
    """Return the columns that have captions; `caption` alone where `captions` is there too.

    What this package writes has the captions of the sources in `captions`, and that of the mix in `caption`.
    """
    if "caption" in columns:
        pattern = columns["caption"]
        named = [pattern] if pattern in row else [name for name in row if fnmatchcase(name, pattern)]
        if not named and not where.split(", line")[0].lower().endswith(".jsonl"):  # a JSON row may lack it
            got = f"{pattern!r}: {where}"
            check.fail("columns['caption'] (--caption-column)", f"one of the columns {', '.join(map(str, row))}", got)
        return named
    named = [name for name in COLUMNS["caption"] if row.get(name) is not None][:1]
    return named or [name for name in row if _NUMBERED.fullmatch(name)]


def _check_labels(items: list[Item], source: Path) -> None:
    without = [item.id for item in items if item.label is None]
    if without:
        slip = "name the column (--label-column, columns={'label': ...}), put files into class folders, "
        slip += "or do without (--no-labels)"
        got = f"{len(without)} of {len(items)} files without a label in {source}, first {without[0]!r}"
        check.fail("source", "labelled", got, slip)


def _check_names(items: list[Item]) -> None:
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            slip = "several labels? give them in one row"
            check.fail("source", "a list of different files", f"{item.id!r} twice", slip)
        seen.add(item.id)
        try:
            item.id.encode()
        except UnicodeEncodeError:
            check.fail("source", "files with names in UTF-8", ascii(item.id), "rename it")
