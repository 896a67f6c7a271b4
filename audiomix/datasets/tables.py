"""Rows of tables, whatever their form, and what a cell means; every message names the file and the line.

====================================  ==============================================================================
file                                  what is read
====================================  ==============================================================================
``.csv``, ``.tsv``                    a header, then rows; commas, semicolons, tabs or ``|`` between the cells
``.jsonl``, ``.ndjson``, ``.json``    one JSON object a line, or one list of objects, as NeMo and Lhotse write them
``.parquet``                          needs pyarrow: ``pip install 'audiomix[parquet]'``
``.txt``, ``.lab``                    labels of one sound, as Audacity exports them; see `.label_files`
``.rttm``, ``.stm``, ``.ctm``         NIST's labels of many sounds; see `.label_files`
====================================  ==============================================================================

Each but Parquet may be compressed: ``.csv.gz``. Text is UTF-8, or UTF-16 or UTF-32 with a byte order mark.
"""

import codecs
import csv
import gzip
import io as text_io
import json
import math
import os
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from sys import intern
from typing import IO, Any

import numpy as np

from .. import check
from .blocks import ROWS, TableBlock, group_rows, named_columns
from .item import Label
from .json_lines import json_blocks
from .label_files import LABEL_FILES, label_rows
from .walk import is_utf8, special_file

__all__ = [
    "NONE",
    "TABLES",
    "blocks",
    "cell",
    "header",
    "is_table",
    "kind_of",
    "label",
    "order_classes",
    "rows",
    "same_name",
    "tags",
    "texts",
]

_CSV, _JSON = (".csv", ".tsv"), (".jsonl", ".ndjson", ".json")
TABLES = (*_CSV, *_JSON, ".parquet", *LABEL_FILES)

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# UTF-32's mark begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
# Characters in one cell: a hundred captions of 10,000 words. The csv module's own limit, 131072, is less than two.
_LONGEST = 2**24
# A list as JSON or as Python prints one; a caption may well begin with a bracket, as in "[Music] plays".
_LISTED = re.compile(r"""\[\s*(["'].*["']\s*)?\]""", re.DOTALL)
# Shares by class as JSON or as Python prints them.
_SHARES = re.compile(r"""\{\s*["'].*:.*\}""", re.DOTALL)
# What spreadsheets write as the first line for each other: which sign stands between cells.
_EXCEL = re.compile(r"sep=([,;|\t:^~])\s*", re.IGNORECASE)
# What pandas, numpy and spreadsheets write for nothing; never the name of a class.
_NOTHING = {"", "nan", "<na>", "#n/a", "nat"}
# What Python and databases print for nothing; a class may be called like it in small letters.
NONE = ("None", "NONE", "NULL", "null")
_FLOATED = re.compile(r"(-?\d+)\.0+")


def kind_of(table: Path) -> str:
    """Return the suffix of a table, in small letters and without that of compression.

    >>> kind_of(Path("a/List.CSV.gz")), kind_of(Path("x"))
    ('.csv', '')
    """
    name = table.name.lower().removesuffix(".gz")
    return os.path.splitext(name)[1]


def is_table(path: Path) -> bool:
    """Say whether a file has the name of a table."""
    return kind_of(path) in TABLES


