"""Semi-supervised recipes: what mixing buys when most of a data set is unlabelled.

Installed as `audiomix.recipes`, run as ``audiomix-recipes`` or, from a checkout, ``python -m recipes``. From Python:
`train` trains a method on a data set, `bench` several side by side; see `recipes.api`. They are imported when they are
first used: the command line answers Ctrl-C before.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
