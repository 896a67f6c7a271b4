"""A source of sounds, whatever its layout: it is recognised by what lies in it, and read as a list of items.

===========================  =====================================================================================
source                       what is read
===========================  =====================================================================================
a CSV, TSV or JSONL file     one row a file: `path`, `label`, `caption`, `split`, `fold`, `group`, `licence`,
                             `attribution`, `tags`; paths are relative to the manifest
several captions a file      `captions`, a list (in a CSV file written as JSON); or ``caption_1``, ``caption_2``...; or
                             one row for each, alike in all other columns
Clotho's captions CSV        ``file_name,caption_1..caption_5``, or a folder with several; see `.clotho`
AudioCaps' CSV               ``audiocap_id,youtube_id,start_time,caption``, or a folder with several; see `.audiocaps`
Hugging Face audiofolder     ``metadata.jsonl`` or ``metadata.csv`` in the folder, or in each of its split folders
ESC-50-style archive         ``meta/esc50.csv`` and ``audio/``; see `.esc`
Speech Commands              ``validation_list.txt`` and ``testing_list.txt``; see `.speech_commands`
folder of class folders      ``CLASS/*.wav`` or ``train/CLASS/*.wav``; see `.folder`
===========================  =====================================================================================
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import check
from . import audiocaps, clotho, esc, speech_commands, tables
from .caption_lists import csv_files
from .columns import COLUMNS, merge_captions, option_of, read_rows
from .folder import read_classes
from .item import Item
from .walk import list_files

__all__ = ["Layout", "metadata_tables", "read_source", "recognise", "unlisted"]

METADATA = ("metadata.jsonl", "metadata.csv")
_CAPTIONED = (clotho.LISTS, audiocaps.LISTS)
_FOLDERS: dict[str, Callable[[Path], list[Item]]] = {
    "esc": esc.read,
    "speech_commands": speech_commands.read,
    "classes": read_classes,
}


@dataclass(frozen=True)
class Layout:
    """How a source is laid out.

    Parameters
    ----------
    name : str
        ``table``, ``audiofolder``, ``captions``, ``esc``, ``speech_commands`` or ``classes``.
    reason : str
        What in the source says so.
    tables : tuple of Path
        The tables that list its files; none where its folders say what there is.
    """

    name: str
    reason: str
    tables: tuple[Path, ...] = ()


def recognise(source: Path) -> Layout:
    """Say which layout a source has, by names and the headers of tables alone.

    A folder is the first of these that fits: one with metadata, with lists of captions, an archive of ESC-50, of
    Speech Commands; any other is taken for class folders.

    Parameters
    ----------
    source : Path
        A folder or a file that is there.

    Raises
    ------
    ValueError
        A file that is no table; some folders of the source have metadata and others have none.
    """
    if source.is_file():
        if source.suffix.lower() not in tables.TABLES:
            check.fail("source", "a folder or a CSV, TSV or JSONL manifest", repr(str(source)))
        return Layout("table", f"a {source.suffix} file", (source,))
    if lists := metadata_tables(source):
        if lists[0].parent != source:
            _check_every_folder(source, {path.parent.name for path in lists})
        return Layout("audiofolder", f"it has {_relative(lists[0], source)}", tuple(lists))
    if lists := [table for table in csv_files(source) if any(kind.matches(table) for kind in _CAPTIONED)]:
        return Layout("captions", f"{_relative(lists[0], source)} lists captions", tuple(lists))
    if esc.is_archive(source):
        return Layout("esc", "it has audio/ and meta/esc50.csv")
    if speech_commands.is_archive(source):
        return Layout("speech_commands", "it has validation_list.txt and testing_list.txt")
    return Layout("classes", "it has no table and no list that is known")


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
    items = merge_captions(_read(source, columns, label_separator, notes), notes)
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


def unlisted(source: Path, items: list[Item]) -> tuple[str, ...]:
    """Return the audio files in an audiofolder that no row of its metadata lists; nothing for other sources.

    Parameters
    ----------
    source : Path
        What `items` were read from.
    items : list of Item
        What `read_source` returned.

    Returns
    -------
    tuple of str
        Paths relative to `source`, sorted.
    """
    if not source.is_dir() or not metadata_tables(source):
        return ()
    listed = {item.id for item in items}
    left = [path for path in list_files(source) if path not in listed]
    if left:  # they may be listed under the name of a link
        real = {os.path.realpath(item.path) for item in items}
        left = [path for path in left if os.path.realpath(source / path) not in real]
    return tuple(sorted(left))


def metadata_tables(folder: Path) -> list[Path]:
    """Return the metadata files of a Hugging Face audiofolder: its own, or those of its split folders."""
    own = [path for path in (folder / name for name in METADATA) if path.is_file()]
    return own or [path for name in METADATA for path in sorted(folder.glob(f"*/{name}")) if path.parent.name[0] != "."]


def _read(source: Path, columns: Mapping[str, str] | None, separator: str | None, notes: list[str]) -> Iterator[Item]:
    layout = recognise(source)
    root = source.parent if source.is_file() else source
    for table in layout.tables:
        # the metadata of an audiofolder says itself where its files are
        rows = tables.rows(table) if layout.name == "audiofolder" else _rows(table, notes)
        yield from read_rows(rows, table, root, columns, separator)
    if layout.tables:
        return
    if columns or separator:
        options = ", ".join(map(option_of, columns or ())) or "--label-separator"
        name = f"{'columns' if columns else 'label_separator'} ({options})"
        check.fail(name, "left out for a source without a manifest", columns or separator, "a folder has no columns")
    yield from _FOLDERS[layout.name](source)


def _rows(table: Path, notes: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the rows of a table; those of Clotho and AudioCaps with a path and more."""
    kind = next((kind for kind in _CAPTIONED if kind.matches(table)), None)
    return kind.rows(table, notes) if kind else tables.rows(table)


def _check_every_folder(source: Path, listed: set[str]) -> None:
    """Raise where some folders with audio have metadata and others have none: what is meant is not clear."""
    audio = {path.split("/")[0] for path in list_files(source) if "/" in path}
    without = sorted(audio - listed)
    if without:
        expected = "a folder with metadata for all of its folders with audio, or for none"
        got = f"{METADATA[0]} or {METADATA[1]} in {_few(sorted(listed))} and none in {_few(without)}"
        check.fail("source", expected, got, "a stray file? move it out of the source; or list the others too")


def _few(names: list[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _relative(path: Path, source: Path) -> str:
    return path.relative_to(source).as_posix()


def _check_labels(items: list[Item], source: Path) -> None:
    # a noise needs no class: a mix then has that of its original
    without = [item.id for item in items if item.label is None and (item.role or "").strip().lower() != "noise"]
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
