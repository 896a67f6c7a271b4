"""`audiomix render`: a file of plans and the sources become the mixes, the same bits wherever that is."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ... import check
from ...audio.io import AUDIO_SUFFIXES
from ...audio.stretch import engine
from ...datasets.item import Item
from ...datasets.shards import find_shards, unpack
from ...identity import digest
from ...transforms.room import Room
from ..journal import Journal
from ..limits import Settings
from ..manifest import write_manifest
from ..output_names import split_folder
from ..parallel import check_pickles
from ..progress import bar
from ..providers.turns import write_turns
from ..render import Task, versions
from ..write import write_mixes
from .output import settings_from
from .plan_file import PlanFile, PlanRow, read_plans
from .replayer import Replayer, replay_task

__all__ = ["RenderReport", "find_source", "render_plans"]


@dataclass(frozen=True)
class RenderReport:
    """What `render_plans` did.

    Parameters
    ----------
    path : Path
        The folder that was written.
    files : int
        Mixes in it.
    seconds : float
        How long they sound.
    errors : tuple of dict
        Mixes that could not be made: ``file`` and ``reason``.
    missing : dict of str to int
        Sources that are in none of the folders, with the number of mixes that need them.
    notes : tuple of str
        What a person should know of.
    """

    path: Path
    files: int
    seconds: float
    errors: tuple[dict[str, Any], ...]
    missing: dict[str, int]
    notes: tuple[str, ...] = ()


def render_plans(
    plans: str | Path,
    out: str | Path,
    sources: Sequence[str | Path],
    *,
    own: Sequence[str] = (),
    room: str | Path | Room | None = None,
    workers: int = 1,
    other_versions: bool = False,
    progress: bool = True,
) -> RenderReport:
    """Make the mixes of a file of plans, as `audiomix augment` wrote them; each is compared with its hash.

    Where a source is missing, or decodes to other samples, its mixes are listed and the rest is made. A run that was
    stopped goes on where it was.

    Parameters
    ----------
    plans : path
        What `audiomix plans` wrote.
    out : path
        Folder to write: new, empty, or of the same plans.
    sources : sequence of path
        Folders that the names of the sources are relative to. A source may also have another lossless suffix there.
    own : sequence of str
        Mixers of the user's own, as ``mine.py:RollMix``.
    room : path or Room, optional
        The impulse responses of a run in rooms. Mixes in rooms that are missing or altered are listed; of mixers that
        place rooms themselves, as `audiomix.SpeakerMix` does, all responses of the run must be there.
    workers : int
        Processes.
    other_versions : bool
        Try it with other versions than those that the file names; a mix that comes out otherwise is not written.
    progress : bool
        Show progress.

    Raises
    ------
    ValueError
        `plans` is no file of plans or one of another version; other versions of what the samples depend on are
        installed; a folder that is not there; `out` holds something else.
    RunStopped
        A full disk, a worker that was killed. What is done is kept.
    """
    found, out = read_plans(plans), Path(out)
    for root in sources:
        if not Path(root).is_dir():
            check.fail("sources", "a folder", repr(str(root)), "there is no such folder")
    _check_names(found)
    notes = _check_versions(found, other_versions)
    settings = settings_from(found.settings, own, room=room, responses=found.responses)
    settings = replace(settings, classes=found.classes)
    if workers > 1:
        check_pickles("mixer", settings.mixer)
    roots = [os.path.abspath(_unpacked(Path(root))) for root in sources]
    missing: dict[str, int] = {}
    errors: list[dict[str, Any]] = []
    items = {item.id: item for _, task in _tasks(found, roots, missing, errors) for item in _items(task)}
    described = {**found.settings, "plans": digest(_hashes(found))}
    with Journal(out, described, found.count, list(items.values())) as journal:
        errors += _render(found, settings, roots, journal, workers, progress)
        rows = write_turns(out, journal.rows())
        notes += write_manifest(out, rows, errors, found.classes)
        return RenderReport(out, len(journal), journal.seconds, tuple(errors), missing, tuple(notes))


def find_source(entry: dict[str, Any], roots: Sequence[str]) -> tuple[str, str] | None:
    """Return folder and relative path of a source; None where it is in none of the folders.

    Parameters
    ----------
    entry : dict
        What a manifest says of it: id, and of a piece the path of its file.
    roots : sequence of str
        The first in which there is such a file counts; then one in which it has another suffix.
    """
    name = entry.get("path") or entry["id"]
    if os.path.isabs(name):  # of a file that audiomix plans did not write
        return None
    stem = os.path.splitext(name)[0]
    # partners may be named from the folder above theirs: NOISE/x.wav lies in NOISE
    places = [*roots, *(up for root in roots if name.startswith(f"{os.path.basename(root)}/")
                        and (up := os.path.dirname(root)) not in roots)]  # fmt: skip
    for other in (name, *(stem + suffix for suffix in AUDIO_SUFFIXES)):
        for root in places:
            if os.path.isfile(os.path.join(root, other)):
                return root, other
    return None


def _unpacked(root: Path) -> Path:
    """Return the folder in which the sounds are: that into which shards are unpacked, as `augment` reads them."""
    shards = find_shards(root)
    return unpack(shards) if shards else root


def _check_names(found: PlanFile) -> None:
    """Refuse mixes with one name, with one that is not of their split, or that are in another format than the run."""
    seen: set[str] = set()
    suffix = f".{found.settings.get('format', 'flac')}"
    for one in found.rows():
        name, split = one.row["file_name"], one.row.get("split")
        if name in seen:
            check.fail(f"the names in {found.path}", "different", f"{name!r} twice", "edited by hand?")
        seen.add(name)
        if not name.endswith(suffix):
            check.fail(f"the names in {found.path}", f"those of {suffix} files", repr(name), "edited by hand?")
        if split and not name.startswith(f"{split_folder(str(split))}/"):
            expected = f"in the folder of its split, {split_folder(str(split))}"
            check.fail(f"a name in {found.path}", expected, repr(name), "edited by hand?")


def _check_versions(found: PlanFile, other_versions: bool) -> list[str]:
    """Refuse versions that may give other samples."""
    wanted = dict(found.settings.get("versions") or {})
    first = next(found.rows(), None)
    stretch = first and first.row["versions"].get("stretch")
    wanted |= {"stretch": stretch} if stretch else {}
    here = {**versions(), **({"stretch": engine()} if stretch else {})}
    other = {name: version for name, version in wanted.items() if here.get(name) != version}
    if not other:
        return []
    expected = ", ".join(f"{name} {version}" for name, version in other.items())
    got = ", ".join(f"{name} {here.get(name)}" for name in other)
    if not other_versions:
        slip = "pip install these versions; or --other-versions, which leaves out what comes out otherwise"
        check.fail("what renders these plans", expected, got, slip)
    return [f"the plans are of {expected}; here is {got}: only mixes that come out equal are written"]


def _hashes(found: PlanFile) -> Iterator[str]:
    return (row.samples for row in found.rows())


def _items(task: Task) -> tuple[Item, ...]:
    return (task.item, *task.partners)


def _tasks(
    found: PlanFile, roots: Sequence[str], missing: dict[str, int], errors: list[dict[str, Any]]
) -> Iterator[tuple[int, Task]]:
    """Yield the mixes whose sources are there; note those that are missing, and the mixes that need them."""
    for number, one in enumerate(found.rows()):
        places = {entry["id"]: find_source(entry, roots) for entry in one.entries}
        if lacking := [name for name, place in places.items() if place is None]:
            for name in lacking:
                missing[name] = missing.get(name, 0) + 1
            reason = f"missing source: {', '.join(lacking)}"
            errors.append({"file": one.row["file_name"], "copies": [one.row["copy"]], "reason": reason})
            continue
        row = _place_row(one, {name: place for name, place in places.items() if place is not None})
        try:
            task = replay_task(number, row, pieces=one.pieces, sounds=one.sounds, samples=one.samples)
        except ValueError as error:
            errors.append({"file": row["file_name"], "copies": [row["copy"]], "reason": str(error)})
            continue
        yield number, task


def _place_row(one: PlanRow, places: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """Return the row of a mix with its sources where they are here."""
    def place(entry: dict[str, Any]) -> dict[str, Any]:
        root, name = places[entry["id"]]
        moved = {"path": name} if name != (entry.get("path") or entry["id"]) else {}
        return {**entry, "root": root, **moved}

    row = {**one.row, "sources": [place(entry) for entry in one.row["sources"]]}
    if row.get("unheard"):
        row["unheard"] = json.dumps([place(entry) for entry in json.loads(row["unheard"])], ensure_ascii=False)
    return row


def _render(
    found: PlanFile, settings: Settings, roots: Sequence[str], journal: Journal, workers: int, shown: bool
) -> list[dict[str, Any]]:
    """Render what is missing, noting each file as it comes; return what failed."""
    failed: list[dict[str, Any]] = []
    tasks = (task for number, task in _tasks(found, roots, {}, []) if number not in journal)
    names: dict[int, tuple[str, int]] = {}

    def named() -> Iterator[Task]:
        for task in tasks:
            names[task.number] = task.replay.row["file_name"], task.copy
            yield task

    make = partial(Replayer, strict=True)
    with bar(found.count, len(journal), journal.seconds, shown) as advance:
        count = max(1, found.count - len(journal))
        with closing(write_mixes(named(), settings, journal.out, count, workers, make)) as outcomes:
            for outcome in outcomes:
                name, copy = names.pop(outcome.number)
                if outcome.reason:
                    failed.append({"file": name, "copies": [copy], "reason": outcome.reason})
                else:
                    journal.add(outcome.number, outcome.state, outcome.row)
                    journal.seconds += outcome.seconds
                advance(outcome.seconds)
    return sorted(failed, key=lambda error: error["file"])
