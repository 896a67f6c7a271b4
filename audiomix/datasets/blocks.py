"""Rows of a table by the thousand: cells as columns, where equal ones are looked at once."""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import check

__all__ = ["ROWS", "Coded", "TableBlock", "code_cells", "group_rows", "named_columns", "read_numbers"]

# Rows of a block.
ROWS = 8192
# The index of a data frame that pandas writes into Parquet.
_INDEX = re.compile(r"__index_level_\d+__")
_PLAIN = frozenset({str, int, float, type(None)})


class Coded(NamedTuple):
    """A column as the number of each row's value, and the values: some may be equal, and those that are None count.

    Parameters
    ----------
    codes : array of int, shape (N,)
        -1 where a row has no value.
    values : list
        What the numbers stand for.
    """

    codes: NDArray[np.integer]
    values: list[Any]

    def spread(self, missing: Any = None) -> list[Any]:
        """Return the value of each row; `missing` where there is none."""
        values = [*(missing if value is None else value for value in self.values), missing]
        return [values[code] for code in self.codes.tolist()]


class TableBlock:
    """Rows of a table that stand one after the other.

    Parameters
    ----------
    where : str
        What stands before the number of a row in messages, such as ``list.csv, line``; empty where `places` say it.
    places : sequence of int or of str
        The number of each row, or where it stands.
    rows : list of dict
        The cells of each by the names of the columns; or nothing, where there are `columns`.
    columns : mapping of str to array, optional
        The cells of each column, as Arrow has them.
    """

    def __init__(
        self,
        where: str,
        places: Sequence[int] | Sequence[str],
        rows: list[dict[str, Any]] | None = None,
        columns: Mapping[str, Any] | None = None,
    ) -> None:
        self._where, self._places = where, places
        self._rows, self._columns = rows, columns

    def __len__(self) -> int:
        return len(self._places)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The number of each row."""
        if self._where:
            return np.asarray(self._places, dtype=np.int64)
        return np.array([int(str(place).rpartition(" ")[2]) for place in self._places], dtype=np.int64)

    def where(self, row: int) -> str:
        """Return where a row of the block stands."""
        return f"{self._where} {self._places[row]}" if self._where else str(self._places[row])

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield where each row stands, and its cells.

        Raises
        ------
        ValueError
            A cell of a Parquet file cannot be read, such as a time in a zone that is not known here.
        """
        rows: Iterable[dict[str, Any]]
        if self._rows is not None:
            rows = self._rows
        else:
            names, cells = self._read_columns()
            rows = (dict(zip(names, one)) for one in zip(*cells)) if cells else ({} for _ in self._places)
        for number, row in enumerate(rows):
            yield self.where(number), row

    def _read_columns(self) -> tuple[list[str], list[list[Any]]]:
        """Return the names of Arrow's columns, and the cells of each."""
        from pyarrow import ArrowException

        assert self._columns is not None
        try:
            return [*self._columns], [column.to_pylist() for column in self._columns.values()]
        except (ArrowException, UnicodeDecodeError) as error:
            slip = "a column with text that is not UTF-8" if isinstance(error, UnicodeDecodeError) else "cut off?"
            table = self._where.removesuffix(", row")
            check.fail(table, "a table in Parquet", str(error).splitlines()[0][:200], slip)

    def groups(self) -> "list[_Group]":
        """Return the rows by the names of their columns, which in JSON may differ."""
        if self._rows is None:
            assert self._columns is not None
            return [_Group(tuple(self._columns), np.arange(len(self)), None, self._columns)]
        names = [*map(tuple, self._rows)]
        if names.count(names[0]) == len(names):
            return [_Group(names[0], np.arange(len(names)), self._rows, None)]
        places: dict[tuple[str, ...], list[int]] = {}
        for place, one in enumerate(names):
            places.setdefault(one, []).append(place)
        return [
            _Group(one, np.array(found), [self._rows[place] for place in found], None)
            for one, found in places.items()
        ]


