"""Losses that belong to mixing."""

from . import streams as streams
