"""What goes with what: the table of ``audiomix beats --matches``."""

import sys
from collections.abc import Mapping
from json import dumps
from typing import Any

from rich.table import Table

from ..beats import BeatGrid
from ..beats.match import MatchRule
from ..datasets.item import Item
from ..offline.partners.score import Ranked, rank
from ..offline.providers.features import measure_items
from ..terminal import say, show

__all__ = ["find_matches", "print_matches"]

# Partners that are listed of each file.
_LISTED = 5
_TRANSPOSITIONS = range(-5, 7)


def find_matches(
    grids: Mapping[str, BeatGrid], *, workers: int = 1, progress: bool = True
) -> dict[str, list[dict[str, Any]]]:
    """Return for each file the five that go with it best, the best first, in all twelve transpositions.

    Parameters
    ----------
    grids : mapping of BeatGrid
        By path.
    workers : int
        Processes that measure the files.
    progress : bool
        Show a bar.
    """
    items = [Item("", path) for path in grids]
    features = measure_items(items, grids, workers=workers, progress=progress)
    found = {}
    for path in grids:
        others = [other for other in grids if other != path]
        ranked = rank(path, others, grids, features, MatchRule(), _TRANSPOSITIONS)[:_LISTED]
        found[path] = [_record(one, grids[path], grids[one.name]) for one in ranked if one.place is not None]
    return found


def print_matches(found: Mapping[str, list[dict[str, Any]]], json: bool) -> None:
    """Print what goes with what, as a table or as one JSON object a file.

    Parameters
    ----------
    found : mapping
        From `find_matches`.
    json : bool
        One object a line.
    """
    if json:
        for path, matches in found.items():
            print(dumps({"file": path, "matches": matches}, allow_nan=False), file=sys.stdout, flush=True)
        return
    table = Table(title="matches")
    for name in ("file", "partner", "score", "at", "partner at", "beats", "rate", "semitones"):
        table.add_column(name, overflow="fold", justify="left" if name in ("file", "partner") else "right")
    for path, matches in found.items():
        for one in matches:
            places = f"{one['at']:.2f} s", f"{one['partner_at']:.2f} s", str(one["length"])
            numbers = f"{one['rate']:.3f}", f"{one['semitones']:+d}"
            table.add_row(path, one["partner"], f"{one['score']:.2f}", *places, *numbers)
    if any(found.values()):
        show(table)
    else:
        say("no matches: no two files whose tempi fit")


def _record(one: Ranked, own: BeatGrid, theirs: BeatGrid) -> dict[str, Any]:
    assert one.place is not None
    i, j = one.place.beats
    return {
        "partner": one.name, "score": round(one.score, 4), "beat": i, "partner_beat": j, "at": round(own.times[i], 4),
        "partner_at": round(theirs.times[j], 4), "length": one.place.length, "semitones": one.place.semitones,
        "rate": round(one.rate, 4),
    }  # fmt: skip