def rows(table: Path, encoding: str = "", notes: list[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each row with where it stands: ``list.csv, line 2``.

    Columns without a name, such as the index that pandas writes, are left out; so are rows without any value.

    Parameters
    ----------
    table : Path
        One of `TABLES`; other files are read as CSV.
    encoding : str
        Only where the file is known to have another than UTF-8 and no byte order mark.
    notes : list of str, optional
        What a person should know of is appended: other signs between the cells than the suffix says.

    Raises
    ------
    ValueError
        A file that cannot be read or is in another encoding, two columns of one name, a row with more or fewer cells
        than the header, what is no JSON object.
    """
    kind = kind_of(table)
    if kind == ".parquet" or kind in _JSON:
        for block in blocks(table, encoding, notes):
            yield from block.rows()
        return
    with _say_what_fails(table), _open(table, encoding) as file:
        read = label_rows if kind in LABEL_FILES else _csv_rows
        yield from read(table, file, [] if notes is None else notes)


def blocks(table: Path, encoding: str = "", notes: list[str] | None = None) -> Iterator[TableBlock]:
    """Yield the same rows some thousand at a time; the arguments and errors are those of `rows`."""
    notes = [] if notes is None else notes
    kind = kind_of(table)
    if kind == ".parquet":
        yield from _parquet_blocks(table)
    elif kind in _JSON:
        with _say_what_fails(table), _open(table, encoding) as file:
            yield from json_blocks(table, file, notes, is_whole=kind == ".json")
    else:
        yield from group_rows(rows(table, encoding, notes))


@contextmanager
def _say_what_fails(table: Path) -> Iterator[None]:
    """Turn what reading a file raises into errors that name it."""
    try:
        try:
            yield
        except UnicodeError as error:
            _fail_encoding(table, error)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        check.fail(str(table), "compressed by gzip, and whole", str(error) or type(error).__name__, "cut off?")
    except OSError as error:
        check.fail(str(table), "a file that can be read", (error.strerror or str(error)).lower())


def header(table: Path) -> list[str]:
    """Return the names of the columns of a CSV or TSV file, or none where it is something else."""
    if kind_of(table) not in _CSV:
        return []
    try:
        with _open(table, errors="replace") as file:
            line, separator = _first_line(file, table)
            return [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
    except (csv.Error, OSError, EOFError, UnicodeError, zlib.error):  # reading the table says what is wrong with it
        return []


def _open(table: Path, encoding: str = "", errors: str = "strict") -> IO[str]:
    if kind := special_file(str(table)):
        check.fail(str(table), "a table", kind)
    with _open_bytes(table) as file:
        start = file.read(4)
    found = next((name for mark, name in _MARKS.items() if start.startswith(mark)), encoding or "utf-8")
    return text_io.TextIOWrapper(_open_bytes(table), encoding=found, errors=errors, newline="")


def _open_bytes(table: Path) -> Any:
    return gzip.open(table, "rb") if table.name.lower().endswith(".gz") else open(table, "rb")


def _fail_encoding(table: Path, error: UnicodeError) -> None:
    """Raise with the line that is not UTF-8."""
    line, got = 1, str(error)
    with _open_bytes(table) as file:
        for number, text in enumerate(file, 1):
            try:
                text.decode()
            except UnicodeDecodeError as wrong:
                around = text[max(0, wrong.start - 10) : wrong.start + 10]
                line, got = number, f"byte 0x{text[wrong.start]:02x} in {around!r}"
                break
    check.fail(f"{table}, line {line}", "text in UTF-8", got, "Latin-1? save it as UTF-8")


def _first_line(file: IO[str], table: Path) -> tuple[str, str]:
    """Return the first line that is not blank, and what stands between its cells.

    It is the sign by which the line has the most cells, and of several that of the suffix.
    """
    usual = "\t" if kind_of(table) == ".tsv" else ","
    line = next((line for line in _lines(file) if line.strip(" \t\r\n,;\ufeff")), "")
    if chosen := _EXCEL.fullmatch(line.strip().strip('"')):
        return next(_lines(file), ""), chosen[1]

    def cells(separator: str) -> tuple[int, bool]:
        return len(next(csv.reader([line], delimiter=separator), [])), separator == usual

    return line, max(_SEPARATORS, key=cells)


def _lines(file: Iterable[str]) -> Iterator[str]:
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


def _csv_rows(table: Path, file: IO[str], notes: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    _, separator = _first_line(file, table)
    file.seek(0)
    usual = "\t" if kind_of(table) == ".tsv" else ","
    if separator != usual:
        notes.append(f"{table.name}: {_SEPARATORS.get(separator, repr(separator))} separate its cells")
    names: list[str] = []
    limit = csv.field_size_limit(_LONGEST)
    where = f"{table}, line 1"
    try:
        for number, cells in _tab_records(_lines(file)) if separator == "\t" else _records(_lines(file), separator):
            where = f"{table}, line {number}"
            if not any(text.strip() for text in cells) or (not names and _EXCEL.fullmatch(separator.join(cells))):
                continue
            if not names:
                names = _header(where, cells)
                continue
            while len(cells) > len(names) and not cells[-1].strip():
                cells.pop()
            if len(cells) != len(names):
                slip = "quote a cell that has a comma in it" if len(cells) > len(names) else "cells are missing"
                check.fail(where, f"{len(names)} cells, as the header has", len(cells), slip)
            yield where, {name: text for name, text in zip(names, cells) if name}
    except csv.Error as error:
        check.fail(f"{where} or the next", "a row of a table", str(error), "a quote that is never closed?")
    finally:
        csv.field_size_limit(limit)


def _records(lines: Iterator[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row, and the line that it begins with; a quote that is never closed is an error."""
    reader, number = csv.reader(lines, delimiter=separator, strict=True), 1
    for cells in reader:
        yield number, cells
        number = reader.line_num + 1


def _tab_records(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the same of lines with tabs, where quotes are mostly meant as they stand: Common Voice closes few of them.

    A line with as many cells as the header is a row; only another may go on in the next line, within quotes.
    """
    number, wanted, line = 1, 0, next(lines, None)
    while line is not None:
        after = next(lines, None)
        cells, used = line.rstrip("\r\n").split("\t"), 1
        wanted = wanted or (len(cells) if line.strip() else 0)
        begun = cells[-1].startswith('"') and cells[-1].count('"') % 2
        goes_on = after is not None and after.count("\t") + 1 != wanted
        if any(cell.startswith('"') for cell in cells) and (len(cells) != wanted or (begun and goes_on)):
            reader = csv.reader(chain([line], [] if after is None else [after], lines), delimiter="\t", strict=True)
            cells = next(reader)
            used = reader.line_num
            after = after if used == 1 else next(lines, None)
        else:
            cells = [_unquote(cell) for cell in cells]
        yield number, cells
        number, line = number + used, after


def _unquote(cell: str) -> str:
    inner = cell[1:-1]
    whole = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if whole else cell


def _header(where: str, cells: list[str]) -> list[str]:
    """Return the names of the columns, without spaces around them; empty for a column without one."""
    names = [name.strip().lstrip("\ufeff").strip() for name in cells]
    if twice := [name for name, count in Counter(filter(None, names)).items() if count > 1]:
        check.fail(where, "a header that names each column once", f"{twice[0]!r} twice", "rename one")
    return names


def _parquet_blocks(table: Path) -> Iterator[TableBlock]:
    try:
        import pyarrow
        from pyarrow import ArrowException, parquet
    except ModuleNotFoundError:
        slip = "pip install 'audiomix[parquet]'; or save it as CSV"
        check.fail(str(table), "a table that can be read here", "Parquet, for which pyarrow is not installed", slip)
    try:
        with closing(parquet.ParquetFile(table)) as file:
            number = 0
            for batch in file.iter_batches(batch_size=ROWS):
                numbers = np.arange(number + 1, number + len(batch) + 1)
                number += len(batch)
                filled = np.zeros(len(batch), np.bool_)
                for column in batch.columns:
                    filled |= column.is_valid().to_numpy(zero_copy_only=False)
                if not filled.all():
                    batch, numbers = batch.filter(pyarrow.array(filled)), numbers[filled]
                if len(batch):
                    columns = named_columns(dict(zip(batch.schema.names, batch.columns)))
                    yield TableBlock(f"{table}, row", numbers, columns=columns)  # type: ignore[arg-type]
    except (ArrowException, OSError) as error:
        check.fail(str(table), "a table in Parquet", str(error).splitlines()[0][:200], "cut off?")


def same_name(text: str) -> str:
    """Return a text in the one spelling that names are compared and kept in: Unicode's composed form (NFC).

    macOS writes file names with decomposed letters, keyboards write composed ones.

    >>> same_name("Vo" + chr(0x308) + "gel") == "V" + chr(0xf6) + "gel"
    True
    """
    return intern(text if text.isascii() else unicodedata.normalize("NFC", text))


def cell(value: Any) -> str | None:
    """Return what a cell says; None for an empty one. A whole number is one however it is written.

    pandas writes a column of whole numbers with a gap in it as ``1.0``, and nothing as ``nan``.

    >>> cell(" dog "), cell(1.0), cell("1.0"), cell("01"), cell("nan"), cell("")
    ('dog', '1', '1', '01', None, None)
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    if whole := _FLOATED.fullmatch(text):
        text = whole[1]
    return None if text.lower() in _NOTHING else intern(text)


def order_classes(
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
        value = _cell_json(value, where)
    found = [_text(v, where) for v in (value if isinstance(value, list) else [value])]
    return tuple(dict.fromkeys(text for text in found if text))


def _cell_json(value: str, where: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        slip = f"{error}; with Python, json.dumps(captions)"
        check.fail(f"a list in {where}", "written as JSON", repr(value.strip()[:60]), slip)


def _text(value: Any, where: str) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float, type(None))):
        check.fail(f"a caption or tag in {where}", "text", type(value).__name__, error=TypeError)
    text = cell(value)
    if text is not None and not is_utf8(text):
        check.fail(f"a caption or tag in {where}", "text", ascii(text[:60]), "half of a surrogate pair")
    return text


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
        shares: dict[str, float] = {}
        for key, share in value.items():
            name = _name(key, where)
            shares[name] = shares.get(name, 0) + (0 if share is None else _share(share, where))
        return {name: min(1.0, share) for name, share in shares.items() if share} or None
    if isinstance(value, str) and (_LISTED.fullmatch(value.strip()) or _SHARES.fullmatch(value.strip())):
        return label(_cell_json(value, where), None, where)
    if isinstance(value, str) and separator:
        value = [part for part in value.split(separator) if part.strip()]
    if isinstance(value, list):
        return {_name(v, where): 1.0 for v in value} or None
    if isinstance(value, str) and value.strip() in NONE:
        slip = "leave a cell without a class empty; or rename the class"
        check.fail(f"a label in {where}", "the name of a class, or empty", repr(value.strip()), slip)
    return None if value is None or (isinstance(value, str) and cell(value) is None) else _name(value, where)


def _share(value: Any, where: str) -> float:
    percent = isinstance(value, (int, float)) and value > 1
    return check.number(f"a share in {where}", value, 0, 1, slip="percent? divide by 100" if percent else "")


def _name(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        expected = "the name or number of a class"
        check.fail(f"a label in {where}", expected, _json(value), error=TypeError)
    if isinstance(value, float) and not math.isfinite(value):
        check.fail(f"a label in {where}", "the name or number of a class", value)
    name = cell(value) or check.fail(f"a label in {where}", "the name or number of a class", repr(value))
    if "\n" in name or "\r" in name:
        check.fail(f"a label in {where}", "a name in one line", repr(name[:60]), "a quote too many?")
    if not is_utf8(name):
        check.fail(f"a label in {where}", "text", ascii(name), "half of a surrogate pair")
    return same_name(name)


def _json(value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError):  # of a Parquet file
        return repr(value)
