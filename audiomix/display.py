"""What notebooks show of plans, mixes and beats: `html` is all that these know of pages."""

from importlib import import_module
from typing import Any

__all__ = ["html"]


def html(thing: Any) -> str:
    """Return a thing as a notebook shows it, for its ``_repr_html_``; see `audiomix.report.notebook`.

    Pages stand above all that they show, so they are imported here by name, and only when something is shown.

    Parameters
    ----------
    thing : object
        A plan, what a mixer returned, a beat grid.
    """
    found: str = import_module(f"{__package__}.report.notebook").html_of(thing)
    return found
