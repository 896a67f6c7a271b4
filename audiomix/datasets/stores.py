"""Columns that clips of a data set are held in: texts, numbers, and numbers of lines.

A row is given its value after those before it, once; one without a value may be left out.
"""

import math
from array import array
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["LineColumn", "NumberColumn", "TextColumn"]

# Distinct texts of a column from which on they are kept one after the other, where that is more than one row in four.
_DISTINCT, _REPEATED = 1 << 16, 4
# Rows whose texts' places are counted from one place.
_BLOCK = 1 << 12


class TextColumn:
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
            self._push_all([text])
            return
        code = self._number(text)
        if code >= max(_DISTINCT, len(self._values) - 1) and code * _REPEATED > row:
            self._keep_apart()
            self.put(row, text)
            return
        if len(self._codes) < row:
            self._codes.extend([-1] * (row - len(self._codes)))
        self._codes.append(code)

    def extend(self, row: int, codes: NDArray[np.integer], texts: Sequence[str | None]) -> None:
        """Give the rows from `row` on their texts, by the number of each row's text in `texts`; -1 and None: none."""
        if all(text is None for text in texts):
            return
        self.is_used = True
        if self._known is None:
            self._fill(row)
            both = [*texts, None]
            self._push_all([both[code] for code in codes.tolist()])
            return
        table = np.array([-1 if text is None else self._number(text) for text in texts] + [-1])
        if len(self._codes) < row:
            self._codes.extend([-1] * (row - len(self._codes)))
        self._codes.frombytes(table[codes].astype(self._codes.typecode).tobytes())
        if len(self._values) > _DISTINCT and len(self._values) * _REPEATED > row + len(codes):
            self._keep_apart()

    def take(self, rows: Sequence[int]) -> list[str | None]:
        """Return the texts of some rows, given by their numbers; in less time where they are a range."""
        if not isinstance(rows, range) or rows.step != 1 or not rows:
            return [self.get(row) for row in rows]
        first, stop = rows.start, rows.stop
        if self._known is not None:
            values = self._values
            found = [None if code < 0 else values[code] for code in self._codes[first:stop]]
        else:
            stop, found = min(stop, len(self._ends)), []
            while first < stop:
                end = min(stop, first - first % _BLOCK + _BLOCK)
                base, before = self._starts[first // _BLOCK], 0 if first % _BLOCK == 0 else self._ends[first - 1]
                ends = self._ends[first:end]
                text = bytes(self._heap[base + before : base + ends[-1]])
                pieces = (text[one - before : two - before] for one, two in pairwise([before, *ends]))
                found += [None if one == b"\0" else one.decode("utf-8", "surrogatepass") for one in pieces]
                first = end
        return found + [None] * (len(rows) - len(found))

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
        self._push_all([None if code < 0 else values[code] for code in codes])

    def _number(self, text: str) -> int:
        """Return the number of a text, which is kept."""
        assert self._known is not None
        code = self._known.get(text)
        if code is None:
            code = self._known[text] = len(self._values)
            self._values.append(text)
            if code >= 1 << (8 * self._codes.itemsize - 1):
                self._codes = array({1: "h", 2: "i"}[self._codes.itemsize], self._codes)
        return code

    def _fill(self, row: int) -> None:
        if len(self._ends) < row:
            self._push_all([None] * (row - len(self._ends)))

    def _push_all(self, texts: Sequence[str | None]) -> None:
        """Add texts behind the others."""
        done = 0
        while done < len(texts):
            if len(self._ends) % _BLOCK == 0:
                self._starts.append(len(self._heap))
            some = texts[done : done + _BLOCK - len(self._ends) % _BLOCK]
            written = [b"\0" if text is None else text.encode("utf-8", "surrogatepass") for text in some]
            begin = len(self._heap) - self._starts[-1]
            self._heap += b"".join(written)
            self._ends.extend(accumulate(map(len, written[1:]), initial=begin + len(written[0])))
            done += len(some)


class NumberColumn:
    """A column of numbers: nothing while no row has one."""

    def __init__(self) -> None:
        self._values: array[float] = array("d")

    @property
    def is_used(self) -> bool:
        """Whether any row has a number."""
        return bool(self._values)

    def put(self, row: int, value: float | None) -> None:
        """Give a row its number; the rows between it and the last one have none."""
        if value is not None:
            self._values.extend([math.nan] * (row - len(self._values)))
            self._values.append(value)

    def extend(self, row: int, numbers: NDArray[np.float64]) -> None:
        """Give the rows from `row` on their numbers; NaN is none."""
        if not np.isnan(numbers).all():
            self._values.extend([math.nan] * (row - len(self._values)))
            self._values.frombytes(numbers.astype(np.float64).tobytes())

    def take(self, rows: Sequence[int]) -> list[float]:
        """Return the numbers of some rows; NaN where there is none."""
        if not isinstance(rows, range) or rows.step != 1:
            size = len(self._values)
            return [self._values[row] if row < size else math.nan for row in rows]
        found = self._values[rows.start : rows.stop].tolist()
        return found + [math.nan] * (len(rows) - len(found))

    def get(self, row: int) -> float | None:
        """Return the number of a row."""
        value = self._values[row] if row < len(self._values) else math.nan
        return None if value != value else value

    def array(self, size: int) -> NDArray[np.float64]:
        """Return all; NaN where there is none."""
        found = np.full(size, np.nan)
        found[: len(self._values)] = np.frombuffer(self._values) if self._values else np.nan
        return found


class LineColumn:
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

    def extend(self, row: int, lines: NDArray[np.int64]) -> None:
        """Give the rows from `row` on their numbers."""
        if len(lines):
            breaks = np.flatnonzero(np.diff(lines) != 1) + 1
            starts = [*([0] if int(lines[0]) != self._next else []), *breaks.tolist()]
            self._rows.extend(row + start for start in starts)
            self._lines.extend(lines[starts].tolist())
            self._next = int(lines[-1]) + 1

    def get(self, row: int) -> int | None:
        """Return the number of a row."""
        at = int(np.searchsorted(np.frombuffer(self._rows, np.int64), row, "right")) - 1
        line = self._lines[at]
        return None if line < 0 else line + row - self._rows[at]
