"""``audiomix beats``: the beats of files and folders as a table, as JSON, as ``.beats`` texts, or to listen to."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from json import dumps
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from cyclopts import Parameter
from rich.table import Table

from .. import check
from ..audio import io
from ..audio.io import AudioError
from ..beats import BeatGrid, trackers
from ..beats.click import add_clicks
from ..beats.confidence import MIN_CONFIDENCE
from ..beats.track import Tracking
from ..datasets import tables
from ..datasets.item import Item
from ..datasets.source import read_source
from ..datasets.walk import Skipped, list_files, special_file
from ..offline.parallel import usable_workers
from ..offline.progress import ErrorLimit
from ..offline.providers.known import KnownBeats
from ..offline.providers.tracking import Tracked, Tracks, track_files
from ..terminal import Exit, say, show
from ._matches import find_matches, print_matches

__all__ = ["beats"]

_Flag = Annotated[bool, Parameter(negative="")]
_TRACKERS = f"Who finds the beats: {', '.join(['auto', *trackers.available()])}, or one's own as mine.py:Taps. "
_TRACKERS += "auto takes annotations first."
# Of madmom's models; its code is BSD.
_LICENCE = "note: madmom's models are for non-commercial use only (CC BY-NC-SA 4.0)"


class _Sound(NamedTuple):
    """A sound, and the files that are written for it."""

    path: Path
    texts: Path | None
    click: Path | None

    @property
    def targets(self) -> list[Path]:
        return [target for target in (self.texts, self.click) if target is not None]


def beats(
    *paths: Path,
    tracker: Annotated[str, Parameter(help=_TRACKERS)] = "auto",
    downbeats: _Flag = False,
    workers: int = 1,
    oversubscribe: _Flag = False,
    save: _Flag = False,
    min_confidence: float = MIN_CONFIDENCE,
    out: Path | None = None,
    click: Path | None = None,
    force: _Flag = False,
    keys: _Flag = False,
    matches: _Flag = False,
    json: _Flag = False,
    cache: bool = True,
    strict: _Flag = False,
    max_errors: int | None = None,
    quiet: _Flag = False,
) -> int:
    """Find the beats of sounds.

    Options of a tracker stand behind its name: madmom:network=beat. Which one was used is said at the end.

    Parameters
    ----------
    paths
        Files, and folders with all audio files below them; or manifests, CSV, TSV or JSONL, whose columns beats, bpm
        and key tell what need not be found.
    downbeats
        Ask for downbeats: auto then takes madmom, where it is installed, before the built-in tracker, which finds none.
    workers
        Processes; at most as many as there are cores. Results do not depend on it.
    oversubscribe
        Start as many workers as asked for, also beyond the number of cores.
    save
        Write NAME.beats beside each sound: a beat a line, its time in seconds and its position in the bar. Times are
        without the tracker's time steps, and the annotation is what auto finds from then on.
    min_confidence
        Least confidence, in [0, 1]: the probability that the beats are right for mixing. Beats that are less sure are
        shown, but --save does not write them.
    out
        With --save: write the texts below this folder instead, in the same sub-folders.
    click
        Write each sound with clicks on its beats below this folder: NAME.flac.
    force
        Overwrite texts and clicks that exist.
    keys
        Estimate the musical key too.
    matches
        List for each file the five others that go with it best on the beat: a score in [0, 1] of rhythm, harmony and
        balance, the two moments that lie on each other, for how many beats, and the partner's rate and transposition.
    json
        Print one JSON object a line, with all times, instead of a table.
    cache
        Keep what was found, and look there first.
    strict
        Stop at the first file that fails, with exit code 3.
    max_errors
        Stop when more files than this have failed, with exit code 3; by default any number may.
    quiet
        Show no progress.
    """
    check.fraction("min_confidence", min_confidence)
    limit = ErrorLimit(max_errors, strict=strict, then="What was found is in the cache" if cache else "Nothing is kept")
    tracking: Tracks = _make_tracking(tracker, cache, downbeats)
    workers, notes = usable_workers(workers, oversubscribe)
    if out is not None and not save:
        check.fail("out", "given together with --save", repr(str(out)))
    listed: list[Item] = []
    sounds = _sounds(paths, save, out, click, listed)
    tracking = KnownBeats.of(tracking, listed) if listed else tracking
    _check_targets(sounds, force)
    show = not quiet and not (json and sys.stdout.isatty())  # a bar between the lines would be unreadable
    names = [str(sound.path) for sound in sounds]
    found = track_files(names, tracking, workers=workers, progress=show, keys=keys)
    with closing(found):
        grids: dict[str, BeatGrid] = {}
        code = _report(_collect(zip(found, sounds), grids), json, limit, notes, min_confidence)
    if matches:
        print_matches(find_matches(grids, workers=workers, progress=show), json)
    return code


def _make_tracking(tracker: str, cache: bool, downbeats: bool) -> Tracks:
    try:
        return Tracking(tracker, cache, downbeats=downbeats)
    except ModuleNotFoundError as error:  # asked for by name: an argument that is wrong on this machine
        raise ValueError(str(error)) from None


def _sounds(
    paths: Sequence[Path], save: bool, out: Path | None, click: Path | None, listed: list[Item]
) -> list[_Sound]:
    """Return what there is to do, in the order of `paths` and sorted in each folder; a file named twice counts once.

    The rows of manifests are appended to `listed`.
    """
    if not paths:
        check.fail("PATH", "files or folders with audio", "none")
    sounds: dict[str, _Sound] = {}
    for path, inside in (pair for given in paths for pair in _find_sounds(given, click, listed)):
        texts = (out / inside if out is not None else path).with_suffix(".beats") if save else None
        sound = _Sound(path, texts, None if click is None else (click / inside).with_suffix(".flac"))
        sounds.setdefault(os.path.abspath(path), sound)
    return list(sounds.values())


def _find_sounds(given: Path, click: Path | None, listed: list[Item]) -> list[tuple[Path, Path]]:
    """Return the sounds of one argument and their paths inside it."""
    if not given.is_dir():
        if not given.exists():
            check.fail("PATH", "a file or folder", repr(str(given)), "there is no such path")
        if kind := special_file(str(given)):
            check.fail("PATH", "a file or folder", f"{str(given)!r}, which is {kind}")
        if tables.is_table(given):
            items = read_source(given, need_labels=False)[0]
            listed += items
            return [(Path(item.path), Path(item.id)) for item in items]
        return [(given, Path(given.name))]
    skipped: Skipped = []
    inside = [Path(name) for name in list_files(given, skipped=skipped)]
    for name, reason in skipped:
        print(f"left out: {given / name} {reason}", file=sys.stderr)
    if click is not None and click.resolve() != given.resolve():  # what an earlier run wrote is no sound of this one
        inside = [name for name in inside if click.resolve() not in (given / name).resolve().parents]
    if not inside:
        check.fail("PATH", "a folder with audio files", repr(str(given)), "no audio files were found")
    return [(given / name, name) for name in inside]


def _check_targets(sounds: Sequence[_Sound], force: bool) -> None:
    """Raise before any work where a file would be written twice, over a sound, or over one that exists."""
    owner: dict[Path, Path] = {}
    for sound in sounds:
        if sound.click is not None and sound.click.parent.resolve() == sound.path.parent.resolve():
            check.fail("click", "another folder than that of the sounds", repr(str(sound.click.parent)))
        for target in sound.targets:
            other = owner.setdefault(target.resolve(), sound.path)
            if other is not sound.path:
                got, slip = f"{other} and {sound.path}", f"both would be written to {target}"
                check.fail("PATH", "sounds of different names", got, slip)
    for sound in sounds:
        if sound.path.resolve() in owner:
            check.fail("out and click", "folders in which no sound is overwritten", repr(str(sound.path)))
    existing = [target for sound in sounds for target in sound.targets if target.exists()]
    if existing and not force:
        got = f"{existing[0]}" + (f" and {len(existing) - 1} more that exist" if existing[1:] else ", which exists")
        check.fail("the files to write", "new", got, "--force overwrites them")


def _collect(
    found: Iterable[tuple[Tracked, _Sound]], grids: dict[str, BeatGrid]
) -> Iterator[tuple[Tracked, _Sound]]:
    """Yield what is found, and keep the grids by path."""
    for tracked, sound in found:
        if tracked.grid is not None:
            grids[tracked.path] = tracked.grid
        yield tracked, sound


def _report(
    found: Iterable[tuple[Tracked, _Sound]], json: bool, limit: ErrorLimit, notes: Iterable[str], least: float
) -> int:
    """Write, print and count what was found, as it comes; return the exit code."""
    stdout = sys.stdout  # a progress bar on a terminal sends what is printed to its own stream
    rows, failed, told, used = [], [], list[str](), Counter[str]()
    for tracked, sound in found:
        unsure = tracked.grid is not None and not tracked.grid.is_sure(least)
        reason = tracked.reason or _write(sound._replace(texts=None) if unsure else sound, tracked.grid)
        if tracked.grid is None or reason:
            limit.add(tracked.path, reason)
            failed.append(f"not done: {tracked.path}: {reason}")
            continue
        used[tracked.grid.tracker] += 1
        told += [f"note: {tracked.path}: {note}" for note in tracked.grid.notes]
        if unsure:
            written = "; not saved" if sound.texts is not None else ""
            told.append(f"not sure: {tracked.path}: {_describe_confidence(tracked.grid, least)}{written}")
        rows.append(_row(tracked.path, tracked.grid))
        if json:
            print(dumps(_record(tracked, tracked.grid), allow_nan=False), file=stdout, flush=True)
    if rows and not json:
        _print_table(rows)
    for line in (*(f"note: {note}" for note in notes), *told, *_describe_trackers(used), *failed):
        say(line)
    return Exit.SOME if failed else Exit.DONE


def _write(sound: _Sound, grid: BeatGrid | None) -> str:
    """Write what was asked for; return the reason where that fails, which is listed like any other."""
    if grid is None or not sound.targets:
        return ""
    try:
        for target in sound.targets:
            target.parent.mkdir(parents=True, exist_ok=True)
        grid = grid.smooth()  # the text does not say what the tracker's time step was
        if sound.click is not None:
            io.write(sound.click, add_clicks(io.read(sound.path), grid))
        if sound.texts is not None:
            grid.write(sound.texts)
    except (AudioError, ValueError, OSError) as error:
        return str(error)
    return ""


def _record(tracked: Tracked, grid: BeatGrid) -> dict[str, Any]:
    return {"file": tracked.path, "seconds": tracked.seconds, "bpm": grid.bpm, "beats": len(grid), **grid.to_dict()}


def _row(path: str, grid: BeatGrid) -> tuple[str, ...]:
    metre = str(grid.metre) if grid.phase_known else "bar phase unknown"
    confidence = "-" if grid.confidence is None else f"{grid.confidence:.2f}"
    bpm = "-" if grid.bpm is None else f"{grid.bpm:.1f}"
    return path, bpm, str(len(grid)), metre if len(grid) else "-", grid.key or "-", confidence, grid.tracker


def _describe_confidence(grid: BeatGrid, least: float) -> str:
    return f"a confidence of {grid.confidence or 0.0:.2f}, less than {least:g}: not mixed on the beat"


def _print_table(rows: Iterable[Sequence[str]]) -> None:
    table = Table()
    for name in ("file", "bpm", "beats", "metre", "key", "confidence", "tracker"):
        table.add_column(name, overflow="fold", justify="right" if name in ("bpm", "beats", "confidence") else "left")
    for row in rows:
        table.add_row(*row)
    show(table)


def _describe_trackers(used: Counter[str]) -> list[str]:
    """Say which trackers were used, and on what terms."""
    if not used:
        return []
    names = ", ".join(f"{name} ({count} file{'s' if count > 1 else ''})" for name, count in sorted(used.items()))
    return [f"tracker: {names}", *([_LICENCE] if "madmom" in used else [])]
