"""Two streams of the same utterance: aligned by time, mixed by a curriculum, dropped, masked and made noisy."""

from . import (
    align as align,
    curriculum as curriculum,
    curriculum_base as curriculum_base,
    spans as spans,
    statistics as statistics,
)
