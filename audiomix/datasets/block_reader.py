"""The rows of a manifest read by the thousand, into what `audiomix.datasets.columns` reads row by row."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..audio.remote.urls import is_url
from . import tables
from .blocks import Coded, TableBlock, code_cells, read_numbers
from .columns import (
    COLUMNS,
    END,
    PLAIN,
    SPLIT_NAMES,
    RowReader,
    beats_cell,
    cluster_cell,
    path_cell,
    plain_cell,
    plain_name,
    seconds_cell,
    tempo_cell,
)
from .item import Item
from .item_columns import ItemColumns
from .walk import Skipped, special_file

__all__ = ["read_blocks"]

# What a cell that is wrong raises, and one that only a row tells of: a number that is too large for a float.
_WRONG = (TypeError, ValueError, OverflowError, RecursionError)
# What each row of Lhotse's has one of.
_LHOTSE = {"type", "recording", "sources", "recording_id"}


class _RowByRow(Exception):
    """The rows of a block do not tell alike of what they are."""


def read_blocks(
    blocks: Iterable[TableBlock],
    table: Path,
    root: Path,
    columns: Mapping[str, str] | None = None,
    separator: str | None = None,
    *,
    audio_root: str | Path | None = None,
    notes: list[str] | None = None,
    skipped: Skipped | None = None,
) -> Iterator[ItemColumns | list[Item]]:
    """Yield the items that the rows of a manifest stand for: those of `audiomix.datasets.columns.read_rows`, in blocks.

    A block in which something is wrong, or whose files must not all be opened, is read row by row: what is raised then
    names the row.

    Parameters
    ----------
    blocks : iterable of TableBlock
        The rows.
    table, root, columns, separator, audio_root, notes, skipped
        As for `read_rows`.

    Raises
    ------
    TypeError, ValueError
        As `read_rows`.
    """
    reader = RowReader(table, root, columns, separator, audio_root=audio_root, notes=notes, skipped=skipped)
    for block in blocks:
        found: ItemColumns | list[Item]
        try:
            found = _read_block(reader, block)
        except (*_WRONG, _RowByRow):
            rows = (reader.read(where, row) for where, row in block.rows())
            found = [item for item in rows if item is not None]
        yield found
    reader.end()


def _read_block(reader: RowReader, block: TableBlock) -> ItemColumns:
    """Return the items of a block; nothing has changed in the reader where this raises."""
    groups, size = block.groups(), len(block)
    if len(groups) > 1 and any(plain_name(name) in SPLIT_NAMES for group in groups for name in group.names):
        raise _RowByRow  # whether such a column is read as split depends on the row before
    found: dict[str, list[tuple[NDArray[np.integer], Coded]]] = {}
    start, seconds = np.full(size, np.nan), np.full(size, np.nan)
    matched = []
    for group in groups:
        if _LHOTSE & {*group.names} and not any(name in group.names for name in COLUMNS["path"]):
            raise _RowByRow
        first, where = group.first, block.where(int(group.places[0]))
        known = reader.names == group.names and len(groups) == 1
        column_of, captions = (reader.column_of, reader.captions) if known else reader.match(first, where)
        matched.append((first, column_of, captions))
        cells = {key: group.cells(name) for key, name in column_of.items()}
        for name, column in _read_fields(reader, cells).items():
            found.setdefault(name, []).append((group.places, column))
        if names := [*captions[0], *captions[1]]:
            told = _read_captions([group.cells(name) for name in names], len(captions[0]))
            found.setdefault("captions", []).append((group.places, told))
        start[group.places], seconds[group.places] = _read_pieces(cells, len(group))
    columns = {name: _join(parts, size) for name, parts in found.items()}
    paths = _find_paths(reader, columns.pop("path"))
    # from here on nothing raises
    for first, column_of, captions in matched if len(groups) > 1 or reader.names != groups[0].names else ():
        reader.take(first, column_of, captions)
    if len(groups) > 1:  # the next block is compared with the last row of this one
        last = next(i for i, group in enumerate(groups) if group.places[-1] == size - 1)
        reader.take(*matched[last])
    if reader.split is not None:
        columns["split"] = _fill(columns.get("split"), reader.split, size)
    return ItemColumns(
        str(reader.root), paths, columns, start, seconds, block.numbers
    )


def _read_fields(reader: RowReader, cells: Mapping[str, Any]) -> dict[str, Coded]:
    """Return the columns of an item's texts, and its path as the manifest has it."""

    def plain(value: Any) -> str | None:
        return plain_cell(value, "")

    def path(value: Any) -> str:
        return path_cell(value, {}, "", chosen=False)

    converts: dict[str, Callable[[Any], Any]] = {
        "path": path,
        "label": lambda value: tables.label(value, reader.separator, ""),
        **dict.fromkeys(PLAIN, plain),
        "tags": lambda value: tables.tags(value, "") or None,
        "cluster": lambda value: cluster_cell(value, ""),
        "attribute": lambda value: tables.tags(value, "") or None,
        "bpm": tempo_cell,
        "key": tempo_cell,
        "beats": lambda value: beats_cell(value, reader.prefix),
    }
    found = {key: code_cells(cells[key], convert) for key, convert in converts.items() if key in cells}
    if "path" not in found or (found["path"].codes < 0).any() or None in found["path"].values:
        raise _RowByRow  # a row without a path
    if "attribute" in found:
        found["attributes"] = found.pop("attribute")
    return found


