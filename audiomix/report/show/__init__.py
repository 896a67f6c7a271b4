"""Pages of ``audiomix show``: mixes, data sets, beats and runs as they lie on disk."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
