"""The clips of a data set held as columns: some tens of bytes a clip, where a list of `Item` takes five hundred."""

import json
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .item import Item, piece_name

__all__ = ["ItemTable", "classes_of", "codes_of", "list_contents", "order_by_id"]

# Distinct texts of a column from which on they are kept one after the other, where that is more than one row in four.
_DISTINCT, _REPEATED = 1 << 16, 4
# Rows whose texts' places are counted from one place.
_BLOCK = 1 << 12
_NUMBERS = ("start", "seconds")
# Fields that follow from others, or have a column of their own.
_OTHERS = ("id", "file", "caption", "line", *_NUMBERS)  # `caption` is the first of `captions`
_TEXTS = tuple(field.name for field in fields(Item) if field.name not in _OTHERS)

# What few items have: a digest of the others is what it was before there were any.
_RARE = ("file", "start", "seconds", "role", "bpm", "key", "beats", "cluster", "attributes")
_NOT_SOUND = ("root", "line")


class ItemTable(Sequence[Item]):
    """A sequence of items that is made once, in order, and not changed after; an item is made when it is asked for.

    Texts that come again are kept once. Names of pieces are derived from their files.

    Parameters
    ----------
    items : iterable of Item
        Taken one by one.

    Examples
    --------
    >>> table = ItemTable([Item("sounds", "dog/1.wav", "dog"), Item("sounds", "cat/1.wav", "cat")])
    >>> table[1].path, len(table), [item.label for item in table]
    ('sounds/cat/1.wav', 2, ['dog', 'cat'])
    """

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._size = 0
        self._texts = {name: _Texts() for name in (*_TEXTS, "caption", "path", "id")}
        self._numbers = {name: _Numbers() for name in _NUMBERS}
        self._lines = _Lines()
        self._is_piece = bytearray()  # whether the id is the piece's name
        self._found: tuple[NDArray[np.int64], NDArray[np.integer]] | None = None  # hashes of ids in order, and whose
        for item in items:
            self.append(item)

    def append(self, item: Item) -> None:
        """Add an item behind the others."""
        for name in _TEXTS:
            value = getattr(item, name)
            if value is not None and (value != () or name == "attributes"):
                self._texts[name].put(self._size, _pack(value))
        if item.caption is not None and not item.captions:
            self._texts["caption"].put(self._size, _pack(item.caption))
        path = item.id if item.file is None else item.file
        piece = item.file is not None and item.id == piece_name(path, item.start or 0.0, item.seconds)
        self._texts["path"].put(self._size, _pack(path))
        if item.file is not None and not piece:
            self._texts["id"].put(self._size, _pack(item.id))
        self._is_piece.append(piece)
        for name, column in self._numbers.items():
            column.put(self._size, getattr(item, name))
        self._lines.put(self._size, item.line)
        self._size += 1

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, at: int) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> list[Item]: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self._make(i) for i in range(*at.indices(self._size))]
        number = int(at)
        if not -self._size <= number < self._size:
            raise IndexError(f"item {number} of {self._size}")
        return self._make(number % self._size)

    def __iter__(self) -> Iterator[Item]:
        return map(self._make, range(self._size))

    def _make(self, i: int) -> Item:
        values: dict[str, Any] = {}
        for name, column in self._texts.items():
            if column.is_used and name not in ("path", "id") and (text := column.get(i)) is not None:
                values[name] = _unpack(text)
        start, seconds = (self._numbers[name].get(i) for name in _NUMBERS)
        values["id"], values["file"] = self._id(i, start, seconds)
        return Item(**values, start=start, seconds=seconds, line=self._lines.get(i))

    def _id(self, i: int, start: float | None, seconds: float | None) -> tuple[str, str | None]:
        """Return id and file."""
        text = self._texts["path"].get(i)
        assert text is not None
        path = _unpack(text)
        if self._is_piece[i]:
            return piece_name(path, start or 0.0, seconds), path
        own = self._texts["id"].get(i) if self._texts["id"].is_used else None
        return (path, None) if own is None else (_unpack(own), path)

    def ids(self) -> Iterator[str]:
        """Yield the ids of all items, which takes less time than the items."""
        for i in range(self._size):
            yield self._id(i, *(self._numbers[name].get(i) if self._is_piece[i] else None for name in _NUMBERS))[0]

    def name_pieces(self) -> None:
        """Name pieces of files as `columns.name_pieces` does."""
        start = self._numbers["start"]
        if not start.is_used:
            return
        at = start.array(self._size)
        named = at > 0
        zero = np.flatnonzero(at == 0)
        if len(zero):
            codes = self._texts["path"].codes_or_hashes(self._size)
            _, where, count = np.unique(codes, return_inverse=True, return_counts=True)
            named[zero] = count[where[zero]] > 1
        self._is_piece = bytearray(named.astype(np.uint8).tobytes())

    def find(self, name: str) -> Item | None:
        """Return the item of an id; None where there is none."""
        if self._found is None or len(self._found[0]) != self._size:
            found = np.fromiter(map(hash, self.ids()), np.int64, self._size)
            places: NDArray[Any] = np.argsort(found)
            self._found = found[places], places.astype(np.int32 if self._size < 2**31 else np.int64)
        hashes, order = self._found
        at = int(np.searchsorted(hashes, hash(name)))
        while at < self._size and int(hashes[at]) == hash(name):
            item = self._make(int(order[at]))
            if item.id == name:
                return item
            at += 1
        return None

    def has(self, name: str) -> bool:
        """Say whether any item has a value in a field other than `id`, `file`, `caption` and `line`."""
        return self._numbers[name].is_used if name in _NUMBERS else self._texts[name].is_used

    def without(self, name: str) -> "ItemTable":
        """Empty a field of texts, in place, and return the table."""
        self._texts[name] = _Texts()
        return self

    def codes(self, name: str) -> tuple[NDArray[np.integer], list[Any]]:
        """Return the number of each item's value in a field of few different values, and these; -1 where it has none.

        Parameters
        ----------
        name : str
            A field with texts, labels or tuples of texts.
        """
        codes, texts = self._texts[name].codes(self._size)
        values = [_unpack(text) for text in texts]
        if () in values:
            codes = np.where(codes == values.index(()), -1, codes)
        return codes, values

    def repeated(self) -> NDArray[np.integer]:
        """Return the numbers of the items whose id may be that of another; all of those whose id is."""
        if not any(self._is_piece) and not self._texts["id"].is_used:
            found = self._texts["path"].codes_or_hashes(self._size)
        else:
            found = np.fromiter(map(hash, self.ids()), np.int64, self._size)
        in_order = np.sort(found)
        twice = in_order[1:][in_order[1:] == in_order[:-1]]
        return np.flatnonzero(np.isin(found, twice)) if len(twice) else np.zeros(0, np.int64)


