"""Fetch a published data set: resumed where it broke off, checked against its hash, unpacked inside its own folder."""

import http.client
import os
import shutil
import stat
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pooch

from audiomix import check

from ..console import progress_bar, say
from ..training.run_folder import check_folder

__all__ = ["ARCHIVES", "Archive", "ResumingDownloader", "fetch"]

_BLOCK = 1 << 20
_RETRIES = 4
_TIMEOUT = 60  # seconds without a byte


@dataclass(frozen=True)
class Archive:
    """A published archive."""

    url: str  # its address
    hashes: tuple[str, ...]  # ``md5:...`` or ``sha256:...``; one of them has to be that of the file
    top: str  # folder inside the archive that is the data set's root; empty where the archive has none
    licence: str  # under which its sounds are published


# Hashes: UrbanSound8K's is Zenodo's; Speech Commands' that of TensorFlow Datasets and torchaudio. GitHub packs ESC-50
# anew on request: the two are those that soundata lists and that was seen in 2026.
_ESC = Archive(
    "https://github.com/karolpiczak/ESC-50/archive/master.zip",
    ("md5:7771e4b9d86d0945acce719c7a59305a", "sha256:805afc618aff80eff0641d51311647871fead5807da68bb18e43a27db47a79ce"),
    "ESC-50-master",
    "CC BY-NC 3.0; the clips of ESC-10: CC BY 3.0",
)
_COMMANDS = Archive(
    "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    ("sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",),
    "",
    "CC BY 4.0",
)
ARCHIVES = {
    "esc10": _ESC,
    "esc50": _ESC,
    "speech_commands": _COMMANDS,
    "speech_commands_12": _COMMANDS,
    "urbansound8k": Archive(
        "https://zenodo.org/records/1203745/files/UrbanSound8K.tar.gz",
        ("md5:9aa69802bbf37fb986f71ec1483a196e",),
        "UrbanSound8K",
        "CC BY-NC 3.0",
    ),
}


def fetch(name: str, to: Path = Path("data"), *, url: str | None = None, checksum: str | None = None) -> Path:
    """Fetch and unpack a data set; return its root, the argument ROOT of `run`.

    Parameters
    ----------
    name : str
        A key of `ARCHIVES`.
    to : Path
        The archive is kept here, and unpacked into a folder of its own.
    url : str, optional
        Another address of the same archive, e.g. a mirror's.
    checksum : str, optional
        ``md5:...`` or ``sha256:...`` instead of the known ones.

    Raises
    ------
    ValueError
        No such data set, the hash is another one, or a member of the archive would lie outside its folder.
    OSError
        The server cannot be reached, or the disk is full; the same call continues where it stopped.
    """
    archive = ARCHIVES[check.choice("name", name, ARCHIVES)]
    hashes = archive.hashes if checksum is None else (checksum.lower(),)
    check_folder(to, "to")
    for known in hashes:
        if ":" not in known:
            check.fail("checksum", "md5:... or sha256:...", repr(known), "which of the two is it?")
        check.choice("checksum", known.partition(":")[0], ("md5", "sha256"))
    url = url or archive.url
    file = to / _file_name(url)
    folder = to / file.name.removesuffix(".zip").removesuffix(".tar.gz")
    root = folder / archive.top
    if root.is_dir():
        return root

    def unpack(path: str, action: str, _: Any) -> None:
        _check_hash(file, hashes, url if action == "download" else None)
        _unpack(file, folder)

    pooch.get_logger().setLevel("WARNING")  # the console shows what happens
    # the hashes are not in pooch's registry: it knows one a file, and replaces a file of another
    fetcher = pooch.create(to, base_url="", registry={file.name: None}, urls={file.name: url}, retry_if_failed=_RETRIES)
    downloader = ResumingDownloader(file.with_name(file.name + ".part"))
    try:
        fetcher.fetch(file.name, downloader=downloader, processor=unpack)
    except _Interrupted as error:
        raise OSError(f"{url}: {error}; the same command goes on where it stopped") from error
    if not root.is_dir():
        check.fail(str(file), f"an archive with the folder {archive.top}", "one without", "another archive's --url?")
    say(f"{name}: {root} (licence: {archive.licence})")
    return root


class _Interrupted(ValueError):
    """A download that may succeed when it is repeated: pooch repeats what fails with a ValueError."""


