"""Beats of a data set: found before the run, so that partners are drawn among those whose tempo fits."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ... import check, draw
from ...audio import io
from ...audio.io import AudioError
from ...audio.remote.urls import is_url
from ...beats.grid import BeatGrid
from ...beats.mashability.features import BeatFeatures
from ...beats.match import BeatIndex, BeatQuery, MatchFeatures, MatchRule
from ...beats.track import Tracking
from ...datasets.item import Item
from ...pairing import read
from ...pairing.same_tempo import tempo_rule
from ..cache import enough_memory
from ..partners.block import partner_seeds
from ..partners.generators import blocks
from ..partners.index import PartnerIndex, names_of
from ..partners.tempo_block import TempoBlock
from .features import measure_items
from .known import KnownBeats, read_known_grid, read_tempo, with_key
from .tracking import Tracked, track_files

__all__ = ["BeatPartners", "Beats", "Grids", "TempoPartners", "find_beats"]

# Draws before the candidates of a piece are counted out.
_TRIES = 100
# Pieces whose partners are drawn together; fewer are drawn one by one.
_BLOCK, _FEW = 8192, 16


class Grids(Mapping[str, BeatGrid]):
    """Grids by id, held compactly (9 bytes a beat; as a `BeatGrid` it is 40) and made when they are asked for."""

    def __init__(self, grids: Mapping[str, BeatGrid] | None = None) -> None:
        self._states = {name: grid.__getstate__() for name, grid in (grids or {}).items()}

    def add(self, name: str, grid: BeatGrid) -> None:
        """Keep a grid."""
        self._states[name] = grid.__getstate__()

    def __getitem__(self, name: str) -> BeatGrid:
        """Return a grid."""
        grid = BeatGrid.__new__(BeatGrid)
        grid.__setstate__(self._states[name])
        return grid

    def __contains__(self, name: object) -> bool:
        return name in self._states

    def __iter__(self) -> Iterator[str]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)


@dataclass(frozen=True)
class Beats:
    """The grids of a data set's files, by id; why some have none; those of which that is an error; what is compared."""

    grids: Mapping[str, BeatGrid]
    reasons: dict[str, str]
    tracker: dict[str, str]
    failed: tuple[str, ...] = ()
    features: Mapping[str, BeatFeatures] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Return what a run depends on: the tracker, and a digest of all grids."""
        digest = hashlib.blake2b(digest_size=16)
        for name in sorted(self.grids):
            digest.update(json.dumps([name, self.grids[name].to_dict()]).encode())
        return {**self.tracker, "grids": digest.hexdigest()}

    def errors(self) -> list[dict[str, Any]]:
        """Return the files whose annotation is broken, or on which a tracker failed, as entries of ``errors.jsonl``.

        Not those without an annotation, and not those that cannot be read: they are found when they are mixed.
        """
        return [{"file": name, "copies": [], "reason": f"no beats: {self.reasons[name]}"} for name in self.failed]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of, in sentences."""
        used = sorted({self.grids[name].tracker for name in self.grids})
        notes = [f"beats by {', '.join(used)}"] if used else []
        if "madmom" in used:
            notes.append("madmom's models are for non-commercial use only (CC BY-NC-SA 4.0)")
        if self.reasons:
            name, reason = next(iter(self.reasons.items()))
            notes.append(f"no beats of {len(self.reasons)} files, e.g. {name}: {reason}")
        return tuple(notes)


def find_beats(items: Sequence[Item], query: BeatQuery, *, workers: int = 1, progress: bool = True) -> Beats:
    """Find the beats of all items, and their keys where they are asked for; what a manifest tells of them is known.

    Parameters
    ----------
    items : sequence of Item
        What to track, each sound once.
    query : BeatQuery
        What the mixer asks: which tracker, and whether keys are wanted.
    workers : int
        Processes.
    progress : bool
        Show a bar.

    Raises
    ------
    ModuleNotFoundError
        The tracker that was asked for is not installed.
    ValueError
        A sound lies behind a URL.
    """
    if remote := next((item.path for item in items if is_url(item.path)), ""):
        slip = "beats stand in files beside the sounds, which are looked for here alone: copy them first"
        check.fail("source", "a folder of this machine, for a mixer that knows beats", repr(remote), slip)
    tracking = Tracking(query.tracker, downbeats=query.rule.align == "downbeat")
    grids, reasons, failed = Grids(), {}, []
    known, alone = KnownBeats.of(tracking, items), [not _is_known_piece(item) for item in items]
    paths = [item.path for item, tracked in zip(items, alone) if tracked]
    found = track_files(paths, known, workers=workers, progress=progress, keys=query.keys)
    with closing(found):
        for item, tracked in zip(items, alone):
            one = _of_piece(next(found) if tracked else Tracked(item.path), item)
            if one.grid is not None:
                grids.add(item.id, one.grid)
                continue
            reasons[item.id] = one.reason.replace(item.path, Path(item.path).name)
            if _is_error(item.path, tracking):
                failed.append(item.id)
    features = measure_items(items, grids, workers=workers, progress=progress) if query.by_score else {}
    return Beats(grids, reasons, tracking.describe(), tuple(failed), features)


