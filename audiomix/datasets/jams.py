"""JAMS: a ``.jams`` file beside each sound, of the same name (Humphrey et al., ISMIR 2014).

Read are the classes (``tag_open`` with their confidence as shares, where the sandbox names no label), the beats
(``beat``), tempo and key (``tempo``, ``key_mode``), and what the file's sandbox says under the names of a manifest's
columns: caption, split, fold, group, licence, attribution.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .. import check
from .walk import is_audio, list_files, list_folder, subfolders

__all__ = ["jams_files", "jams_rows"]

_SUFFIX = ".jams"
_SAID = ("caption", "captions", "split", "fold", "group", "licence", "attribution", "role", "tags", "cluster")


def jams_files(folder: Path) -> tuple[Path, ...]:
    """Return the ``.jams`` files below a folder; none where its first files, down to three levels, are others.

    Parameters
    ----------
    folder : Path
        Where data sets of other layouts lie it is not walked through.
    """
    if not _begins_with_jams(folder, 3):
        return ()
    return tuple(folder / name for name in list_files(folder, audio_only=False) if name.lower().endswith(_SUFFIX))


def jams_rows(folder: Path, files: Iterable[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each file with what it says, as a row of a manifest.

    Parameters
    ----------
    folder : Path
        What paths are relative to.
    files : iterable of Path
        The ``.jams`` files.

    Raises
    ------
    ValueError
        A file that is no JAMS, or has no sound beside it.
    """
    sounds: dict[Path, dict[str, str]] = {}
    for file in files:
        if file.parent not in sounds:
            sounds = {file.parent: {os.path.splitext(n)[0]: n for n in list_folder(file.parent) if is_audio(n)}}
        sound = sounds[file.parent].get(file.stem)
        if sound is None:
            check.fail(str(file), "beside its sound, which has the same name", "none", "only the annotations?")
        yield f"{file}, line 1", {"path": (file.parent / sound).relative_to(folder).as_posix(), **_row(file)}


def _begins_with_jams(folder: Path, depth: int) -> bool:
    if any(name.lower().endswith(_SUFFIX) for name in list_folder(folder)):
        return True
    inside = subfolders(folder) if depth else []
    return bool(inside) and _begins_with_jams(folder / inside[0], depth - 1)


def _row(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
        annotations = found["annotations"]
        data = {one["namespace"]: list(_observations(one["data"])) for one in reversed(annotations)}
    except (ValueError, TypeError, KeyError, OSError) as error:
        check.fail(str(file), "a JAMS file", f"{type(error).__name__}: {error}")
    sandbox = found.get("sandbox") or {}
    row = {name: sandbox[name] for name in _SAID if sandbox.get(name) not in (None, "", [])}
    row["label"] = sandbox.get("label") or _label(data.get("tag_open", []))
    if beats := [float(one["time"]) for one in data.get("beat", [])]:
        row["beats"] = json.dumps(beats)
    for name, namespace in (("bpm", "tempo"), ("key", "key_mode")):
        if data.get(namespace):
            row[name] = data[namespace][0]["value"]
    return row


def _observations(data: Any) -> Iterator[dict[str, Any]]:
    """Yield observations: a list of them, or as JAMS has long ones, lists by field."""
    if isinstance(data, dict):
        data = [dict(zip(data, values)) for values in zip(*data.values())]
    yield from data


def _label(tags: list[dict[str, Any]]) -> Any:
    """Return the class, or the shares of several; a tag without confidence counts as all of it."""
    shares = {str(one["value"]): 1.0 if one.get("confidence") is None else float(one["confidence"]) for one in tags}
    return next(iter(shares)) if list(shares.values()) == [1.0] else shares or None
