"""What was chosen from the data, as lines for a person, with what a training will not see."""

from collections.abc import Iterable
from typing import Any

from .. import algorithms
from ..console import say, warn
from ..data.loader import Data
from ..semi_supervised.train import resolve
from ..training.choices import describe_passes
from ..training.config import Config

__all__ = ["show_choices"]


def show_choices(runs: Iterable[tuple[Config, str, dict[str, Any]]], data: Data, store: str = "") -> None:
    """Print each choice for some runs once, with its reason, and which runs see only a part of the clips.

    Parameters
    ----------
    runs : iterable of (Config, str, dict)
        Configuration, method and options of each.
    data : Data
        Their data.
    store : str
        What distinguishes the data from that of other runs of the command.
    """
    lines: dict[str, None] = {}
    missed: dict[str, None] = {}
    for config, method, options in runs:
        resolved, _, choices = resolve(config, data, method, options)
        lines |= dict.fromkeys(f"chosen: {choice}" for choice in choices)
        kind = algorithms.get(method)
        missed |= dict.fromkeys(describe_passes(resolved, data.facts, kind.needs_unlabelled))
    for line in lines:
        say(line.replace("chosen", f"chosen {store}", 1) if store else line)
    for line in missed:
        warn(f"{line}: more --steps?")
