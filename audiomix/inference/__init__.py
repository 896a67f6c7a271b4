"""What is done at test time: statistics that follow the stream, averages over views, warps undone, networks as one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
