"""One line of a file of many, found without taking the others apart."""

import json
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["count_lines", "escape", "lines_with", "open_lines", "read_line"]

# Bytes that are searched at once.
_BLOCK = 1 << 22


@contextmanager
def open_lines(path: Path) -> "Iterator[mmap.mmap | bytes]":
    """Open a file as bytes, of which only what is looked at is read.

    Parameters
    ----------
    path : Path
        The file.
    """
    with open(path, "rb") as file:
        if not file.seek(0, 2):  # nothing cannot be mapped
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as lines:
            yield lines


def escape(text: str) -> bytes:
    r"""Return a text as it stands in the JSON that this package writes, without quotes.

    >>> escape('a"b')
    b'a\\"b'
    """
    return json.dumps(text, ensure_ascii=False)[1:-1].encode(errors="surrogatepass")


def count_lines(lines: "mmap.mmap | bytes", stop: int) -> int:
    """Return how many lines end before a byte.

    Parameters
    ----------
    lines : bytes
        The file.
    stop : int
        Number of the byte.
    """
    return sum(lines[at : min(stop, at + _BLOCK)].count(b"\n") for at in range(0, stop, _BLOCK))


def read_line(lines: "mmap.mmap | bytes", place: int) -> tuple[int, bytes]:
    """Return where the line begins that a byte is of, and the line.

    Parameters
    ----------
    lines : bytes
        The file.
    place : int
        Number of the byte.
    """
    start = lines.rfind(b"\n", 0, place) + 1
    stop = lines.find(b"\n", place)
    return start, bytes(lines[start : len(lines) if stop < 0 else stop + 1])


def lines_with(lines: "mmap.mmap | bytes", text: bytes, near: float = 0.0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the JSON objects of lines in which a text stands, and where these begin; other lines are not read as JSON.

    Parameters
    ----------
    lines : bytes
        The file.
    text : bytes
        What is looked for.
    near : float
        Where the search begins, from 0 to 1; it goes outwards from there.
    """
    last = max(0, len(lines) - 1) // _BLOCK
    first = min(last, int(near * len(lines)) // _BLOCK)
    blocks = sorted(range(last + 1), key=lambda block: abs(block - first))
    for block in blocks:
        at, stop, seen = block * _BLOCK, (block + 1) * _BLOCK, -1
        while 0 <= (at := lines.find(text, at, stop + len(text) - 1)) < stop:
            start, line = read_line(lines, at)
            at += 1
            if start == seen:
                continue
            seen = start
            try:
                row = json.loads(line)
            except ValueError:  # cut off by a kill, or edited by hand
                continue
            if isinstance(row, dict):
                yield start, row
