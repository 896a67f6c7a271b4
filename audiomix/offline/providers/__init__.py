"""What belongs to sounds besides their samples, one file a kind: beats, captions, rooms, turns."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
