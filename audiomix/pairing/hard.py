r"""A partner that is hard to tell from the clip: of another class, but near in the space of a model.

.. math:: P(j \mid i) \propto \exp(\cos(e_i, e_j) / \tau), \quad y_j \ne y_i

The weight that a contrastive loss of temperature tau gives to a negative. That partners of a mix are drawn by it is
our definition: such mixes lie where two classes touch.

Source: ours, after Wang and Liu, "Understanding the Behaviour of Contrastive Loss", CVPR 2021.
"""

from typing import Literal

import torch
from torch import Tensor

from .. import check
from ..draw import Generator
from ._notes import unit_vectors
from ._pool import Pool, reads

__all__ = ["pair"]


@reads("embeddings")
def pair(
    pool: Pool, generator: Generator, *, temperature: float = 0.1, classes: Literal["different", "any"] = "different"
) -> tuple[Tensor, Tensor]:
    """Draw partners that lie near.

    Parameters
    ----------
    pool : Pool
        The clips; their note is `embeddings`, of which only the direction counts.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    temperature : float
        The difference of cosines, above 0, that makes a partner e times as likely. As it goes to 0 the nearest one is
        chosen, as it grows all become equally likely.
    classes : str
        ``different``: partners without a common class. ``any``: classes are not looked at.

    Returns
    -------
    partner, found : Tensor, shape (size,)
        See `audiomix.pairing.pair`.

    Examples
    --------
    >>> from audiomix import MixUp
    >>> where, label = torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [0.0, 1.0]]), torch.tensor([0, 0, 1, 1])
    >>> mixer = MixUp(pairing="hard:temperature=0.001", num_classes=2)
    >>> mixer(torch.randn(4, 1, 100), label, embeddings=where).plans[0].partner.tolist()
    [2, 2, 1, 1]
    """
    check.number("temperature", temperature, 1e-300, slip="a difference of cosines, above 0")
    check.choice("classes", classes, ["different", "any"])
    if classes == "different":
        pool.targets("hard")  # raises before anything is drawn
    own, theirs = unit_vectors(pool, "hard")

    def weigh(rows: slice, may: Tensor) -> Tensor:
        """Return the weights over that of the nearest, 1: with a small temperature all others would overflow."""
        if classes == "different":
            may = may & ~pool.share_class("hard", rows)
        near = (own[rows] @ theirs.T).masked_fill(~may, -torch.inf)
        further = near.amax(1, keepdim=True) - near
        return torch.where(may, (-further / temperature).exp(), 0.0)

    return pool.choose(weigh, generator)
