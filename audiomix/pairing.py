"""Who may meet whom: partners for a batch.

``any``              a derangement of the whole batch: every clip meets another, each other with the same probability
``different_class``  a partner without a common class
``same_class``       a partner with a common class
A clip for which there is no partner (a batch of one, the only clip of its class, not eligible) is its own partner: it
stays unchanged. With a second batch partners come from there, each used equally often.
"""

import torch
from torch import Tensor

from . import check, draw
from .draw import Generator

__all__ = ["PAIRINGS", "pair"]

PAIRINGS = ("any", "different_class", "same_class")


def pair(
    size: int,
    kind: str = "any",
    *,
    target: Tensor | None = None,
    other_size: int | None = None,
    other_target: Tensor | None = None,
    eligible: Tensor | None = None,
    allowed: Tensor | None = None,
    generator: Generator = None,
) -> tuple[Tensor, Tensor]:
    """Draw a partner for each of `size` clips.

    Parameters
    ----------
    size : int
        Clips in the batch.
    kind : str
        ``any``, ``different_class`` or ``same_class``.
    target : Tensor, shape (size,) int64 or (size, K), optional
        Class ids, or soft or multi-hot labels; needed for the class pairings. Soft labels count every class above 0.
    other_size, other_target : int and Tensor, optional
        The second batch that partners come from.
    eligible : Tensor, shape (size,), bool, optional
        Clips that take part: the others are neither changed nor used as partners.
    allowed : Tensor, shape (size, size or other_size), bool, optional
        Who may meet whom besides; each allowed partner is then equally likely.
    generator : torch.Generator, optional

    Returns
    -------
    partner : Tensor, shape (size,), int64
        Index in the batch, or in the second batch.
    found : Tensor, shape (size,), bool
        False where there is no partner; `partner` is then the clip itself (0 with a second batch).

    Examples
    --------
    >>> partner, found = pair(4, "different_class", target=torch.tensor([0, 0, 1, 1]))
    >>> bool((partner[:2] >= 2).all()), bool(found.all())
    (True, True)
    """
    check.choice("pairing", kind, PAIRINGS)
    eligible = torch.ones(size, dtype=torch.bool) if eligible is None else eligible.cpu()
    if kind == "any" and allowed is None:
        if other_size is None:
            return _deranged(eligible, generator)
        return _from_other(size, int(other_size or 0), generator), eligible
    may_meet = _may_meet(size, kind, target, other_size, other_target)
    if allowed is not None:
        may_meet = may_meet & allowed
    if other_size is None:
        may_meet = may_meet & eligible & ~torch.eye(size, dtype=torch.bool)
    return _among(may_meet & eligible[:, None], generator, own=other_size is None)


def _may_meet(
    size: int, kind: str, target: Tensor | None, other_size: int | None, other_target: Tensor | None
) -> Tensor:
    """Return (size, other_size), True where the classes may meet."""
    if kind == "any":
        return torch.ones(size, size if other_size is None else other_size, dtype=torch.bool)
    if target is None or (other_size is not None and other_target is None):
        name = "target" if target is None else "other_target"
        check.fail(name, f"given for pairing {kind!r}", None, "which classes are they?")
    share = _common(target, target if other_target is None else other_target)
    return share if kind == "same_class" else ~share


def _deranged(eligible: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    partner = torch.arange(len(eligible))
    index = eligible.nonzero().flatten()
    partner[index] = index[draw.derangement(len(index), generator=generator)]
    return partner, partner != torch.arange(len(eligible))


def _from_other(size: int, other_size: int, generator: Generator) -> Tensor:
    rounds = [draw.permutation(other_size, generator=generator) for _ in range(-(-size // other_size))]
    return torch.cat(rounds)[:size]


def _common(target: Tensor, other: Tensor) -> Tensor:
    """Return (B, M), True where two clips have a class in common."""
    a, b = target.detach().cpu(), other.detach().cpu()
    if a.ndim == 1 and b.ndim == 1:
        return a[:, None] == b[None, :]
    if a.ndim == 3:  # frame labels: the classes that occur
        a, b = a.amax(-1), b.amax(-1)
    if a.ndim != 2 or b.ndim != 2:
        check.fail("target", "class ids (B,) or labels (B, K), alike in both batches", f"{a.ndim} and {b.ndim} axes")
    return (a > 0).float() @ (b > 0).float().T > 0


def _among(allowed: Tensor, generator: Generator, *, own: bool) -> tuple[Tensor, Tensor]:
    """Draw uniformly among the allowed partners of each row."""
    count = allowed.sum(1)
    rank = draw.integers(count, generator=generator)  # the rank-th allowed one
    position = (allowed.cumsum(1) == (rank + 1)[:, None]) & allowed
    found = count > 0
    fallback = torch.arange(len(allowed)) if own else torch.zeros(len(allowed), dtype=torch.int64)
    return torch.where(found, position.int().argmax(1), fallback), found
