"""What a curriculum observes: entropies of a model's scores, and sums over the processes of a distributed run."""

import math
from typing import Literal

import torch
from torch import Tensor

from .. import check

__all__ = ["Given", "entropy_sum", "sum_over_ranks"]

Given = Literal["logits", "probabilities", "log_probabilities"]
# Probabilities in half precision sum to one no better than this
_SUM_TOLERANCE = 1e-2


def entropy_sum(
    scores: Tensor, *, lengths: Tensor | None = None, given: Given = "logits", name: str = "logits"
) -> tuple[float, int]:
    """Return the sum of the normalised entropies ``H(p) / log K`` over all valid items or frames, and their number.

    Parameters
    ----------
    scores : Tensor, shape (B, K) or (B, N, K)
        Classes on the last axis. Detached; half precision is computed in float32. A class at ``-inf`` is ruled out.
    lengths : Tensor, shape (B,), optional
        Valid frames, for (B, N, K). What lies behind does not count, not even a NaN.
    given : str
        What the scores are: ``logits``, ``probabilities`` or ``log_probabilities``.
    name : str
        What an error calls them.

    Returns
    -------
    (float, int)
        NaN for a sum that a valid frame spoilt.

    Raises
    ------
    TypeError, ValueError
        Scores of one class (their entropy is always 0), or probabilities that do not sum to 1.

    Examples
    --------
    >>> total, count = entropy_sum(torch.zeros(2, 3, 7), lengths=torch.tensor([3, 1]))
    >>> round(total, 6), count
    (4.0, 4)
    """
    check.choice("given", given, ("logits", "probabilities", "log_probabilities"))
    check.floating(name, scores)
    if scores.ndim not in (2, 3) or 0 in scores.shape:
        check.fail(name, "(B, K) or (B, N, K), not empty", f"shape {tuple(scores.shape)}")
    if scores.shape[-1] == 1:
        check.fail(name, "of at least 2 classes (last axis)", "1", "an entropy of one class is always 0")
    scores = scores.detach()
    scores = scores if scores.dtype == torch.float64 else scores.float()
    valid = torch.ones(scores.shape[:-1], dtype=torch.bool, device=scores.device)
    if lengths is not None:
        if scores.ndim == 2:
            check.fail("lengths", "None for scores (B, K)", "lengths", "frames are (B, N, K)")
        ends = check.lengths("lengths", lengths, scores[..., 0]).to(scores.device)
        valid = torch.arange(scores.shape[1], device=scores.device) < ends[:, None]
    p = scores.softmax(-1) if given == "logits" else scores.exp() if given == "log_probabilities" else scores
    if given != "logits":
        _check_sums(p, valid, name, given)
    entropy = torch.special.entr(p).sum(-1).double() / math.log(scores.shape[-1])
    entropy = entropy.clamp(0, 1)  # float32 rounds
    return float(torch.where(valid, entropy, 0.0).sum()), int(valid.sum())


def _check_sums(p: Tensor, valid: Tensor, name: str, given: str) -> None:
    wrong = ((p.sum(-1) - 1).abs() > _SUM_TOLERANCE) | (p < 0).any(-1)  # a NaN is not a slip of the caller
    if bool((wrong & valid).any()):
        at = tuple((wrong & valid).nonzero()[0].tolist())
        other = "log_probabilities" if given == "probabilities" else "probabilities"
        slip = f"did you mean given='logits' or {other!r}?"
        check.fail(name, "probabilities that sum to 1 over the last axis", f"{float(p[at].sum()):g} at {at}", slip)


def sum_over_ranks(total: float, count: int, skipped: int) -> tuple[float, int, int]:
    """Add up what all processes saw, in the order of their ranks: the same bits everywhere."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return total, count, skipped
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    own = torch.tensor([total, count, skipped], dtype=torch.float64, device=device)
    # all_gather and a sum of our own: an all_reduce need not add in the same order on every rank
    every = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(every, own)
    totals, counts, bad = zip(*(each.tolist() for each in every))
    return math.fsum(totals), int(sum(counts)), int(sum(bad))
