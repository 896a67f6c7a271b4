"""``audiomix-recipes list``: what can be chosen by name."""

from audiomix import mixers
from audiomix.terminal import Exit, Summary

from .. import algorithms, models
from ..data import protocol
from ..training.config import PRESETS

__all__ = ["list"]


def list() -> Summary:
    """Show methods, data sets, networks, mixers and presets.

    Those of installed packages are among them; one's own are chosen by path, as in run mine.py:MyMethod.
    """
    names = {
        "methods": algorithms.available(),
        "data sets": protocol.available(),
        "networks": models.available(),
        "mixers": mixers.available(),
        "presets": [*PRESETS],
    }
    for title, found in names.items():
        print(f"{title:9}  {' '.join(found)}")
    return Summary(Exit.DONE, {title.replace(" ", "_"): found for title, found in names.items()})
