"""Where the tasks of a run are done: in processes of this machine, or on a Ray cluster. What comes out is the same."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
