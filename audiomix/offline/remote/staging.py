"""``augment(source, out, ...)`` with URLs: checked before any work, and made in a temporary folder of this machine."""

import hashlib
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ParamSpec, TypeVar

from filelock import FileLock, Timeout

from ... import check
from ...audio.clip import cache_folder
from ...audio.remote.urls import check_url, is_url, local_path
from ..journal import RunStopped, stop_on_oserror
from .store import Store, register

__all__ = ["with_urls"]

P = ParamSpec("P")
R = TypeVar("R")
# Arguments that may be URLs, beside the output.
_READ = ("source", "partners", "audio_root")
# A part of a path between two slashes, or at its end, that names no file or folder of its own.
_ODD_PART = re.compile(r"[^/]/(/|\.\.?(/|$))")
# What lies in the memory of one process.
_OWN = "memory://"


def with_urls(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that writes a run, such as `augment`, with URLs for what it reads and writes.

    Parameters
    ----------
    function : callable
        Its parameters are among `source`, `partners`, `audio_root`, `out`, `workers`, `engine` and
        `dry_run`; what it returns has
        `path`, `text` and `remarks`.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function with folders of this machine in place of URLs."""
        bound = signature.bind(*args, **kwargs)
        given = bound.arguments
        for name in (*_READ, "out"):
            if given.get(name) is not None:
                given[name] = local_path(given[name])
                if is_url(given[name]):
                    given[name] = check_url(name, given[name])
        _check_together(given)
        out = given["out"]
        if not is_url(out):
            return function(*bound.args, **bound.kwargs)
        with _staging(out, dry_run=bool(given.get("dry_run"))) as (folder, store):
            given["out"] = folder
            report: Any = function(*bound.args, **bound.kwargs)
            if not given.get("dry_run"):
                with stop_on_oserror(out):
                    store.finish(folder)
            remarks = tuple(one.replace(str(folder), out) for one in report.remarks)
            done: R = replace(report, path=out, remarks=remarks)
            return done

    return run


def _check_together(given: dict[str, Any]) -> None:
    out = given["out"]
    for name in ("source", "partners", "out"):
        url = given.get(name)
        if is_url(url) and _ODD_PART.search(str(url).partition("://")[2]):
            slip = "a folder must have one name, so that it is seen whether OUT lies in it"
            check.fail(name, "a URL without //, /./ and /../", repr(url), slip)
    for name in _READ:
        read = given.get(name)
        if is_url(read) and is_url(out) and name != "audio_root" and f"{out}/".startswith(f"{read}/"):
            check.fail("out", f"a folder outside of {name}", repr(out), "its files would be read as sources")
    own = [str(given[name]) for name in (*_READ, "out") if str(given.get(name)).startswith(_OWN)]
    if own and given.get("engine", "local") != "local":
        check.fail("engine", f"local with {own[0]}", repr(given["engine"]), "other machines do not see this memory")
    if own and given.get("workers", 1) != 1:
        slip = "other processes do not see the memory of this one"
        check.fail("workers", f"1 with {own[0]}", given["workers"], slip)


@contextmanager
def _staging(url: str, *, dry_run: bool) -> Iterator[tuple[Path, Store]]:
    """Yield a temporary folder whose files are sent to a URL; messages of the block name the URL.

    Raises
    ------
    ValueError
        The URL cannot be listed or written.
    RunStopped
        Another process of this machine writes there.
    """
    lock = cache_folder("remote") / f"{hashlib.blake2b(url.encode(), digest_size=16).hexdigest()}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="audiomix-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        try:
            with FileLock(lock, timeout=0):
                store = _open(url, folder, dry_run=dry_run)
                register(folder, store)
                yield folder, store
        except Timeout:
            raise RunStopped(f"{url}: another process is at work in this folder") from None
        except (ValueError, OSError) as error:
            error.args = tuple(one.replace(temporary, url) if isinstance(one, str) else one for one in error.args)
            raise
        finally:
            register(folder, None)


def _open(url: str, folder: Path, *, dry_run: bool) -> Store:
    store = Store(url)
    doing = "listed" if dry_run else "listed and written to"
    try:
        store.pull(folder)
        if not dry_run:
            store.check_writable()
    except OSError as error:
        slip = "look at the name of the bucket, at the account's permissions, and at the endpoint"
        check.fail("out", f"a URL that can be {doing}", f"{url!r} ({error.strerror or error})", slip)
    return store
