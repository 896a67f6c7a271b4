"""Beats of music: grids of them, the trackers that find them, and how two pieces are mixed on the beat."""

from .grid import BeatGrid

__all__ = ["BeatGrid"]
