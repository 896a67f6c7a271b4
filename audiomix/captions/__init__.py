"""Captions of mixed sounds: scenes and where their sounds stand, sentences that are true of them, and their reading."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
