"""Who there is to be paired: `Pool`, what every rule gets."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import check, draw
from ..draw import Generator

__all__ = ["Pool"]


@dataclass(frozen=True, eq=False)
class Pool:
    """The clips of a batch, and those that their partners come from.

    Parameters
    ----------
    size : int
        Clips in the batch.
    eligible : Tensor, shape (size,), bool
        Clips that take part: the others are neither changed nor used as partners.
    target : Tensor, optional
        Class ids (size,), labels (size, K) or frame labels (size, K, N).
    other_size, other_target : int and Tensor, optional
        The second batch that partners come from; without it they come from the batch itself.
    allowed : Tensor, shape (size, candidates), bool, optional
        Who may meet whom besides.
    whole : bool
        All clips take part: nobody has to look at `eligible`.
    """

    size: int
    eligible: Tensor
    target: Tensor | None = None
    other_size: int | None = None
    other_target: Tensor | None = None
    allowed: Tensor | None = None
    whole: bool = False

    @property
    def candidates(self) -> int:
        """How many clips partners are chosen among."""
        return self.size if self.other_size is None else self.other_size

    def share_class(self, rule: str) -> Tensor:
        """Return (size, candidates), True where two clips have a class in common.

        Parameters
        ----------
        rule : str
            Who asks, for the message.

        Raises
        ------
        ValueError
            There are no classes, or of different kinds in the two batches.
        """
        if self.target is None or (self.other_size is not None and self.other_target is None):
            name = "target" if self.target is None else "other_target"
            check.fail(name, f"given for pairing {rule!r}", None, "which classes are they?")
        other = self.target if self.other_target is None else self.other_target
        a, b = self.target.detach().cpu(), other.detach().cpu()
        if a.ndim == 1 and b.ndim == 1:
            return a[:, None] == b[None, :]
        if a.ndim == 3:  # frame labels: the classes that occur
            a, b = a.amax(-1), b.amax(-1)
        if a.ndim != 2 or b.ndim != 2:
            expected = "class ids (B,) or labels (B, K), alike in both batches"
            check.fail("target", expected, f"{a.ndim} and {b.ndim} axes")
        return (a > 0).float() @ (b > 0).float().T > 0

    def among(self, may_meet: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw for each clip uniformly among the partners that it may meet.

        No clip meets itself, one that is not eligible, or one that is not `allowed`.

        Parameters
        ----------
        may_meet : Tensor, shape (size, candidates), bool
            Whether the rule lets a clip have this partner.
        generator : torch.Generator, optional
            On the CPU; None means torch's global one.

        Returns
        -------
        partner, found : Tensor, shape (size,)
            See `audiomix.pairing.pair`.
        """
        if self.allowed is not None:
            may_meet = may_meet & self.allowed
        fallback = torch.zeros(self.size, dtype=torch.int64)
        if self.other_size is None:
            may_meet = may_meet & self.eligible & ~torch.eye(self.size, dtype=torch.bool)
            fallback = torch.arange(self.size)
        may_meet = may_meet & self.eligible[:, None]
        count = may_meet.sum(1)
        rank = draw.integers(count, generator=generator)  # the rank-th of them
        position = (may_meet.cumsum(1) == (rank + 1)[:, None]) & may_meet
        return torch.where(count > 0, position.int().argmax(1), fallback), count > 0
