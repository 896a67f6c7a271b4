"""Beats: grids of them, who finds them, and how two of them are laid on each other."""

from .grid import BeatGrid

__all__ = ["BeatGrid"]
