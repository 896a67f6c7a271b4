"""Fetch a published data set: resumed where it broke off, checked against its hash, unpacked inside its own folder.

pooch, the usual library for this, starts a broken download again from the beginning, which for 6 GB matters.
"""

import hashlib
import http.client
import os
import shutil
import stat
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from audiomix import check

from ..console import console, progress_bar
from ..training.out_file import check_folder

__all__ = ["ARCHIVES", "Archive", "fetch"]

_BLOCK = 1 << 20
_TRIES = 5
_TIMEOUT = 60  # seconds without a byte


@dataclass(frozen=True)
class Archive:
    """A published archive.

    Parameters
    ----------
    url : str
        Where it is published.
    hashes : tuple of str
        ``md5:...`` or ``sha256:...``; one of them has to be that of the file.
    top : str
        Folder inside the archive that is the data set's root; empty where the archive has none.
    licence : str
        As its authors state it.
    """

    url: str
    hashes: tuple[str, ...]
    top: str
    licence: str


# Hashes: UrbanSound8K's is Zenodo's; Speech Commands' that of TensorFlow Datasets and torchaudio. GitHub packs ESC-50
# anew on request: the two are those that soundata lists and that was seen in 2026.
_ESC = Archive(
    "https://github.com/karolpiczak/ESC-50/archive/master.zip",
    (
        "md5:7771e4b9d86d0945acce719c7a59305a",
        "sha256:805afc618aff80eff0641d51311647871fead5807da68bb18e43a27db47a79ce",
    ),
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
    """Download and unpack a data set; return its root, which is what `run` wants.

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
        The server cannot be reached, or the disk is full; the same call goes on where it stopped.
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
    to.mkdir(parents=True, exist_ok=True)
    if file.is_file():
        _check_hash(file, hashes, str(file), "remove it, and it is fetched anew; was it changed? --checksum")
    else:
        part = file.with_name(file.name + ".part")
        _download(url, part)
        try:
            _check_hash(part, hashes, f"the file at {url}", "removed; was it changed? --checksum")
        except ValueError:
            part.unlink()
            raise
        os.replace(part, file)
    _unpack(file, folder)
    if not root.is_dir():
        check.fail(str(file), f"an archive with the folder {archive.top}", "one without", "another archive's --url?")
    console.print(f"{name}: {root} (licence: {archive.licence})", highlight=False, soft_wrap=True)
    return root


def _file_name(url: str) -> str:
    """Return the name that the archive is kept under; it ends in .zip or .tar.gz, and the folder's is the rest."""
    name = url.partition("?")[0].partition("#")[0].rsplit("/", 1)[-1]
    if "://" not in url or not name.endswith((".zip", ".tar.gz")) or name in (".zip", ".tar.gz"):
        check.fail("url", "an address of a .zip or .tar.gz file, with http:// or https://", repr(url))
    return name


def _download(url: str, part: Path) -> None:
    """Download to `part`, going on behind what is there already; a broken connection is taken up again."""
    for attempt in range(_TRIES):
        have = part.stat().st_size if part.is_file() else 0
        try:
            return _rest(url, part, have)
        except urllib.error.HTTPError as error:
            if error.code == 416 and have:
                return None  # nothing lies behind what is there: the hash says whether it is the file
            if error.code < 500:
                raise OSError(f"{url}: {error}") from error
            reason: Exception = error
        except http.client.InvalidURL as error:
            raise ValueError(f"url must be an address without spaces, got {url!r}: {error}") from error
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            reason = error
        if attempt + 1 < _TRIES:
            time.sleep(min(2**attempt, 10) * _PATIENCE)
    raise OSError(f"{url}: {reason}; the same command goes on where it stopped") from reason


_PATIENCE = 1.0  # seconds of the first pause; tests have less


def _rest(url: str, part: Path, have: int) -> None:
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer, progress_bar() as bar:
        sent = answer.headers.get("Content-Range")
        if have and answer.status == 206 and sent is not None and not sent.startswith(f"bytes {have}-"):
            part.unlink()  # another piece than the one that was asked for: all of it once more
            raise ConnectionError(f"the server sent {sent} for what lies behind {have}")
        if have and answer.status != 206:
            have = 0  # the server sends all of it again
        size = answer.headers.get("Content-Length")
        total = None if size is None else have + int(size)
        task = bar.add_task(part.name.removesuffix(".part"), total=total, completed=have)
        with open(part, "ab" if have else "wb") as file:
            while block := answer.read(_BLOCK):
                file.write(block)
                bar.advance(task, len(block))
            if total is not None and file.tell() < total:
                raise ConnectionError(f"{file.tell()} of {total} bytes came")


def _check_hash(part: Path, hashes: tuple[str, ...], what: str, slip: str) -> None:
    found = {}
    for kind in {known.partition(":")[0] for known in hashes}:
        with open(part, "rb") as file:
            found[kind] = _digest(file, kind)
    if not set(found.values()) & set(hashes):
        check.fail(what, f"of hash {' or '.join(hashes)}", " and ".join(found.values()), slip)


def _digest(file: IO[bytes], kind: str) -> str:
    digest = hashlib.new(kind)
    while block := file.read(_BLOCK):
        digest.update(block)
    return f"{kind}:{digest.hexdigest()}"


def _unpack(file: Path, folder: Path) -> None:
    """Unpack beside `folder` and rename: the name appears only when all of it is there, and nothing lies elsewhere."""
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        if zipfile.is_zipfile(file):
            with _whole(file), zipfile.ZipFile(file) as archive:
                names = [(i.filename, stat.S_ISLNK(i.external_attr >> 16)) for i in archive.infolist()]
                _check_members(file, names)
                archive.extractall(part)
        else:
            with _whole(file), tarfile.open(file) as archive:
                members = [m for m in archive if not m.isdir()]
                _check_members(file, [(m.name, not m.isfile()) for m in members])
                for member in members:  # modes and owners of the archive are left aside
                    _extract(archive, member, part)
        if folder.is_dir():  # left without its root by another archive
            check.fail(str(folder), "no folder yet, or one with the data set in it", "another", "remove it first")
        part.chmod(0o755)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _whole(file: Path) -> Iterator[None]:
    """Say that an archive is broken, in whatever way its reader says so."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{file}: neither a zip nor a whole tar archive ({error}); remove it and try again") from error


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    target = folder / member.name
    target.parent.mkdir(parents=True, exist_ok=True)
    source = archive.extractfile(member)
    assert source is not None
    with source, open(target, "wb") as out:
        shutil.copyfileobj(source, out, _BLOCK)


def _check_members(file: Path, members: list[tuple[str, bool]]) -> None:
    """Raise, before anything is written, where a member is a link or would lie outside the folder."""
    for name, special in members:
        path = PurePosixPath(name.replace("\\", "/"))
        if special:
            check.fail(str(file), "an archive of plain files", f"{name}, a link or a device", "unpack it by hand")
        if path.is_absolute() or ".." in path.parts or any(":" in piece for piece in path.parts[:1]):
            check.fail(str(file), "an archive whose files lie inside it", name, "it would be written elsewhere")