class ResumingDownloader:
    """A downloader for pooch that continues `part`, a partial file; pooch's own would begin again."""

    def __init__(self, part: Path) -> None:
        self.part = part

    def __call__(self, url: str, output_file: str, pooch: Any = None) -> None:
        """Download what is missing of `url`, and move the whole file to `output_file`, where pooch wants it.

        Raises
        ------
        OSError
            The server refuses: asking again is useless.
        ValueError
            The connection broke, or the server is overloaded: pooch asks again.
        """
        have = self.part.stat().st_size if self.part.is_file() else 0
        request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
                self._receive(answer, have)
        except urllib.error.HTTPError as error:
            if error.code >= 500:
                raise _Interrupted(str(error)) from error
            if error.code != 416 or not have:  # 416: nothing lies behind the partial file, so it is whole
                raise OSError(f"{url}: {error}") from error
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            raise _Interrupted(str(error)) from error
        os.replace(self.part, output_file)

    def _receive(self, answer: Any, have: int) -> None:
        sent = answer.headers.get("Content-Range")
        if have and answer.status == 206 and sent is not None and not sent.startswith(f"bytes {have}-"):
            self.part.unlink()  # another piece than the one that was asked for: all of it once more
            raise ConnectionError(f"the server sent {sent} for what lies behind {have}")
        if answer.status != 206:
            have = 0  # the server sends all of it
        size = answer.headers.get("Content-Length")
        total = None if size is None else have + int(size)
        with progress_bar() as bar, open(self.part, "ab" if have else "wb") as file:
            task = bar.add_task(self.part.name.removesuffix(".part"), total=total, completed=have)
            while block := answer.read(_BLOCK):
                file.write(block)
                bar.advance(task, len(block))
            if total is not None and file.tell() < total:
                raise ConnectionError(f"{file.tell()} of {total} bytes came")


def _file_name(url: str) -> str:
    """Return the name that the archive is kept under; it ends in .zip or .tar.gz, and the folder's is the rest."""
    name = url.partition("?")[0].partition("#")[0].rsplit("/", 1)[-1]
    if "://" not in url or not name.endswith((".zip", ".tar.gz")) or name in (".zip", ".tar.gz"):
        check.fail("url", "an address of a .zip or .tar.gz file, with http:// or https://", repr(url))
    if any(character.isspace() for character in url):
        check.fail("url", "an address without spaces", repr(url))
    return name


def _check_hash(file: Path, hashes: tuple[str, ...], url: str | None) -> None:
    """Raise if the file has none of the hashes; one that was fetched from `url` just now is removed."""
    found = {f"{kind}:{pooch.file_hash(str(file), kind)}" for kind in {known.partition(":")[0] for known in hashes}}
    if found & set(hashes):
        return
    expected, got = f"of hash {' or '.join(hashes)}", " and ".join(found)
    if url is None:
        check.fail(str(file), expected, got, "remove it, and it is fetched anew; was it changed? --checksum")
    file.unlink()
    check.fail(f"the file at {url}", expected, got, "removed; was it changed? --checksum")


def _unpack(file: Path, folder: Path) -> None:
    """Unpack beside `folder` and rename: the name appears only when all of it is there, and nothing lies elsewhere."""
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with _name_damage(file):
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    infos = archive.infolist()
                    _check_members(file, {i.filename: stat.S_ISLNK(i.external_attr >> 16) for i in infos})
                    archive.extractall(part)
            else:
                with tarfile.open(file) as tar:
                    members = [member for member in tar if not member.isdir()]
                    _check_members(file, {m.name: not m.isfile() for m in members})
                    for member in members:  # without the archive's modes and owners
                        target = part / member.name
                        target.parent.mkdir(parents=True, exist_ok=True)
                        with tar.extractfile(member) as source, open(target, "wb") as out:  # type: ignore[union-attr]
                            shutil.copyfileobj(source, out, _BLOCK)
        if folder.is_dir():  # another archive left it, without its root
            check.fail(str(folder), "no folder yet, or one with the data set in it", "another", "remove it first")
        part.chmod(0o755)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _name_damage(file: Path) -> Iterator[None]:
    """Raise whatever the reader of a broken archive raises as a ValueError that names the file."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{file}: neither a zip nor a whole tar archive ({error}); remove it and try again") from error


def _check_members(file: Path, members: Mapping[str, bool]) -> None:
    """Raise, before anything is written, where a member is a link or device (True), or would lie outside the folder."""
    for name, special in members.items():
        path = PurePosixPath(name.replace("\\", "/"))
        if special:
            check.fail(str(file), "an archive of plain files", f"{name}, a link or a device", "unpack it by hand")
        if path.is_absolute() or ".." in path.parts or any(":" in piece for piece in path.parts[:1]):
            check.fail(str(file), "an archive whose files lie inside it", name, "it would be written elsewhere")
