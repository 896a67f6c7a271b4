"""Sources behind URLs: a folder here with the names of all files, so that the one recogniser and walker read it.

Tables, lists and other texts in it are links to copies in the cache. Every other file is there by its name alone, with
0 bytes: reading such a file is an error, never silence. Items that were read from it are then given the URL as root.
"""

import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from .. import check
from ..audio.remote.copies import cache_limit, fetch, remember, state, state_of
from ..audio.remote.urls import check_url, connect, explain, is_url, parent_of
from .item import Item
from .item_table import ItemTable
from .tables import is_table
from .walk import is_audio

__all__ = ["Mirror", "check_access", "first_remote", "list_urls", "mirror_url", "place_at"]

_TEXTS = (".jams", ".beats")
_SHARDS = ".tar"
# Files that are fetched at once: most of the time goes into waiting for an answer.
_AT_ONCE = 8


class Mirror:
    """What `mirror_url` made of a URL.

    Parameters
    ----------
    path : Path
        The folder, or the manifest.
    url : str
        What it is a mirror of.
    """

    def __init__(self, path: Path, url: str) -> None:
        self.path, self.url = path, url
        self.is_folder = path.is_dir()
        self.root = url if self.is_folder else parent_of(url)[0]

    def name_urls(self, text: str) -> str:
        """Return a text with the URL in place of the path of its mirror."""
        return text.replace(str(self.path), self.url).replace(str(self.path.parent), parent_of(self.url)[0])


@contextmanager
def mirror_url(url: str, name: str = "source") -> Iterator[Mirror]:
    """List a remote folder, or fetch a remote manifest, and yield its `Mirror`; it is removed after the block.

    Parameters
    ----------
    url : str
        Folder or manifest.
    name : str
        What the argument is called, for messages.

    Raises
    ------
    ValueError
        The URL cannot be opened or listed here; messages of the block name the URL in place of its mirror.
    """
    url = check_url(name, url)
    with TemporaryDirectory(prefix="audiomix-") as folder:
        top = Path(folder) / (posixpath.basename(url) or "source")
        try:
            found = list_urls(url)
            if found is None:
                top.symlink_to(fetch(url))
            else:
                _lay_out(top, url, found, name)
        except OSError as error:
            slip = "look at the name, at the account's permissions, and at the endpoint"
            check.fail(name, "a URL that can be read", f"{url!r} ({error.strerror or error})", slip)
        mirror = Mirror(top, url)
        try:
            yield mirror
        except ValueError as error:
            error.args = tuple(mirror.name_urls(one) if isinstance(one, str) else one for one in error.args)
            raise


def list_urls(url: str) -> dict[str, tuple[int, int]] | None:
    """Return the files below a remote folder, with their states, by their names relative to it; None for a file.

    Parameters
    ----------
    url : str
        As `check_url` returns it.

    Raises
    ------
    OSError
        It is not there, or cannot be listed.
    """
    filesystem, root = connect(url)
    with explain(url):
        filesystem.invalidate_cache()
        if filesystem.info(root)["type"] != "directory":
            return None
        listed = filesystem.find(root, detail=True)
    found = {}
    for path, info in listed.items():
        name = path[len(root) :].removeprefix("/")
        if info["type"] == "file" and name and not name.endswith("/") and path.startswith(root):
            found[name] = state_of(info)
    return found


def _lay_out(top: Path, url: str, found: dict[str, tuple[int, int]], argument: str) -> None:
    """Make the files of a mirror."""
    top.mkdir()
    texts = [name for name in found if is_table(Path(name)) or name.lower().endswith(_TEXTS)]
    if not any(map(is_audio, found)):
        texts += [name for name in found if name.lower().endswith(_SHARDS)]
    size = sum(found[name][0] for name in texts)
    if size > cache_limit():
        got = f"{size / 1e9:.1f} GB of tables and shards in {url!r}, such as {texts[0]!r}"
        slip = "AUDIOMIX_REMOTE_GB=... allows more; or name a manifest in place of its folder"
        check.fail(argument, f"one whose tables fit into the cache ({cache_limit() / 1e9:g} GB)", got, slip)
    folders = {""}
    for name, known in found.items():
        if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
            check.fail(argument, "made of names that stay within its folder", f"{name!r} in {url!r}", "rename it")
        remember(f"{url}/{name}", known)
        folder = posixpath.dirname(name)
        while folder not in folders:
            folders.add(folder)
            folder = posixpath.dirname(folder)
    if both := sorted(folders & found.keys()):
        got = f"{both[0]!r} in {url!r}, which is a file and a folder"
        check.fail(argument, "made of names that files can have here", got, "rename the file")
    for folder in sorted(folders):
        os.makedirs(top / folder, exist_ok=True)
    wanted = set(texts)
    for name in found:
        if name not in wanted:
            os.close(os.open(top / name, os.O_CREAT | os.O_WRONLY))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for name, copy in zip(texts, pool.map(lambda one: fetch(f"{url}/{one}"), texts)):
            (top / name).symlink_to(copy)


def place_at(items: Sequence[Item], url: str, mirror: Mirror | None = None) -> Sequence[Item]:
    """Return items with a URL as their root: those of its mirror, and those whose path is a URL below it.

    Parameters
    ----------
    items : sequence of Item
        A list, or an `ItemTable`, which is then made anew.
    url : str
        The folder that ids are relative to.
    mirror : Mirror, optional
        Where they were read from.
    """
    here = None if mirror is None else str(mirror.path if mirror.is_folder else mirror.path.parent)

    def place(item: Item) -> Item:
        """Return an item with the URL as its root where its file lies below that."""
        file = item.id if item.file is None else item.file
        if file.startswith(f"{url}/"):
            id_, file = item.id.removeprefix(f"{url}/"), file.removeprefix(f"{url}/")
            return replace(item, root=url, id=id_, file=None if item.file is None else file)
        if here is None or is_url(file) or not (item.root == here or item.root.startswith(here + os.sep)):
            return item
        return replace(item, root=url + item.root[len(here) :].replace(os.sep, "/"))

    return ItemTable(map(place, items)) if isinstance(items, ItemTable) else [*map(place, items)]


def first_remote(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the first item of each host or bucket that remote files lie in.

    Parameters
    ----------
    items : iterable of Item
        Those whose path is a URL are looked at.
    """
    hosts: set[tuple[str, ...]] = set()
    for item in items:
        if is_url(item.path) and (host := tuple(item.path.split("/", 3)[:3])) not in hosts:
            hosts.add(host)
            yield item


def check_access(items: Iterable[Item], name: str = "source") -> None:
    """Ask for the first remote file of each host or bucket that items name, so that a lack of permission is told early.

    Parameters
    ----------
    items : iterable of Item
        Those whose path is a URL are looked at.
    name : str
        What the argument is called, for the message.

    Raises
    ------
    ValueError
        A file may not be read, or its host is not there. One that is missing is told when it is read.
    """
    for item in first_remote(items):
        path = item.path
        try:
            state(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            slip = "look at the account's permissions, and at the endpoint"
            check.fail(name, "files that can be read", f"{path!r} ({error.strerror or error}){item.where}", slip)
