"""Outputs behind URLs: files are made in a folder of this machine, and sent when they are whole."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
