"""``audiomix list``: what can be chosen by name, with its options."""

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .. import mixers, pairing
from ..beats import trackers
from ..options import describe_type, options_of

__all__ = ["list"]


def list() -> int:
    """Show mixers and trackers with their options, read from the signatures, and pairing rules.

    Those of installed packages are among them; one's own are chosen by path, as in --mixer mine.py:RollMix.
    """
    console = Console()
    console.print("[bold]Mixers[/bold] (--mixer)")
    for name in mixers.available():
        cls = mixers.get(name)
        console.print(_table(name, mixers.title_of(cls), cls, "--"))
    console.print("[bold]Trackers[/bold] of beats (--tracker NAME:option=value,...)")
    for name in trackers.available():
        tracker = trackers.get(name)
        console.print(_table(name, trackers.title_of(tracker), tracker, ""))
    console.print("[bold]Pairing rules[/bold] (--pairing)")
    console.print(*pairing.available())
    return 0


def _table(name: str, title: str, target: Callable[..., Any], dashes: str) -> Table:
    """Return a table of the options of a class; `dashes` stand in front of each name."""
    table = Table(title=f"[bold]{name}[/bold]  {escape(title)}", title_justify="left", expand=True)
    for column in ("option", "values", "default", "what it is"):
        table.add_column(column, no_wrap=column == "option")
    for option in options_of(target):
        default = "(required)" if option.required else str(option.default)
        shown = dashes + (option.name.replace("_", "-") if dashes else option.name)
        table.add_row(shown, *(escape(text) for text in (describe_type(option.kind), default, option.help)))
    return table
