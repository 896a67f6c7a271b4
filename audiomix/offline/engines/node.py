"""What happens on a node of a Ray cluster: it is checked, then does one task after another, as a local worker does."""

import os
import pickle
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...audio.stretch import engine
from ...memory import keep_freed_pages
from ..journal import RunStopped
from ..parallel import ThreadLimit, make_function, pack_error
from ..render import versions

__all__ = ["Member", "NodeCheck", "check_for"]

# Folders that are looked for on each node, at most: a manifest may name very many.
_MOST_PATHS = 100


@dataclass(frozen=True)
class NodeCheck:
    """What must be the same on a node as where the command was started; called on the node.

    Parameters
    ----------
    folder : str
        Folder to work in; empty where no path is relative to it.
    paths : tuple of str
        Files and folders that must be there.
    versions : dict of str to str
        Of what the samples depend on.

    Raises
    ------
    RunStopped
        Something is not the same; the message names the node.
    """

    folder: str
    paths: tuple[str, ...]
    versions: Mapping[str, str]

    def __call__(self) -> None:
        """Check this node, and go to the folder."""
        name = socket.gethostname()
        then = "sources, OUT and the folder they are relative to must be seen by every node under the same path"
        if self.folder:
            try:
                os.chdir(self.folder)
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise RunStopped(f"node {name} cannot enter {self.folder} ({reason}): {then}") from None
        for path in self.paths:
            if not os.path.exists(path):
                raise RunStopped(f"node {name} does not see {path}: {then}")
        mine = _own_versions()
        other = [
            f"{one} {mine.get(one)} in place of {wanted}"
            for one, wanted in self.versions.items()
            if mine.get(one) != wanted
        ]
        if other:
            slip = "samples depend on it: install the same versions on every node"
            raise RunStopped(f"node {name} has {', '.join(other)}: {slip}")


def check_for(paths: Iterable[str | Path]) -> NodeCheck:
    """Return the check of nodes that have to see these paths as this process does.

    Parameters
    ----------
    paths : iterable of path
        Relative ones are relative to the folder of this process. URLs are not looked for.
    """
    kept = tuple(dict.fromkeys(text for path in paths if (text := str(path)) and "://" not in text))
    folder = "" if all(map(os.path.isabs, kept)) else os.getcwd()
    return NodeCheck(folder, kept[:_MOST_PATHS], _own_versions())


def _own_versions() -> dict[str, str]:
    return {**versions(), "stretch": engine()}


class Member:
    """A worker on a cluster: made there, told to start, then given one task at a time.

    Parameters
    ----------
    job : bytes
        Pickled: what makes the function of one task, and its arguments.
    check : bytes
        Pickled: what is called before anything else, such as a `NodeCheck`.
    path : list of str
        ``sys.path`` of who starts the run: code of one's own is imported from there, too.
    threads : int, optional
        Threads of torch, OpenMP and BLAS while the function works.
    """

    def __init__(self, job: bytes, check: bytes, path: list[str], threads: int | None) -> None:
        self.job, self.check, self.path = job, check, path
        self.limit = ThreadLimit(threads)
        self.function: Callable[[Any], Any] | None = None

    def start(self) -> bytes:
        """Make the function; return what `audiomix.offline.parallel.unpack` reads: nothing, or an error."""
        try:
            sys.path.extend(place for place in self.path if place not in sys.path)
            keep_freed_pages()
            pickle.loads(self.check)()
            with self.limit.apply():
                self.function = make_function(self.job)
        except Exception as error:
            return pack_error(error)
        return pickle.dumps((None, None, ""))

    def work(self, packed: bytes) -> bytes:
        """Do a task that was pickled; return its value or error for `audiomix.offline.parallel.unpack`."""
        assert self.function is not None
        try:
            with self.limit.apply():
                return pickle.dumps((self.function(pickle.loads(packed)), None, ""))
        except Exception as error:
            return pack_error(error)
