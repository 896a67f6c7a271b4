"""What `audiomix augment` wrote, read back: the settings of the run, and the rows of its tables."""

import difflib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from types import NoneType
from typing import Any

import torch

from ... import check, mixers
from ...datasets.item import Item
from ...datasets.source import metadata_tables
from ...mixer import Mixer
from ...registry import is_path
from ...transforms.room import Room
from ..cache import Fingerprint
from ..journal import FOLDER
from ..limits import Settings
from ..output_names import is_inner
from ..providers.rooms import read_known_room, read_known_rooms
from ..render import describe_mixer
from .search import count_lines, escape, lines_with, open_lines, read_line

__all__ = ["Output", "check_row", "in_rooms", "item_of", "make_mixer", "read_output", "responses_of", "settings_from"]

_PACKAGE = __name__.partition(".")[0]
# What each row of a run says, and the kinds of values that are read by all.
_SAID: Mapping[str, type | tuple[type, ...]] = {
    "file_name": str, "label": (dict, NoneType), "sources": list, "plan": str, "options": str, "copy": int,
    "rate": int, "channels": int, "seconds": (int, float), "versions": dict,
}  # fmt: skip
# What an option that is a room is described as; its responses are a digest there.
_ROOM = f"{_PACKAGE}.transforms.room.Room"
# What a choice among mixers holds in place of None.
_LEFT_AS_IS = repr(torch.nn.Identity())


@dataclass(frozen=True)
class Output:
    """A folder that `audiomix augment` wrote.

    Parameters
    ----------
    path : Path
        The folder.
    settings : dict
        What the run's files depend on, as the first line of its journal says it.
    tables : tuple of Path
        Its ``metadata.jsonl``, one for each split where there are splits.
    """

    path: Path
    settings: dict[str, Any]
    tables: tuple[Path, ...]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the row of each mix; names of files are relative to the folder, what is not known is None."""
        for table in self.tables:
            prefix = self._prefix(table)
            with open(table, encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    where = f"{table}, line {number}"
                    yield _plain_row(check_row(_parse(line, where), where), prefix)

    def find(self, name: str) -> dict[str, Any]:
        """Return the row of one mix.

        Parameters
        ----------
        name : str
            Its `file_name` relative to the folder, with or without suffix.

        Raises
        ------
        ValueError
            There is no such mix; a near miss is named.
        """
        state = self._index_line(name) or {}
        for table in self.tables:
            prefix = self._prefix(table)
            if name.startswith(prefix) and (row := _find_row(table, name, prefix, state.get("near", 0.0))):
                return row
        for row in self.rows():  # edited by hand, or not there
            if name in (row["file_name"], os.path.splitext(row["file_name"])[0]):
                return row
        near = difflib.get_close_matches(name, (row["file_name"] for row in self.rows()), 1, 0)
        expected = f"the file_name of one of {self.count} mixes"
        return check.fail("name", expected, repr(name), f"did you mean {near[0]}?" if near else "")

    def _prefix(self, table: Path) -> str:
        """Return what names in a table are relative to, with a slash at its end."""
        folder = table.parent.relative_to(self.path).as_posix()
        return "" if folder == "." else f"{folder}/"

    def state(self, name: str) -> dict[str, dict[str, Fingerprint]]:
        """Return the entry of `states` of one mix, empty where there is none; of the journal its end is read.

        Parameters
        ----------
        name : str
            Its `file_name`.
        """
        line = self._index_line(name)
        if line is None:
            return self.states.get(name, {})
        found, journal = line["state"], self.path / FOLDER / "journal.jsonl"
        with open(journal, "rb") as file:
            file.seek(line["end"])
            for one in file:
                if state := _states([one]).get(name):
                    found = state
        return found

    def _index_line(self, name: str) -> dict[str, Any] | None:
        """Return what the index of the journal tells of a mix; None where there is no index that fits the journal.

        That is its `state`, where in a table it may stand (`near`, 0 to 1), and up to where lines are indexed (`end`).
        """
        journal, index = (self.path / FOLDER / f"{one}.jsonl" for one in ("journal", "index"))
        if not index.is_file():
            return None
        found: dict[str, Any] = {"state": {}}
        with open_lines(index) as lines:
            if not len(lines):
                return None
            _, last = read_line(lines, len(lines) - 1)
            try:
                entry = json.loads(last)
                found["end"] = entry["at"] + entry["length"]
            except (ValueError, TypeError, KeyError):  # cut off by a kill
                return None
            if found["end"] > journal.stat().st_size:
                return None
            for _, entry in lines_with(lines, b'"' + escape(name)):
                files = entry.get("files") or {}
                if any(name in (one, os.path.splitext(one)[0]) for one in files):
                    # lines are of much the same length
                    found["near"] = min(1.0, entry.get("index", 0) * len(last) / len(lines))
                    found["state"] = {"files": files, "sources": entry.get("sources") or {}}
        return found

    @cached_property
    def count(self) -> int:
        """Number of mixes."""
        return sum(1 for table in self.tables for _ in open(table, "rb"))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes in the rows, sorted."""
        return tuple(sorted({name for row in self.rows() for name in row["label"] or {}}))

    @cached_property
    def states(self) -> dict[str, dict[str, dict[str, Fingerprint]]]:
        """By name of the mix, the fingerprints that its journal has of its ``files`` and of its ``sources``."""
        with open(self.path / FOLDER / "journal.jsonl", "rb") as file:
            return _states(file)


