"""Beats of music: grids of them, the trackers that find them, and how two pieces are mixed on the beat."""

from . import (
    align as align,
    annotation as annotation,
    cache as cache,
    click as click,
    confidence as confidence,
    grid as grid,
    key as key,
    mashability as mashability,
    match as match,
    placement as placement,
    plan as plan,
    render as render,
    silence as silence,
    sound as sound,
    track as track,
    trackers as trackers,
)
from .grid import BeatGrid as BeatGrid
