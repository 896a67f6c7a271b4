"""The fields of `Config` as options of the command line."""

import inspect
import shlex
from collections.abc import Callable, Mapping
from dataclasses import fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from cyclopts import Parameter

from audiomix import check
from audiomix.terminal import Summary

from ..training.config import Config, list_open
from ._config_file import ConfigFile

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
        kind = Annotated[hints[name], SEVERAL] if name in ("model_options", "head") else hints[name]
        entries.append((name, Annotated[kind | None, given], None))
    return make_options("Overrides", entries, Config.__doc__)


def preset_in(argv: list[str], default: str = PRESET) -> str:
    """Return the preset on a command line, so that its values can be shown; a wrong one is refused later.

    Parameters
    ----------
    argv : list of str
        The command line.
    default : str
        The preset where it names none.

    Examples
    --------
    >>> preset_in(["run", "--preset", "demo"]), preset_in(["run", "--preset=study"]), preset_in(["run"])
    ('demo', 'study', 'small')
    """
    for i, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name == "--preset":
            return value if equals else (argv[i + 1] if i + 1 < len(argv) else PRESET)
    return default


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


def with_options(
    function: Callable[..., Summary],
    argv: list[str],
    file: ConfigFile,
    of_method: Mapping[str, Any] | None = None,
    **kinds: Any,
) -> Callable[..., Summary]:
    """Return a command whose arguments have other types, and may come from a file.

    It has the option ``--config``. Its argument `command` is the command line, `quiet` and `on_row` are left out.

    Parameters
    ----------
    function : callable
        The command.
    argv : list of str
        The command line.
    file : ConfigFile
        What the file on the command line gives: defaults of the arguments.
    of_method : mapping of str to object, optional
        Options of the method in that file, of their types.
    **kinds
        Types of arguments, by name.
    """
    signature = inspect.signature(function)
    own = [
        _parameter(p.replace(annotation=kinds.get(name, p.annotation)), file)
        for name, p in signature.parameters.items()
        if name not in _HIDDEN
    ]
    shown = signature.replace(parameters=[*own, _FILE])

    def command(*arguments: Any, **given: Any) -> Summary:
        """Call the function with the arguments of the command line, and with those of the file for all others."""
        on_line = shown.bind_partial(*arguments, **given).arguments
        on_line.pop("from_file", None)
        merged = file.merge(on_line, of_method or {})
        for p in signature.parameters.values():
            if p.default is p.empty and merged.get(p.name) is None:
                check.fail(p.name, f"on the command line or in {file.path}", "in neither")
        return function(**merged, command=shlex.join(["audiomix-recipes", *argv]))

    command.__signature__ = shown  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in shown.parameters.values()}
    command.__doc__ = function.__doc__
    return command


_HIDDEN = ("command", "quiet", "on_row")
_HELP = (
    "YAML file of arguments, such as the run.yaml or bench.yaml that every command leaves in its folder: keys are "
    "method (methods for bench), dataset, root, fold, seed and so on, options of the method below options:, the "
    "configuration below config:. The command line replaces what the file says. Paths are relative to the folder "
    "that the command runs in."
)
_FILE = inspect.Parameter(
    "from_file",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[Path | None, Parameter(name="--config", help=_HELP)],
)


def _parameter(parameter: inspect.Parameter, file: ConfigFile) -> inspect.Parameter:
    """Return a parameter with the file's value as its default; beside a file nothing need be given."""
    if parameter.name in file.arguments:
        return parameter.replace(default=file.arguments[parameter.name])
    if file.path is not None and parameter.default is parameter.empty:
        return parameter.replace(default=None, annotation=parameter.annotation | None)
    return parameter
