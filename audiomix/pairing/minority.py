r"""A partner of the same class with another attribute, a rare attribute more often.

.. math:: P(a \mid i) \propto 1 / n_{c(i), a}, \quad a \ne a(i), \qquad P(j \mid a) = 1 / n_{c(i), a}

n is how many clips of a class have an attribute. So among the clips of one class those of rare recordings, rooms or
accents are in more mixes. In the paper embeddings are mixed. A class with one attribute: any of its clips.

Source: Kim et al., "Hierarchical Visual Primitive Experts for Compositional Zero-Shot Learning", ICCV 2023.
"""

import torch
from torch import Tensor

from .. import check
from ..draw import Generator
from ._notes import attribute_table
from ._pool import Pool, reads

__all__ = ["pair"]


@reads("attributes")
def pair(pool: Pool, generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw partners of the same class with another attribute; see `audiomix.pairing.pair`.

    What is rare is counted in the batch, or in the second one, over the clips that take part. Where the attribute of a
    clip is not known, all others differ from it; it is a partner only where there is none with another attribute. The
    only clip of its class has no partner.

    Examples
    --------
    >>> from audiomix import MixUp
    >>> label, room = torch.tensor([0, 0, 0, 1]), ["hall", "hall", "street", "street"]
    >>> mixer = MixUp(pairing="minority", num_classes=2)
    >>> mixer(torch.randn(4, 1, 100), label, attributes=room).plans[0].partner[:2].tolist()
    [2, 2]
    """
    pool.targets("minority")  # raises before anything is drawn
    own, theirs = attribute_table(pool, "minority")
    if bool((own.sum(1) > 1).any() | (theirs.sum(1) > 1).any()):
        check.fail("attributes", "one a clip for pairing 'minority'", "several", "the rarest of them?")
    counted = pool.eligible if pool.other_size is None else torch.ones(pool.candidates, dtype=torch.bool)
    mine, others = own.double(), (theirs & counted[:, None]).double()

    def weigh(rows: slice, may: Tensor) -> Tensor:
        """Return 1 / n^2 for clips with another attribute: it comes 1 / n as often, its n clips each alike."""
        same_class = pool.share_class("minority", rows)
        count = (same_class.double() @ others) @ others.T  # of the candidate's attribute, in the class of the row
        other = same_class & (count > 0) & (mine[rows] @ others.T == 0)
        weights = torch.where(other, count.clamp(min=1) ** -2, 0.0)
        any_other = (other & may).any(1, keepdim=True)
        return torch.where(any_other, weights, same_class.double())

    return pool.choose(weigh, generator)
