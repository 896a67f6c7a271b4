"""Which files a folder has: the one walker for both packages."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from .. import check
from ..audio.io import AUDIO_SUFFIXES

__all__ = [
    "OFFLINE",
    "TRAINING",
    "Walk",
    "check_folder",
    "is_audio",
    "list_files",
    "list_folder",
    "subfolders",
]


@dataclass(frozen=True)
class Walk:
    """How a folder is walked where it holds more than files and plain folders.

    Parameters
    ----------
    links : bool
        Links to folders are followed, and each folder is read once: the folder itself rather than a link to it, where
        both lie inside. Otherwise links to folders are left out.
    refuse : bool
        A folder that cannot be read is an error; otherwise it is left out.
    folders_as_files : bool
        A folder whose name has the suffix of an audio file is listed like a file, so that reading it fails and says so;
        otherwise it is entered like any other.
    """

    links: bool
    refuse: bool
    folders_as_files: bool


# Two rules, since `augment`, `beats` and `audit` walk by the first and the recipes by the second; issue 14 makes one.
OFFLINE = Walk(links=True, refuse=True, folders_as_files=True)
TRAINING = Walk(links=False, refuse=False, folders_as_files=False)


def list_files(
    root: str | Path, rules: Walk = OFFLINE, *, recurse: bool = True, audio_only: bool = True
) -> Iterator[str]:
    """Yield the files below a folder: those of a folder sorted, then those of its folders; hidden ones are left out.

    Parameters
    ----------
    root : path
        May be a link itself, whatever the rules.
    rules : Walk
        What to do with links, unreadable folders and folders named like sounds.
    recurse : bool
        Enter folders; else only the files of `root` itself are listed.
    audio_only : bool
        Leave out what `is_audio` does not know.

    Yields
    ------
    str
        Path relative to `root`, with forward slashes.

    Raises
    ------
    ValueError
        A folder that cannot be read, where the rules refuse it.
    """
    root = os.fspath(root)
    top = os.path.realpath(root)
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=rules.links, onerror=_refuse if rules.refuse else None):
        if rules.links:
            real = os.path.realpath(folder)
            if real in seen or (folder != root and os.path.islink(folder) and _is_walked(real, top)):
                folders.clear()
                continue
            seen.add(real)
        listed = {name for name in folders if rules.folders_as_files and is_audio(name)}
        folders[:] = sorted(name for name in folders if name not in listed and name[0] != ".") if recurse else []
        inside = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if inside == "." else f"{inside}/"
        for name in sorted([*names, *listed]):
            if name[0] != "." and (not audio_only or is_audio(name)):
                yield prefix + name


def is_audio(name: str) -> bool:
    """Say whether a file's name, or path with forward slashes, is that of a sound; hidden files are none.

    >>> is_audio("dog/1.WAV"), is_audio("dog/._1.wav"), is_audio("dog/1.txt")
    (True, False, False)
    """
    return name.lower().endswith(AUDIO_SUFFIXES) and not name.rpartition("/")[2].startswith(".")


def list_folder(folder: Path) -> list[str]:
    """Return the names of all that lies in a folder, sorted.

    Raises
    ------
    ValueError
        It cannot be read.
    """
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        _refuse(error)


def subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, links to folders too, sorted; hidden ones are left out.

    Raises
    ------
    ValueError
        It cannot be read.
    """
    return [name for name in list_folder(folder) if not name.startswith(".") and (folder / name).is_dir()]


def check_folder(root: Path | None, what: str, *, name: str = "root") -> Path:
    """Return `root`, with ``~`` written out, if it is a folder.

    Parameters
    ----------
    root : Path or None
        What the caller was given; None is refused.
    what : str
        What should lie there, for the message.
    name : str
        What the argument is called, for the message.

    Raises
    ------
    ValueError
        There is no such folder, or it is a file.
    """
    if root is None:
        check.fail(name, f"the folder of {what}", None, "audiomix-recipes run METHOD DATASET ROOT")
    root = Path(os.path.expanduser(root))
    if not root.is_dir():
        slip = "that is a file" if root.exists() else "there is no such folder"
        check.fail(name, f"the folder of {what}", str(root), slip)
    return root


def _refuse(error: OSError) -> NoReturn:
    """Raise for a folder that cannot be read: its files would be left out without a word."""
    slip = "change its permissions, or move it out of the source"
    got = f"{str(error.filename)!r} ({(error.strerror or str(error)).lower()})"
    check.fail("source", "made of folders that can be read", got, slip)


def _is_walked(real: str, top: str) -> bool:
    """Say whether a real folder is met on the way down from `top`: neither outside nor hidden."""
    inside = os.path.relpath(real, top)
    parts = [] if inside == "." else inside.split(os.sep)
    return not any(part.startswith(".") or is_audio(part) for part in parts)
