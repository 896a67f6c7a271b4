"""The clips of a data set held as columns: some tens of bytes a clip, where a list of `Item` takes five hundred."""

import json
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from hashlib import blake2b
from itertools import islice, pairwise, repeat
from json.encoder import encode_basestring_ascii as _quote
from operator import attrgetter
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .item import Item, piece_name
from .item_columns import ItemColumns
from .stores import LineColumn, NumberColumn, TextColumn

__all__ = ["ItemTable", "classes_of", "codes_of", "digest_contents", "ids_of", "list_contents", "order_by_id"]

# Rows of which something is made together.
_ROWS = 1 << 13
# Items from which on ids are put in order part by part, and how many a part has, of which so many are looked at first.
_LARGE, _PART, _SAMPLED = 1 << 17, 1 << 16, 64
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
        self._texts = {name: TextColumn() for name in (*_TEXTS, "caption", "path", "id")}
        self._numbers = {name: NumberColumn() for name in _NUMBERS}
        self._lines = LineColumn()
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

    def extend(self, columns: ItemColumns | list[Item]) -> None:
        """Add the items of a block of a table's rows behind the others."""
        if not isinstance(columns, ItemColumns):
            for item in columns:
                self.append(item)
            return
        size, first = len(columns), self._size
        for name, column in columns.fields.items():
            empty = None if name == "attributes" else ()
            values = (None if value is None or value == empty else _pack(value) for value in column.values)
            self._texts[name].extend(first, column.codes, [*values])
        self._texts["root"].extend(first, np.zeros(size, np.int32), [_pack(columns.root)])
        self._texts["path"].extend(first, columns.paths.codes, [*map(_pack, columns.paths.values)])
        for name, numbers in (("start", columns.start), ("seconds", columns.seconds)):
            self._numbers[name].extend(first, numbers)
        self._lines.extend(first, columns.lines)
        self._is_piece += bytes(size)
        self._size += size

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
        for first in range(0, self._size, _ROWS):
            yield from self.ids_of(range(first, min(first + _ROWS, self._size)))

    def ids_of(self, rows: Sequence[int]) -> list[str]:
        """Return the ids of some items, given by their numbers; in less time where these are a range."""
        names = [text if text and text[0] != "\1" else _unpack(text or "") for text in self._texts["path"].take(rows)]
        pieces = self._pieces_of(rows)
        if any(pieces):
            cut = {name: os.path.splitext(name) for name in {*names}}
            columns = (self._numbers[name].take(rows) for name in _NUMBERS)
            names = [
                _name_piece(*cut[name], start, seconds) if is_piece else name
                for name, is_piece, start, seconds in zip(names, pieces, *columns)
            ]
        if self._texts["id"].is_used:
            own = self._texts["id"].take(rows)
            names = [name if text is None else _unpack(text) for name, text in zip(names, own)]
        return names

    def _pieces_of(self, rows: Sequence[int]) -> Sequence[int]:
        """Return 1 for each item that is called by its piece's name, else 0."""
        if isinstance(rows, range) and rows.step == 1:
            return self._is_piece[rows.start : rows.stop]
        return [self._is_piece[row] for row in rows]

    def contents(self) -> Iterator[str]:
        """Yield what `list_contents` does of each item, as JSON."""
        for first in range(0, self._size, _ROWS):
            yield from self._contents_of(range(first, min(first + _ROWS, self._size)))

    def _contents_of(self, rows: range) -> Iterator[str]:
        def values(name: str, known: "_AsJson", missing: str) -> Iterable[str]:
            if not self._texts[name].is_used:
                return repeat(missing)
            known[None] = missing
            return map(known.__getitem__, self._texts[name].take(rows))

        parts: list[Iterable[str]] = [map("[".__add__, map(_quote, self.ids_of(rows)))]
        parts.append(values("label", _AsJson(), ", null"))
        captions = values("captions", _AsJson(first=True), "")
        if self._texts["caption"].is_used:  # one that is empty has no list of captions
            captions = (
                one or other for one, other in zip(captions, values("caption", _AsJson(), ", null"))
            )
        else:
            captions = (one or ", null" for one in captions)
        parts.append(captions)
        parts += [values(name, _AsJson(), ", null") for name in ("split", "fold", "group", "licence", "attribution")]
        parts += [values(name, _AsJson(), ", []") for name in ("captions", "tags")]
        parts += [values(name, _AsJson(), "") for name in ("role", "bpm", "key", "beats")]
        parts.append(self._files_of(rows))
        for name in _NUMBERS:
            if self._numbers[name].is_used:
                numbers = self._numbers[name].take(rows)
                parts.append("" if number != number else f", {number!r}" for number in numbers)
        parts += [values(name, _AsJson(), "") for name in ("cluster", "attributes")]
        return map("".join, zip(*parts, repeat("]")))

    def _files_of(self, rows: range) -> Iterable[str]:
        """Return the files of items whose ids are other names, as JSON behind a comma; else nothing."""
        has_id: Sequence[int] = self._pieces_of(rows)
        if self._texts["id"].is_used:
            own = self._texts["id"].take(rows)
            has_id = [one or text is not None for one, text in zip(has_id, own)]
        if not any(has_id):
            return repeat("")
        known = _AsJson()
        return (known[text] if has else "" for has, text in zip(has_id, self._texts["path"].take(rows)))

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
        self._texts[name] = TextColumn()
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
        pieces = np.frombuffer(self._is_piece, np.uint8).astype(np.bool_) if self._size else np.zeros(0, np.bool_)
        if self._texts["id"].is_used:
            return _twice(np.fromiter(map(hash, self.ids()), np.int64, self._size))
        paths = self._texts["path"].codes_or_hashes(self._size)
        if not pieces.any():
            return _twice(paths)
        if not pieces.all() and any("@" in name for name in self.ids_of(np.flatnonzero(~pieces).tolist())):
            return _twice(np.fromiter(map(hash, self.ids()), np.int64, self._size))  # a file may be called like a piece
        near = self._find_near(paths)
        if not len(near):
            return near
        return near[_twice(np.fromiter(map(hash, self.ids_of(near.tolist())), np.int64, len(near)))]

    def _find_near(self, paths: NDArray[np.integer]) -> NDArray[np.integer]:
        """Return the items that begin where another of their file does, or so near that both may be called alike."""
        start = self._numbers["start"].array(self._size)
        order = np.argsort(paths, kind="stable").astype(np.int32 if self._size < 2**31 else np.int64)
        edges = [0, *(np.flatnonzero(np.diff(paths[order])) + 1).tolist(), self._size]
        found, begin = [], 0
        for two in edges[1:]:
            if two - begin < _PART and two < self._size:  # files with few pieces are looked at together
                continue
            part = order[begin:two]
            own, at = paths[part], np.nan_to_num(start[part])
            places = np.lexsort((at, own))
            own, at = own[places], at[places]
            # names have six digits behind the point, and six in all
            close = (own[1:] == own[:-1]) & (np.diff(at) <= 1e-6 + 1.01e-5 * at[1:])
            found.append(part[places[np.flatnonzero(np.append(close, False) | np.insert(close, 0, False))]])
            begin = two
        return np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)


