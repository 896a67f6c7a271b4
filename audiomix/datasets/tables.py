"""Rows of CSV, TSV and JSONL files, and what a cell means; every message names the file and the line."""

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from sys import intern
from typing import IO, Any

from .. import check
from .item import Label

__all__ = ["TABLES", "cell", "header", "label", "numbered_classes", "rows", "tags", "texts"]

TABLES = (".csv", ".tsv", ".jsonl")

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
# Characters in one cell: a hundred captions of 10,000 words. The csv module's own limit, 131072, is less than two.
_LONGEST = 2**24
# A list as JSON or as Python prints one; a caption may well begin with a bracket, as in "[Music] plays".
_LISTED = re.compile(r"""\[\s*(["'].*["']\s*)?\]""", re.DOTALL)


def rows(table: Path, encoding: str = "utf-8-sig") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each row with where it stands: ``list.csv, line 2``.

    Parameters
    ----------
    table : Path
    encoding : str
        UTF-8, with or without a mark, unless the file is known to be in another.

    Raises
    ------
    ValueError
        A file that is not UTF-8, a header with another separator, a row with more or fewer cells than the header, a
        line that is not a JSON object.
    """
    try:
        with open(table, encoding=encoding, newline="") as file:
            if table.suffix.lower() == ".jsonl":
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield f"{table}, line {number}", _json_row(line, f"{table}, line {number}")
            else:
                separator = "\t" if table.suffix.lower() == ".tsv" else ","
                yield from _csv_rows(table, csv.reader(_lines(file), delimiter=separator))
    except UnicodeDecodeError as error:
        got = f"byte 0x{error.object[error.start]:02x}, which is not"
        check.fail(str(table), "text in UTF-8", got, "save it as UTF-8")


def header(table: Path) -> list[str]:
    """Return the names of the columns of a CSV or TSV file, or none where it is something else."""
    if table.suffix.lower() not in TABLES[:2]:
        return []
    with open(table, encoding="utf-8-sig", errors="replace", newline="") as file:
        line = file.readline(_LONGEST)
    separator = "\t" if table.suffix.lower() == ".tsv" else ","
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:  # reading the table says what is wrong with it
        return []


def _lines(file: IO[str]) -> Iterator[str]:
    """Yield lines; a carriage return alone ends none where others end with a line feed.

    The training list of AudioCaps 2.0 has such returns inside captions. Where all lines end so, they do.
    """
    held = ""
    fed = False
    for line in file:
        if line.endswith("\n") or not fed:
            yield held + line
            held, fed = "", fed or line.endswith("\n")
        else:
            held += line.removesuffix("\r") + (" " if line.endswith("\r") else "")
    if held:
        yield held


def _csv_rows(table: Path, reader: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    header: list[str] = []
    limit = csv.field_size_limit(_LONGEST)
    try:
        for cells in reader:
            where = f"{table}, line {reader.line_num}"
            if not cells:
                continue
            if not header:
                header = _header(where, cells, reader.dialect.delimiter)
            elif len(cells) != len(header):
                slip = "quote a cell that has a comma in it" if len(cells) > len(header) else "cells are missing"
                check.fail(where, f"{len(header)} cells, as the header has", len(cells), slip)
            else:
                yield where, dict(zip(header, cells))
    except csv.Error as error:
        check.fail(f"{table}, line {reader.line_num}", "a row of a table", str(error), "is it a CSV file?")
    finally:
        csv.field_size_limit(limit)


def _header(where: str, cells: list[str], separator: str) -> list[str]:
    """Return the names of the columns, without spaces around them."""
    others = [name for sign, name in _SEPARATORS.items() if sign != separator and sign in cells[0]]
    if len(cells) == 1 and others:
        expected = f"names of columns separated by {_SEPARATORS[separator]}"
        slip = f"separated by {others[0]}? save it with {_SEPARATORS[separator]}"
        check.fail(where, expected, repr(cells[0][:60]), f"{slip}, or as .tsv" if others[0] == "tabs" else slip)
    return [name.strip() for name in cells]


def _json_row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        check.fail(where, "one JSON object a line", repr(line[:60]), str(error))
    return check.one_of_types(where, row, dict, "a JSON object")


def cell(value: Any) -> str | None:
    """Return what a cell says; None for an empty one. A whole number is one however it is written.

    >>> cell(" dog "), cell(1.0), cell(1), cell("")
    ('dog', '1', '1', None)
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value is None else intern(str(value).strip()) or None


