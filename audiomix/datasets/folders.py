"""Data sets that are known by their folders: ESC-50-style archives, Speech Commands, class folders."""

import os
from collections.abc import Iterator
from pathlib import Path
from sys import intern
from typing import Any

from .. import check
from ..audio.io import AUDIO_SUFFIXES
from . import tables
from .manifest import Item

__all__ = ["SPLITS", "attribution", "audio_files", "class_folders", "esc", "is_esc"]

SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval", "evaluation"}


def is_esc(root: Path) -> bool:
    """Say whether a folder is laid out as the archive of ESC-50 is."""
    return (root / "meta" / "esc50.csv").is_file() and (root / "audio").is_dir()


def esc(root: Path) -> list[Item]:
    """Read an ESC-50-style archive: `fold`, `category`, and `src_file` as the group.

    A file that has another suffix on disk than in ``meta/esc50.csv`` (ESC-10's original Ogg files) is found by its
    stem. Licences and authors come from ``meta/attribution.csv`` where that is there.
    """
    table = root / "meta" / "esc50.csv"
    on_disk = {Path(name).stem: name for name in _listed(root / "audio")}
    credit = {Path(row["filename"]).stem: row for row in _rows(root / "meta" / "attribution.csv")}
    items = []
    for row in _rows(table):
        missing = {"filename", "fold", "category"} - set(row)
        if missing:
            check.fail(str(table), "a table with filename, fold and category", f"no {sorted(missing)}")
        stem = Path(row["filename"]).stem
        origin = credit.get(stem, {})
        name = row["filename"] if row["filename"] in on_disk.values() else on_disk.get(stem, row["filename"])
        items.append(
            Item(
                str(root),
                f"audio/{name}",
                label=intern(row["category"]),
                fold=intern(row["fold"]),
                group=row.get("src_file"),
                licence=origin.get("licence") or None,
                attribution=attribution(origin),
            )
        )
    return items


def class_folders(root: Path) -> list[Item]:
    """Read ``CLASS/**/*.wav``, or ``train/CLASS/**/*.wav`` where all folders are named like splits.

    The official lists of Speech Commands (``validation_list.txt``, ``testing_list.txt``) become splits, its speakers
    (``SPEAKER_nohash_0.wav``) groups, and ``_background_noise_`` is left out: it is no class.
    """
    folders = {name for name in _listed(root) if (root / name).is_dir() and not name.startswith(".")}
    depth = 1 if folders and {name.lower() for name in folders} <= SPLITS else 0
    official = _speech_commands(root)
    items = []
    for path in audio_files(str(root)):
        parts = path.split("/")
        label = intern(parts[depth]) if len(parts) > depth + 1 else None
        split = intern(parts[0]) if depth and len(parts) > 1 else None
        group = None
        if official is not None:
            if label == "_background_noise_":
                continue
            split, group = official.get(path, "train"), parts[-1].split("_nohash_")[0]
        items.append(Item(str(root), path, label, split=split, group=group))
    return items


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        _unreadable(error)
        raise


def _rows(table: Path) -> list[dict[str, Any]]:
    return [row for _, row in tables.rows(table)] if table.is_file() else []


def attribution(row: dict[str, Any]) -> str | None:
    """Return whom a sound is from, by a row's `title`, `author` and `url`; None where the author is not known."""
    if not row.get("author"):
        return None
    title, url = row.get("freesound_title") or row.get("title"), row.get("url")
    return (f"{title} by " if title else "") + row["author"] + (f" ({url})" if url else "")


def _speech_commands(root: Path) -> dict[str, str] | None:
    """Return the split of each listed file of Speech Commands; None where the lists are missing."""
    lists = {"validation": root / "validation_list.txt", "test": root / "testing_list.txt"}
    if not all(path.is_file() for path in lists.values()):
        return None
    return {line.strip(): split for split, path in lists.items() for line in path.read_text("utf-8").splitlines()}


def audio_files(root: str) -> Iterator[str]:
    """Yield audio files below `root`, sorted, relative, with forward slashes; links are followed, each folder once.

    Where a folder and a link to it both lie inside, the folder is taken. A folder that is named like an audio file is
    yielded too: reading it fails, and says so, like any broken file.

    Raises
    ------
    ValueError
        A folder that cannot be read.
    """
    top = os.path.realpath(root)
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=_unreadable):
        real = os.path.realpath(folder)
        if real in seen or (folder != root and os.path.islink(folder) and _walked(real, top)):
            folders.clear()
            continue
        seen.add(real)
        named = [name for name in folders if _is_audio(name)]
        folders[:] = sorted(name for name in folders if name not in named and not name.startswith("."))
        for name in sorted(files + named):
            if _is_audio(name):
                yield os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")


def _walked(real: str, top: str) -> bool:
    """Say whether a real folder is met on the way down from `top`: neither outside nor hidden."""
    inside = os.path.relpath(real, top)
    parts = [] if inside == "." else inside.split(os.sep)
    return not any(part.startswith(".") or _is_audio(part) for part in parts)


def _unreadable(error: OSError) -> None:
    slip = "change its permissions, or move it out of the source"
    got = f"{str(error.filename)!r} ({(error.strerror or str(error)).lower()})"
    check.fail("source", "made of folders that can be read", got, slip)


def _is_audio(name: str) -> bool:
    return name.lower().endswith(AUDIO_SUFFIXES) and not name.startswith(".")
