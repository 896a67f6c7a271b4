"""The clip itself, read from another place: `audiomix.Mixer` rolls it in a circle and stores by how much.

Both have the same label, so it is kept. It begins between a quarter and three quarters of the valid part (a choice
of ours), so that the two are never near the same place.

Source: ours.
"""

import torch
from torch import Tensor

from .. import draw
from ..draw import Generator
from ._pool import Pool

__all__ = ["draw_place", "pair"]

# Where it begins, least and most, as a fraction of the valid part
_LEAST, _MOST = 0.25, 0.75


def pair(pool: Pool, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return each clip as its own partner; `allowed` and `weights` are of others, so they are not looked at."""
    return torch.arange(pool.size), pool.eligible.clone()


def draw_place(size: int, generator: Generator) -> Tensor:
    """Draw where each clip begins as its own partner; (size,), float64, fractions of the valid part.

    Parameters
    ----------
    size : int
        How many.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    return draw.uniform(_LEAST, _MOST, size, generator=generator)
