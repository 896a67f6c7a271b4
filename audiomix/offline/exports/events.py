"""When each source of a mix sounds, in seconds: as its scene says it, or by the parts of its plan."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ...plan import ORIGINAL, Part, Plan

__all__ = ["Event", "beats_of", "events_of", "name_of", "read_plan"]


class Event(NamedTuple):
    """A source that sounds from `start` for `duration` seconds; `source` is its number in the row, 0 the original."""

    start: float
    duration: float
    source: int
    text: str


def events_of(row: Mapping[str, Any]) -> list[Event]:
    """Return when the sources of a mix sound, in order; nothing where that cannot be told.

    Parameters
    ----------
    row : mapping
        Of the manifest.
    """
    sources, seconds = row["sources"], float(row["seconds"])
    if row.get("events"):
        return [_event(one["onset"], one["offset"], min(one["source"], len(sources) - 1), row, one.get("caption"))
                for one in row["events"]]  # fmt: skip
    plan = read_plan(row)
    if plan is None:
        return []
    axis = plan.axis_seconds or seconds
    begin = plan.window(0)[0] * axis
    order = {number: k for k, number in enumerate([ORIGINAL, *plan.sources(0)])}
    found = []
    for part in plan.parts(0):
        if part.gain and part.source in order:
            start, stop = (edge * axis - begin for edge in _span(part))
            start, stop = max(0.0, start), min(seconds, stop)
            if stop > start:
                found.append(_event(start, stop, order[part.source], row, None))
    return sorted(found)


def beats_of(row: Mapping[str, Any]) -> list[tuple[float, int | None]]:
    """Return the beats of a mix, in seconds, with their positions in the bar where those are known.

    Parameters
    ----------
    row : mapping
        Of the manifest.
    """
    beats, positions = row.get("beats") or [], row.get("positions") or []
    beats = [] if isinstance(beats, str) else beats
    return [(float(time), positions[i] if i < len(positions) else None) for i, time in enumerate(beats)]


def name_of(row: Mapping[str, Any], source: int) -> str:
    """Return what a source of a mix is called: its class, else its caption, else its file.

    Parameters
    ----------
    row : mapping
        Of the manifest.
    source : int
        Its number in the row, 0 the original.
    """
    entry = row["sources"][source]
    label = entry.get("label")
    return label if isinstance(label, str) and not label.startswith("{") else entry.get("file") or entry["id"]


def read_plan(row: Mapping[str, Any]) -> Plan | None:
    """Return the plan of a mix; None where it is of a mixer that is not here.

    Parameters
    ----------
    row : mapping
        Of the manifest.
    """
    try:
        return Plan.from_json(row["plan"])
    except ValueError:
        return None


def _span(part: Part) -> tuple[float, float]:
    """Return from where to where a part sounds at the most, as fractions of the original's axis."""
    if part.warp is not None:
        return float(part.warp[0, 0]), float(part.warp[-1, 0])
    length = math.inf if part.loop else part.piece[1] - part.piece[0]
    if not part.fitted and part.source != ORIGINAL and part.piece == (0.0, 1.0):
        length = math.inf  # as long as its file
    return part.start, min(part.stop, part.start + length)


def _event(start: float, stop: float, source: int, row: Mapping[str, Any], text: str | None) -> Event:
    return Event(round(start, 6), round(stop - start, 6), source, text or name_of(row, source))
