"""Who there is to be paired: `Pool`, what every rule gets."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import check, draw
from ..draw import Generator

__all__ = ["Pool"]

# Pairs that are looked at together: 2 MB of float64, in cache. A batch of thousands needs no table of all its pairs.
_BLOCK = 1 << 18


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
        Class ids (size,), labels (size, K), values (size, R) or frame labels (size, K, N).
    other_size, other_target : int and Tensor, optional
        The second batch that partners come from; without it they come from the batch itself.
    allowed : Tensor, shape (size, candidates), bool, optional
        Who may meet whom besides.
    weights : Tensor, shape (candidates,), float64, optional
        How often each is used as a partner, in any unit, at least 0; all alike where it is None.
    whole : bool
        All clips take part: nobody has to look at `eligible`.
    """

    size: int
    eligible: Tensor
    target: Tensor | None = None
    other_size: int | None = None
    other_target: Tensor | None = None
    allowed: Tensor | None = None
    weights: Tensor | None = None
    whole: bool = False

    @property
    def candidates(self) -> int:
        """How many clips partners are chosen among."""
        return self.size if self.other_size is None else self.other_size

    @property
    def candidate_target(self) -> Tensor | None:
        """The target of the clips that partners are chosen among, on the CPU; None where there is none."""
        target = self.target if self.other_size is None else self.other_target
        return None if target is None else target.detach().cpu()

    def targets(self, rule: str) -> tuple[Tensor, Tensor]:
        """Return the targets of the clips and of the candidates, on the CPU.

        Parameters
        ----------
        rule : str
            Who asks, for the message.

        Raises
        ------
        ValueError
            One of them is missing.
        """
        theirs = self.candidate_target
        if self.target is None or theirs is None:
            name = "target" if self.target is None else "other_target"
            check.fail(name, f"given for pairing {rule!r}", None, "which classes are they?")
        return self.target.detach().cpu(), theirs

    def share_class(self, rule: str, rows: slice = slice(None)) -> Tensor:
        """Return (rows, candidates), True where two clips have a class in common.

        Parameters
        ----------
        rule : str
            Who asks, for the message.
        rows : slice
            Which clips of the batch; all by default.

        Raises
        ------
        ValueError
            There are no classes, or of different kinds in the two batches.
        """
        a, b = self.targets(rule)
        a = a[rows]
        if a.ndim == 1 and b.ndim == 1:
            return a[:, None] == b[None, :]
        if a.ndim == 3:  # frame labels: the classes that occur
            a, b = a.amax(-1), b.amax(-1)
        if a.ndim != 2 or b.ndim != 2:
            expected = "class ids (B,) or labels (B, K), alike in both batches"
            check.fail("target", expected, f"{a.ndim} and {b.ndim} axes")
        return (a > 0).float() @ (b > 0).float().T > 0

    def find_candidates(self, rows: slice) -> Tensor:
        """Return (rows, candidates), True where a clip may have this partner whatever the rule.

        No clip meets itself, one that is not eligible, one that is not `allowed`, or one of weight 0.

        Parameters
        ----------
        rows : slice
            Which clips of the batch.
        """
        may = self.eligible[rows, None].repeat(1, self.candidates)
        if self.other_size is None:
            may &= self.eligible
            may[:, rows].fill_diagonal_(False)
        if self.allowed is not None:
            may &= self.allowed[rows]
        if self.weights is not None:
            may &= self.weights > 0
        return may

    def choose(self, weigh: Callable[[slice, Tensor], Tensor], generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw a partner for each clip, each candidate as often as its weight says.

        Parameters
        ----------
        weigh : callable
            ``(rows, may) -> weights``: for some clips of the batch, and who is permitted to them (rows, candidates),
            how often each of these is to be their partner: at least 0, in any unit, bool or floating point. What is
            not permitted gets no weight anyway; `weights` count besides.
        generator : torch.Generator, optional
            On the CPU; None means torch's global one.

        Returns
        -------
        partner, found : Tensor, shape (size,)
            See `audiomix.pairing.pair`.
        """
        u = draw.uniform(0, 1, self.size, generator=generator)
        partner = torch.arange(self.size) if self.other_size is None else torch.zeros(self.size, dtype=torch.int64)
        found = torch.zeros(self.size, dtype=torch.bool)
        step = max(1, _BLOCK // self.candidates)
        for first in range(0, self.size, step):
            rows = slice(first, min(first + step, self.size))
            may = self.find_candidates(rows)
            table = weigh(rows, may)
            table = table & may if table.dtype == torch.bool else torch.where(may, table.to(torch.float64), 0.0)
            table = table if self.weights is None else table * self.weights
            edges = table.cumsum(1, dtype=torch.float64)
            total = edges[:, -1:]
            # a product that is rounded up to the total would point behind the last candidate
            place = torch.minimum(u[rows, None] * total, torch.nextafter(total, torch.zeros_like(total)))
            index = torch.searchsorted(edges, place, right=True).flatten()
            found[rows] = total.flatten() > 0
            partner[rows] = torch.where(found[rows], index, partner[rows])
        return partner, found

    def among(self, may_meet: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw for each clip among the partners that it may meet: uniformly, or by `weights`.

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
        return self.choose(lambda rows, may: may_meet[rows], generator)
