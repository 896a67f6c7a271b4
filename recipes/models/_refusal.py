"""Errors of a network's own code as one sentence: the kind, the text, and the line of the user's file."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

from audiomix import check

__all__ = ["refused"]

_LONGEST = 300  # characters of a message: torch's messages about weights name every tensor


@contextmanager
def refused(name: str, expected: str, got: Any, model: str) -> Iterator[None]:
    """Raise any error of the block as a refusal of an argument, from the error itself.

    Parameters
    ----------
    name : str
        The argument.
    expected : str
        What it must be; see `audiomix.check.fail`.
    got : object
        Its value.
    model : str
        The network, as ``--model`` names it: the message has a line of its file or package.

    Raises
    ------
    ValueError
        Any exception but KeyboardInterrupt and SystemExit was raised.
    """
    try:
        yield
    except Exception as error:  # of whatever kind: other people's code
        try:
            check.fail(name, expected, got, _describe(error, model))
        except ValueError as refusal:
            raise refusal from error


def _describe(error: Exception, model: str) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if frames and frames[-1].filename == check.__file__:
        return str(error)  # a message of `check` is complete without the line
    line: tuple[str, int | None] | None = None
    text = str(error)
    if isinstance(error, SyntaxError) and error.filename:
        text, line = error.msg, (error.filename, error.lineno)
    else:
        own = [frame for frame in frames if _belongs_to(model, frame.filename)]
        line = (own[-1].filename, own[-1].lineno) if own else None
    short = shorten(text, _LONGEST, placeholder=" ...")
    kind = type(error).__name__
    return (f"{kind}: {short}" if short else kind) + (f" ({line[0]}, line {line[1]})" if line else "")


def _belongs_to(model: str, filename: str) -> bool:
    """Return whether a file is that of ``file.py:callable``, or in the package of ``package.module:callable``."""
    place, colon, _ = model.rpartition(":")
    if place.endswith(".py"):
        return Path(filename).resolve() == Path(place).expanduser().resolve()
    top, path = place.partition(".")[0], Path(filename)
    return bool(colon) and (top in path.parts or path.stem == top)
