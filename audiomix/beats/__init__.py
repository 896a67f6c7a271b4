"""Beats of music: grids of them, the trackers that find them, and how two pieces are mixed on the beat."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
