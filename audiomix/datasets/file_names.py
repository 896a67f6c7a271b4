"""Finds the files that the rows of a manifest name, however the name is spelled."""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from ..audio.remote.urls import check_url, is_url, join
from .walk import special_file

__all__ = ["FileFinder"]


class FileFinder:
    r"""Find files by the paths in a manifest: as they stand first, then by other spellings, and note which were needed.

    A path is looked for as it stands, without the spaces around it, with its letters composed or decomposed (Unicode's
    NFC and NFD), and with ``\`` read as ``/``; each relative to the manifest, and then to the other folders. URLs stay
    as they are; in a folder that is one nothing is looked for: a path that was not found before is taken to lie there.

    Parameters
    ----------
    table : Path
        The manifest.
    others : sequence of path
        Folders that paths may be relative to besides that of the manifest; the last may be a URL.
    """

    def __init__(self, table: Path, others: tuple[str | Path, ...] = ()) -> None:
        self.table = table
        self.folders = [str(folder) for folder in dict.fromkeys((table.parent, *others))]
        self.looked = self.found = 0
        self._steps: dict[str, tuple[int, str]] = {}
        self._listed: dict[str, dict[str, str]] = {}

    def __call__(self, name: str) -> str:
        """Return where the file is, relative to the manifest's folder; one that is not there as it is called."""
        spelling, steps = self.look(name)
        self.count(name, steps, 1)
        return spelling

    def look(self, name: str) -> tuple[str, list[str] | None]:
        """Return where the file is, and what it took to find it: nothing, some steps, or None where it is not there.

        Raises
        ------
        ValueError
            A URL that cannot be read here; see `check_url`.
        """
        if is_url(name.strip()):
            return check_url(f"a path in {self.table.name}", name.strip()), []
        for folder in self.folders:
            if is_url(folder) and not os.path.isabs(name.strip()):
                return join(folder, name.strip()), []
            for step, spelling in self._spellings(folder, name):
                path = os.path.normpath(os.path.join(folder, spelling))
                if spelling and (os.path.exists(path) or special_file(path)):
                    steps = [step] if step else []
                    if folder != self.folders[0]:
                        steps = [f"are relative to {folder}", *steps]
                        spelling = os.path.relpath(path, self.folders[0])
                    return spelling, steps
        return name.strip(), None

    def count(self, name: str, steps: list[str] | None, times: int) -> None:
        """Note so many rows with this path, which `look` has found by these steps."""
        self.looked += times
        if steps is None:
            return
        self.found += times
        for step in steps:
            count, example = self._steps.get(step, (0, name))
            self._steps[step] = count + times, example

    def notes(self) -> list[str]:
        """Return what was needed to find the files, a sentence each."""
        found = [
            f"{count} paths of {self.table.name} {step}, e.g. {example!r}"
            for step, (count, example) in self._steps.items()
        ]
        if self.looked and not self.found:
            slip = "paths are relative to the manifest; another folder is named by audio_root (--audio-root)"
            found.append(f"none of the {self.looked} files of {self.table.name} is there: {slip}")
        return found

    def _spellings(self, folder: str, name: str) -> Iterator[tuple[str, str]]:
        """Yield the step that leads to each spelling, and the spelling."""
        yield "", name
        if name.startswith("~"):
            yield "begin with ~, the home folder", os.path.expanduser(name)
        if name.startswith("file://"):
            yield "are addresses, file://", unquote(name.removeprefix("file://").removeprefix("localhost"))
        bare = name.strip()
        if bare != name:
            yield "are found without the spaces around them", bare
        if other := self._respell(folder, bare):
            yield "are found in another spelling of Unicode (NFC, NFD)", other
        if "\\" in bare:
            slashed = bare.replace("\\", "/")
            yield "are found with \\ read as /", slashed
            if other := self._respell(folder, slashed):
                yield "are found with \\ read as / in another spelling of Unicode (NFC, NFD)", other

    def _respell(self, folder: str, name: str) -> str | None:
        """Return the path of a file whose name is the same but for the spelling of its letters, if there is one."""
        if name.isascii():
            return None
        found = ""
        for part in name.split("/"):
            here = os.path.join(folder, found)
            if part not in ("", ".", "..") and not os.path.lexists(os.path.join(here, part)):
                same = self._names(here).get(unicodedata.normalize("NFC", part))
                if same is None:
                    return None
                part = same
            found = os.path.join(found, part) if part else found or "/"
        return found

    def _names(self, folder: str) -> dict[str, str]:
        if folder not in self._listed:
            try:
                names = os.listdir(folder)
            except OSError:
                names = []
            self._listed[folder] = {unicodedata.normalize("NFC", name): name for name in sorted(names)}
        return self._listed[folder]