def _is_known_piece(item: Item) -> bool:
    return item.start is not None and bool(item.beats or item.bpm)


def _of_piece(found: Tracked, item: Item) -> Tracked:
    """Return the beats of a clip, given those of its file: of a piece the row may tell others."""
    if item.start is None or found.reason:
        return found
    try:
        grid = read_known_grid(item) or found.grid
        return found._replace(grid=None if grid is None else with_key(grid, item))
    except (AudioError, ValueError, OSError) as error:
        return found._replace(grid=None, reason=str(error).replace(f"{item.path}: ", ""))


def _is_error(path: str, tracking: Tracking) -> bool:
    """Say of a file without beats whether that is an error of its own: there are a sound and who tracks it."""
    try:
        if not tracking.tracker_for(path).finds(path):
            return False
        with enough_memory(path, " to read it"):
            io.read(path)
    except AudioError:
        return False
    return True


class BeatPartners(PartnerIndex):
    """Draw partners whose tempo, metre and key fit; of those, each is equally likely.

    Where none fits, or the item has no tempo, partners are drawn as for other mixers: the mixer's policy says what
    becomes of such a pair.

    Parameters
    ----------
    items, kind, across
        As `PartnerIndex`.
    grids : mapping of BeatGrid
        By id.
    rule : MatchRule
        Which tempi, metres and keys fit.
    """

    def __init__(
        self, items: Sequence[Item], kind: str, across: Sequence[str], grids: Mapping[str, BeatGrid], rule: MatchRule
    ) -> None:
        super().__init__(items, kind, across)
        self.known = [item.id in grids for item in items]
        found = MatchFeatures.of((grids.get(item.id) for item in items), rule.min_confidence)
        # by class where partners have a common one: an item stands in the index once for each of its classes
        names = [names_of(item, kind) if self.common else ("",) for item in items]
        self._owner = np.array([i for i, own in enumerate(names) for _ in own], dtype=np.int64)
        self._first = np.cumsum([0, *map(len, names)]).tolist()
        # a noise may belong to several pools: what may meet is then looked at pair by pair
        self._roles = any(item.role is not None for item in items)
        pools = [
            (("", "") if self._roles else self.pool_of(items[i]), name) for i, own in enumerate(names) for name in own
        ]
        self.index = BeatIndex(found.at(self._owner), rule, pools)
        compared = [names_of(item, kind) for item in items]
        one = {name: number for number, name in enumerate(sorted({n for own in compared for n in own[:1]}))}
        # the class of items that have just one; -1 of the others
        self._class = np.array([one[own[0]] if len(own) == 1 else -1 for own in compared], dtype=np.int64)

    def partners(self, index: int, *, copy: int, seed: int, count: int = 8) -> list[int]:
        """Draw up to `count` different partners for one item; see `PartnerIndex.partners`.

        One only, where none fits: it cannot be aligned, so there is no use in trying others.
        """
        if found := self._draw_fitting(index, copy, seed, count):
            return found
        return self._take_spare(super().partners(index, copy=copy, seed=seed, count=count))

    def draw_partners(self, rows: Iterable[tuple[int, int]], *, seed: int, count: int = 8) -> Iterator[list[int]]:
        """Yield what `partners` returns for many items and copies, in less time; see `PartnerIndex.draw_partners`."""
        for block in blocks(rows, _BLOCK):
            if len(block) < _FEW:
                yield from (self.partners(index, copy=copy, seed=seed, count=count) for index, copy in block)
                continue
            found = self._draw_fitting_block(block, seed, count)
            without = iter(self._draw_spare([row for row, one in zip(block, found) if not one], seed, count))
            yield from (one or next(without) for one in found)

    def _draw_spare(self, rows: list[tuple[int, int]], seed: int, count: int) -> list[list[int]]:
        """Return the partners of items that none fits."""
        return [self._take_spare(one) for one in self._block.draw(rows, seed, count)] if rows else []

    def _take_spare(self, spare: list[int]) -> list[int]:
        return ([other for other in spare if self.known[other]] or spare)[:1]  # what has beats can be read, at least

    def _draw_fitting_block(self, rows: list[tuple[int, int]], seed: int, count: int) -> list[list[int]]:
        """Return what `_draw_fitting` does for each item and copy."""
        done: dict[int, list[int]] = {}
        if not self._roles:
            own = np.array([index for index, _ in rows])
            done = self._tempo_block.draw(own, partner_seeds(self.items, rows, seed), count)
        return [
            done[place] if place in done else BeatPartners._draw_fitting(self, index, copy, seed, count)
            for place, (index, copy) in enumerate(rows)
        ]

    @cached_property
    def _tempo_block(self) -> TempoBlock:
        kinds = None if self.kind == "any" else self._class
        others = partial(self._list_others, found={})
        return TempoBlock(self.index, self._owner, np.array(self._first), kinds, self.common, _TRIES, others)

    def _draw_fitting(self, index: int, copy: int, seed: int, count: int) -> list[int]:
        """Draw up to `count` different partners that fit."""
        generator = draw.generator_for(seed, "partner", self.items[index].id, copy)
        windows = [w for entry in range(self._first[index], self._first[index + 1]) for w in self.index.windows(entry)]
        ends = np.cumsum([len(w) for w in windows])
        total = int(ends[-1]) if len(ends) else 0
        found: dict[int, None] = {}
        for at in draw.uniform(0, 1, _TRIES if total > 4 * count else 0, generator=generator).tolist():
            other = self._try_partner(windows, ends, at, index)
            if other is not None:
                found[other] = None
            if len(found) == count:
                return list(found)
        rest = self._list_others(windows, index, found) if total else []
        order = draw.permutation(len(rest), generator=generator)[: count - len(found)]
        found.update(dict.fromkeys(rest[k] for k in order.tolist()))
        return list(found)

    def _try_partner(self, windows: list[np.ndarray], ends: np.ndarray, at: float, index: int) -> int | None:
        """Return a partner, or None for a try that failed, so that each partner is equally likely."""
        place = at * int(ends[-1])
        ticket = min(int(place), int(ends[-1]) - 1)
        row = int(np.searchsorted(ends, ticket, side="right"))
        other = int(self._owner[windows[row][ticket - int(ends[row])]])  # counted from the window's end
        if not self._fits(index, other):
            return None
        if self.common:  # it stands in as many lists as they have names in common: keep one in so many
            common = len(set(names_of(self.items[index], self.kind)) & set(names_of(self.items[other], self.kind)))
            return other if (place - ticket) * common < 1 else None
        return other

    def _list_others(self, windows: list[np.ndarray], index: int, found: Mapping[int, None]) -> list[int]:
        """Return all partners that are not in `found`, ascending."""
        every = np.unique(self._owner[np.concatenate(windows)])
        if self.kind == "different_class" and self._class[index] >= 0:
            kind = self._class[every]
            every = every[kind != self._class[index]]
        return [i for i in every.tolist() if i not in found and (self._sure(index, i) or self._fits(index, i))]

    def _sure(self, index: int, other: int) -> bool:
        """Say whether nothing needs to be looked up: of one class each, they passed."""
        return other != index and not self._roles and self._class[index] >= 0 and self._class[other] >= 0

    def _fits(self, index: int, other: int) -> bool:
        """Say whether the classes and the roles of two items may meet, and they are not one."""
        if self._roles and not self.may_meet(index, other):
            return False
        if self.kind == "any":
            return other != index
        common = bool(set(names_of(self.items[index], self.kind)) & set(names_of(self.items[other], self.kind)))
        return other != index and common == self.common


