"""Copies of remote files: whole files in a bounded folder of the cache, each by its URL and its state.

``$AUDIOMIX_CACHE/remote`` holds up to 10 GB (``$AUDIOMIX_REMOTE_GB``): what was not used for the longest time goes
first. Several processes may use it at once.
"""

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from ... import check
from ..clip import AudioError, cache_folder
from .urls import connect, explain, is_url

__all__ = ["State", "cache_limit", "fetch", "forget_listings", "local_copy", "remember", "state", "state_of"]

# Size in bytes, and a number that another content has another of; 0 where the server tells nothing of that kind.
State = tuple[int, int]

# What servers call a mark of the content, or the time of its last change; the first that is told counts.
_MARKS = (
    "ETag", "etag", "md5Hash", "content_md5", "checksum", "blob_id", "mtime", "LastModified", "Last-Modified",
    "last_modified", "last_commit", "modified", "updated", "created",
)  # fmt: skip
# Seconds for which a state is believed without asking again.
_FRESH_S = 5.0
# Seconds for which a file that was used stays in any case: it is being opened.
_IN_USE_S = 60.0
# Seconds after which what a killed process has not finished is removed.
_LEFT_S = 86400.0
# The folder is looked through when this share of what it may hold has come in.
_SHARE = 0.05
_listed: dict[str, State] = {}
_arrived = [float("inf")]  # bytes since the folder was looked through; at first it has not been


def state(url: str, *, listed: bool = False) -> State:
    """Return the state of a remote file, at most a few seconds old.

    Parameters
    ----------
    url : str
        The file.
    listed : bool
        Take what the listing of its folder said, where that was read: one request for a thousand files.

    Raises
    ------
    OSError
        It is not there, or cannot be asked for.
    """
    known = _listed.get(url) if listed else None
    return known or _fresh_state(url, int(time.monotonic() / _FRESH_S))


@lru_cache(maxsize=1024)
def _fresh_state(url: str, now: int) -> State:
    return _ask(url)


def _ask(url: str) -> State:
    filesystem, path = connect(url)
    with explain(url):
        filesystem.invalidate_cache()  # else the answer may be that of an earlier listing
        info = filesystem.info(path)
        if info["type"] == "directory":
            raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", url)
    return state_of(info)


def state_of(info: Mapping[str, Any]) -> State:
    """Return the state of a file from what fsspec's `info`, or a listing, says of it.

    Parameters
    ----------
    info : mapping
        With `size` (None counts as -1), and with what the server knows of its contents.
    """
    mark = next((info[name] for name in _MARKS if info.get(name)), None)
    size = -1 if info.get("size") is None else int(info["size"])
    if mark is None:
        return size, 0
    return size, int.from_bytes(hashlib.sha256(str(mark).encode()).digest()[:7], "big")


def remember(url: str, found: State) -> None:
    """Keep the state of a file that a listing told, for `state` with `listed`."""
    _listed[url] = found


def forget_listings() -> None:
    """Forget what listings said: from here on each file is asked for by itself."""
    _listed.clear()


def cache_limit() -> int:
    """Return how many bytes of copies are kept.

    Raises
    ------
    ValueError
        ``$AUDIOMIX_REMOTE_GB`` is no number above 0.
    """
    text = os.environ.get("AUDIOMIX_REMOTE_GB", "10")
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not found > 0:
        check.fail("AUDIOMIX_REMOTE_GB", "a number of gigabytes above 0", repr(text))
    return int(found * 1e9)


@contextmanager
def local_copy(path: str | Path) -> Iterator[str | Path]:
    """Yield where a file can be opened: the path itself, or the copy of a remote file; errors name the URL.

    Parameters
    ----------
    path : path
        Of a file here, or a URL.

    Raises
    ------
    AudioError
        The remote file is not there, or cannot be read.
    """
    if not isinstance(path, str) or not is_url(path):
        yield path
        return
    try:
        place = fetch(path)
    except OSError as error:
        raise AudioError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    try:
        yield place
    except AudioError as error:
        error.args = (str(error).replace(str(place), path),)
        raise


def fetch(url: str) -> Path:
    """Return the copy of a remote file; it is fetched where there is none of its present state.

    Parameters
    ----------
    url : str
        The file.

    Raises
    ------
    OSError
        It is not there, cannot be read, came in part only, or was changed meanwhile; the disk is full.
    """
    before = state(url)
    size, mark = before
    suffix = os.path.splitext(url.rpartition("/")[2])[1][:16]
    name = hashlib.blake2b(f"{url}\n{size}\n{mark}".encode(), digest_size=16).hexdigest() + suffix
    place = cache_folder("remote") / "copies" / name[:2] / name
    if mark:  # else nothing tells whether the copy is still what is there
        with suppress(FileNotFoundError):
            os.utime(place, ns=(time.time_ns(), os.stat(place).st_mtime_ns))
            return place
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".tmp-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        filesystem, path = connect(url)
        with explain(url):
            filesystem.get_file(path, str(part))
        have = os.path.getsize(part)
        if size >= 0 and have != size:
            raise OSError(errno.EIO, f"cut off: {have} bytes of {size} came", url)
        if _ask(url) != before:
            raise OSError(errno.EIO, "it was changed while it was read", url)
        os.replace(part, place)
    finally:
        part.unlink(missing_ok=True)
    _make_room(have)
    return place


def _make_room(more: int) -> None:
    """Count what came, and now and then remove what was not used for the longest time."""
    limit = cache_limit()
    _arrived[0] += more
    if _arrived[0] < _SHARE * limit:
        return
    _arrived[0] = 0
    now, total = time.time(), 0
    found: list[tuple[float, int, str]] = []
    for folder, _, names in os.walk(cache_folder("remote") / "copies"):
        for name in names:
            path = os.path.join(folder, name)
            with suppress(FileNotFoundError):  # another process removes files too
                at = os.stat(path)
                if name.startswith(".tmp-"):
                    if now - at.st_mtime > _LEFT_S:
                        os.unlink(path)
                    continue
                found.append((at.st_atime, at.st_size, path))
                total += at.st_size
    for used, size, path in sorted(found):
        if total <= limit or now - used < _IN_USE_S:
            break
        with suppress(FileNotFoundError):
            os.unlink(path)
        total -= size