class _Texts:
    """A column of texts: nothing while no row has one; numbers of texts; or, where few are alike, one text a row."""

    def __init__(self) -> None:
        self._known: dict[str, int] | None = {}
        self._values: list[str] = []
        self._codes: array[int] = array("b")
        self._heap = bytearray()
        self._ends: array[int] = array("I")
        self._starts: array[int] = array("q")
        self.is_used = False

    def put(self, row: int, text: str) -> None:
        """Give a row its text; the rows between it and the last one have none."""
        self.is_used = True
        if self._known is None:
            self._fill(row)
            self._push(text)
            return
        code = self._known.get(text)
        if code is None:
            code = self._known[text] = len(self._values)
            self._values.append(text)
            if code >= 1 << (8 * self._codes.itemsize - 1):
                self._codes = array({1: "h", 2: "i"}[self._codes.itemsize], self._codes)
            if code >= _DISTINCT and code * _REPEATED > row:
                self._keep_apart()
                self.put(row, text)
                return
        if len(self._codes) < row:
            self._codes.extend([-1] * (row - len(self._codes)))
        self._codes.append(code)

    def get(self, row: int) -> str | None:
        """Return the text of a row."""
        if self._known is not None:
            code = self._codes[row] if row < len(self._codes) else -1
            return None if code < 0 else self._values[code]
        if row >= len(self._ends):
            return None
        base = self._starts[row // _BLOCK]
        first = base if row % _BLOCK == 0 else base + self._ends[row - 1]
        text = self._heap[first : base + self._ends[row]]
        return None if text == b"\0" else text.decode("utf-8", "surrogatepass")

    def codes(self, size: int) -> tuple[NDArray[np.integer], list[str]]:
        """Return the number of each row's text, and the texts."""
        if self._known is None:
            numbers: dict[str, int] = {}
            texts = (self.get(row) for row in range(size))
            found = (-1 if text is None else numbers.setdefault(text, len(numbers)) for text in texts)
            return np.fromiter(found, np.int32, size), [*numbers]
        codes = np.full(size, -1, self._codes.typecode)
        codes[: len(self._codes)] = np.frombuffer(self._codes, self._codes.typecode) if self._codes else -1
        return codes, self._values

    def codes_or_hashes(self, size: int) -> NDArray[np.integer]:
        """Return a number for each row, equal for equal texts."""
        if self._known is not None:
            return self.codes(size)[0]
        return np.fromiter((hash(self.get(row)) for row in range(size)), np.int64, size)

    def _keep_apart(self) -> None:
        codes, values = self._codes, self._values
        self._known, self._values, self._codes = None, [], array("b")
        for code in codes:
            self._push(None if code < 0 else values[code])

    def _fill(self, row: int) -> None:
        while len(self._ends) < row:
            self._push(None)

    def _push(self, text: str | None) -> None:
        if len(self._ends) % _BLOCK == 0:
            self._starts.append(len(self._heap))
        self._heap += b"\0" if text is None else text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._heap) - self._starts[-1])


