"""A partner with a common class.

Source: ours: the counterpart of `different_class`.
"""

from torch import Tensor

from ..draw import Generator
from ._pool import Pool

__all__ = ["pair"]


def pair(pool: Pool, generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw partners with a common class; see `audiomix.pairing.pair`."""
    pool.targets("same_class")  # raises before anything is drawn
    return pool.choose(lambda rows, may: pool.share_class("same_class", rows), generator)
