"""Messages and progress of a recipe, on stderr, so that stdout has results alone; see `audiomix.terminal`."""

from audiomix.terminal import Progress, say

__all__ = ["print_unreadable", "progress_bar", "say", "warn"]


def warn(text: str) -> None:
    """Print a line that a person should read though the command goes on."""
    say(text, style="yellow")


def print_unreadable(errors: dict[str, str]) -> None:
    """Print before training how many files cannot be read, and the reason of the first.

    Parameters
    ----------
    errors : dict of str to str
        Clips that cannot be read: id and reason.
    """
    if errors:
        name, reason = next(iter(errors.items()))
        first = reason if name in reason else f"{name}: {reason}"
        say(f"{len(errors)} files cannot be read and are left out, the first: {first}", style="red")


def progress_bar(*, quiet: bool = False) -> Progress:
    """Return the progress of a recipe.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    """
    return Progress(shown=not quiet)
