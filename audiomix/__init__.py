"""audiomix: mixing for audio and speech. A plan is drawn once and applied to every stream.

Names are imported when they are first used, so that ``import audiomix`` costs next to nothing beyond ``import torch``.
The list of public names is ``__init__.pyi``, which type checkers read too.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
