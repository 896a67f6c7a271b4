"""A partner with no common class.

Source: Tokozume, Ushiku and Harada, "Learning from Between-Class Examples for Deep Sound Recognition", ICLR 2018.
"""

from torch import Tensor

from ..draw import Generator
from ._pool import Pool

__all__ = ["pair"]


def pair(pool: Pool, generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw partners with no common class; see `audiomix.pairing.pair`."""
    pool.targets("different_class")  # raises before anything is drawn
    return pool.choose(lambda rows, may: ~pool.share_class("different_class", rows), generator)