def numbered_classes(
    table: Path, rows: Sequence[Mapping[str, Any]], number: str, name: str
) -> tuple[list[str], tuple[str, ...]]:
    """Return the class of each row, and all classes in the order of their numbers.

    Parameters
    ----------
    table : Path
        Where the rows are from, for messages.
    rows : sequence of dict
        Rows with a class each.
    number, name : str
        The columns with the number of a class and with its name.

    Raises
    ------
    ValueError
        A number that is no whole number, or one name under two numbers.
    """
    numbers = []
    for row in rows:
        try:
            numbers.append(int(row[number]))
        except ValueError:
            check.fail(f"the column {number} of {table}", "whole numbers", repr(row[number]))
    names = dict(sorted((n, row[name]) for n, row in zip(numbers, rows)))
    if twice := [n for n, count in Counter(names.values()).items() if count > 1]:
        check.fail(f"the column {name} of {table}", "one name for each number", f"{twice[0]} for several")
    return [names[n] for n in numbers], tuple(names.values())


def texts(value: Any, where: str) -> tuple[str, ...]:
    """Return the texts of a cell: one, a list of them, or a list written as JSON; none twice, no empty one.

    >>> texts("A dog.", ""), texts('["A dog.", "Barks."]', ""), texts([" ", None], "")
    (('A dog.',), ('A dog.', 'Barks.'), ())

    Raises
    ------
    TypeError, ValueError
        Something else than text; a list that is not JSON.
    """
    if isinstance(value, str) and _LISTED.fullmatch(value.strip()):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            check.fail(f"a list in {where}", "written as JSON", repr(value.strip()[:60]), _as_json(str(error)))
    found = [_text(v, where) for v in (value if isinstance(value, list) else [value])]
    return tuple(dict.fromkeys(text for text in found if text))


def _as_json(error: str) -> str:
    return f"{error}; with Python, json.dumps(captions)"


def _text(value: Any, where: str) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float, type(None))):
        check.fail(f"a caption or tag in {where}", "text", type(value).__name__, error=TypeError)
    return None if isinstance(value, float) and math.isnan(value) else cell(value)


def tags(value: Any, where: str) -> tuple[str, ...]:
    """Return the tags of a cell: a list, or a text with semicolons, or without those commas, between them.

    >>> tags("rain;on a tin, roof", ""), tags("dog, bark", ""), tags(None, "")
    (('rain', 'on a tin, roof'), ('dog', 'bark'), ())
    """
    found = texts(value, where)
    if isinstance(value, str) and len(found) == 1:
        found = texts(found[0].split(";" if ";" in found[0] else ","), where)
    return found


def label(value: Any, separator: str | None, where: str) -> Label:
    """Return a label: a class, or shares by class.

    Raises
    ------
    TypeError, ValueError
        A share outside [0, 1]; something else than text or a number as the name of a class.
    """
    if isinstance(value, dict):
        shares = {_name(k, where): _share(v, where) for k, v in value.items() if v is not None}
        return {name: share for name, share in shares.items() if share} or None
    if isinstance(value, str) and separator:
        value = [part for part in value.split(separator) if part.strip()]
    if isinstance(value, list):
        return {_name(v, where): 1.0 for v in value} or None
    return None if cell(value) is None else _name(value, where)


def _share(value: Any, where: str) -> float:
    percent = isinstance(value, (int, float)) and value > 1
    return check.number(f"a share in {where}", value, 0, 1, slip="percent? divide by 100" if percent else "")


def _name(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        expected = "the name or number of a class"
        check.fail(f"a label in {where}", expected, json.dumps(value), error=TypeError)
    if isinstance(value, float) and not math.isfinite(value):
        check.fail(f"a label in {where}", "the name or number of a class", value)
    return cell(value) or check.fail(f"a label in {where}", "the name or number of a class", repr(value))
