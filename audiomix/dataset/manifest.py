"""What there is to mix: a source folder or manifest becomes a list of items.

===========================  =====================================================================================
source                       what is read
===========================  =====================================================================================
a CSV, TSV or JSONL file     one row a file: `path`, `label`, `caption`, `split`, `fold`, `group`, `licence`,
                             `attribution`; paths are relative to the manifest
Hugging Face audiofolder     ``metadata.jsonl`` or ``metadata.csv`` in the folder, or in each of its split folders
ESC-50-style archive         ``meta/esc50.csv`` and ``audio/``; see `audiomix.dataset.layouts`
folder of class folders      ``CLASS/*.wav`` or ``train/CLASS/*.wav``; see `audiomix.dataset.layouts`
===========================  =====================================================================================
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
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
    "caption": ("caption",),
    "split": ("split",),
    "fold": ("fold",),
    "group": ("group",),
    "licence": ("licence", "license"),
    "attribution": ("attribution",),
}


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
        `group` is the recording or speaker a clip was cut from.
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
) -> tuple[list[Item], list[str]]:
    """Read what there is to mix.

    Parameters
    ----------
    source : path
        A folder or a manifest; see the table above.
    columns : mapping, optional
        Names of the columns of a manifest, e.g. ``{"label": "species", "group": "speaker"}``.
    no_labels : bool
        Leave labels out, or do without them.
    label_separator : str, optional
        What separates several labels in one cell of a CSV manifest, e.g. ``","``.

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
    items = _items(source, dict(columns or {}), label_separator)
    if not items:
        check.fail("source", "a folder or manifest with audio files", repr(str(source)), "no audio files were found")
    if no_labels:
        items = [replace(item, label=None) for item in items]
    else:
        _check_labels(items, source)
    _check_names(items)
    return items, sorted({c for item in items for c in item.classes})


def _items(source: Path, columns: dict[str, str], separator: str | None) -> list[Item]:
    from . import layouts

    if source.is_file():
        if source.suffix.lower() not in tables.TABLES:
            check.fail("source", "a folder or a CSV, TSV or JSONL manifest", repr(str(source)))
        return list(_table(source, source.parent, columns, separator))
    listed = _metadata(source)
    if listed:
        return [item for table in listed for item in _table(table, source, columns, separator)]
    if columns or separator:
        flags = ", ".join(map(_flag, columns)) or "--label-separator"
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
    from . import layouts

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
    from . import layouts

    if not source.is_dir() or not _metadata(source):
        return ()
    listed = {item.id for item in items}
    left = [path for path in layouts.audio_files(str(source)) if path not in listed]
    if left:  # they may be listed under the name of a link
        real = {os.path.realpath(item.path) for item in items}
        left = [path for path in left if os.path.realpath(source / path) not in real]
    return tuple(sorted(left))


def _table(table: Path, root: Path, columns: dict[str, str], separator: str | None) -> Iterator[Item]:
    """Yield the items of a manifest; ids are relative to `root`, paths in the manifest to its own folder."""
    prefix = os.path.relpath(table.parent, root)
    split = None if prefix == "." else prefix.replace(os.sep, "/")
    found: dict[str, str] = {}
    for where, row in tables.rows(table):
        if not found or table.suffix.lower() == ".jsonl":  # JSON rows may lack keys
            found = _found(row, columns, where)
        name = row.get(found.get("path", ""))
        if not isinstance(name, str) or not name:
            expected = f"in a column {' | '.join(COLUMNS['path'])}"
            check.fail(f"the path in {where}", expected, sorted(map(str, row)), _NAME_IT)
        cells = {key: tables.cell(row.get(column)) for key, column in found.items() if key not in ("path", "label")}
        cells["split"] = cells.get("split") or split
        label = tables.label(row.get(found.get("label", "")), separator, where)
        path = os.path.normpath(os.path.join(prefix, name)).replace(os.sep, "/")
        yield Item(str(root), path, label, **cells)


_METADATA = ("metadata.jsonl", "metadata.csv")
_NAME_IT = "name it: --path-column wav, or columns={'path': 'wav'}"


def _flag(column: str) -> str:
    """Return what a column is named by on the command line."""
    return f"--{column}-column"


def _found(row: dict[str, Any], columns: dict[str, str], where: str) -> dict[str, str]:
    """Return which column of `row` is what."""
    found = {key: next((n for n in names if n in row), "") for key, names in COLUMNS.items()}
    for key, name in columns.items():
        if name not in row:
            check.fail(
                f"columns[{key!r}] ({_flag(key)})", f"one of the columns {', '.join(map(str, row))}", repr(name), where
            )
        found[key] = name
    return {key: name for key, name in found.items() if name}


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
