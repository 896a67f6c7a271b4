"""The folder behind a URL that a run writes to: files are sent whole, and the journal in parts.

An object store (S3, Google Cloud, Azure) shows an object when all of it has arrived: one put. Elsewhere a file is sent
under a temporary name, which starts with ``.tmp-``, and then renamed.

``.audiomix/journal.jsonl`` is sent when a run begins and when it has ended. In between, what has been added every few
seconds is a file of its own, ``.audiomix/journal-DIGEST-OFFSET.jsonl``: the digest is that of the settings, the offset
says behind how many bytes of the journal it belongs. So a run that was killed goes on anywhere. A mix whose line was
not sent is made again, to the same bytes.
"""

import hashlib
import os
import posixpath
import re
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from ...audio.remote.urls import connect, explain
from ...datasets.remote import list_urls

__all__ = ["Store", "register", "store_of", "url_of"]

# Folder of the journal, within that of the run.
_FOLDER = ".audiomix"
_JOURNAL = f"{_FOLDER}/journal.jsonl"
_PART = re.compile(rf"{re.escape(_FOLDER)}/journal-([0-9a-f]{{16}})-(\d+)\.jsonl")
# Protocols of object stores: what is put there appears as a whole.
_OBJECTS = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "oci")
# Seconds after which what was added to the journal is sent.
INTERVAL_S = 10.0
_stores: dict[str, "Store"] = {}


