"""What a person sees while a recipe runs: one console, on stderr, so that stdout carries results alone."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["console", "progress_bar", "tell_unread", "warn"]

console = Console(stderr=True, emoji=False)  # or :a: of a message became a picture


def warn(text: str) -> None:
    """Print a line that a person should read though the command goes on."""
    console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


def tell_unread(errors: dict[str, str]) -> None:
    """Say before training which files it goes without: the first of them, and how many."""
    if errors:
        reason = next(iter(errors.values()))
        told = f"{len(errors)} files cannot be read and are left out, the first: {reason}"
        console.print(told, style="red", highlight=False, markup=False, soft_wrap=True)


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
