"""What a method's docstring says of its paper: the section References, and the section Deviations.

Deviations are what the preset ``original`` does unlike the paper. Those that hold for all methods stand with
`Algorithm`, those of a family with its base class, all others with the method.
"""

import inspect
import re

from .base import Algorithm

__all__ = ["common_deviations", "list_deviations", "paper_of"]


def paper_of(kind: type[Algorithm]) -> str:
    """Return what the class's docstring has under References, in one line; nothing where it has no such section.

    Examples
    --------
    >>> from recipes import algorithms
    >>> paper_of(algorithms.get("remixmatch")).split(",")[0]
    'Berthelot et al.'
    """
    return " ".join(_read_section(kind, "References").split())


def list_deviations(kind: type[Algorithm]) -> list[str]:
    """Return what a method at ``original`` does unlike its paper: its own deviations, then those of its family.

    What holds for all methods is not among them: `common_deviations`.

    Parameters
    ----------
    kind : subclass of Algorithm
        The method.

    Raises
    ------
    ValueError
        A section Deviations that is no list: its first line does not begin with ``- ``.
    """
    return [text for base in kind.__mro__ if base not in Algorithm.__mro__ for text in _read_items(base)]


def common_deviations() -> list[str]:
    """Return what all methods at ``original`` do unlike their papers."""
    return _read_items(Algorithm)


def _read_items(kind: type) -> list[str]:
    section = _read_section(kind, "Deviations")
    if section and not section.startswith("- "):
        raise ValueError(f"the section Deviations of {kind.__name__} must be a list of lines that begin with '- '")
    return [" ".join(item.split()) for item in re.split(r"^- ", section, flags=re.MULTILINE) if item]


def _read_section(kind: type, heading: str) -> str:
    """Return the text below a heading of the class's own docstring, up to the next heading; "" where there is none."""
    lines = inspect.cleandoc(kind.__dict__.get("__doc__") or "").splitlines()
    starts = [i for i in range(len(lines) - 1) if lines[i] and re.fullmatch("-{3,}", lines[i + 1])]
    for start, end in zip(starts, [*starts[1:], len(lines)]):
        if lines[start].strip() == heading:
            return "\n".join(lines[start + 2 : end]).strip()
    return ""
