"""``audiomix-recipes list``: what can be chosen by name, and what is known of the methods."""

from collections.abc import Callable
from textwrap import fill
from typing import Annotated, Any

from cyclopts import Parameter

from audiomix import mixers
from audiomix.terminal import Exit, Summary

from .. import algorithms, models
from ..algorithms._papers import common_deviations, list_deviations, paper_of
from ..data import protocol
from ..training.config import PRESETS

__all__ = ["list"]

_WIDTH = 110  # characters of a line


def list(*, methods: Annotated[bool, Parameter(negative=())] = False) -> Summary:
    """Show methods, data sets, networks, mixers and presets.

    Those of installed packages are among them; one's own are chosen by path, as in run mine.py:MyMethod.

    Parameters
    ----------
    methods : bool
        Show each method's paper, and what the preset original does unlike it.
    """
    section: Callable[[], dict[str, Any]] = _show_methods if methods else _show_names
    return Summary(Exit.DONE, section())


def _show_names() -> dict[str, Any]:
    """Print the names of each kind, and return them."""
    names = {
        "methods": algorithms.available(),
        "data sets": protocol.available(),
        "networks": models.available(),
        "mixers": mixers.available(),
        "presets": [*PRESETS],
    }
    for title, found in names.items():
        print(f"{title:9}  {' '.join(found)}")
    return {title.replace(" ", "_"): found for title, found in names.items()}


def _show_methods() -> dict[str, Any]:
    """Print each method's paper and deviations, and return them."""
    facts: dict[str, Any] = {"all": {"deviations": common_deviations()}}
    for name in algorithms.available():
        kind = algorithms.get(name)
        facts[name] = {"paper": paper_of(kind), "deviations": list_deviations(kind)}
    print(fill("At the preset original each method has the numbers of its paper. Unlike the papers:", _WIDTH))
    for name, found in facts.items():
        print(f"\n{'all methods' if name == 'all' else name}")
        if "paper" in found:
            print(_indent(found["paper"] or "no paper: the method's docstring has no section References", "  ", "  "))
        for text in found["deviations"]:
            print(_indent(text, "  - ", "    "))
    return {"methods": facts}


def _indent(text: str, first: str, rest: str) -> str:
    return fill(text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
