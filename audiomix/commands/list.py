"""``audiomix list``: what can be chosen by name; of a name all that is known, with its options."""

import builtins
import re
from typing import Any

from rich.table import Table
from rich.text import Text

from ..catalogue import Entry, Kind, find, kinds
from ..options import Option, describe_type
from ..registry import is_path
from ..terminal import Exit, Summary, show

__all__ = ["list"]

# The title of a paper, which is shown of a name alone.
_TITLE = re.compile(r' "[^"]*"(?: \([^)]*\))?,')
# Kinds whose names are command-line values, so that their options are written with dashes.
_ON_COMMAND_LINES = ("mixers",)


def list(*names: str) -> Summary:
    """Show what can be chosen by name, by kind, with its paper and label rule; of names their options.

    Those of installed packages are among them; one's own are chosen by path, as in --mixer mine.py:RollMix.

    Parameters
    ----------
    names
        Show all options of these alone, with type, default and help, as in list mixup cutmix; or a kind of things, as
        in list mixers losses.
    """
    everything = {kind.key: kind for kind in kinds()}
    found: dict[str, Any] = {}
    for name in names or everything:
        if kind := everything.get(name):
            show(_table_of(kind))
            show("")
            found[name] = {entry.name: entry.facts() for entry in kind.entries}
            continue
        for kind, entry in find(name):
            options = kind.options_of(entry)
            show(_facts_of(kind, entry))
            if options:
                show(_options_table(options, "--" if kind.key in _ON_COMMAND_LINES else ""))
            facts = {**entry.facts(), "options": [_plain(option) for option in options]}
            found.setdefault(kind.key, {})[entry.name] = facts
    return Summary(Exit.DONE, found)


def _table_of(kind: Kind) -> Table:
    """Return the entries of a kind, a row each; columns that none of them fills are left out."""
    heading = Text.assemble((kind.title, "bold"), f" ({kind.use})")
    table = Table(title=heading, title_justify="left", box=None, pad_edge=False)
    columns = {
        "name": [e.name for e in kind.entries],
        "on": [", ".join(e.domains) for e in kind.entries],
        "what it does": [e.title for e in kind.entries],
        "label": [e.label.removesuffix(".") for e in kind.entries],
        "source": [_TITLE.sub("", e.source).removesuffix(".") for e in kind.entries],
    }
    filled = {name: column for name, column in columns.items() if any(column)}
    for name in filled:
        table.add_column(name, no_wrap=name == "name", overflow="fold")
    for row in zip(*filled.values()):
        table.add_row(*row)
    return table


def _facts_of(kind: Kind, entry: Entry) -> Text:
    """Return all that is known of one entry, a line each."""
    lines = [entry.title]
    lines += [f"works on: {', '.join(entry.domains)}"] if entry.domains else []
    lines += [f"label: {entry.label}"] if entry.label else []
    lines += [f"source: {entry.source}"] if entry.source else []
    if entry.member is not None and not is_path(entry.name):
        lines.append(f"in code: {entry.member.__module__}.{entry.member.__qualname__}")
    return Text.assemble((entry.name, "bold"), f" ({kind.title}, {kind.use})\n", "\n".join(f"  {x}" for x in lines))


def _options_table(options: builtins.list[Option], dashes: str) -> Table:
    """Return a table of options; `dashes` stand in front of each name."""
    table = Table(expand=False)
    for column in ("option", "values", "default", "what it is"):
        table.add_column(column, no_wrap=column == "option", overflow="fold")
    for option in options:
        default = "(required)" if option.is_required else str(option.default)
        shown = dashes + (option.name.replace("_", "-") if dashes else option.name)
        table.add_row(shown, describe_type(option.kind), default, option.help)
    return table


def _plain(option: Option) -> dict[str, Any]:
    default = "required" if option.is_required else option.default
    plain = default is None or isinstance(default, (bool, int, float, str))
    return {"name": option.name, "type": describe_type(option.kind), "default": default if plain else str(default)}
