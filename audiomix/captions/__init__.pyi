"""Captions of mixed sounds: scenes and where their sounds stand, sentences that are true of them, and their reading."""

from . import (
    audible as audible,
    compose as compose,
    layout as layout,
    names as names,
    negatives as negatives,
    parse as parse,
    plan as plan,
    scene as scene,
    templates as templates,
    text as text,
    tree as tree,
)