class _Numbers:
    """A column of numbers: nothing while no row has one."""

    def __init__(self) -> None:
        self._values: array[float] = array("d")

    @property
    def is_used(self) -> bool:
        return bool(self._values)

    def put(self, row: int, value: float | None) -> None:
        """Give a row its number; the rows between it and the last one have none."""
        if value is not None:
            self._values.extend([math.nan] * (row - len(self._values)))
            self._values.append(value)

    def get(self, row: int) -> float | None:
        """Return the number of a row."""
        value = self._values[row] if row < len(self._values) else math.nan
        return None if value != value else value

    def array(self, size: int) -> NDArray[np.float64]:
        """Return all; NaN where there is none."""
        found = np.full(size, np.nan)
        found[: len(self._values)] = np.frombuffer(self._values) if self._values else np.nan
        return found


class _Lines:
    """A column of whole numbers that mostly count on: where one does not follow that of the row before, it is kept."""

    def __init__(self) -> None:
        self._rows: array[int] = array("q")
        self._lines: array[int] = array("q")
        self._next: int | None = None

    def put(self, row: int, line: int | None) -> None:
        """Give a row its number; each row has its turn."""
        value = -1 if line is None else line
        if value != self._next:
            self._rows.append(row)
            self._lines.append(value)
        self._next = value if value < 0 else value + 1

    def get(self, row: int) -> int | None:
        """Return the number of a row."""
        at = int(np.searchsorted(np.frombuffer(self._rows, np.int64), row, "right")) - 1
        line = self._lines[at]
        return None if line < 0 else line + row - self._rows[at]


def codes_of(items: Sequence[Item], name: str) -> tuple[NDArray[np.integer], list[Any]]:
    """Return the number of each item's value in a field, and the values, in the order in which they come; -1 for none.

    Parameters
    ----------
    items : sequence of Item
        A list, or an `ItemTable`, of which no item is made.
    name : str
        A field with texts, labels or tuples of texts.
    """
    if isinstance(items, ItemTable):
        return items.codes(name)
    numbers: dict[Any, int] = {}
    values: list[Any] = []

    def number_of(value: Any) -> int:
        """Return the number of a value, a new one where it was not there yet."""
        if value is None or value == ():
            return -1
        key = _pack(value)
        if key not in numbers:
            numbers[key] = len(values)
            values.append(value)
        return numbers[key]

    return np.fromiter((number_of(getattr(item, name)) for item in items), np.int32, len(items)), values


def order_by_id(items: Sequence[Item]) -> NDArray[np.integer]:
    """Return the numbers of items in the order of their ids.

    Parameters
    ----------
    items : sequence of Item
        A list, or an `ItemTable`, of which no item is made.
    """
    kind = np.int32 if len(items) < 2**31 else np.int64
    ids = items.ids() if isinstance(items, ItemTable) else (item.id for item in items)
    before, ascending = "", True
    for name in ids:
        ascending = before <= name
        if not ascending:
            break
        before = name
    if ascending:
        return np.arange(len(items), dtype=kind)
    names = [*(items.ids() if isinstance(items, ItemTable) else (item.id for item in items))]
    return np.array(sorted(range(len(names)), key=names.__getitem__), dtype=kind)


def classes_of(items: Sequence[Item]) -> set[str]:
    """Return the names of the classes of items.

    Parameters
    ----------
    items : sequence of Item
        A list, or an `ItemTable`, of which no item is made.
    """
    if not isinstance(items, ItemTable):
        return {name for item in items for name in item.classes}
    labels = items.codes("label")[1]
    return {name for label in labels for name in ([label] if isinstance(label, str) else label)}


def list_contents(items: Sequence[Item]) -> Iterator[list[Any]]:
    """Yield what of each item the sounds made of it depend on: not where it lies, nor in which line it stands.

    Parameters
    ----------
    items : sequence of Item
        A list, or an `ItemTable`.
    """
    names = [one.name for one in fields(Item) if one.name not in _NOT_SOUND]
    rare = [name for name in names if name in _RARE]
    if isinstance(items, ItemTable):  # most need not be looked at
        rare = [name for name in rare if name == "file" or items.has(name)]
    common, others = attrgetter(*(name for name in names if name not in _RARE)), attrgetter(*rare, "id")
    for item in items:
        yield [*common(item), *(value for value in others(item)[:-1] if value is not None)]


def _pack(value: Any) -> str:
    """Return a value as one text: shares of classes and several texts as JSON behind a sign that marks them."""
    if isinstance(value, str) and value[:1] not in ("\0", "\1"):
        return value
    return "\1" + json.dumps(value)


def _unpack(text: str) -> Any:
    if not text.startswith("\1"):
        return text
    value = json.loads(text[1:])
    return tuple(value) if isinstance(value, list) else value
