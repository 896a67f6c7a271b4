"""Label files: lines that say what is heard from when to when, as Audacity exports them and as NIST defines them.

================  ================================================  =================================================
file              a line                                            what is read
================  ================================================  =================================================
``.txt``          ``start <tab> end <tab> label`` in seconds        pieces of the sound of the same name beside it;
                                                                    lines that begin with a backslash tell
                                                                    frequencies and are left out
``.lab``          ``start end label``, seconds or, as whole         the same
                  numbers, HTK's units of 100 ns
``.rttm``         ``TYPE file channel start duration x x name``     pieces of the sounds ``file.*`` beside or below it:
                                                                    the name is the label, the file the group
``.stm``          ``file channel speaker start end [<tags>] text``  the text is the caption, the speaker the group
``.ctm``          ``file channel start duration word``              the word is the label
================  ================================================  =================================================

NIST's forms: https://github.com/usnistgov/SCTK, doc/infmts.htm; lines that begin with ``;;`` are comments.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

from .. import check
from .walk import is_audio, list_files, list_folder

__all__ = ["LABEL_FILES", "label_rows", "labels_sound"]

LABEL_FILES = (".txt", ".lab", ".rttm", ".stm", ".ctm")
_SINGLE = (".txt", ".lab")
_HTK = 1e7  # units of 100 ns in a second
_EXPECTED = {
    ".txt": "start, end and label with tabs between them, as Audacity exports them",
    ".lab": "start, end and label",
    ".rttm": "TYPE file channel start duration x x name, as NIST's RTTM has them",
    ".stm": "file channel speaker start end text, as NIST's STM has them",
    ".ctm": "file channel start duration word, as NIST's CTM has them",
}


def label_rows(table: Path, file: IO[str], notes: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a row for each line that marks a piece of a sound, as a manifest would have it.

    Parameters
    ----------
    table : Path
        One of `LABEL_FILES`, or such a file compressed.
    file : text file
        What is in it.
    notes : list of str
        How many lines mark a moment and not a piece, and are left out, is appended.

    Raises
    ------
    ValueError
        A line of another form; the sound of the labels is not there.
    """
    stem, kind = os.path.splitext(table.name.removesuffix(".gz"))
    kind = kind.lower()
    sounds: dict[str, str] = {}
    moments = 0
    for number, line in enumerate(file, 1):
        where, line = f"{table}, line {number}", line.strip("\r\n ")
        if not line.strip() or line.startswith((";;", "\\")):
            continue
        name, start, stop, rest = _parse(kind, line, stem, where)
        if not (0 <= start <= stop < math.inf):
            check.fail(where, "a start, and an end that is not before it", f"{start:g} and {stop:g}")
        if start == stop:
            moments += 1
            continue
        sounds = sounds or _sounds(table, single=kind in _SINGLE)
        if name not in sounds:
            check.fail(where, f"about a sound {name}.*, beside {table.name} or below its folder", "none of that name")
        yield where, {"path": sounds[name], "offset": start, "duration": stop - start, **rest}
    if moments:
        notes.append(f"{table.name}: {moments} labels mark a moment and no piece of the sound, and are left out")


def labels_sound(path: Path) -> bool:
    """Say whether a file is one of labels of a single sound, by its name and its first line."""
    if path.suffix.lower() not in _SINGLE or not path.is_file():
        return False
    try:
        with open(path, encoding="utf-8-sig") as file:
            first = file.readline(10_000).strip("\r\n ")
        _parse(path.suffix.lower(), first, path.stem, "")
    except (OSError, ValueError):
        return False
    return True


def _parse(kind: str, line: str, stem: str, where: str) -> tuple[str, float, float, dict[str, str]]:
    """Return the name of the sound, start and end in seconds, and the other columns."""
    cells = line.split("\t" if kind == ".txt" else None)
    try:
        if kind in _SINGLE:
            scale = _HTK if kind == ".lab" and cells[0].isdigit() and cells[1].isdigit() else 1.0
            return stem, float(cells[0]) / scale, float(cells[1]) / scale, {"label": " ".join(cells[2:])}
        if kind == ".rttm":
            return cells[1], *_span(cells[3], cells[4]), {"label": cells[7], "group": cells[1]}
        if kind == ".ctm":
            return cells[0], *_span(cells[2], cells[3]), {"label": cells[4]}
        words = cells[6:] if len(cells) > 5 and cells[5].startswith("<") else cells[5:]
        return cells[0], float(cells[3]), float(cells[4]), {"caption": " ".join(words), "group": cells[2]}
    except (IndexError, ValueError):
        _fail(kind, line, where)


def _span(start: str, seconds: str) -> tuple[float, float]:
    return float(start), float(start) + float(seconds)


def _fail(kind: str, line: str, where: str) -> NoReturn:
    check.fail(where, _EXPECTED[kind], repr(line[:60]), "no label file? a list of files is .csv, .tsv or .jsonl")


def _sounds(table: Path, *, single: bool) -> dict[str, str]:
    """Return the sounds that the labels of a table may be about, by name without suffix."""
    names = filter(is_audio, list_folder(table.parent)) if single else list_files(table.parent)
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(os.path.splitext(name.rpartition("/")[2])[0], name)
    return found
