"""The progress bar: files, hours of audio, time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["bar"]


@contextmanager
def bar(total: int, done: int, seconds: float, shown: bool, doing: str = "mixing") -> Iterator[Callable[[float], None]]:
    """Show progress on stderr; yields a function to call after each file, with its seconds of sound.

    Parameters
    ----------
    total : int
        Files of the run.
    done : int
        Files that an earlier start of the run has done.
    seconds : float
        Duration of the sound in these, in seconds.
    shown : bool
        False shows nothing.
    doing : str
        What stands in front of the bar.

    Examples
    --------
    >>> with bar(2, 0, 0.0, shown=False) as advance:
    ...     for seconds in (1.5, 2.0):
    ...         advance(seconds)
    """
    if not shown:
        yield lambda seconds: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    hours = TextColumn("{task.fields[hours]:.2f} h of audio")
    left = (TimeRemainingColumn(), TextColumn("left"))
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TextColumn("files"), hours, *left)
    with Progress(*columns, console=Console(stderr=True)) as shown_bar:
        task = shown_bar.add_task("", total=total, completed=done, hours=seconds / 3600)

        def advance(more: float) -> None:
            nonlocal seconds
            seconds += more
            shown_bar.update(task, advance=1, hours=seconds / 3600)

        yield advance
