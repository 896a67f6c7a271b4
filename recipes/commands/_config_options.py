"""The fields of `Config` as options of the command line."""

from collections.abc import Callable
from dataclasses import fields, make_dataclass
from typing import Annotated, Any, get_type_hints

from cyclopts import Parameter

from ..training.config import PRESETS, Config, preset

__all__ = ["PRESET", "SEVERAL", "config_options", "make_options", "preset_in", "shown"]

PRESET = "small"


def _spaced(values: Any) -> str:
    return " ".join(map(str, values))


SEVERAL = Parameter(consume_multiple=True, negative=(), show_default=_spaced)  # for options with any number of values


def config_options(name: str, *, without: tuple[str, ...] = ()) -> Any:
    """Return the fields of `Config` as the type of an argument; None means the preset's value, which the help shows.

    Parameters
    ----------
    name : str
        The preset; a wrong one is refused later.
    without : tuple of str
        Fields that are left out.
    """
    hints = get_type_hints(Config) | {"model_options": Annotated[tuple[str, ...], SEVERAL]}
    values = preset(name if name in PRESETS else PRESET)
    entries = [
        (f.name, Annotated[hints[f.name] | None, Parameter(show_default=shown(getattr(values, f.name)))], None)
        for f in fields(Config)
        if f.name not in without
    ]
    return make_options("Overrides", entries, Config.__doc__)


def preset_in(argv: list[str]) -> str:
    """Return the preset on a command line, so that its values can be shown; a wrong one is refused later.

    Parameters
    ----------
    argv : list of str
        The command line.
    """
    for i, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name == "--preset":
            return value if equals else (argv[i + 1] if i + 1 < len(argv) else PRESET)
    return PRESET


def shown(value: Any) -> Callable[[Any], str]:
    """Return what shows a value as the default in the help, as it is written on a command line.

    Parameters
    ----------
    value : object
        The value; the argument itself is None.
    """
    text = _spaced(value) if isinstance(value, tuple) else str(value).lower() if isinstance(value, bool) else str(value)
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
