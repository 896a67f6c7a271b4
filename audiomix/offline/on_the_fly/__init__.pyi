"""Mixes of a data set made while a network trains, the same that a run of `audiomix augment` writes."""

from . import (
    dataset as dataset,
    iterable as iterable,
    order as order,
)