class _Group:
    """Rows of a block whose columns have the same names, in their order.

    Parameters
    ----------
    names : tuple of str
        Of the columns.
    places : array of int
        Which rows of the block they are.
    rows, columns
        As for `TableBlock`, of these rows.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        places: NDArray[np.integer],
        rows: list[dict[str, Any]] | None,
        columns: Mapping[str, Any] | None,
    ) -> None:
        self.names, self.places = names, places
        self._rows, self._columns = rows, columns

    def __len__(self) -> int:
        return len(self.places)

    @property
    def first(self) -> dict[str, Any]:
        """The first row."""
        if self._rows is not None:
            return self._rows[0]
        assert self._columns is not None
        return {name: column[0].as_py() for name, column in self._columns.items()}

    def cells(self, name: str) -> Any:
        """Return a column: a list, or an array of Arrow's."""
        if self._rows is not None:
            return [row[name] for row in self._rows]
        assert self._columns is not None
        return self._columns[name]


def group_rows(
    rows: Iterable[tuple[int, dict[str, Any]]] | Iterable[tuple[str, dict[str, Any]]],
    where: str = "",
    size: int = ROWS,
) -> Iterator[TableBlock]:
    """Yield rows in blocks; where reading a row raises, those before it come first.

    Parameters
    ----------
    rows : iterable of (int, dict) or (str, dict)
        The number of each, or where it stands, and its cells.
    where, size : str and int
        As for `TableBlock`; rows of a block.
    """
    left, failed = iter(rows), None
    while failed is None:
        places: list[Any] = []
        cells: list[dict[str, Any]] = []
        try:
            for place, row in left:
                places.append(place)
                cells.append(row)
                if len(cells) == size:
                    break
        except Exception as error:
            failed = error
        if not cells:
            break
        yield TableBlock(where, places, cells)
    if failed is not None:
        raise failed


def named_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without the columns that nobody has named: of a data frame, its index.

    >>> named_columns({"path": "a.wav", "__index_level_0__": 3, " ": 1})
    {'path': 'a.wav'}
    """
    return {name: value for name, value in row.items() if name.strip() and not _INDEX.fullmatch(name)}


def code_cells(cells: Any, convert: Callable[[Any], Any]) -> Coded:
    """Return what each cell of a column means; of equal cells one is looked at.

    Parameters
    ----------
    cells : list, or array of Arrow's
        The column. None means nothing: it is not looked at.
    convert : callable
        Returns what a cell means; it may raise.
    """
    if not isinstance(cells, list):
        import pyarrow

        if pyarrow.types.is_string(cells.type) or pyarrow.types.is_large_string(cells.type):
            cells = cells.dictionary_encode()
        if pyarrow.types.is_dictionary(cells.type):
            codes = cells.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
            return Coded(codes, [None if value is None else convert(value) for value in cells.dictionary.to_pylist()])
        cells = cells.to_pylist()
    if set(map(type, cells)) <= _PLAIN:  # a number and True are equal, and mean different things
        numbers: defaultdict[Any, int] = defaultdict()
        numbers.default_factory = numbers.__len__
        codes = np.fromiter(map(numbers.__getitem__, cells), np.int32, len(cells))
        cells = [*numbers]
    else:
        codes = np.arange(len(cells), dtype=np.int32)
    return Coded(codes, [None if value is None else convert(value) for value in cells])


def read_numbers(cells: Any, convert: Callable[[Any], float | None]) -> NDArray[np.float64]:
    """Return the numbers in a column, NaN where a cell has none.

    Parameters
    ----------
    cells : list, or array of Arrow's
        The column.
    convert : callable
        Returns the number in a cell of another kind than a number; it may raise.

    Raises
    ------
    ValueError
        A number is below 0 or infinite.
    """
    found = None
    if not isinstance(cells, list):
        import pyarrow

        if cells.type in (pyarrow.float32(), pyarrow.float64()) or pyarrow.types.is_integer(cells.type):
            found = cells.to_numpy(zero_copy_only=False).astype(np.float64)
        else:
            cells = cells.to_pylist()
    if found is None:
        kinds = set(map(type, cells))
        if kinds <= {int, float}:
            found = np.array(cells, np.float64)
        elif kinds <= {int, float, type(None)}:
            found = np.array([math.nan if cell is None else cell for cell in cells], np.float64)
    if found is not None:
        found = found + 0.0  # a cell of -0.0 says 0
    else:
        try:
            found = np.array([*map(float, cells)]) if kinds == {str} else None
        except ValueError:
            found = None
        if found is None or np.isnan(found).any():
            numbers = map(convert, cells)
            found = np.array([math.nan if number is None else number for number in numbers], np.float64)
    if (found < 0).any() or np.isinf(found).any():
        raise ValueError("a number below 0, or infinite")
    return found
