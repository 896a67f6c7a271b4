"""``audiomix list``: what can be chosen by name, with its options."""

from collections.abc import Callable
from typing import Any

from rich.table import Table
from rich.text import Text

from .. import mixers, pairing
from ..beats import trackers
from ..options import describe_type, options_of
from ..terminal import Exit, Summary, console

__all__ = ["list"]


def list() -> Summary:
    """Show mixers and trackers with their options, read from the signatures, and pairing rules.

    Those of installed packages are among them; one's own are chosen by path, as in --mixer mine.py:RollMix.
    """
    out = console()
    out.print(Text.assemble(("Mixers", "bold"), " (--mixer)"))
    for name in mixers.available():
        cls = mixers.get(name)
        out.print(_table(name, mixers.title_of(cls), cls, "--"))
    out.print(Text.assemble(("Trackers", "bold"), " of beats (--tracker NAME:option=value,...)"))
    for name in trackers.available():
        tracker = trackers.get(name)
        out.print(_table(name, trackers.title_of(tracker), tracker, ""))
    rules = pairing.available()
    of_files = ", ".join(pairing.FILE_PAIRINGS)
    out.print(Text.assemble(("Pairing rules", "bold"), f" (--pairing: {of_files}; all in training)"))
    out.print(*rules)
    names = {"mixers": mixers.available(), "trackers": trackers.available(), "pairing_rules": rules}
    return Summary(Exit.DONE, names)


def _table(name: str, title: str, target: Callable[..., Any], dashes: str) -> Table:
    """Return a table of the options of a class; `dashes` stand in front of each name."""
    heading = Text.assemble((name, "bold"), f"  {title}")
    table = Table(title=heading, title_justify="left", expand=True)
    for column in ("option", "values", "default", "what it is"):
        table.add_column(column, no_wrap=column == "option")
    for option in options_of(target):
        default = "(required)" if option.is_required else str(option.default)
        shown = dashes + (option.name.replace("_", "-") if dashes else option.name)
        table.add_row(shown, describe_type(option.kind), default, option.help)
    return table
