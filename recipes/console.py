"""What a person sees while a recipe runs: one console, on stderr, so that stdout carries results alone."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["console", "progress_bar"]

console = Console(stderr=True)


def progress_bar(*, quiet: bool = False) -> Progress:
    """Return a progress bar; where stderr is not a terminal it stays silent."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
    )
