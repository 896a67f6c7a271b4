"""Which files a folder has: the one walker for both packages."""

import errno
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from .. import check
from ..audio import video
from ..audio.io import AUDIO_SUFFIXES, PYAV_SUFFIXES

__all__ = [
    "Skipped",
    "check_folder",
    "is_audio",
    "is_hidden",
    "is_utf8",
    "list_files",
    "list_folder",
    "printable",
    "pyav_reads",
    "special_file",
    "subfolders",
]

# What is left out, each with its name and the reason.
Skipped = list[tuple[str, str]]

# Folders that archivers, file servers and file systems leave behind; their files are no sounds.
_LEFT_BEHIND = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def list_files(
    root: str | Path,
    *,
    recurse: bool = True,
    audio_only: bool = True,
    skipped: Skipped | None = None,
    refuse: bool = True,
) -> Iterator[str]:
    """Yield the files below a folder: those of a folder sorted, then those of its folders; hidden ones are left out.

    Links to folders are followed, and each folder is read once: the folder itself rather than a link to it, where both
    lie inside, and of several links the least deep, first by name.

    Parameters
    ----------
    root : path
        May be a link itself.
    recurse : bool
        Enter folders; else only the files of `root` itself are listed.
    audio_only : bool
        Leave out what `is_audio` does not know.
    skipped : list of (str, str), optional
        What is named like a sound and cannot be one is appended with the reason: names that are not UTF-8, named pipes,
        links that lead to themselves. A folder named like a sound that holds none is listed: reading it says so.
    refuse : bool
        A folder that cannot be read is an error; otherwise it is appended to `skipped`.

    Yields
    ------
    str
        Path relative to `root`, with forward slashes.

    Raises
    ------
    ValueError
        `root` cannot be read; a folder that cannot be read, where `refuse` is true.
    """
    skipped = [] if skipped is None else skipped
    root = os.fspath(root)
    top = os.path.realpath(root)
    seen: set[str] = set()
    found: dict[str, tuple[list[str], list[str]]] = {}  # files and folders of each folder, by its path and a slash
    waiting = deque([(root, "")])
    while waiting:  # level by level: of several links to a folder the one that is least deep counts
        folder, prefix = waiting.popleft()
        real = os.path.realpath(folder)
        if real in seen or (prefix and os.path.islink(folder) and _is_walked(real, top)):
            continue
        seen.add(real)
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if refuse or not prefix:
                _refuse(error)
            skipped.append((printable(prefix), (error.strerror or str(error)).lower()))
            continue
        files, folders = found[prefix] = [], []
        for entry in listed:
            name = prefix + entry.name
            if is_hidden(entry.name) or (reason := _reason(entry, audio_only)) is None:
                continue
            if reason:
                skipped.append((printable(name), reason))
            elif not _is_folder(entry) or (is_audio(entry.name) and not _holds_sound(entry.path)):
                files.append(name)
            elif recurse:
                folders.append(name + "/")
                waiting.append((entry.path, name + "/"))
    inside = [""]
    while inside:
        files, folders = found.pop(inside.pop(), ([], []))
        yield from files
        inside += reversed(folders)


def is_audio(name: str) -> bool:
    """Say whether a file's name, or path with forward slashes, is that of a sound that can be read here.

    Hidden files are none; those that PyAV alone reads are sounds where it is installed.

    >>> is_audio("dog/1.WAV"), is_audio("dog/._1.wav"), is_audio("dog/1.txt")
    (True, False, False)
    """
    if name.rpartition("/")[2].startswith("."):
        return False
    lower = name.lower()
    return lower.endswith(AUDIO_SUFFIXES) or (lower.endswith(PYAV_SUFFIXES) and video.available())


def pyav_reads(names: Iterable[str]) -> str:
    """Return what to install so that files are read which are no sounds here; empty where that helps none.

    Parameters
    ----------
    names : iterable of str
        Names, or paths with forward slashes, of files that `is_audio` does not know.
    """
    found = sorted({os.path.splitext(name)[1].lower() for name in names if name.lower().endswith(PYAV_SUFFIXES)})
    return f"PyAV reads {' '.join(found)}: pip install 'audiomix[video]'" if found else ""


def is_hidden(name: str) -> bool:
    """Say whether a file or folder of this name is left out.

    >>> is_hidden("._1.wav"), is_hidden("__MACOSX"), is_hidden("dog")
    (True, True, False)
    """
    return name.startswith(".") or name in _LEFT_BEHIND


def is_utf8(text: str) -> bool:
    r"""Say whether a text can be written: names of files and JSON may hold what is no character.

    >>> is_utf8("caf\u00e9"), is_utf8("caf\udce9")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(path: str | Path) -> str:
    r"""Return a path that can be printed and written as JSON.

    >>> printable("caf\udce9.wav")
    'caf\\xe9.wav'
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def special_file(path: str) -> str | None:
    """Return what a path names that is neither file nor folder; None for those, and where there is nothing.

    Parameters
    ----------
    path : str
        Opening a named pipe waits for another program, so it is looked at and not opened.
    """
    try:
        return _KINDS.get(stat.S_IFMT(os.stat(path).st_mode))
    except OSError as error:
        return "a link that leads to itself" if error.errno == errno.ELOOP else None


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
    return [name for name in list_folder(folder) if not is_hidden(name) and os.path.isdir(folder / name)]


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
    if not os.path.isdir(root):
        slip = "that is a file" if os.path.lexists(root) else "there is no such folder"
        check.fail(name, f"the folder of {what}", str(root), slip)
    return root


def _reason(entry: "os.DirEntry[str]", audio_only: bool) -> str | None:
    """Return why an entry is left out, empty where it is not; None where nobody misses it."""
    folder = _is_folder(entry)
    if not folder and audio_only and not is_audio(entry.name):
        return None
    if not is_utf8(entry.name):
        return "its name is not UTF-8: rename it" if folder or is_audio(entry.name) else None
    if folder or entry.is_file(follow_symlinks=False):
        return ""
    kind = special_file(entry.path)
    return "" if not kind else f"is {kind}, not a file" if is_audio(entry.name) else None


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _holds_sound(folder: str) -> bool:
    return any(is_audio(name) for _, _, names in os.walk(folder) for name in names)


def _refuse(error: OSError) -> NoReturn:
    """Raise for a folder that cannot be read: its files would be left out without a word."""
    slip = "change its permissions, or move it out of the source"
    got = f"{str(error.filename)!r} ({(error.strerror or str(error)).lower()})"
    check.fail("source", "made of folders that can be read", got, slip)


def _is_walked(real: str, top: str) -> bool:
    """Say whether a real folder is met on the way down from `top`: neither outside nor hidden."""
    inside = os.path.relpath(real, top)
    parts = [] if inside == "." else inside.split(os.sep)
    return not any(is_hidden(part) for part in parts)
