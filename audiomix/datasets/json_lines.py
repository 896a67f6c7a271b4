"""Rows of JSON files: one object a line, or a list of objects."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

from .. import check
from .blocks import TableBlock, group_rows, named_columns

__all__ = ["json_blocks"]

# The name of an entry in a line of JSON, or what looks like one in a text.
_NAMED = re.compile(r'"\s*:')
_ENDS = ("\n", "\r\n", "")
# Characters of lines whose values are held at once: where each line has thousands, a block has fewer rows.
_PORTION = 1 << 22
# Sets of names of columns that are remembered.
_SEEN = 1000


def json_blocks(table: Path, file: IO[str], notes: list[str], *, is_whole: bool) -> Iterator[TableBlock]:
    """Yield one object a line, or the objects of one list: that of the file, or what it has as ``data``.

    Parameters
    ----------
    table : Path
        For messages.
    file : text file
        Opened for reading, with line ends as they are.
    notes : list of str
        That there is one list where none was expected is appended.
    is_whole : bool
        Whether the suffix says that the file is one value.

    Raises
    ------
    TypeError, ValueError
        What is no JSON, or no object; a name that comes twice in one.
    """
    numbered = ((number, line) for number, line in enumerate(file, 1) if line.strip())
    number, first = next(numbered, (1, ""))
    if first and _is_whole(first, is_whole):
        found = _parse(first + "".join(line for _, line in numbered), str(table))
        found = found.get("data") if isinstance(found, dict) else found
        if not isinstance(found, list):
            check.fail(str(table), "one JSON object a line, or a list of them", "something else")
        if not is_whole:
            notes.append(f"{table.name}: one JSON list of {len(found)} entries, not one object a line")
        yield from group_rows(_json_objects(enumerate(found, 1), f"{table}, entry"), f"{table}, entry")
    elif first:
        where, lines = f"{table}, line", chain([(number, first)], numbered)
        while (line := next(lines, None)) is not None:
            portion = _parse_lines(_take_portion(line, lines), where)
            yield from group_rows(_json_objects(portion, where), where)


def _take_portion(first: tuple[int, str], others: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield a line and those behind it, until they have `_PORTION` characters; the others are left."""
    yield first
    size = len(first[1])
    while size < _PORTION and (line := next(others, None)) is not None:
        yield line
        size += len(line[1])


def _parse_lines(lines: Iterable[tuple[int, str]], where: str) -> Iterator[tuple[int, Any]]:
    """Yield the value of each line, with its number."""
    scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # the stubs lack it
    for number, line in lines:
        try:
            row, end = scan(line, 0)
        except (StopIteration, ValueError, RecursionError):  # spaces in front, or an error that `_parse` tells of
            row, end = None, 0
        # a name that comes twice has a colon of its own behind it
        if type(row) is not dict or line[end:] not in _ENDS or (line.count(":") != len(row) and _may_repeat(row, line)):
            row = _parse(line, f"{where} {number}")
        yield number, row


def _may_repeat(row: dict[str, Any], line: str) -> bool:
    """Say whether a line may name something that the values made of it lack, since it comes twice."""
    left: list[Any] = [row]
    count = 0
    while left:  # a function that calls itself could be nested too deep where JSON is not
        value = left.pop()
        if isinstance(value, dict):
            count += len(value)
            left += value.values()
        elif isinstance(value, list):
            left += value
    return count != len(_NAMED.findall(line))


def _json_objects(values: Iterable[tuple[int, Any]], where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield objects without the columns that no one has named, with their numbers."""
    known: set[tuple[str, ...]] = set()  # names of columns that are all kept
    for number, value in values:
        row = value
        if type(value) is not dict:
            row = check.one_of_types(f"{where} {number}", value, dict, "a JSON object")
        names = tuple(row)
        if names not in known:
            kept = named_columns(row)
            if len(kept) == len(row) and len(known) < _SEEN:
                known.add(names)
            row = kept
        yield number, row


def _is_whole(first: str, may_be_one: bool) -> bool:
    """Say whether a file of this first line is one JSON value rather than one a line."""
    if first.lstrip("\ufeff \t").startswith("["):
        return True
    if not may_be_one:
        return False
    try:
        row = json.loads(first)
    except (ValueError, RecursionError):
        return True
    return isinstance(row, dict) and list(row) == ["data"]


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text.lstrip("\ufeff"), object_pairs_hook=_once)
    except RecursionError:
        check.fail(where, "one JSON object a line", repr(text[:60]), "nested too deep")
    except ValueError as error:  # JSONDecodeError, or a number of thousands of digits
        check.fail(where, "one JSON object a line", repr(text[:60]), str(error))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"{twice!r} twice")
    return row
