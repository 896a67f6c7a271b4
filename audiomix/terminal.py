"""What both command lines have in common where they meet a person or a script: exit codes, messages, tables, progress.

Results go to stdout, everything else to stderr. Text is printed as it is: a name such as ``[bold]x`` is no markup.
Where there is no terminal, no carriage return and no escape code is written.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from enum import IntEnum
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "Exit", "Progress", "Summary", "console", "describe_exit_codes", "drop_output", "flush", "hush", "run_script",
    "say", "show",
]  # fmt: skip

T = TypeVar("T")


class Exit(IntEnum):
    """How a command ended. The one table of exit codes; see `describe_exit_codes`."""

    DONE = 0
    SOME = 1
    REFUSED = 2
    STOPPED = 3
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    TERMINATED = 143


_MEANINGS: Mapping[Exit, str] = {
    Exit.DONE: "done",
    Exit.SOME: "done, but some files could not be, or a pair was not mixed as asked, or an audit found faults; they "
    "are listed",
    Exit.REFUSED: "refused: an option, a path or an input that you have to change",
    Exit.STOPPED: "stopped before the end: too many errors, a full disk, a lost worker",
    Exit.INTERRUPTED: "interrupted by Ctrl-C (143: by SIGTERM, 141: nobody reads the output)",
}
# Seconds between two lines of progress where there is no terminal: at first, and as a share of the time so far.
_EVERY, _SHARE = 10.0, 0.05
# Columns of a table in a file or a pipe, where nothing need be folded.
_WIDE = 240
_UNSEEN = {0x1B: "\\x1b", ord("\r"): "\\r", 0x07: "\\x07", ord("\b"): "\\x08"}


def describe_exit_codes() -> str:
    """Return the table of exit codes, a line of a Markdown list each.

    Examples
    --------
    >>> print(describe_exit_codes().splitlines()[2])
    - 2: refused: an option, a path or an input that you have to change
    """
    return "\n".join(f"- {code}: {text}" for code, text in _MEANINGS.items())


class Summary(NamedTuple):
    """What a command did: what it returns, and what ``--json`` prints.

    Parameters
    ----------
    code : Exit
        How it ended.
    facts : dict of str to object
        Plain values, and paths.
    """

    code: Exit
    facts: dict[str, Any]

    def to_json(self) -> str:
        """Return one line of strict JSON: what is no number is null."""
        return json.dumps({"exit_code": int(self.code), **_plain(self.facts)}, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """Return a value as strict JSON can hold it."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, os.PathLike) else value


def console(*, stderr: bool = False) -> "Console":
    """Return a console of rich that prints text as it is; colours go by the terminal and by ``NO_COLOR``.

    Parameters
    ----------
    stderr : bool
        Print there instead of on stdout.
    """
    from rich.console import Console

    made = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    made.on_broken_pipe = _raise  # type: ignore[method-assign]  # rich would end the process with exit code 1
    return made


def _raise() -> None:
    raise


def show(renderable: Any, *, width: int = 0) -> None:
    """Print a table, or another thing that rich can draw, on stdout.

    Parameters
    ----------
    renderable : object
        Text in it is printed as it is.
    width : int
        Least number of columns to draw in, also on a narrower terminal. Where there is no terminal, as many are taken
        as are needed, up to 240.
    """
    out = console()
    out.width = max(out.width, width if out.is_terminal or "COLUMNS" in os.environ else _WIDE)
    out.print(renderable)


_hushed = ContextVar("_hushed", default=False)


@contextmanager
def hush() -> Iterator[None]:
    """Show no progress, and of messages only those that have a style: warnings and errors.

    Examples
    --------
    >>> with hush():
    ...     say("12 files")
    """
    token = _hushed.set(True)
    try:
        yield
    finally:
        _hushed.reset(token)


def say(text: str, style: str = "") -> None:
    """Print a message on stderr, on one line however long it is; control codes in it are shown, not sent.

    Within `hush` one without a style is not printed.

    Parameters
    ----------
    text : str
        Printed as it is.
    style : str
        A style of rich, e.g. ``red``, for a terminal.
    """
    if _hushed.get() and not style:
        return
    text = text.translate(_UNSEEN)
    if style and _is_terminal():
        console(stderr=True).print(text, style=style, soft_wrap=True)
    else:
        print(text, file=sys.stderr, flush=True)