class _AsJson(dict[str | None, str]):
    """The values that texts of a column stand for, as JSON behind a comma, made when they are asked for."""

    def __init__(self, *, first: bool = False) -> None:
        super().__init__()
        self._first = first  # of several texts, the first

    def __missing__(self, text: str) -> str:
        value = _unpack(text)
        found = self[text] = f", {json.dumps(value[0] if self._first else value)}"
        return found


def _name_piece(stem: str, suffix: str, start: float, seconds: float) -> str:
    """Return what `piece_name` does of a path that is cut already; NaN stands for None."""
    start = 0.0 if start != start else start
    stop = "" if seconds != seconds else f"{round(start + seconds, 6):g}"
    return f"{stem}@{round(start, 6):g}-{stop}{suffix}"


def _twice(numbers: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the places of the numbers that come several times."""
    in_order = np.sort(numbers)
    twice = in_order[1:][in_order[1:] == in_order[:-1]]
    return np.flatnonzero(np.isin(numbers, twice)) if len(twice) else np.zeros(0, np.int64)


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


def ids_of(items: Sequence[Item], rows: Sequence[int]) -> list[str]:
    """Return the ids of some items.

    Parameters
    ----------
    items : sequence of Item
        A list, or an `ItemTable`, of which no item is made.
    rows : sequence of int
        Their numbers.
    """
    return items.ids_of(rows) if isinstance(items, ItemTable) else [items[row].id for row in rows]


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
    if isinstance(items, ItemTable) and len(items) > _LARGE:
        return _order_parts(items)
    names = [*(items.ids() if isinstance(items, ItemTable) else (item.id for item in items))]
    return np.array(sorted(range(len(names)), key=names.__getitem__), dtype=kind)


def _order_parts(items: ItemTable) -> NDArray[np.integer]:
    """Return what `order_by_id` does with the ids of few items at hand: first a part for each, then the parts in order.

    The borders of the parts are ids of a sample, as in sample sort (Frazer and McKellar, 1970).
    """
    size = len(items)
    sample = sorted(items.ids_of(range(0, size, max(1, _PART // _SAMPLED))))
    borders = sample[_SAMPLED::_SAMPLED]
    part_of = np.fromiter((bisect_right(borders, name) for name in items.ids()), np.int32, size)
    order: NDArray[Any] = np.argsort(part_of, kind="stable").astype(np.int32 if size < 2**31 else np.int64)
    edges = np.cumsum([0, *np.bincount(part_of, minlength=len(borders) + 1).tolist()]).tolist()
    del part_of
    for one, two in pairwise(edges):
        names = items.ids_of(order[one:two].tolist())
        order[one:two] = order[one:two][sorted(range(two - one), key=names.__getitem__)]
    return order


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


def digest_contents(items: Sequence[Item]) -> str:
    """Return ``audiomix.identity.digest(list_contents(items))``, of an `ItemTable` in a tenth of the time.

    Parameters
    ----------
    items : sequence of Item
        A list, or an `ItemTable`, of which no item is made.
    """
    found = blake2b(digest_size=16)
    rows = items.contents() if isinstance(items, ItemTable) else map(json.dumps, list_contents(items))
    while block := "".join(islice(rows, _ROWS)):
        found.update(block.encode())
    return found.hexdigest()


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
