"""What mixers need to know of each file, one file a kind of note: beats, captions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
