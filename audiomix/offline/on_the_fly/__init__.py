"""Mixes of a data set made while a network trains, the same that a run of `audiomix augment` writes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
