"""Learned mixing, one method a file: trainings whose mixing follows what the network learns. A registry by file stem.

They are no mixers, because a plan carries no gradient: each returns the terms of a training of its own.
"""

from audiomix.registry import Registry

from .base import LearnedMixing

__all__ = ["LearnedMixing", "available", "get", "read", "source_of", "split", "title_of"]

_REGISTRY: Registry[type[LearnedMixing]] = Registry(
    "learned mixing", __name__, "audiomix.learned_mixing", base=LearnedMixing, skip=("base",)
)
available, get = _REGISTRY.available, _REGISTRY.get
read, split = _REGISTRY.read, _REGISTRY.split
source_of, title_of = _REGISTRY.source_of, _REGISTRY.title_of