def read_output(out: str | Path) -> Output:
    """Return a folder of `audiomix augment`.

    Parameters
    ----------
    out : path
        The folder.

    Raises
    ------
    ValueError
        There is no such folder, it is none that `audiomix augment` wrote, or its run has not come to its end.
    """
    out = Path(out)
    expected = "a folder that audiomix augment wrote"
    if not out.is_dir():
        check.fail("out", expected, repr(str(out)), "that is a file" if out.exists() else "there is no such path")
    journal = out / FOLDER / "journal.jsonl"
    if not journal.is_file():
        slip = f"it has no {FOLDER}/journal.jsonl, in which the settings of a run stand"
        check.fail("out", expected, repr(str(out)), slip)
    with open(journal, encoding="utf-8") as file:
        settings = _parse(file.readline(), f"{journal}, line 1").get("settings")
    if not isinstance(settings, dict) or "mixer" not in settings:
        check.fail(f"{journal}, line 1", "the settings of a run", "another entry", "made by another program?")
    tables = tuple(path for path in metadata_tables(out) if path.suffix == ".jsonl")
    if not tables:
        check.fail("out", "a finished run", f"{str(out)!r} without metadata.jsonl", "the same augment command ends it")
    return Output(out, settings, tables)


def settings_from(
    described: Mapping[str, Any],
    own: Sequence[str] = (),
    *,
    room: str | Path | Room | None = None,
    responses: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings of a run from what its journal, or a file of plans, says of them.

    Parameters
    ----------
    described : mapping
        `Output.settings`.
    own : sequence of str
        Mixers of the user's own that may be imported, as ``mine.py:RollMix``.
    room : path or Room, optional
        The impulse responses of a run whose sounds were brought into rooms, as they were given to it.
    responses : mapping of str to str, optional
        Hashes of what they decoded to, by name, of a file of plans.

    Raises
    ------
    ValueError
        As `make_mixer`; `room` is not given for a run in rooms, or given for another one; its responses are others.
    """
    wet = in_rooms(described)
    if wet and room is None:
        slip = "--room IRS, what augment was given: plans have names and hashes of impulse responses, not their samples"
        check.fail("room", "given for a run that was made with --room", None, slip)
    if room is not None and not wet:
        check.fail("room", "left out for a run without rooms", repr(room), "the sounds of this one stayed as they were")
    names = ("seed", "format", "rate", "channels", "length", "crop", "stems", "float_scale")
    given = {n: described[n] for n in names if n in described}
    own_rooms = described.get("room")
    if room is not None and own_rooms is not None:
        given["rooms"] = read_known_rooms(own_rooms, room, responses or {})
    return Settings(make_mixer(described["mixer"], own, room=room, responses=responses), **given)


def responses_of(settings: Settings) -> dict[str, str]:
    """Return the hash of what each impulse response of a run decodes to, by name; empty for a run without rooms.

    Parameters
    ----------
    settings : Settings
        Of the run.
    """
    if settings.rooms is not None:
        return dict(settings.rooms.hashes)
    rooms = (module for module in settings.mixer.modules() if isinstance(module, Room))
    return {name: found for room in rooms for name, found in zip(room.names, room.hashes)}


def in_rooms(described: Mapping[str, Any]) -> bool:
    """Return whether a run has impulse responses, of its own or of its mixer; they do not stand in its folder.

    Parameters
    ----------
    described : mapping
        `Output.settings`.
    """
    def find(value: Any) -> bool:
        if isinstance(value, Mapping):
            return value.get("name") == _ROOM or any(map(find, value.values()))
        return isinstance(value, list) and any(map(find, value))

    return described.get("room") is not None or find(described.get("mixer"))


def check_row(row: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a row of a manifest, or of a file of plans, that says what each row of a run says.

    Parameters
    ----------
    row : dict
        As it was read.
    where : str
        The file and the line, for messages.

    Raises
    ------
    ValueError
        It lacks something or has something else in its place; a name of it leads out of the folder.
    """
    expected, slip = "a row of audiomix augment", "made by an earlier version, or edited by hand?"
    for name, kinds in _SAID.items():
        if name not in row:
            check.fail(where, expected, f"one without {name}", slip)
        if not isinstance(row[name], kinds):
            check.fail(where, expected, f"one whose {name} is {json.dumps(row[name])[:60]}", slip)
    sources = row["sources"]
    if not sources or not all(isinstance(one, dict) and isinstance(one.get("id"), str) for one in sources):
        check.fail(where, expected, "one whose sources have no ids", slip)
    for name in (row["file_name"], *(row.get("stems") or ())):
        if not is_inner(name):
            check.fail(f"a file_name in {where}", "the path of a sound within the folder", repr(name))
    return row


def make_mixer(
    described: Mapping[str, Any],
    own: Sequence[str] = (),
    *,
    room: str | Path | Room | None = None,
    responses: Mapping[str, str] | None = None,
) -> Mixer:
    """Return the mixer that `audiomix.offline.render.describe_mixer` described.

    Parameters
    ----------
    described : mapping
        Its ``name`` and ``options``.
    own : sequence of str
        Mixers of the user's own that may be imported, as ``mine.py:RollMix``. A path that a file names is never
        imported by itself.
    room, responses
        See `settings_from`; of a mixer that brings its sounds into rooms.

    Raises
    ------
    ValueError
        There is no such mixer here, it is of another version, or an option cannot be told from its description.

    Examples
    --------
    >>> from audiomix import MixUp
    >>> make_mixer(describe_mixer(MixUp(alpha=0.3))).alpha(0)
    0.3
    """
    if not isinstance(described, Mapping) or not isinstance(described.get("options"), Mapping):
        check.fail("mixer", "a name and options", repr(described)[:60], "edited by hand?")
    name: str = described["name"]
    allowed = {mixers.name_of(mixers.get(text)): text for text in own}
    kind = _own_class(name)
    if kind is None and (is_path(name) or name not in mixers.available()) and name not in allowed:
        slip = f"--mixer FOLDER/{name} gives it" if is_path(name) else "install the package that has it, or --mixer"
        check.fail("mixer", "one of this package or given by name", repr(name), slip)
    if name == _ROOM and room is not None:
        return read_known_room(described["options"], room, responses)
    read = partial(make_mixer, own=own, room=room, responses=responses)
    options = {key: _option(value, read) for key, value in described["options"].items()}
    kind = kind or mixers.get(allowed.get(name, name))
    try:
        mixer = kind(**options)
    except (TypeError, ValueError) as error:
        return check.fail("mixer", f"{name} with options of this version", json.dumps(described["options"]), str(error))
    now = json.loads(json.dumps(describe_mixer(mixer)))
    if now != json.loads(json.dumps(described)):
        changed = [key for key in now["options"] if now["options"][key] != described["options"].get(key)]
        got = f"another file {name}" if not changed else f"{name} with other options: {', '.join(changed)}"
        check.fail("mixer", "what made the mixes", got, "the same file, of the same version?")
    return mixer


def item_of(source: Mapping[str, Any], root: str | None = None) -> Item:
    """Return the item that an entry of a row's `sources` stands for; without label.

    Parameters
    ----------
    source : mapping
        Its id, root, and for a piece its path, `start_s` and seconds.
    root : str, optional
        Another folder that it is relative to.
    """
    seconds, start = source.get("seconds"), source.get("start_s")
    start = None if seconds is None and not start else start
    path = source.get("path")
    file = None if path in (None, source["id"]) and start is None else path
    where = source["root"] if root is None else root
    return Item(where, source["id"], file=file, start=start, seconds=seconds)


def _states(lines: Iterable[bytes]) -> dict[str, dict[str, dict[str, Fingerprint]]]:
    """Return what lines of a journal tell of the files of mixes and of their sources, by the mixes' names."""
    found = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:  # cut off by a kill
            continue
        if isinstance(entry, dict) and isinstance(entry.get("row"), dict):
            state = {"files": entry.get("files") or {}, "sources": entry.get("sources") or {}}
            found[entry["row"]["file_name"]] = state
    return found


def _find_row(table: Path, name: str, prefix: str, near: float) -> dict[str, Any] | None:
    """Return the row of a mix in a table as this package writes it; None where it is not found so."""
    inner = name.removeprefix(prefix)
    with open_lines(table) as lines:
        for start, row in lines_with(lines, b'"' + escape(inner), near):
            file_name = row.get("file_name")
            if not isinstance(file_name, str) or inner not in (file_name, os.path.splitext(file_name)[0]):
                continue
            try:
                check_row(row, "")
            except ValueError:
                number = count_lines(lines, start) + 1
                check_row(row, f"{table}, line {number}")
            return _plain_row(row, prefix)
    return None


def _option(value: Any, read: Callable[[Mapping[str, Any]], Mixer]) -> Any:
    if isinstance(value, Mapping) and "name" in value and "options" in value:
        return read(value)
    if value == _LEFT_AS_IS:
        return None
    return [_option(one, read) for one in value] if isinstance(value, list) else value


def _own_class(name: str) -> type[Mixer] | None:
    """Return a mixer of this package that stands outside of its folder of mixers, such as a choice among several."""
    module, _, attribute = name.rpartition(".")
    if not module.startswith(f"{_PACKAGE}."):
        return None
    try:
        found = getattr(import_module(module), attribute, None)
    except ImportError:
        return None
    return found if isinstance(found, type) and issubclass(found, Mixer) else None


def _parse(line: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        return check.fail(where, "a JSON object", repr(line[:60]), str(error))
    if not isinstance(found, dict):
        check.fail(where, "a JSON object", repr(line[:60]))
    return found


def _plain_row(row: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return a row as it was before its table was made readable for `datasets`: see `audiomix.offline.manifest`."""
    row = {key: _clean(value) for key, value in row.items() if key != "label_vector"}
    if row["label"] is not None:
        row["label"] = {name: share for name, share in row["label"].items() if share}
    return {
        **row,
        "file_name": prefix + row["file_name"],
        "stems": [prefix + name for name in row.get("stems") or ()],
        "captions": row.get("captions") or [],
    }


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _clean(one) for key, one in value.items()}
    if isinstance(value, list):
        return [] if value == [""] else [_clean(one) for one in value]
    return None if value == "" else value
