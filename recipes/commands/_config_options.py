"""The fields of `Config` as options of the command line."""

from dataclasses import fields, make_dataclass
from typing import Annotated, Any, get_type_hints

from cyclopts import Parameter

from ..training.config import Config

__all__ = ["SEVERAL", "config_options", "make_options"]

SEVERAL = Parameter(consume_multiple=True, negative=())  # for options with any number of values


def config_options(*, without: tuple[str, ...] = ()) -> Any:
    """Return the fields of `Config` as the type of an argument; None means the preset's value.

    Parameters
    ----------
    without : tuple of str
        Fields that are left out.
    """
    hints = get_type_hints(Config) | {"model_options": Annotated[tuple[str, ...], SEVERAL]}
    entries = [(f.name, hints[f.name] | None, None) for f in fields(Config) if f.name not in without]
    return make_options("Overrides", entries, Config.__doc__)


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
