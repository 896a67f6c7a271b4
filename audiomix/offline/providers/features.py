"""What is compared of the music of a data set, measured once a file: for partners that are ranked by mashability."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np

from ...audio import io
from ...audio.io import AudioError
from ...beats.grid import BeatGrid
from ...beats.mashability.features import BeatFeatures, measure
from ...datasets.item import Item
from ..cache import enough_memory
from ..parallel import in_order, run_tasks
from ..progress import bar

__all__ = ["measure_items"]

# Files that may be measured while one before them is not.
_AHEAD = 256


class _Sound(NamedTuple):
    path: str
    start: float
    seconds: float | None
    grid: BeatGrid


def measure_items(
    items: Sequence[Item], grids: Mapping[str, BeatGrid], *, workers: int = 1, progress: bool = True
) -> dict[str, BeatFeatures]:
    """Measure all items that have beats, in this process or in several; in half precision, 150 bytes a beat.

    Parameters
    ----------
    items : sequence of Item
        The clips of a data set.
    grids : mapping of BeatGrid
        By id; of an item that is a piece of a file, those of the whole file.
    workers : int
        Processes. Results do not depend on it.
    progress : bool
        Show a bar.

    Returns
    -------
    dict of BeatFeatures
        By id, without the items that have no beats or cannot be read: that is told where they are mixed.
    """
    known = [item for item in items if item.id in grids]
    sounds: Iterable[_Sound] = [_Sound(one.path, one.start or 0.0, one.seconds, grids[one.id]) for one in known]
    results = run_tasks(_Measurer, (), sounds, workers=workers, on_death="report", ahead=_AHEAD, name=lambda s: s.path)
    found = {}
    with closing(results), bar(len(known), 0, 0.0, progress, "comparing") as advance:
        for item, result in zip(known, in_order(results)):
            advance(0.0)
            if isinstance(result.error, AudioError) or (result.error is None and not len(result.value)):
                continue
            found[item.id] = result.get()
    return found


class _Measurer:
    """Measures one sound after another."""

    def __call__(self, sound: _Sound) -> BeatFeatures:
        with enough_memory(sound.path, " to measure it"):
            clip = io.read(sound.path, start=sound.start, seconds=sound.seconds)
            grid = sound.grid.smooth().between(sound.start, sound.start + clip.seconds)
            found = measure(clip.samples, clip.rate, grid)
        halves = (part.astype(np.float16) for part in (found.onsets, found.chroma, found.energy))
        return BeatFeatures(*halves)
