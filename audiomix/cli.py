"""Command line: ``audiomix mix | augment | list``. Exit codes: 0 all done, 1 some files failed, 2 a wrong argument."""

import inspect
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter

from . import __version__, check, mixers
from .options import described, options_of, with_options

__all__ = ["main"]

# Options that the files decide, or that make no sense for files
_FROM_FILES = ("num_classes", "rate")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        app = _app(_chosen_mixer(argv))
        result = app(argv, exit_on_error=False, print_error=True, result_action="return_value")
        return int(result or 0)
    except cyclopts.CycloptsError:
        return 2
    except (ValueError, TypeError) as error:
        print(f"audiomix: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("audiomix: stopped; the same command goes on where it stopped", file=sys.stderr)
        return 130
    except Exception as error:
        if not _is_expected(error):
            raise
        print(f"audiomix: {error}", file=sys.stderr)
        return 1


def _is_expected(error: Exception) -> bool:
    from .io import AudioError

    return isinstance(error, (AudioError, OSError))


def _chosen_mixer(argv: list[str]) -> str:
    """Look for ``--mixer NAME`` before parsing: the options of the command depend on it."""
    for i, word in enumerate(argv):
        if word == "--mixer" and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith("--mixer="):
            return word.partition("=")[2]
    return "mixup"


def _app(mixer: str) -> cyclopts.App:
    app = cyclopts.App(name="audiomix", version=__version__, help="Mixing for audio and speech.")
    cls = mixers.get(mixer)
    group = f"Options of {mixer}"
    for command in (mix, augment):
        app.command(with_options(command, cls, group, skip=_FROM_FILES), name=command.__name__)
    app.command(list_mixers, name="list")
    return app


def _make(name: str, rate: int, options: dict[str, Any]) -> mixers.Mixer:
    cls = mixers.get(name)
    if "rate" in inspect.signature(cls).parameters:
        options = {**options, "rate": rate}
    return cls(**options)


def list_mixers() -> int:
    """Show every mixer with its options, read from the signatures."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for name in mixers.available():
        cls = mixers.get(name)
        title = (inspect.getmodule(cls).__doc__ or "").strip().splitlines()[0]  # type: ignore[union-attr]
        table = Table(title=f"[bold]{name}[/bold]  {title}", title_justify="left", expand=True)
        for column in ("option", "values", "default", "what it is"):
            table.add_column(column, no_wrap=column == "option")
        for option in options_of(cls):
            default = "(required)" if option.required else str(option.default)
            flag = "--" + option.name.replace("_", "-")
            table.add_row(flag, described(option.kind), default, option.help)
        console.print(table)
    return 0
