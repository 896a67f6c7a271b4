"""``audiomix-recipes list``: what can be chosen by name, and what is known of the methods."""

from textwrap import fill
from typing import Annotated, Any

from cyclopts import Parameter

from audiomix import check
from audiomix.terminal import Exit, Summary

from .. import algorithms
from ..algorithms._papers import common_deviations, list_deviations, paper_of
from ._listing import describe_names, list_sections, print_sections

__all__ = ["list"]

_WIDTH = 110  # characters of a line


def list(*names: str, methods: Annotated[bool, Parameter(negative=())] = False) -> Summary:
    """Show what each command takes by name.

    Methods, data sets, mixers and networks with their options, presets with their values. Those of installed packages
    are among them; one's own are chosen by path, as in run mine.py:MyMethod.

    Parameters
    ----------
    names : tuple
        Show all options of these alone, with type, default and help, as in list fixmatch mixup.
    methods : bool
        Show each method's paper, and what the preset original does unlike it.
    """
    if names and methods:
        check.fail("names", "none with --methods, which shows all methods", " ".join(names))
    if methods:
        return Summary(Exit.DONE, _show_methods())
    if names:
        return Summary(Exit.DONE, describe_names(names))
    print_sections(sections := list_sections())
    return Summary(Exit.DONE, {s.key: {entry.name: entry.facts() for entry in s.entries} for s in sections})


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
