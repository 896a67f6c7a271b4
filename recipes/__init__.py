"""Semi-supervised recipes: what mixing buys when most of a data set is unlabelled.

Installed as `audiomix.recipes`, run as ``audiomix-recipes`` or, from a checkout, ``python -m recipes``.
"""
