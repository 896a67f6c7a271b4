"""Losses that belong to mixing."""

from . import mix_contrast as mix_contrast, streams as streams
