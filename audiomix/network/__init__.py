"""What lives inside a network: mixing of hidden states, by hooks or as a layer."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