def flush() -> None:
    """Write what was printed."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def drop_output() -> None:
    """Let what is still in the buffers go nowhere: Python would complain of it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def run_script(main: Callable[[], int | None]) -> int:
    """Call a function that prints; return its exit code, or `Exit.PIPE_CLOSED` where nobody reads on (``| head``).

    Parameters
    ----------
    main : function
        Of a script. None stands for 0.
    """
    try:
        try:
            return int(main() or 0)
        finally:  # argparse ends a script by itself
            flush()
    except BrokenPipeError:
        drop_output()
        return Exit.PIPE_CLOSED


def _is_terminal() -> bool:
    """Return whether stderr is a terminal that can move its cursor."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


class Progress:
    """Progress on stderr: a bar on a terminal, else a line now and then. Use it as a context manager.

    Parameters
    ----------
    shown : bool
        False shows nothing.

    Examples
    --------
    >>> with Progress(shown=False) as progress:
    ...     sum(progress.track([1, 2, 3], 3, description="adding"))
    6
    """

    def __init__(self, *, shown: bool = True) -> None:
        self._bar: Any = None
        self._tasks: list[_Lines] = []
        self._shown = shown and not _hushed.get()

    def __enter__(self) -> "Progress":
        if self._shown and _is_terminal():
            from rich import progress as rich_progress

            self._bar = rich_progress.Progress(
                rich_progress.TextColumn("{task.description}", markup=False),
                rich_progress.BarColumn(),
                rich_progress.MofNCompleteColumn(),
                rich_progress.TextColumn("{task.fields[note]}", markup=False),
                rich_progress.TimeElapsedColumn(),
                rich_progress.TimeRemainingColumn(),
                console=console(stderr=True),
            )
            self._bar.start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif error is None:
            for task in self._tasks:
                task.end()

    def add_task(self, description: str, *, total: float | None = None, completed: float = 0, unit: str = "") -> int:
        """Begin a task; return its number for `advance`.

        Parameters
        ----------
        description : str
            What is done.
        total : float, optional
            How much there is to do; None where that is not known.
        completed : float
            How much of it is done.
        unit : str
            What is counted, e.g. ``files``.
        """
        if self._bar is not None:
            return self._bar.add_task(description, total=total, completed=completed, note=unit)
        self._tasks.append(_Lines(description, total, completed, unit, self._shown))
        return len(self._tasks) - 1

    def advance(self, task: int, amount: float = 1, note: str | None = None) -> None:
        """Count what was done.

        Parameters
        ----------
        task : int
            What `add_task` returned.
        amount : float
            How much.
        note : str, optional
            What stands behind the numbers, instead of the unit.
        """
        if self._bar is not None:
            self._bar.update(task, advance=amount, **({} if note is None else {"note": note}))
        else:
            self._tasks[task].advance(amount, note)

    def track(
        self, items: Iterable[T], total: float | None, *, description: str, completed: float = 0, unit: str = ""
    ) -> Iterator[T]:
        """Yield items, and count each when the next one is asked for.

        Parameters
        ----------
        items : iterable
            Whatever is to be done.
        total, description, completed, unit
            See `add_task`.
        """
        task = self.add_task(description, total=total, completed=completed, unit=unit)
        for item in items:
            yield item
            self.advance(task)


class _Lines:
    """A task as lines of text: one after ten seconds, then ever more rarely, and one at the end."""

    def __init__(self, description: str, total: float | None, completed: float, unit: str, shown: bool) -> None:
        self.description, self.total, self.done, self.note, self.shown = description, total, completed, unit, shown
        self.before, self.said = completed, completed
        self.begun = self.last = time.monotonic()

    def advance(self, amount: float, note: str | None) -> None:
        """Count what was done since the last call; print a line where it is time for one."""
        self.done += amount
        self.note = self.note if note is None else note
        now = time.monotonic()
        if now - self.last >= max(_EVERY, _SHARE * (now - self.begun)):
            self.last = now
            self.print(self._describe_time_left(now))

    def end(self) -> None:
        """Print a last line where the one before told of less."""
        if self.done != self.said:
            self.print("")

    def print(self, left: str) -> None:
        """Print how much is done, and the time that is left as a text."""
        self.said = self.done
        if self.shown:
            of = "" if self.total is None else f" of {self.total:.0f}"
            say(f"{self.description}: {self.done:.0f}{of}{self.note and ' ' + self.note}{left}")

    def _describe_time_left(self, now: float) -> str:
        if self.total is None or self.done <= self.before:
            return ""
        seconds = (now - self.begun) / (self.done - self.before) * (self.total - self.done)
        return f", {seconds / 60:.0f} min left" if seconds >= 90 else f", {max(0, seconds):.0f} s left"
