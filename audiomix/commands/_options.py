"""What both command lines share: commands are imported when they are used, and whole numbers are not rounded."""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from decimal import Decimal
from importlib import import_module
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, get_args

from ..terminal import Summary, hush

if TYPE_CHECKING:
    from cyclopts import App

__all__ = ["add_commands", "find_fractions", "whole_numbers"]


def add_commands(app: "App", package: str, summaries: Mapping[str, str], argv: Sequence[str]) -> None:
    """Add the commands of a folder, one a file; only what the command line names is imported.

    Parameters
    ----------
    app : cyclopts.App
        Receives the commands.
    package : str
        Dotted name of the folder.
    summaries : mapping of str to str
        Sentence by command, for ``--help``. The file of a command is named like it. It offers a function of its name,
        or ``command(argv)``, which returns one, where the options depend on the command line. A function that returns
        a `audiomix.terminal.Summary` gets the option ``--json``.
    argv : sequence of str
        The command line.
    """
    for name, summary in summaries.items():
        if name not in argv:
            app.command(_do_nothing, name=name, help=summary)
            continue
        module = import_module(f"{package}.{name}")
        make = getattr(module, "command", None)
        function = make(list(argv)) if make else getattr(module, name)
        app.command(_with_common_options(function), name=name)


_JSON = "Print one JSON object on stdout that says what was done, and nothing else there."
_QUIET = "Show no progress and no remarks: only results, warnings and errors."


def _with_common_options(function: Callable[..., Any]) -> Callable[..., int]:
    """Return a command with ``--json``, where it returns a summary, and with ``--quiet``, each where it lacks it."""
    from cyclopts import Parameter

    signature = inspect.signature(function)
    texts = {"json": _JSON} if signature.return_annotation is Summary else {}
    texts |= {} if "quiet" in signature.parameters else {"quiet": _QUIET}
    kinds = {name: Annotated[bool, Parameter(name=f"--{name}", negative="", help=text)] for name, text in texts.items()}
    added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
             for name, kind in kinds.items()]  # fmt: skip

    def run(*args: Any, **kwargs: Any) -> int:
        """Run the command; return its exit code."""
        chosen = {name: kwargs.pop(name, False) for name in kinds}
        json = chosen.get("json", False)
        with redirect_stdout(sys.stderr) if json else nullcontext(), hush() if chosen.get("quiet") else nullcontext():
            done = function(*args, **kwargs)
        if json:
            print(done.to_json())
        return int((done.code if isinstance(done, Summary) else done) or 0)

    # options of a mixer come last, in a parameter of their own
    kept = [*signature.parameters.values()]
    last = [one for one in kept if one.kind is inspect.Parameter.VAR_KEYWORD]
    kept = [one for one in kept if one not in last]
    run.__signature__ = signature.replace(parameters=[*kept, *added, *last])  # type: ignore[attr-defined]
    run.__annotations__ = {**function.__annotations__, **kinds}
    run.__doc__, run.__name__ = function.__doc__, function.__name__
    return run


def _do_nothing() -> None:
    """Stand for a command that the command line does not name."""


def whole_numbers(_: Any, __: Any, arguments: Iterable[Any]) -> None:
    """Refuse 1.5 where a whole number is asked for: cyclopts, left alone, rounds it to 2.

    Given as ``App(config=whole_numbers)``, cyclopts calls it with every argument before any is converted. ``2.0`` stays
    2, and ``0x10`` 16.

    Parameters
    ----------
    arguments : iterable of cyclopts.Argument
        With what the user wrote for each.

    Raises
    ------
    cyclopts.CoercionError
        Names the option and what was written.
    """
    from cyclopts import CoercionError

    for argument in arguments:
        for token in argument.tokens:
            if broken := find_fractions(argument.hint, token.value):
                name = "" if token.keyword else f"{argument.name.lstrip('-').upper()}: "
                told = f"{name}a whole number is expected, got {broken[0]}"
                raise CoercionError(msg=told, token=token, argument=argument, target_type=int)


def find_fractions(hint: Any, text: str) -> list[str]:
    """Return what of a text would be rounded if it were read as the type `hint`.

    >>> find_fractions(int, "1.5"), find_fractions(int | None, "2.0"), find_fractions(tuple[int, ...], "[1, 2.5]")
    (['1.5'], [], ['2.5'])
    >>> find_fractions(float, "1.5")
    []
    """
    if not _is_whole(hint):
        return []
    # several may be written as one JSON list
    return [part.strip() for part in text.strip("[] ").split(",") if _is_broken(part)]


def _is_whole(hint: Any) -> bool:
    """Return whether a type is made of whole numbers alone: int, int | None, tuple[int, ...]."""
    parts = [part for part in get_args(hint) if part not in (NoneType, ...)]
    return hint is int or (bool(parts) and all(map(_is_whole, parts)))


def _is_broken(text: str) -> bool:
    """Return whether a text is a number that reading it as an int would change; what is no number is told elsewhere."""
    if "." not in text:
        return False
    try:
        value = float(text)
    except ValueError:
        return False
    return not value.is_integer() or int(value) != Decimal(text.strip())