class Store:
    """A remote folder that a run writes to.

    Parameters
    ----------
    url : str
        As `audiomix.audio.remote.urls.check_url` returns it.

    Attributes
    ----------
    sizes : dict of str to int
        Bytes of the files that were there when `pull` looked, by their names relative to the folder.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.sizes: dict[str, int] = {}
        self._filesystem, self._root = connect(url)
        self._whole = url.partition("://")[0].lower() in _OBJECTS
        self._made: set[str] = set()
        self._sent, self._digest, self._time = 0, "", 0.0

    def put(self, local: str | Path, name: str) -> None:
        """Send a file; its name appears when all of it is there.

        Parameters
        ----------
        local : path
            The file.
        name : str
            What it is called in the folder.

        Raises
        ------
        OSError
            It could not be sent.
        """
        path = f"{self._root}/{name}"
        with explain(f"{self.url}/{name}"):
            if self._whole:
                self._filesystem.put_file(str(local), path)
                return
            folder, base = posixpath.split(path)
            if folder not in self._made:
                self._filesystem.makedirs(folder, exist_ok=True)
                self._made.add(folder)
            part = f"{folder}/.tmp-{base}-{secrets.token_hex(4)}"
            try:
                self._filesystem.put_file(str(local), part)
                self._filesystem.mv(part, path)
            except BaseException:
                with suppress(Exception):  # the first error is the one to tell
                    self._filesystem.rm_file(part)
                raise

    def remove(self, names: Iterable[str]) -> None:
        """Remove files that were there when `pull` looked; other names are left alone.

        Parameters
        ----------
        names : iterable of str
            Relative to the folder.

        Raises
        ------
        OSError
            A file could not be removed.
        """
        for name in names:
            if self.sizes.pop(name, None) is not None:
                with explain(f"{self.url}/{name}"), suppress(FileNotFoundError):
                    self._filesystem.rm_file(f"{self._root}/{name}")

    def check_writable(self) -> None:
        """Write a small file, and remove it.

        Raises
        ------
        OSError
            That is not permitted, or there is no such bucket.
        """
        name = f"{_FOLDER}/.tmp-probe-{secrets.token_hex(4)}"
        with TemporaryDirectory() as folder:
            probe = Path(folder) / "probe"
            probe.write_bytes(b"\n")
            self.put(probe, name)
        with explain(self.url):
            self._filesystem.rm_file(f"{self._root}/{name}")

    def pull(self, folder: Path) -> None:
        """Fetch the journal of the run in the store, and its card; of a folder with something else, names alone.

        Parameters
        ----------
        folder : Path
            An empty folder of this machine.

        Raises
        ------
        OSError
            The store cannot be listed or read.
        """
        try:
            found = list_urls(self.url)
        except FileNotFoundError:  # a folder that is new
            found = {}
        if found is None:
            raise FileExistsError("a file of that name is there")
        self.sizes = {name: size for name, (size, _) in found.items()}
        if _JOURNAL not in self.sizes:
            for top in {name.partition("/")[0] for name in self.sizes} - {_FOLDER}:
                (folder / top).touch()
            return
        (folder / _FOLDER).mkdir()
        path = folder / _JOURNAL
        self._get(_JOURNAL, path)
        if "README.md" in self.sizes:
            self._get("README.md", folder / "README.md")
        self._digest, size = _digest(path), path.stat().st_size
        with open(path, "ab") as journal:
            for offset, name in self._parts():
                if offset == size:
                    self._get(name, folder / "part")
                    journal.write((folder / "part").read_bytes())
                    (folder / "part").unlink()
                    size = journal.tell()
        self._sent = size

    def push(self, folder: Path) -> None:
        """Send what has been added to the journal since it was sent, where that is some seconds ago.

        Parameters
        ----------
        folder : Path
            The folder of this machine that the run is made in.

        Raises
        ------
        OSError
            It could not be sent.
        """
        if time.monotonic() - self._time >= INTERVAL_S:
            self.push_now(folder)

    def push_now(self, folder: Path) -> None:
        """Send what has been added to the journal since it was sent; see `push`."""
        with open(folder / _JOURNAL, "rb") as journal, TemporaryDirectory() as temporary:
            journal.seek(self._sent)
            added = journal.read()
            if added:
                part = Path(temporary) / "part"
                part.write_bytes(added)
                name = f"{_FOLDER}/journal-{self._digest}-{self._sent}.jsonl"
                self.put(part, name)
                self.sizes[name] = len(added)
                self._sent += len(added)
        self._time = time.monotonic()

    def push_whole(self, folder: Path) -> None:
        """Send the journal as it is now, in place of what was sent before.

        Parameters
        ----------
        folder : Path
            The folder of this machine that the run is made in.

        Raises
        ------
        OSError
            It could not be sent.
        """
        path = folder / _JOURNAL
        self.put(path, _JOURNAL)
        self.sizes[_JOURNAL] = self._sent = path.stat().st_size
        self._digest, self._time = _digest(path), time.monotonic()
        self.remove([name for name in self.sizes if _PART.fullmatch(name)])

    def finish(self, folder: Path) -> None:
        """Send all that a run has written but its mixes, which are there: its tables last, then the whole journal.

        Parameters
        ----------
        folder : Path
            The folder of this machine that the run was made in.

        Raises
        ------
        OSError
            A file could not be sent.
        """
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        left = [one for one in names if one not in (_JOURNAL, f"{_FOLDER}/lock") and ".tmp-" not in one]
        for name in sorted(left, key=lambda one: posixpath.basename(one) == "metadata.jsonl"):
            self.put(folder / name, name)
        if "errors.jsonl" not in left:  # that of an earlier start
            self.remove(["errors.jsonl"])
        self.push_whole(folder)
        self.remove([name for name in self.sizes if posixpath.basename(name).startswith(".tmp-")])

    def _get(self, name: str, place: Path) -> None:
        with explain(f"{self.url}/{name}"):
            self._filesystem.get_file(f"{self._root}/{name}", str(place))

    def _parts(self) -> list[tuple[int, str]]:
        """Return offset and name of each part of a journal with these settings, in order."""
        found = [(match, name) for name in self.sizes if (match := _PART.fullmatch(name))]
        return sorted((int(match[2]), name) for match, name in found if match[1] == self._digest)


def _digest(journal: Path) -> str:
    with open(journal, "rb") as file:
        return hashlib.blake2b(file.readline(), digest_size=8).hexdigest()


def register(folder: Path, store: Store | None) -> None:
    """Note that what is made in a folder of this machine is sent to a store; None ends that."""
    if store is None:
        _stores.pop(os.fspath(folder), None)
    else:
        _stores[os.fspath(folder)] = store


def store_of(folder: Path) -> Store | None:
    """Return the store that files of a folder are sent to; None where they stay."""
    return _stores.get(os.fspath(folder))


def url_of(folder: Path) -> str:
    """Return the URL that files of a folder are sent to; empty where they stay."""
    store = store_of(folder)
    return "" if store is None else store.url
