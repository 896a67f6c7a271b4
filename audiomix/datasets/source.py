"""A source of sounds, whatever its layout: it is recognised by what lies in it, and read as a list of items.

===========================  =====================================================================================
source                       what is read
===========================  =====================================================================================
a table (see `.tables`)      one row a file: `path`, `label`, `caption`, `split`, `fold`, `group`, `licence`,
                             `attribution`, `tags`, `offset` and `duration`; paths are relative to the table
several captions a file      `captions`, a list (in a CSV file written as JSON); or ``caption_1``, ``caption_2``...; or
                             one row for each, alike in all other columns
NeMo's and Lhotse's JSONL    ``audio_filepath``, ``offset``, ``duration``, ``text``; cuts and recordings
Clotho's captions CSV        ``file_name,caption_1..caption_5``, or a folder with several; see `.clotho`
AudioCaps' CSV               ``audiocap_id,youtube_id,start_time,caption``, or a folder with several; see `.audiocaps`
Hugging Face audiofolder     ``metadata.jsonl`` or ``metadata.csv`` in the folder, or in each of its split folders
ESC-50-style archive         ``meta/esc50.csv`` and ``audio/``; see `.esc`
UrbanSound8K                 ``metadata/UrbanSound8K.csv`` and ``audio/fold1`` to ``fold10``; see `.urbansound8k`
Speech Commands              ``validation_list.txt`` and ``testing_list.txt``; see `.speech_commands`
JAMS                         a ``.jams`` file beside each sound; see `.jams`
shards                       tar files of webdataset's, Parquet files with sounds inside; see `.shards`
any other folder             classes, splits and folds by the names of its folders; see `.tree`
===========================  =====================================================================================

An archive is known from its folder ``audio`` too, and from a folder that holds nothing else.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from .. import check
from ..audio.remote.urls import check_url, is_url, local_path, was_url
from . import audiocaps, clotho, esc, speech_commands, tables, urbansound8k
from .block_reader import read_blocks
from .blocks import group_rows
from .caption_lists import csv_files
from .columns import COLUMNS, merge_captions, name_pieces, option_of
from .item import Item
from .item_columns import ItemColumns, items_of
from .item_table import ItemTable, classes_of, codes_of
from .jams import jams_files, jams_rows
from .label_files import labels_sound
from .remote import check_access, mirror_url, place_at
from .shards import find_shards, unpack
from .tree import Labels, read_tree
from .walk import Skipped, is_audio, is_utf8, list_files, list_folder, printable, pyav_reads, special_file, subfolders

__all__ = ["Layout", "find_extra_files", "metadata_tables", "read_compact", "read_source", "recognise"]

# Rows of a manifest that are looked at, to know whether their hosts give access.
_ASKED = 1000
# Rows of a manifest from which on they are held as columns, where `read_compact` reads it.
_LISTED = 10_000
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
_CAPTIONED = (clotho.LISTS, audiocaps.LISTS)
_ARCHIVES: dict[str, tuple[Callable[[Path], bool], Callable[[Path], list[Item]], str]] = {
    "esc": (esc.is_archive, esc.read, "audio/ and meta/esc50.csv"),
    "urbansound8k": (urbansound8k.is_archive, urbansound8k.read, "audio/ and metadata/UrbanSound8K.csv"),
    "speech_commands": (
        speech_commands.is_archive, speech_commands.read, "validation_list.txt and testing_list.txt",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """How a source is laid out.

    Parameters
    ----------
    name : str
        ``table``, ``audiofolder``, ``captions``, ``jams``, ``shards``, ``esc``, ``urbansound8k``,
        ``speech_commands`` or ``classes``.
    reason : str
        What in the source says so.
    root : Path
        The folder that ids are relative to: the source, or that of the archive which the source is a part of.
    tables : tuple of Path
        The tables that list its files; none where its folders say what there is.
    """

    name: str
    reason: str
    root: Path
    tables: tuple[Path, ...] = ()


def recognise(source: Path) -> Layout:
    """Say which layout a source has, by names and the headers of tables alone.

    A folder is the first of these that fits: one with metadata, with lists of captions, with JAMS, with shards, which
    are then unpacked, an archive of ESC-50, of UrbanSound8K, of Speech Commands; of any other the folders' names tell
    (`tree.recognise_tree`).

    Parameters
    ----------
    source : Path
        A folder or a file that is there.

    Raises
    ------
    ValueError
        A file that is no table; some folders of the source have metadata and others have none.
    """
    if not os.path.isdir(source):
        if not tables.is_table(source) or special_file(str(source)):
            got = special_file(str(source)) or repr(str(source))
            check.fail("source", f"a folder or a manifest ({' '.join(tables.TABLES)}, also .gz)", got)
        return Layout("table", f"a {source.suffix} file", source.parent, (source,))
    if lists := metadata_tables(source):
        if lists[0].parent != source:
            _check_every_folder(source, {path.parent.name for path in lists})
        return Layout("audiofolder", f"it has {_relative(lists[0], source)}", source, tuple(lists))
    if lists := [table for table in csv_files(source) if any(kind.matches(table) for kind in _CAPTIONED)]:
        return Layout("captions", f"{_relative(lists[0], source)} lists captions", source, tuple(lists))
    if files := jams_files(source):
        return Layout("jams", f"it has {_relative(files[0], source)}", source, files)
    if shards := find_shards(source):
        folder = unpack(shards)
        reason = f"the shards of {source}, such as {shards[0].name}, are unpacked in {folder}"
        return Layout("shards", reason, folder, (folder / METADATA[0],))
    inside = subfolders(source)
    for folder in (
        source,
        *([source.absolute().parent] if source.absolute().name.lower() == "audio" else []),
        *([source / inside[0]] if len(inside) == 1 else []),
    ):
        for name, (fits, _, what) in _ARCHIVES.items():
            if fits(folder):
                return Layout(name, f"it has {what}", folder)
    return Layout("classes", "it has no table and no list that is known", source)


def read_source(
    source: str | Path,
    columns: Mapping[str, str] | None = None,
    *,
    no_labels: bool = False,
    label_separator: str | None = None,
    need_labels: bool = True,
    layout: str = "",
    audio_root: str | Path | None = None,
    notes: list[str] | None = None,
    skipped: Skipped | None = None,
) -> tuple[list[Item], list[str]]:
    """Read what there is to mix or to train on, as a list; see `read_compact` for millions of rows.

    Parameters
    ----------
    source : path
        A folder or a manifest; see the table above. A text may be a URL that fsspec opens, such as ``s3://bucket/clips``.
    columns : mapping, optional
        Names of the columns of a manifest, e.g. ``{"label": "species", "group": "speaker"}``. That of the captions
        may be a pattern for several: ``{"caption": "text_*"}``. Where a caller's user cannot name any it is None: no
        message then says how.
    no_labels : bool
        Leave labels out, or do without them.
    label_separator : str, optional
        What separates several labels in one cell of a CSV manifest, e.g. ``","``.
    need_labels : bool
        Refuse a source with unlabelled files, and leave those of a tree out that lie outside its class folders; else
        those have none.
    layout : str
        What the folders of a tree are, from the top, e.g. ``split/class`` (`tree.recognise_tree`); it is then read as
        a tree whatever lies in it.
    audio_root : path, optional
        Another folder that the paths of a manifest may be relative to; it may be a URL, where files are not looked for.
    notes : list of str, optional
        What a person should know of is appended: files of AudioCaps that are gone, files found by another spelling.
    skipped : list of (str, str), optional
        Files that are left out because they can be no sound are appended with the reason (`walk.list_files`); without
        it they are notes.

    Returns
    -------
    items : list of Item
        In the order of the manifest; of a folder, sorted by name.
    classes : list of str
        Sorted names of all classes.

    Raises
    ------
    ValueError
        A URL that cannot be opened or listed. Nothing to mix, labels that are missing, folders that may be classes or
        splits, a column that is not there, one file listed twice.
    """
    items, classes = _read(
        source, columns, no_labels, label_separator, need_labels, layout, audio_root, notes, skipped, compact=False
    )
    return [*items], classes


def read_compact(
    source: str | Path,
    columns: Mapping[str, str] | None = None,
    *,
    no_labels: bool = False,
    label_separator: str | None = None,
    need_labels: bool = True,
    layout: str = "",
    audio_root: str | Path | None = None,
    notes: list[str] | None = None,
    skipped: Skipped | None = None,
) -> tuple[Sequence[Item], list[str]]:
    """Read the same as `read_source`: the rows of a manifest of more than ten thousand as an `ItemTable`.

    Each is then held in some tens of bytes. Where ids come twice, as where each caption has a row of its own, they are
    made a list first.

    Parameters
    ----------
    source, columns, no_labels, label_separator, need_labels, layout, audio_root, notes, skipped
        As in `read_source`.

    Raises
    ------
    ValueError
        As `read_source`.
    """
    return _read(
        source, columns, no_labels, label_separator, need_labels, layout, audio_root, notes, skipped, compact=True
    )


def _read(
    source: str | Path,
    columns: Mapping[str, str] | None,
    no_labels: bool,
    label_separator: str | None,
    need_labels: bool,
    layout: str,
    audio_root: str | Path | None,
    notes: list[str] | None,
    skipped: Skipped | None,
    *,
    compact: bool,
) -> tuple[Sequence[Item], list[str]]:
    source, notes = local_path(source), [] if notes is None else notes
    audio_root = None if audio_root is None else local_path(audio_root)
    if is_url(audio_root):
        audio_root = check_url("audio_root", str(audio_root))
    if isinstance(source, str) and is_url(source):
        return _read_remote(
            source, columns, no_labels, label_separator, need_labels, layout, audio_root, notes, skipped,
            compact=compact,
        )  # fmt: skip
    source = Path(source)
    if not is_utf8(str(source)):
        check.fail("source", "a path in UTF-8", printable(source), "rename it")
    for name in columns or {}:
        check.choice("columns", name, COLUMNS)
    if not os.path.exists(source):
        slip = "there is no such path" if not os.path.lexists(source) else "it is a link to nothing"
        slip = "a URL is given as a text, not as a Path" if was_url(source) else slip
        check.fail("source", "a folder or a CSV, TSV or JSONL manifest", repr(str(source)), slip)
    if audio_root is not None and not is_url(audio_root) and not os.path.isdir(audio_root):
        check.fail("audio_root", "a folder", repr(str(audio_root)), "there is no such folder")
    found = recognise(source) if not layout else Layout("classes", "layout says so", source)
    if found.name == "classes" and not layout and not no_labels and (lists := _label_files(source)):
        notes.append(f"{len(lists)} label files beside the sounds say which pieces are read, e.g. {lists[0].name}")
        found = Layout("labels", "each sound has a label file", source, lists)
    left: Skipped = []
    if found.tables:
        rows = _table_items(found, columns, label_separator, audio_root, notes, left)
        items: Sequence[Item] = _merge_rows(rows, notes, compact=compact)
    else:
        _check_no_columns(columns, label_separator, audio_root)
        labels: Labels = "unused" if no_labels else "needed" if need_labels else "wanted"
        items = merge_captions(name_pieces(_folder_items(found, source, layout, labels, notes, left)), notes)
    if skipped is None:
        notes += [f"left out: {name} {reason}" for name, reason in left]
    else:
        skipped += left
    if not items:
        got = repr(str(source)) + (f": {left[0][0]} {left[0][1]}" if left else "")
        others = list_files(source, audio_only=False) if source.is_dir() else ()
        slip = pyav_reads(others) or "no audio files were found"
        check.fail("source", "a folder or manifest with audio files", got, slip)
    if no_labels:
        items = (
            items.without("label")
            if isinstance(items, ItemTable)
            else [replace(item, label=None) for item in items]
        )
    elif need_labels:
        items = _keep_with_labels(items, found, source, notes)
    _check_names(items)
    if columns and "caption" in columns and not _have_captions(items):
        check.fail("columns['caption'] (--caption-column)", "a column with captions in it", repr(columns["caption"]))
    classes = sorted(classes_of(items))
    _note_alike(classes, notes)
    if found.tables:
        check_access(items[:_ASKED])
        items = place_at(items, str(audio_root)) if is_url(audio_root) else items
    return items, classes


def _read_remote(
    url: str,
    columns: Mapping[str, str] | None,
    no_labels: bool,
    label_separator: str | None,
    need_labels: bool,
    layout: str,
    audio_root: str | Path | None,
    notes: list[str],
    skipped: Skipped | None,
    *,
    compact: bool,
) -> tuple[Sequence[Item], list[str]]:
    """Read the mirror of a source behind a URL; its items have the URL as their root."""
    with mirror_url(url) as mirror:
        known = len(notes)
        if audio_root is None and not mirror.is_folder:
            audio_root = mirror.root
        items, classes = _read(
            mirror.path, columns, no_labels, label_separator, need_labels, layout, audio_root, notes, skipped,
            compact=compact,
        )  # fmt: skip
        if extra := find_extra_files(mirror.path, items):
            notes.append(f"{len(extra)} audio files that no row lists are left out, e.g. {extra[0]!r}")
        notes[known:] = map(mirror.name_urls, notes[known:])
        return place_at(items, mirror.root, mirror), classes


def find_extra_files(source: Path, items: Sequence[Item]) -> tuple[str, ...]:
    """Return the audio files in an audiofolder that no row of its metadata lists; nothing for other sources.

    Parameters
    ----------
    source : Path
        What `items` were read from.
    items : sequence of Item
        What `read_source` returned.

    Returns
    -------
    tuple of str
        Paths relative to `source`, sorted.
    """
    if not source.is_dir() or not metadata_tables(source):
        return ()
    listed = {item.file or item.id for item in items}
    left = [path for path in list_files(source) if path not in listed]
    if left:  # they may be listed under the name of a link
        real = {os.path.realpath(item.path) for item in items}
        left = [path for path in left if os.path.realpath(source / path) not in real]
    return tuple(sorted(left))


def metadata_tables(folder: Path) -> list[Path]:
    """Return the metadata files of a Hugging Face audiofolder: its own, or those of its split folders."""
    own = [path for path in (folder / name for name in METADATA) if path.is_file()]
    return own or [path for name in METADATA for path in sorted(folder.glob(f"*/{name}")) if path.parent.name[0] != "."]


def _label_files(folder: Path) -> tuple[Path, ...]:
    """Return the label files beside the sounds of a folder, if each has one and there are no others below."""
    names = list_folder(folder)
    sounds = {os.path.splitext(name)[0] for name in names if is_audio(name)}
    found = [folder / name for name in names if os.path.splitext(name)[0] in sounds and labels_sound(folder / name)]
    alone = len(sounds) == len({path.stem for path in found}) == len(found)
    return tuple(found) if alone and not any("/" in name for name in list_files(folder)) else ()


def _table_items(
    layout: Layout,
    columns: Mapping[str, str] | None,
    separator: str | None,
    audio_root: str | Path | None,
    notes: list[str],
    skipped: Skipped,
) -> Iterator[ItemColumns | list[Item]]:
    if layout.name == "jams":
        rows, table = group_rows(jams_rows(layout.root, layout.tables)), layout.root / "all.jams"
        yield from read_blocks(
            rows, table, layout.root, columns, separator, audio_root=audio_root, notes=notes, skipped=skipped
        )
        return
    if layout.name == "shards":
        notes.append(layout.reason)
    for table in layout.tables:
        # the metadata of an audiofolder says itself where its files are
        kind = next((kind for kind in _CAPTIONED if layout.name != "audiofolder" and kind.matches(table)), None)
        rows = group_rows(kind.rows(table, notes)) if kind else tables.blocks(table, notes=notes)
        yield from read_blocks(
            rows, table, layout.root, columns, separator, audio_root=audio_root, notes=notes, skipped=skipped
        )


def _folder_items(
    found: Layout, source: Path, layout: str, labels: Labels, notes: list[str], skipped: Skipped
) -> list[Item]:
    if found.name == "classes":
        return read_tree(source, layout, labels=labels, notes=notes, skipped=skipped)
    if found.root != source:
        notes.append(f"the archive in {found.root} is read: {found.reason}")
    return _ARCHIVES[found.name][1](found.root)


def _check_no_columns(columns: Mapping[str, str] | None, separator: str | None, audio_root: str | Path | None) -> None:
    given = {
        f"columns ({', '.join(map(option_of, columns or ()))})": columns,
        "label_separator (--label-separator)": separator,
        "audio_root (--audio-root)": audio_root,
    }
    for name, value in given.items():
        if value:
            check.fail(name, "left out for a source without a manifest", value, "a folder has no columns")


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


def _keep_with_labels(
    items: Sequence[Item], layout: Layout, source: Path, notes: list[str]
) -> Sequence[Item]:
    """Return the items with a label: of a tree those in class folders, of a manifest all, or it is refused.

    A noise needs none: a mix then has that of its original.
    """
    lacking = (items[i] for i in np.flatnonzero(codes_of(items, "label")[0] < 0).tolist())
    without = [item for item in lacking if (item.role or "").strip().lower() != "noise"]
    tree = layout.name == "classes"
    if without and not (tree and len(without) < len(items)):
        slip = "name the column (--label-column, columns={'label': ...}), put files into class folders, "
        slip += "or do without (--no-labels)"
        if tree and (lists := [path.name for path in csv_files(source)]):
            slip += f"; or is the source {lists[0]}, with its columns?"
        got = f"{len(without)} of {len(items)} files without a label in {source}"
        check.fail("source", "labelled", f"{got}, first {without[0].id!r}{without[0].where}", slip)
    if without:
        note = f"{len(without)} files in no class folder are left out, e.g. {without[0].id!r}"
        notes.append(f"{note}; --no-labels takes all")
    return [item for item in items if item.label is not None] if without else items


def _note_alike(classes: list[str], notes: list[str]) -> None:
    """Note classes whose names differ in case or spaces alone: they may be meant as one."""
    first: dict[str, str] = {}
    for name in classes:
        other = first.setdefault(" ".join(name.casefold().replace("_", " ").split()), name)
        if other != name:
            notes.append(f"{other!r} and {name!r} are two classes")
    known = set(classes)
    for sign in ",;|":
        joined = [name for name in classes if sign in name and known & {part.strip() for part in name.split(sign)}]
        if joined:
            notes.append(f"{joined[0]!r} is one class; for several of them --label-separator {sign!r}")


def _check_names(items: Sequence[Item]) -> None:
    if isinstance(items, ItemTable) and not len(items.repeated()):
        return
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            slip = "several labels? give them in one row; pieces? give offset and duration"
            check.fail("source", "a list of different files", f"{item.id!r} twice{item.where}", slip)
        seen.add(item.id)


def _merge_rows(blocks: Iterator[ItemColumns | list[Item]], notes: list[str], *, compact: bool) -> Sequence[Item]:
    """Return the clips that the rows of a manifest stand for, each once."""
    first: list[ItemColumns | list[Item]] = []
    while (not compact or sum(map(len, first)) < _LISTED) and (block := next(blocks, None)) is not None:
        first.append(block)
    if not compact or sum(map(len, first)) < _LISTED:
        return merge_captions(name_pieces([item for block in first for item in items_of(block)]), notes)
    table = ItemTable()
    for block in chain(first, blocks):
        table.extend(block)
    del first
    table.name_pieces()
    return ItemTable(merge_captions(table, notes)) if len(table.repeated()) else table


def _have_captions(items: Sequence[Item]) -> bool:
    return items.has("captions") if isinstance(items, ItemTable) else any(item.captions for item in items)
