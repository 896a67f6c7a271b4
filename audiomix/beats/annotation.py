"""Annotations of beats as they are published: what a text or a JAMS file says, line by line, and what was put right.

A ``.beats`` text has a beat a line: its time in seconds and, behind white space or a comma, its position in the bar.
madmom and mir_eval read and write the same. A position may also be ``bar.beat``, as Sonic Visualiser writes it. Read
too are three columns: start, end and label, as Audacity and ASAP have them.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from .. import check

__all__ = ["CLOSEST", "LEAST", "Annotation", "jams_dict", "positions_from_downbeats", "read_annotation", "usual_bar"]

CLOSEST = 0.1  # seconds: beats closer than this are one beat twice, for 0.1 s are 600 bpm
LEAST = CLOSEST - 2e-6  # a microsecond less is the rounding of a text
_EARLY = 0.5  # seconds before the start: a beat that a fit to the others put there
_FEW = 0.1  # share of the beats that may be merged; more than that and than two, and these are no beats

_BAR_BEAT = re.compile(r"(\d+)\.(\d+)")
_KEY = re.compile(r"#\s*key\s*[:=]\s*(.+)", re.IGNORECASE)
_COMMENTS = ("#", ";", "%", "//")  # what a line begins with that is none
_TRAILING = re.compile(r"\s#.*")  # not C#:minor
_NAMESPACES = ("beat", "beat_position")


@dataclass(frozen=True)
class Annotation:
    """What a file says of the beats of a piece.

    Parameters
    ----------
    times : tuple of float
        Beat times in seconds, ascending, none negative.
    positions : tuple of int, optional
        Position of each beat in its bar, 1 for a downbeat; None where the file tells none, or not of all.
    key : str, optional
        The key of the piece, as it is written.
    notes : tuple of str
        What was dropped or merged, each with its place in the file.
    """

    times: tuple[float, ...]
    positions: tuple[int, ...] | None = None
    key: str | None = None
    notes: tuple[str, ...] = ()


class _Row(NamedTuple):
    """A beat as it is written."""

    place: str  # where in the file, for messages: line 3
    time: float
    label: str  # empty where there is none


def read_annotation(path: str | Path) -> Annotation:
    """Read a text or a JAMS file (``.jams``).

    Beats less than 0.1 s apart are one beat twice: the first stays. Beats up to half a second before the start are
    dropped. Both are told in the notes. Positions must step by one, or begin a new bar with 1.

    Parameters
    ----------
    path : path
        The file, in UTF-8. Of a text empty lines and comments (from ``#`` on, and lines that begin with ``;``, ``%`` or
        ``//``) are left out, but ``# key: A minor`` tells the key.

    Raises
    ------
    ValueError
        A line that is no beat, times that do not ascend, positions that do not step: the message names the place.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 (byte {error.start}): no annotation of beats") from None
    rows, key = _jams_rows(path, text) if path.suffix.lower() == ".jams" else _text_rows(path, text)
    _check_order(path, rows)
    positions = _positions(path, rows)
    kept, notes = _put_right(path, rows, positions)
    bare = [row.place for row in rows if not row.label]
    if 0 < len(bare) < len(rows):
        notes.append(f"{bare[0]}: no position, as others have: the bar phase is left open")
    told = None if positions is None else tuple(positions[i] for i in kept)
    return Annotation(tuple(rows[i].time for i in kept), told, key, tuple(notes))


def usual_bar(positions: Sequence[int]) -> int:
    """Return how many beats the usual bar has: the length of most bars that are there from 1 to the next 1.

    Where several lengths are equally frequent it is the longest of them; where no bar is whole it is the largest
    position.

    >>> usual_bar([3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 5, 1])
    4
    """
    first = [i for i, position in enumerate(positions) if position == 1]
    bars = [b - a for a, b in pairwise(first)]
    return max(set(bars), key=lambda size: (bars.count(size), size)) if bars else max(positions)


def jams_dict(times: Sequence[float], positions: Sequence[int] | None, seconds: float, tracker: str) -> dict[str, Any]:
    """Return beats as the content of a JAMS file: an annotation of the namespace ``beat``.

    Source: Humphrey et al., "JAMS: A JSON Annotated Music Specification for Reproducible MIR Research", ISMIR 2014.

    Parameters
    ----------
    times, positions
        See `Annotation`; a position is the observation's value.
    seconds : float
        Length of the sound.
    tracker : str
        Who found the beats.
    """
    values: Sequence[int | None] = [None] * len(times) if positions is None else positions
    data = [{"time": t, "duration": 0.0, "value": v, "confidence": None} for t, v in zip(times, values)]
    found = {"namespace": "beat", "data": data, "sandbox": {}, "time": 0.0, "duration": seconds}
    found["annotation_metadata"] = {"annotation_tools": tracker, "data_source": "", "version": ""}
    metadata = {"duration": seconds, "title": "", "artist": "", "release": "", "jams_version": "0.3.4"}
    return {"annotations": [found], "file_metadata": {**metadata, "identifiers": {}}, "sandbox": {}}


def _text_rows(path: Path, text: str) -> tuple[list[_Row], str | None]:
    """Return the beats of a text, and its key if a comment tells it."""
    rows: list[_Row] = []
    key = None
    for number, line in enumerate(text.splitlines(), 1):
        if found := _KEY.fullmatch(line.strip()):
            key = found[1].strip()
        told = _TRAILING.sub("", f" {line}")
        words = told.replace(",", " ").split() if _is_table(told) else told.split()
        if not words or words[0].startswith(_COMMENTS):
            continue
        try:
            time = float(words[0])
            fits = _is_position(words[1]) if len(words) == 2 else len(words) < 2 or float(words[1]) >= time
        except ValueError:
            fits = False
        if not fits:
            expected = "a time in seconds and a position in the bar, or start, end and label"
            check.fail(f"{path}, line {number}", expected, repr(line))
        rows.append(_Row(f"line {number}", time, " ".join(words[2:] or words[1:])))
    return rows, key


def _is_table(line: str) -> bool:
    """Return whether commas part the columns: then the first stands behind a number."""
    first = line.partition(",")[0].strip()
    return bool(first) and len(first.split()) == 1 and "," in line and not first.startswith("#")


def _is_position(word: str) -> bool:
    """Return whether a word may be a position: a whole number, or bar and beat."""
    return float(word).is_integer() or _BAR_BEAT.fullmatch(word) is not None


def _jams_rows(path: Path, text: str) -> tuple[list[_Row], str | None]:
    """Return the beats of a JAMS file, of its first annotation of beats, and its key if it has one that stays.

    Old files hold the columns of the data, newer ones its rows.
    """
    expected = "a JAMS file with an annotation of the namespace beat"
    try:
        annotations = json.loads(text)["annotations"]
        found = next((a for a in annotations if a["namespace"] in _NAMESPACES), None)
        if found is None:
            named = ", ".join(sorted({str(a["namespace"]) for a in annotations})) or "none"
            check.fail(str(path), expected, f"the namespaces {named}")
        rows = []
        for number, row in enumerate(_jams_data(found["data"])):
            value = row["value"]
            value = value.get("position") if isinstance(value, dict) else value
            rows.append(_Row(f"observation {number}", float(row["time"]), "" if value is None else f"{value}"))
        keys = {row["value"] for a in annotations if a["namespace"] == "key_mode" for row in _jams_data(a["data"])}
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        check.fail(str(path), expected, f"something else ({error!r})")
    return rows, keys.pop().replace(":", " ") if len(keys) == 1 else None


def _jams_data(data: Any) -> list[dict[str, Any]]:
    if isinstance(data, dict):
        return [dict(zip(data, values)) for values in zip(*data.values(), strict=True)]
    return list(data)


def _check_order(path: Path, rows: list[_Row]) -> None:
    """Raise where a time is not finite, or earlier than the one before."""
    for row in rows:
        if not math.isfinite(row.time):
            check.fail(f"{path}, {row.place}", "a time in seconds", f"{row.time}")
    for before, row in pairwise(rows):
        if row.time < before.time:
            expected = f"not before {before.time:g} s, the beat above: times must be ascending"
            check.fail(f"{path}, {row.place}", expected, f"{row.time:g} s")


def _put_right(path: Path, rows: list[_Row], positions: list[int] | None) -> tuple[list[int], list[str]]:
    """Return which beats stay, and what was dropped or merged.

    Of two beats that are one the downbeat stays, else the first. Where more than a tenth of all would be merged they
    are no beats, and nothing is changed: the grid will say so.
    """
    early = [i for i, row in enumerate(rows) if -_EARLY <= row.time < 0]
    notes = [f"{rows[i].place}: dropped, {-rows[i].time:g} s before the start" for i in early]
    kept: list[int] = []
    merged: list[str] = []
    for i in range(len(early), len(rows)):
        if not kept or rows[i].time - rows[kept[-1]].time >= LEAST:
            kept.append(i)
            continue
        apart = rows[i].time - rows[kept[-1]].time
        merged.append(f"{rows[i].place}: merged with the beat {apart:.3g} s before it")
        if positions is not None and positions[i] == 1 != positions[kept[-1]]:
            kept[-1] = i
    if len(merged) > max(2, _FEW * len(rows)):
        return list(range(len(early), len(rows))), notes
    return kept, notes + merged


def _positions(path: Path, rows: list[_Row]) -> list[int] | None:
    """Return the positions in the bar that labels tell; None where they tell none, or not all do.

    Raises
    ------
    ValueError
        Positions that do not step by one, nor begin a bar.
    """
    labels = [row.label for row in rows]
    if not rows or not all(labels):
        return None
    kinds = [label.split()[0].partition(",")[0].lower() for label in labels]  # ASAP: "db,4/4,0"
    if "db" in kinds and set(kinds) <= {"b", "br", "db"}:
        return positions_from_downbeats([kind == "db" for kind in kinds])
    try:
        numbers = [float(label) for label in labels]
    except ValueError:
        return None
    if all(number.is_integer() for number in numbers):
        found = [int(number) for number in numbers]
        steps = [b in (a + 1, 1) for a, b in pairwise(found)]
    else:
        parts = [_BAR_BEAT.fullmatch(label) for label in labels]
        pairs = [(int(part[1]), int(part[2])) if part else (0, 0) for part in parts]
        steps = [b == (a[0], a[1] + 1) or b == (a[0] + 1, 1) for a, b in pairwise(pairs)]
        ends = pairwise([row.time for row in rows])
        if not all(steps) and all(a <= n <= b + LEAST for n, (a, b) in zip(numbers, ends)):
            return None  # the beats' ends
        found = [beat for _, beat in pairs]
    twice = [b.time - a.time < LEAST for a, b in pairwise(rows)]
    for (before, row), step, same in zip(pairwise(rows), steps, twice):
        if not step and not (same and row.label == before.label):
            expected = f"one more than {before.label}, the position above it, or the first of the next bar"
            check.fail(f"{path}, {row.place}", expected, row.label, "positions must step by one: is a beat missing?")
    if min(found) < 1:
        place = next(row.place for row, position in zip(rows, found) if position < 1)
        check.fail(f"{path}, {place}", "a position from 1 on", min(found))
    return found


def positions_from_downbeats(downbeat: list[bool]) -> list[int] | None:
    """Return the position of each beat in its bar, from which of them are downbeats; None where fewer than two are.

    Beats count on to the next downbeat. What comes before the first one ends a bar as long as the first. No bar is
    whole where there is one downbeat: the metre is open.

    >>> positions_from_downbeats([False, True, False, False, True, False])
    [3, 1, 2, 3, 1, 2]
    """
    places = [i for i, is_one in enumerate(downbeat) if is_one]
    if len(places) < 2:
        return None
    first = places[0]
    metre = places[1] - first
    found: list[int] = []
    for i, is_one in enumerate(downbeat):
        before = (metre - first + i) % metre + 1
        found.append(1 if is_one else found[-1] + 1 if i > first else before)
    return found
