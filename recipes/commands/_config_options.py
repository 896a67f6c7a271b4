"""The fields of `Config` as options of the command line."""

import inspect
import shlex
from collections.abc import Callable
from dataclasses import fields, make_dataclass
from typing import Annotated, Any, get_type_hints

from cyclopts import Parameter

from audiomix.terminal import Summary

from ..training.config import Config, list_open

__all__ = ["PRESET", "SEVERAL", "config_options", "make_options", "preset_in", "show_value", "with_options"]

PRESET = "small"


def _join_values(values: Any) -> str:
    return " ".join(map(str, values))


SEVERAL = Parameter(
    consume_multiple=True, negative=(), show_default=_join_values
)  # for options with any number of values


def config_options(values: Config, *, without: tuple[str, ...] = ()) -> Any:
    """Return the fields of `Config` as the type of an argument; None means that an option was not given.

    Parameters
    ----------
    values : Config
        What an option is that is not given, for the help.
    without : tuple of str
        Fields that are left out.
    """
    hints, entries, open_fields = get_type_hints(Config), [], list_open(values)
    for name in (f.name for f in fields(Config) if f.name not in without):
        shown = show_value("chosen from the data" if name in open_fields else getattr(values, name))
        given = Parameter(show_default=shown)
        kind = Annotated[hints[name], SEVERAL] if name == "model_options" else hints[name]
        entries.append((name, Annotated[kind | None, given], None))
    return make_options("Overrides", entries, Config.__doc__)


def preset_in(argv: list[str]) -> str:
    """Return the preset on a command line, so that its values can be shown; a wrong one is refused later.

    Parameters
    ----------
    argv : list of str
        The command line.

    Examples
    --------
    >>> preset_in(["run", "--preset", "demo"]), preset_in(["run", "--preset=study"]), preset_in(["run"])
    ('demo', 'study', 'small')
    """
    for i, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name == "--preset":
            return value if equals else (argv[i + 1] if i + 1 < len(argv) else PRESET)
    return PRESET


def show_value(value: Any) -> Callable[[Any], str]:
    """Return what shows a value as the default in the help, as it is written on a command line.

    Parameters
    ----------
    value : object
        The value; the argument itself is None.
    """
    text = _join_values(value) if isinstance(value, tuple) else str(value)
    text = text.lower() if value is None or isinstance(value, bool) else text
    return lambda _: text or "none"


def make_options(name: str, entries: list[tuple[str, Any, Any]], doc: str | None) -> Any:
    """Return the type of an argument that is None, or a dataclass that cyclopts reads options into.

    None is part of it, because cyclopts checks defaults too in a process that has imported pydantic.

    Parameters
    ----------
    name : str
        Name of the class.
    entries : list of (str, type, default)
        Fields.
    doc : str or None
        Its docstring, with the help of each option.
    """
    # cyclopts looks into classes of the user's modules only, and make_dataclass would put this one into `types`
    kind = make_dataclass(name, entries, namespace={"__module__": __name__})
    kind.__doc__ = doc
    return kind | None


def with_options(function: Callable[..., Summary], argv: list[str], **kinds: Any) -> Callable[..., Summary]:
    """Return a command whose arguments have other types, and whose argument `command` is the command line.

    Parameters
    ----------
    function : callable
        The command.
    argv : list of str
        The command line.
    **kinds
        Types of arguments, by name.
    """

    def command(*arguments: Any, **options: Any) -> Summary:
        return function(*arguments, **options, command=shlex.join(["audiomix-recipes", *argv]))

    signature = inspect.signature(function)
    own = [
        p.replace(annotation=kinds.get(name, p.annotation))
        for name, p in signature.parameters.items()
        if name != "command"
    ]
    command.__signature__ = signature.replace(parameters=own)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in own}
    command.__doc__ = function.__doc__
    return command
