"""Losses that belong to mixing."""

from . import (
    fine_grained as fine_grained,
    mix_consistency as mix_consistency,
    mix_contrast as mix_contrast,
    streams as streams,
)
