"""Beat grids on disk: found by what the sound's file holds, who tracked it, and with which version and options."""

import hashlib
import json
import warnings
from pathlib import Path

from .. import check
from ..audio.clip import cache_folder
from ..audio.io import AudioError, atomic_file
from .grid import BeatGrid

__all__ = ["GridCache", "default_folder"]

_BLOCK = 1 << 20  # bytes of a file that are hashed at once
_warned: set[str] = set()


def default_folder(kind: str = "beats") -> Path:
    """Return ``$AUDIOMIX_CACHE/KIND``, else ``$XDG_CACHE_HOME/audiomix/KIND``, else ``~/.cache/audiomix/KIND``.

    Parameters
    ----------
    kind : str
        What is kept there; the folder's name.
    """
    return cache_folder(kind)


class GridCache:
    """A folder of grids, one JSON file each, in 256 subfolders; several processes may use it at once.

    An entry is written under another name first and then renamed, so no reader sees half of one. What cannot be read
    counts as absent, and a folder that cannot be written stops nothing: both give one warning a process.

    Parameters
    ----------
    folder : path, optional
        Default: `default_folder`.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = default_folder() if folder is None else Path(folder)

    def path(self, sound: str | Path, tracker: str, version: str) -> Path:
        """Return the file of the entry for a sound file's bytes, whatever that file is called.

        Parameters
        ----------
        sound : path
            The sound file.
        tracker, version : str
            Name of the tracker, and all that its result depends on.

        Raises
        ------
        AudioError
            The sound cannot be read.
        """
        key = hashlib.blake2b(json.dumps([_content(sound), tracker, version]).encode(), digest_size=16).hexdigest()
        return self.folder / key[:2] / f"{key}.json"

    def load(self, entry: Path, tracker: str) -> BeatGrid | None:
        """Return the grid of an entry, or None where there is none that can be used.

        Parameters
        ----------
        entry : Path
            From `path`.
        tracker : str
            Name of the tracker that must have made it.
        """
        try:
            text = entry.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            _warn_once(
                str(self.folder), f"{entry}: the beat cache cannot be read ({error.strerror}); beats are tracked anew"
            )
            return None
        try:
            return _grid(text, tracker)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _warn_once(str(entry), f"{entry}: a damaged entry of the beat cache ({error}); the beats are tracked anew")
            return None

    def store(self, entry: Path, version: str, grid: BeatGrid) -> None:
        """Write an entry, whole or not at all.

        Parameters
        ----------
        entry : Path
            From `path`.
        version : str
            All that the tracker's result depends on.
        grid : BeatGrid
            What the tracker found.
        """
        text = json.dumps({"tracker": grid.tracker, "version": version, "grid": grid.to_dict()})
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(entry) as file:
                file.write(text.encode())
        except OSError as error:
            reason = error.strerror or str(error)
            _warn_once(
                str(self.folder), f"{self.folder}: the beat cache cannot be written ({reason}); beats are not kept"
            )


def _grid(text: bytes, tracker: str) -> BeatGrid:
    entry = json.loads(text)
    grid = BeatGrid.from_dict(entry["grid"])
    if grid.tracker != tracker:
        check.fail("tracker", repr(tracker), repr(grid.tracker))
    return grid


def _content(path: str | Path) -> str:
    """Return the hash of a file's bytes."""
    found = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                found.update(block)
    except OSError as error:
        raise AudioError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    return found.hexdigest()


def _warn_once(what: str, message: str) -> None:
    """Warn once a process."""
    if what not in _warned:
        _warned.add(what)
        warnings.warn(message, RuntimeWarning, stacklevel=3)
