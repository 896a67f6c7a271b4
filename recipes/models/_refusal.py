"""What a network's own code raises, told in one sentence: its kind, its text, and the line of the user's file."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

from audiomix import check

__all__ = ["refused"]

_LONGEST = 300  # characters of a message: torch's about weights name every tensor


@contextmanager
def refused(name: str, expected: str, got: Any, model: str) -> Iterator[None]:
    """Raise what goes wrong inside as a refusal of the argument `name`, from the error itself.

    Parameters
    ----------
    name, expected, got
        See `audiomix.check.fail`.
    model : str
        The network, as ``--model`` has it: the line that is named is one of its file or package.

    Raises
    ------
    ValueError
        Anything was raised that is no request to stop, as KeyboardInterrupt and SystemExit are.
    """
    try:
        yield
    except Exception as error:  # of whatever kind: other people's code
        try:
            check.fail(name, expected, got, _told(error, model))
        except ValueError as refusal:
            raise refusal from error


def _told(error: Exception, model: str) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if frames and frames[-1].filename == check.__file__:
        return str(error)  # names the argument and what came: where it was checked tells nothing more
    line: tuple[str, int | None] | None = None
    text = str(error)
    if isinstance(error, SyntaxError) and error.filename:
        text, line = error.msg, (error.filename, error.lineno)
    else:
        own = [frame for frame in frames if _of(model, frame.filename)]
        line = (own[-1].filename, own[-1].lineno) if own else None
    told = shorten(text, _LONGEST, placeholder=" ...")
    kind = type(error).__name__
    return (f"{kind}: {told}" if told else kind) + (f" ({line[0]}, line {line[1]})" if line else "")


def _of(model: str, filename: str) -> bool:
    """Return whether a file is the one of the network ``file.py:callable``, or of the package of the other form."""
    place, colon, _ = model.rpartition(":")
    if place.endswith(".py"):
        return Path(filename).resolve() == Path(place).expanduser().resolve()
    top, path = place.partition(".")[0], Path(filename)
    return bool(colon) and (top in path.parts or path.stem == top)
