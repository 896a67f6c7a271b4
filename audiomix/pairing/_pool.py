"""Who there is to be paired: `Pool`, what every rule gets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from .. import check, draw
from ..clips import NO_NOTES, Notes
from ..draw import Generator

__all__ = ["Pool", "equally_often", "reads"]

_Rule = TypeVar("_Rule", bound=Callable[..., Any])

# Pairs that are looked at together: 2 MB of float64, in cache. A batch of thousands needs no table of all its pairs.
_BLOCK = 1 << 18


def reads(*names: str) -> Callable[[_Rule], _Rule]:
    """Say of a rule which notes of the clips it looks at, so that `audiomix.Collate` looks for them in the items.

    Parameters
    ----------
    *names : str
        Fields of `audiomix.Notes`.

    Examples
    --------
    >>> @reads("clusters")
    ... def pair(pool, generator): ...
    >>> pair.reads
    ('clusters',)
    """

    def mark(rule: _Rule) -> _Rule:
        rule.reads = names  # type: ignore[attr-defined]
        return rule

    return mark


def equally_often(index: Tensor, size: int, generator: Generator) -> Tensor:
    """Draw `size` of the clips `index` (M,), in random order, each as often as the others up to one; (size,), int64.

    Parameters
    ----------
    index : Tensor, shape (M,), int64
        Clips, at least one.
    size : int
        How many to draw.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    rounds = [draw.permutation(len(index), generator=generator) for _ in range(-(-size // len(index)))]
    return index[torch.cat(rounds)[:size]] if rounds else index[:0]


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
    notes, other_notes : Notes
        What is known of the clips, and of those of the second batch: clusters, attributes, tempi.
    """

    size: int
    eligible: Tensor
    target: Tensor | None = None
    other_size: int | None = None
    other_target: Tensor | None = None
    allowed: Tensor | None = None
    weights: Tensor | None = None
    whole: bool = False
    notes: Notes = NO_NOTES
    other_notes: Notes = NO_NOTES

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

    @property
    def is_free(self) -> bool:
        """Whether partners come from the batch itself and the caller says nothing of who may be whose partner."""
        return self.other_size is None and self.allowed is None and self.weights is None

    def within_groups(self, own: Tensor, theirs: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw partners of the same group; each of them is equally likely.

        In the batch itself that is a derangement of every group: each clip is used once.

        Parameters
        ----------
        own : Tensor, shape (size,), int64
            The group of each clip; -1 of those in none.
        theirs : Tensor, shape (candidates,), int64
            The group of each candidate.
        generator : torch.Generator, optional
            On the CPU; None means torch's global one.

        Returns
        -------
        partner, found : Tensor, shape (size,)
            See `audiomix.pairing.pair`.
        """
        if not self.is_free:
            own = torch.where(own < 0, -2, own)  # of no group, unlike candidates of none
            return self.choose(lambda rows, may: own[rows, None] == theirs, generator)
        partner = torch.arange(self.size)
        order = draw.permutation(self.size, generator=generator)
        order = order[(self.eligible & (own >= 0))[order]]
        order = order[own[order].argsort(stable=True)]  # each group in its random order
        if len(order):
            first = torch.ones(len(order), dtype=torch.bool)
            first[1:] = own[order[1:]] != own[order[:-1]]
            following = order.roll(-1)
            following[first.roll(-1)] = order[first]  # each group is a circle, as in draw.derangement
            partner[order] = following
        return partner, partner != torch.arange(self.size)

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
