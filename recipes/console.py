"""Messages and progress of a recipe: one console, on stderr, so that stdout has results alone."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["console", "print_unread", "progress_bar", "warn"]

console = Console(stderr=True, emoji=False)  # with emoji a message's :a: would become a picture


def warn(text: str) -> None:
    """Print a line that a person should read though the command goes on."""
    console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


def print_unread(errors: dict[str, str]) -> None:
    """Print before training how many files cannot be read, and the reason of the first.

    Parameters
    ----------
    errors : dict of str to str
        Clips that cannot be read: id and reason.
    """
    if errors:
        reason = next(iter(errors.values()))
        line = f"{len(errors)} files cannot be read and are left out, the first: {reason}"
        console.print(line, style="red", highlight=False, markup=False, soft_wrap=True)


def progress_bar(*, quiet: bool = False) -> Progress:
    """Return a progress bar; where stderr is not a terminal it stays silent.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
    )
