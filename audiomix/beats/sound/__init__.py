"""A sound as trackers need it: one channel, where something begins, and the beats that fit that best."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
