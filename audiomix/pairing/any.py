"""Any other clip: a derangement of the batch, or each clip of a second batch equally often.

Source: ours; most reference codes permute the batch, so that a clip may meet itself.
"""

import torch
from torch import Tensor

from .. import draw
from ..draw import Generator
from ._pool import Pool, equally_often

__all__ = ["pair"]


def pair(pool: Pool, generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw partners whatever their classes; see `audiomix.pairing.pair`."""
    size, eligible = pool.size, pool.eligible
    if pool.allowed is not None or pool.weights is not None:
        return pool.choose(lambda rows, may: may, generator)
    if pool.other_size is not None:
        return equally_often(torch.arange(pool.candidates), size, generator), eligible
    if pool.whole and size > 1:
        return draw.derangement(size, generator=generator), eligible
    partner, index = torch.arange(size), eligible.nonzero().flatten()
    partner[index] = index[draw.derangement(len(index), generator=generator)]
    return partner, partner != torch.arange(size)
