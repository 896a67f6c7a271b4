"""Paths that are URLs: how they are told from others, what they may hold, and the file system behind them."""

import errno
import os
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ... import check

__all__ = ["check_url", "connect", "explain", "hide", "is_url", "join", "local_path", "parent_of"]

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# Addresses of files of this machine: they are read as paths.
_HERE = ("file://", "local://")
# In place of a password, with the name before it, and of a query.
_USER, _QUERY = re.compile(r"://[^/\s]*@"), re.compile(r"\?[^\s'\")]*")
# Protocols where the part before @ is no secret: a container, or a login whose password stands elsewhere.
_NAMED = ("abfs", "abfss", "ftp", "hdfs", "sftp", "smb", "ssh", "webhdfs")


def is_url(path: Any) -> bool:
    """Say whether a path is the URL of a file or folder elsewhere; ``file://`` names one of this machine.

    Parameters
    ----------
    path : Any
        A text may be one; a `Path` never is, as it keeps one slash of two.

    Examples
    --------
    >>> is_url("s3://bucket/clips"), is_url("clips/1.wav"), is_url("file:///clips")
    (True, False, False)
    """
    return isinstance(path, str) and "://" in path and bool(_URL.match(path)) and not path.startswith(_HERE)


def local_path(path: str | Path) -> str | Path:
    """Return a ``file://`` address as a path; everything else as it is.

    >>> local_path("file:///my%20clips"), local_path("s3://bucket/clips")
    ('/my clips', 's3://bucket/clips')
    """
    if not isinstance(path, str) or not path.startswith(_HERE):
        return path
    return unquote(path.partition("://")[2].removeprefix("localhost"))


def hide(text: str) -> str:
    """Return a text without what gives access: names and passwords before a host, and queries.

    >>> hide("sftp://ann:secret@host/clips"), hide("https://host/1.wav?token=secret")
    ('sftp://...@host/clips', 'https://host/1.wav?...')
    """
    return _QUERY.sub("?...", _USER.sub("://...@", text))


def check_url(name: str, url: str) -> str:
    """Return a URL without a slash at its end, if it holds no secret and there is something that opens it.

    Parameters
    ----------
    name : str
        What the argument is called, for the message.
    url : str
        Is not opened.

    Raises
    ------
    ValueError
        It holds a password or a query, which would come into tables and messages; fsspec, or the package that it opens
        this protocol with, is not installed; the protocol is unknown.
    """
    protocol, _, rest = url.partition("://")
    user = rest.partition("/")[0].rpartition("@")[0]
    if ":" in user or (user and protocol.lower() not in _NAMED):
        slip = "give it in the environment, or in fsspec's configuration (~/.config/fsspec)"
        check.fail(name, "a URL without a password", repr(hide(url)), slip)
    if "?" in rest:
        slip = "tokens expire, and would stand in tables; give access by the environment"
        check.fail(name, "a URL without a query", repr(hide(url)), slip)
    if not rest.strip("/"):
        check.fail(name, "the URL of a folder or a file", repr(url))
    try:
        connect(url)
    except OSError as error:
        check.fail(name, "a URL that can be opened here", repr(url), error.strerror or str(error))
    return url.rstrip("/")


def connect(url: str) -> tuple[Any, str]:
    """Return the file system of fsspec that a URL names, and its path there.

    Parameters
    ----------
    url : str
        As `check_url` returns it.

    Raises
    ------
    OSError
        fsspec is not installed, or what it needs for this protocol; the protocol is unknown.
    """
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError:
        raise OSError(errno.ENOSYS, "URLs are opened by fsspec: pip install 'audiomix[remote]'", url) from None
    with explain(url):
        filesystem, path = url_to_fs(url)
    return filesystem, path.rstrip("/")


@contextmanager
def explain(url: str) -> Iterator[None]:
    """Turn whatever a file system of fsspec raises in the block into an OSError that names the URL.

    Parameters
    ----------
    url : str
        What is opened, for the message.

    Raises
    ------
    OSError
        The block raised something; `FileNotFoundError` and `PermissionError` stay what they are.
    """
    try:
        yield
    except (MemoryError, IsADirectoryError):
        raise
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "there is no such file, folder or bucket", url) from None
    except PermissionError as error:
        raise PermissionError(errno.EACCES, f"no permission{_reason(error)}", url) from None
    except Exception as error:  # of any kind: botocore, aiohttp and others raise their own
        text = hide((str(error).splitlines() or [""])[0].strip()) or type(error).__name__
        raise OSError(errno.EIO, text, url) from None


def _reason(error: OSError) -> str:
    text = hide((error.strerror or str(error)).strip())
    return f" ({text})" if text else ""


def join(root: str, name: str) -> str:
    """Return the URL of a name that is relative to another URL.

    >>> join("s3://bucket/meta", "../audio/1.wav")
    's3://bucket/audio/1.wav'
    """
    protocol, _, rest = root.partition("://")
    if ".." in name or name.startswith("./"):
        return f"{protocol}://{posixpath.normpath(posixpath.join(rest, name))}"
    return f"{root}/{name}"


def parent_of(url: str) -> tuple[str, str]:
    """Return the URL of the folder that a URL lies in, and its name there; no name where there is no such folder.

    >>> parent_of("s3://bucket/clips"), parent_of("s3://bucket")
    (('s3://bucket', 'clips'), ('s3://bucket', ''))
    """
    protocol, _, rest = url.partition("://")
    folder, name = os.path.split(rest)
    return (f"{protocol}://{folder}", name) if folder.strip("/") else (url, "")