class TempoPartners(BeatPartners):
    """Draw partners of nearly the same tempo, for mixers that do not look at beats themselves.

    Each is equally likely. Where none fits, or the item has no tempo, it has no partner.

    Parameters
    ----------
    items, across
        As `PartnerIndex`; of their tempi `bpm` tells.
    kind : str
        ``same_tempo``, with its options.

    Raises
    ------
    ValueError
        A tempo that is no number, or none at all.
    """

    def __init__(self, items: Sequence[Item], kind: str, across: Sequence[str]) -> None:
        rule = tempo_rule(**read(kind).options)
        tempi = {item.id: tempo for item in items if (tempo := _said_tempo(item)) is not None}
        if not tempi:
            slip = "a column bpm of a manifest; --bpm-column names another"
            check.fail("pairing", "another one where no tempo is known", repr(kind), slip)
        # two beats tell a tempo
        super().__init__(items, "any", across, {name: BeatGrid((0.0, 60 / bpm)) for name, bpm in tempi.items()}, rule)

    def partners(self, index: int, *, copy: int, seed: int, count: int = 8) -> list[int]:
        """Draw up to `count` different partners for one item; see `PartnerIndex.partners`."""
        return self._draw_fitting(index, copy, seed, count)

    def _draw_spare(self, rows: list[tuple[int, int]], seed: int, count: int) -> list[list[int]]:
        return [[] for _ in rows]


def _said_tempo(item: Item) -> float | None:
    """Return the tempo that a manifest says; None where it says 0: that there is none."""
    if item.bpm is not None and item.bpm.strip("0. ") == "":
        return None
    return read_tempo(item, f"the bpm of {item.id}{item.where}")
