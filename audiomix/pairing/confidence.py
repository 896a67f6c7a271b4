"""One clip that the model is sure of with one that it is not: a partner from the other half by confidence.

The confidence of a clip comes from the training, such as the mean of its negative losses over some epochs; clips are
halved at the median. In the paper, of which the abstract and a summary were read, it is minus the mean perplexity over
checkpoints of another training. There the halves are of the data set: `threshold` is its median, without it the batch
is halved.

Source: Xiao et al., "SFTMix: Elevating Language Model Instruction Tuning with Mixup Recipe", ACL 2026.
"""

import torch
from torch import Tensor

from .. import check, draw
from ..draw import Generator
from ._notes import numbers
from ._pool import Pool, equally_often, reads

__all__ = ["pair"]


@reads("confidence")
def pair(pool: Pool, generator: Generator, *, threshold: float | None = None) -> tuple[Tensor, Tensor]:
    """Draw partners from the other half.

    Parameters
    ----------
    pool : Pool
        The clips; their note is `confidence`. One whose confidence is not known has no partner and is none.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    threshold : float, optional
        The confidence from which on a clip is in the upper half. None: the median of all clips that take part, of both
        batches where there are two. Of an odd number the one in the middle is in the upper half; of equal values chance
        decides.

    Returns
    -------
    partner, found : Tensor, shape (size,)
        See `audiomix.pairing.pair`. In the batch itself the clips of each half are used equally often, up to one.

    Examples
    --------
    >>> from audiomix import MixUp
    >>> sure = -torch.tensor([0.1, 2.3, 0.2, 1.9])  # minus the loss
    >>> plan = MixUp(0.5, pairing="confidence")(torch.randn(4, 1, 100), confidence=sure).plans[0]
    >>> sorted(plan.partner[[0, 2]].tolist()), sorted(plan.partner[[1, 3]].tolist())
    ([1, 3], [0, 2])
    """
    if threshold is not None:
        check.number("threshold", threshold)
    own, theirs = numbers(pool, "confidence", "confidence", "minus the loss of each clip, say")
    mine = own.isfinite() & pool.eligible
    if pool.other_size is None:
        upper = _upper(own, mine, threshold, generator)
        known, others = mine, upper
    else:
        known = theirs.isfinite()
        both = _upper(torch.cat([own, theirs]), torch.cat([mine, known]), threshold, generator)
        upper, others = both.split([pool.size, pool.candidates])
    if not pool.is_free:
        return pool.choose(lambda rows, may: (upper[rows, None] != others) & mine[rows, None] & known, generator)
    partner = torch.arange(pool.size)
    halves = [(mine & half).nonzero().flatten() for half in (upper, ~upper)]
    for half, other in (halves, halves[::-1]):
        if len(other):
            partner[half] = equally_often(other, len(half), generator)
    return partner, partner != torch.arange(pool.size)


def _upper(values: Tensor, known: Tensor, threshold: float | None, generator: Generator) -> Tensor:
    """Return whether each clip is in the upper half of those that are known; (N,), bool."""
    if threshold is not None:
        return values >= threshold
    index = known.nonzero().flatten()
    index = index[draw.permutation(len(index), generator=generator)]  # so that chance decides between equal values
    upper = torch.zeros(len(values), dtype=torch.bool)
    upper[index[values[index].argsort(stable=True)][len(index) // 2 :]] = True
    return upper
