"""Beats of a data set: found before the run, so that partners are drawn among those whose tempo fits."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import draw
from ..beats.grid import BeatGrid
from ..beats.index import BeatIndex
from ..beats.meeting import Rule, features
from ..beats.track import Tracking
from ..mixer import Mixer
from .manifest import Item
from .pairing import PartnerIndex
from .tracking import track_files

__all__ = ["BeatPartners", "Beats", "beat_mixer", "find_beats"]

# Draws before the candidates of a piece are counted out.
_TRIES = 100


@dataclass(frozen=True)
class Beats:
    """The grids of a data set's files, by id; and why some have none."""

    grids: dict[str, BeatGrid]
    reasons: dict[str, str]
    tracker: dict[str, str]

    def described(self) -> dict[str, Any]:
        """Return what a run depends on: the tracker, and a digest of all grids."""
        digest = hashlib.blake2b(digest_size=16)
        for name in sorted(self.grids):
            digest.update(json.dumps([name, self.grids[name].to_dict()]).encode())
        return {**self.tracker, "grids": digest.hexdigest()}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of, in sentences."""
        used = sorted({grid.tracker for grid in self.grids.values()})
        notes = [f"beats by {', '.join(used)}"] if used else []
        if self.reasons:
            name, reason = next(iter(self.reasons.items()))
            notes.append(f"no beats of {len(self.reasons)} files, e.g. {name}: {reason}")
        return tuple(notes)


def beat_mixer(mixer: Mixer) -> Any:
    """Return the part of a mixer that needs beats, or None."""
    return next((part for part in mixer.modules() if hasattr(part, "meeting")), None)


def find_beats(items: Sequence[Item], mixer: Mixer, *, workers: int = 1, progress: bool = True) -> Beats | None:
    """Find the beats of all items, and their keys where the mixer asks for them; None for a mixer that needs none.

    Parameters
    ----------
    items : sequence of Item
    mixer : Mixer
        Names the tracker.
    workers : int
        Processes.
    progress : bool
        Show a bar.

    Raises
    ------
    ModuleNotFoundError
        The tracker that was asked for is not installed.
    """
    part = beat_mixer(mixer)
    if part is None:
        return None
    tracking = Tracking(part.tracker)
    grids, reasons = {}, {}
    found = track_files(
        [item.path for item in items], tracking, workers=workers, progress=progress, keys=part.keys != "any"
    )
    with closing(found):
        for one, item in zip(found, items):
            if one.grid is None:
                reasons[item.id] = one.reason.replace(item.path, Path(item.path).name)
            else:
                grids[item.id] = one.grid
    return Beats(grids, reasons, tracking.describe())


class BeatPartners(PartnerIndex):
    """Draw partners whose tempo, metre and key fit; of those, each is equally likely.

    Where none fits, or the item has no tempo, partners are drawn as for other mixers: the mixer's policy says what
    becomes of such a pair.

    Parameters
    ----------
    items, kind, across
        As `PartnerIndex`.
    grids : dict of BeatGrid
        By id.
    rule : Rule
    """

    def __init__(
        self, items: Sequence[Item], kind: str, across: Sequence[str], grids: dict[str, BeatGrid], rule: Rule
    ) -> None:
        super().__init__(items, kind, across)
        found = features([grids.get(item.id) for item in items])
        self.index = BeatIndex(found, rule, [self.pool_of(item) for item in items])

    def partners(self, index: int, *, copy: int, seed: int, count: int = 8) -> list[int]:
        """Draw up to `count` different partners for one item; see `PartnerIndex.partners`."""
        generator = draw.generator_for(seed, "partner", self.items[index].id, copy)
        found: dict[int, None] = {}
        total = sum(map(len, self.index.windows(index)))
        for at in draw.uniform(0, 1, _TRIES if total > 4 * count else 0, generator=generator).tolist():
            other = self.index.pick(index, at)
            if other is not None and self._fits(index, other):
                found[other] = None
            if len(found) == count:
                return list(found)
        rest = [int(i) for i in self.index.candidates(index) if int(i) not in found and self._fits(index, int(i))]
        order = draw.permutation(len(rest), generator=generator)[: count - len(found)]
        found.update(dict.fromkeys(rest[k] for k in order.tolist()))
        return list(found) or super().partners(index, copy=copy, seed=seed, count=count)

    def _fits(self, index: int, other: int) -> bool:
        """Say whether the classes of two items may meet, and they are not one."""
        common = set(self.items[index].classes) & set(self.items[other].classes)
        wanted = {"any": True, "same_class": bool(common), "different_class": not common}[self.kind]
        return other != index and wanted