def _read_captions(cells: list[Any], first: int) -> Coded:
    """Return the captions of rows: those of the first column of `first` that is filled, or of all behind these."""
    if len(cells) == 1:
        return code_cells(cells[0], lambda value: tables.texts(value, "") or None)
    told = []
    for row in zip(*(one if isinstance(one, list) else one.to_pylist() for one in cells)):
        chosen = next(([cell] for cell in row[:first] if cell is not None), row[first:])
        told.append(tuple(dict.fromkeys(text for cell in chosen for text in tables.texts(cell, ""))) or None)
    return Coded(np.arange(len(told), dtype=np.int32), told)


def _read_pieces(cells: Mapping[str, Any], size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where clips begin in their files and how long they are, in seconds; NaN where it is all of the file."""
    start, seconds, stop = (
        read_numbers(cells[name], lambda value: seconds_cell(value, "offset", ""))
        if name in cells
        else np.full(size, np.nan)
        for name in ("offset", "duration", END)
    )
    seconds = np.where(np.isnan(start), np.nan, seconds)
    if END in cells:
        between = [round(two - one, 9) for one, two in zip(start.tolist(), stop.tolist())]
        seconds = np.where(np.isnan(start) | np.isnan(stop), seconds, between)
    if (seconds <= 0).any():
        raise ValueError("a piece of no length")
    return start, seconds


def _find_paths(reader: RowReader, named: Coded) -> Coded:
    """Return the files that the rows name as ids, and note in which spellings they were found."""
    folder, looked = reader.find.folders[0], []
    for name in named.values:
        steps: list[str] | None = []
        spelling = name
        if ".." in name or is_url(name.strip()) or not _is_there(os.path.normpath(os.path.join(folder, name))):
            spelling, steps = reader.find.look(name)
            if special_file(os.path.join(reader.root, reader.path_of(spelling))):
                raise _RowByRow  # it must not be opened
        looked.append((name, steps, reader.path_of(spelling)))
    _, first, times = np.unique(named.codes, return_index=True, return_counts=True)
    for place in np.argsort(first).tolist():  # the first row of a spelling is its example
        name, steps, _ = looked[named.codes[first[place]]]
        reader.find.count(name, steps, int(times[place]))
    return Coded(named.codes, [path for _, _, path in looked])


def _is_there(path: str) -> bool:
    """Say whether a path is that of a file or a folder."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _join(parts: list[tuple[NDArray[np.integer], Coded]], size: int) -> Coded:
    """Return one column of those of some rows each, given by their places; a row in none has no value."""
    if len(parts) == 1 and len(parts[0][0]) == size:
        return parts[0][1]
    codes = np.full(size, -1, np.int32)
    values: list[Any] = []
    for places, part in parts:
        codes[places] = np.where(part.codes < 0, -1, part.codes + len(values))
        values += part.values
    return Coded(codes, values)


def _fill(column: Coded | None, value: str, size: int) -> Coded:
    """Return a column in which rows without a value have this one."""
    if column is None:
        return Coded(np.zeros(size, np.int32), [value])
    values = [*(one or value for one in column.values), value]
    return Coded(np.where(column.codes < 0, len(values) - 1, column.codes), values)
