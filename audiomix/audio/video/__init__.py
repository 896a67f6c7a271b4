"""Video files in and out through PyAV (extra ``[video]``), which is imported when the first one is opened."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
