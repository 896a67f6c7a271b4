"""How well two pieces go together, beat by beat: what is measured of each, and their likeness at every offset."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
