"""A partner with a common attribute besides the class: the microphone, the room, the finding of a report.

In the paper the partner of a clip is one of the four nearest that have the same observed attribute, and the original's
share is 0.75: ``MixUp(weight=0.75, pairing="same_attribute:nearest=4")``. The patches of its pictures are clips here.

Source: Hou et al., "ICON: Improving Inter-Report Consistency in Radiology Report Generation via Lesion-aware Mixup
Augmentation", Findings of EMNLP 2024.
"""

import torch
from torch import Tensor

from .. import check
from ..draw import Generator
from ._notes import attribute_table, unit_vectors
from ._pool import Pool, reads

__all__ = ["pair"]


@reads("attributes", "embeddings")
def pair(pool: Pool, generator: Generator, *, nearest: int = 0) -> tuple[Tensor, Tensor]:
    """Draw partners with a common attribute.

    Parameters
    ----------
    pool : Pool
        The clips; their notes are `attributes`, and with `nearest` also `embeddings`.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    nearest : int
        Only so many of those with a common attribute, the nearest by the cosine of their embeddings, may be chosen;
        each is equally likely. 0: all of them, whatever their distance.

    Returns
    -------
    partner, found : Tensor, shape (size,)
        See `audiomix.pairing.pair`. Where no clip has several attributes each is used once, in the batch itself.

    Examples
    --------
    >>> from audiomix import MixUp
    >>> rooms = ["hall", "hall", ["hall", "street"], "street", None]
    >>> plan = MixUp(weight=0.75, pairing="same_attribute")(torch.randn(5, 1, 100), attributes=rooms).plans[0]
    >>> plan.sources(3), plan.sources(4)
    ([2], [])
    """
    check.integer("nearest", nearest, 0)
    own, theirs = attribute_table(pool, "same_attribute")
    if not nearest and not bool((own.sum(1) > 1).any() | (theirs.sum(1) > 1).any()):
        groups = [torch.where(table.any(1), table.long().argmax(1), -1) for table in (own, theirs)]
        return pool.within_groups(groups[0], groups[1], generator)
    numbers = own.double(), theirs.double()
    vectors = unit_vectors(pool, f"same_attribute:nearest={nearest}") if nearest else None

    def weigh(rows: slice, may: Tensor) -> Tensor:
        """Return whether two clips have an attribute in common, and lie near enough."""
        common = may & (numbers[0][rows] @ numbers[1].T > 0)
        if vectors is None:
            return common
        near = (vectors[0][rows] @ vectors[1].T).masked_fill(~common, -torch.inf)
        least = near.topk(min(nearest, pool.candidates), 1).values[:, -1:]
        return common & (near >= least)

    return pool.choose(weigh, generator)
