"""Outputs of `audiomix augment` in the forms of other libraries: one form a file."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
