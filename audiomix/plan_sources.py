"""Plans of several sources: all from the start on (`SourcesPlan`), or each in a place of its own (`PlacedPlan`)."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from . import check
from .plan import ORIGINAL, Part, Plan

__all__ = ["PlacedPlan", "SourcesPlan"]

# By how much shares may miss a sum of 1: printed plans, which can be read again, have four digits
_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class SourcesPlan(Plan):
    """Which sources sum to each mix, at which gains, and whose label it has. S is the largest number of partners.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`: the first partner that there is, and the original's share.
    partners : Tensor, shape (B, S), int64
        Rows of the batch that partners come from; -1 where a mix has fewer. No row stands twice in a mix, and no clip
        is its own partner.
    shares : Tensor, shape (B, S + 1), float64
        Shares of the target over the whole clip, the original's first; 0 where there is no partner. Each row sums to 1
        (up to rounding).
    gain_db : Tensor, shape (B, S + 1), float64
        Gains in dB of the original and of its partners; ``-inf`` for a sound that is left out.
    ratios : Tensor, shape (B, S + 1), float64, optional
        Where partners are shorter: the shares while all sound. In a frame that some of them do not reach the others
        have the rest, in proportion.
    covered : Tensor, shape (B, S), float64, optional
        How far each partner reaches, as a fraction of the (padded) time axis.
    unmixed_behind : bool, optional
        Behind shorter partners the gains of those that still sound are scaled to a sum of 1 (decibels that are mixed
        as they are); else they stay.
    share_of : str, optional
        See `audiomix.GainPlan`.

    See Also
    --------
    audiomix.PlacedPlan : of several sounds, each at its own time.

    Examples
    --------
    >>> one = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64)
    >>> plan = SourcesPlan.of(torch.tensor([[2, 1]]), one, one)
    >>> plan.weight, plan.sources(0), [part.gain for part in plan.parts(0)]
    (tensor([0.5000], dtype=torch.float64), [2, 1], [0.5, 0.25, 0.25])
    """

    partners: Tensor
    shares: Tensor
    gain_db: Tensor
    ratios: Tensor | None = None
    covered: Tensor | None = None
    unmixed_behind: bool | None = None
    share_of: str | None = None

    _still: ClassVar = {"partners": [-1], "shares": [1.0, 0.0], "gain_db": [0.0, -math.inf]}

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rows("partners", None, dtype=torch.int64)
        most = self.partners.shape[1]
        self._check_rows("shares", most + 1, share=True)
        self._check_rows("gain_db", most + 1)
        for name, size in (("ratios", most + 1), ("covered", most)):
            if getattr(self, name) is not None:
                self._check_rows(name, size, share=name == "ratios")
        if bool(((self.shares[:, 1:] > 0) & (self.partners < 0)).any()):
            check.fail("shares", "0 where partners is -1", "a share of no partner")
        low, high = (edge.item() for edge in self.shares.sum(1).aminmax()) if len(self) else (1.0, 1.0)
        if low < 1 - _ROUNDING or high > 1 + _ROUNDING:
            check.fail("shares", "rows of sum 1", f"{low:g}..{high:g}")
        if not torch.equal(self.weight, self.shares[:, 0]):
            check.fail("weight", "the first column of shares", "other numbers")

    @classmethod
    def of(cls, partners: Tensor, shares: Tensor, gains: Tensor, *, own: bool = True, **more: Any) -> "SourcesPlan":
        """Return the plan with linear amplitudes in place of gains in dB; `partner` and `weight` follow.

        Parameters
        ----------
        partners : Tensor, shape (B, S), int64
            As the field.
        shares : Tensor, shape (B, S + 1), float64
            As the field.
        gains : Tensor, shape (B, S + 1), float64
            Amplitudes.
        own : bool
            Partners come from the batch itself: a clip without one is its own `partner`.
        **more : Any
            Further fields.
        """
        first = partners.gather(1, (partners >= 0).int().argmax(1, keepdim=True))[:, 0]
        partner = torch.where(first < 0, torch.arange(len(first)) if own else 0, first)
        weight = shares[:, 0].clone()
        return cls(partner, weight, partners=partners, shares=shares, gain_db=20 * torch.log10(gains), **more)

    @classmethod
    def over(
        cls,
        partners: Tensor,
        ratios: Tensor,
        gains: Tensor,
        valid: Tensor,
        reach: Tensor,
        size: int,
        *,
        unmixed_behind: bool = False,
        **more: Any,
    ) -> "SourcesPlan":
        """Return the plan of sources of different lengths: shares are those of the valid area.

        Parameters
        ----------
        partners : Tensor, shape (B, S), int64
            As the field.
        ratios : Tensor, shape (B, S + 1), float64
            Shares of the label while all sound.
        gains : Tensor, shape (B, S + 1), float64
            Amplitudes.
        valid : Tensor, shape (B,), int64
            Valid samples or frames of the originals.
        reach : Tensor, shape (B, S), int64
            How many of them each partner covers.
        size : int
            Samples or frames of the (padded) time axis.
        unmixed_behind : bool
            As the field: shares are then means over time; else they are those of the sums of the sounds.
        **more : Any
            Further arguments of `of`.
        """
        reach = torch.where(partners < 0, 0, reach)
        heard = (gains[:, 1:] > 0) | (ratios[:, 1:] > 0)
        if bool((reach == valid[:, None])[heard].all()):
            return cls.of(partners, ratios, gains, **more)
        covered = reach.double() / size
        if unmixed_behind:
            shares = _mean_shares(ratios, covered, valid.double() / size)
            more["unmixed_behind"] = True
        else:
            areas = ratios * torch.cat([valid[:, None], reach], 1)
            shares = areas / areas.sum(1, keepdim=True).clamp(min=1e-300)
        empty = shares.sum(1) == 0  # nothing to share: the label is the original's
        shares[empty] = torch.eye(shares.shape[1], dtype=torch.float64)[0]
        return cls.of(partners, shares.clamp(0, 1), gains, ratios=ratios, covered=covered, **more)

    @property
    def mixed(self) -> Tensor:
        """Whether a partner sounds in each mix, the original is scaled, or the label is shared; (B,), bool."""
        return (self.weight < 1) | (self.gain_db[:, 1:] > -math.inf).any(1) | (self.gain_db[:, 0] != 0)

    def amplitudes(self) -> Tensor:
        """Amplitudes of the original and of its partners; (B, S + 1), float64."""
        return torch.pow(10.0, self.gain_db / 20)

    def gains(self) -> tuple[Tensor, Tensor]:
        """Amplitude of the original and of the first partner; two tensors (B,), float64."""
        linear = torch.pow(10.0, self.gain_db[:, :2] / 20)
        return linear[:, 0], linear[:, 1]

    def label_shares(self, size: int | None = None) -> tuple[Tensor, Tensor]:
        """Return the partners (B, S) and the shares of all sources; in each frame of those that reach it."""
        if size is None or self.ratios is None or self.covered is None:
            return self.partners, self.shares if size is None else self.shares[..., None]
        centre = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        return self.partners, share_in_frames(self.ratios, self.covered, centre)

    def share(self, size: int) -> Tensor:
        """The original's share at each frame; (B, size) or (B, 1), float64."""
        return self.label_shares(size)[1][:, 0]

    def parts(self, index: int) -> list[Part]:
        """Return the parts that sum to one mix: the original, and each partner up to where it reaches."""
        gains, rows = self.amplitudes()[index].tolist(), self.partners[index].tolist()
        ends = [math.inf] * len(rows) if self.covered is None else self.covered[index].tolist()
        sounds = [(ORIGINAL, gains[0], math.inf)]
        sounds += [(row, gain, end) for row, gain, end in zip(rows, gains[1:], ends) if gain > 0]
        if not self.unmixed_behind:
            return [Part(source, gain, stop=end) for source, gain, end in sounds]
        parts, start = [], 0.0
        for stop in sorted({min(end, 1.0) for _, _, end in sounds}):  # from one end to the next
            reach = [(source, gain) for source, gain, end in sounds if end >= stop]
            total = sum(gain for _, gain in reach)
            reach = [(source, gain / total) for source, gain in reach] if total > 0 else [(ORIGINAL, 1.0)]
            place = {"start": start, "stop": stop if stop < 1 else math.inf, "piece": (start, stop)}
            parts += [Part(source, gain, fitted=True, **place) for source, gain in reach]  # type: ignore[arg-type]
            start = stop
        return parts

    def partner_rows(self) -> Tensor:
        """Return the rows of the partners' batch that are in any mix; (R,), int64."""
        return self.partners[self.partners >= 0]

    def sources(self, index: int) -> list[int]:
        """Return the partners that are in one mix, in sound or label, in order."""
        there = (self.shares[index, 1:] > 0) | (self.gain_db[index, 1:] > -math.inf)
        return [row for row, used in zip(self.partners[index].tolist(), there.tolist()) if used]


@dataclass(frozen=True, eq=False, kw_only=True)
class PlacedPlan(Plan):
    """Who sounds with whom, when and how loud. S is the largest number of sources, the original included.

    Places in the mix are fractions of the original's (padded) time axis; they may exceed 1 where a mix is longer.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    partners : Tensor, shape (B, S - 1), int64
        Row of each further source in the batch, or in `other`; -1 where there is none. `partner` is the first.
    shares : Tensor, shape (B, S), float64
        Each source's share of the target; `weight` is the original's.
    gain_db : Tensor, shape (B, S), float64
        ``-inf`` for a source that is left out.
    at : Tensor, shape (B, S), float64
        Where each source's piece begins in the mix.
    piece : Tensor, shape (B, S, 2), float64
        What of each source is heard: fractions of its own time axis.
    active : Tensor, shape (B, S, 2), float64
        Onset and offset of its active part in the mix.
    length : Tensor, shape (B,), float64
        Of the mix.
    seconds : Tensor, shape (B,), float64
        Length in seconds of the original's axis.

    Examples
    --------
    >>> from audiomix import CaptionMix
    >>> mixer = CaptionMix(rate=16000)
    >>> plan = mixer(torch.randn(2, 1, 16000), captions=["A dog barks.", "Rain falls."]).plans[0]
    >>> isinstance(plan, PlacedPlan), plan.at.shape == plan.shares.shape
    (True, True)
    """

    partners: Tensor
    shares: Tensor
    gain_db: Tensor
    at: Tensor
    piece: Tensor
    active: Tensor
    length: Tensor
    seconds: Tensor

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("partners", "shares", "gain_db", "at", "piece", "active", "length", "seconds"):
            if len(getattr(self, name)) != len(self):
                check.fail(name, f"of {len(self)} items, as partner is", len(getattr(self, name)))

    @property
    def mixed(self) -> Tensor:
        """Whether a partner sounds in each mix, or the original is cut or padded; (B,), bool."""
        return (self.gain_db[:, 1:] > -math.inf).any(1) | (self.piece[:, 0] != torch.tensor([0.0, 1.0])).any(1)

    def parts(self, index: int) -> list[Part]:
        """Return the sources of one mix where they sound, the original's first."""
        rows = (torch.pow(10.0, self.gain_db[index] / 20), self.at[index], self.piece[index])
        gains, starts, pieces = (row.tolist() for row in rows)
        return [
            Part(
                ORIGINAL if k == 0 else int(self.partners[index, k - 1]), gains[k], start=starts[k],
                piece=(pieces[k][0], pieces[k][1]),
            )
            for k in self.source_numbers(index)
        ]  # fmt: skip

    def window(self, index: int) -> tuple[float, float]:
        """Return what of the original's time axis comes out: up to the end of the mix."""
        return 0.0, 1.0 if self._keeps_length else float(self.length[index])

    def mixed_lengths(self, lengths: Tensor | None, size: int) -> Tensor | None:
        """Return the valid lengths of the mixes: their own, or those of the originals."""
        return lengths if self._keeps_length else (self.length * size).round().long()

    @property
    def axis_seconds(self) -> float | None:
        """How long the originals' time axis is in seconds: a mix may be longer."""
        return float(self.seconds[0])

    @property
    def _keeps_length(self) -> bool:
        return False

    def gains(self) -> tuple[Tensor, Tensor]:
        """Amplitude of the original and of the first partner; two tensors (B,), float64."""
        linear = torch.pow(10.0, self.gain_db[:, :2] / 20)
        return linear[:, 0], linear[:, 1]

    def size(self, size: int) -> int:
        """Return how many samples or frames the longest mix has, for originals of `size`; never less than `size`."""
        return size if self._keeps_length else max(size, round(float(self.length.max()) * size))

    def source_numbers(self, index: int) -> list[int]:
        """Return the numbers of the sources that are in a mix: 0 is the original."""
        return [k for k, gain in enumerate(self.gain_db[index].tolist()) if gain > -math.inf]

    def label_shares(self, size: int | None = None) -> tuple[Tensor, Tensor]:
        """Return the partners (B, S - 1) and every source's share of the target; see `audiomix.Plan`."""
        return self.partners, self.shares if size is None else self.shares[..., None]

    def frame_index(self, source: int, frames: int, have: int) -> Tensor:
        """Return which frame of a source sounds in each frame of each mix, (B, N), int64; -1 where it does not.

        Parameters
        ----------
        source : int
            0 is the original.
        frames : int
            Frames of the originals' axis.
        have : int
            Frames of that source's axis.
        """
        place = (torch.arange(self.size(frames), dtype=torch.float64) + 0.5) / frames
        begin, end = self.piece[:, source, :1], self.piece[:, source, 1:]
        # both axes have the same frames a second, so that lengths compare in frames
        at = begin + (place - self.at[:, source, None]) * frames / have
        inside = (at >= begin) & (at < end) & (self.gain_db[:, source, None] > -math.inf)
        return torch.where(inside, (at * have).long().clamp(0, have - 1), -1)


def share_in_frames(ratios: Tensor, covered: Tensor, centre: Tensor) -> Tensor:
    """Return each source's share at places of the time axis: of those that reach it, in proportion; (B, S + 1, N).

    Parameters
    ----------
    ratios : Tensor, shape (B, S + 1), float64
        Shares while all sound.
    covered : Tensor, shape (B, S), float64
        How far each partner reaches, as a fraction of the axis.
    centre : Tensor, shape (N,) or (B, 1, N), float64
        Places, as fractions of the axis.
    """
    reach = centre < covered[..., None]
    reach = torch.cat([torch.ones_like(reach[:, :1]), reach], 1)
    there = ratios[..., None] * reach
    total = there.sum(1, keepdim=True)
    alone = torch.zeros_like(there)
    alone[:, 0] = 1  # where nothing that has a share reaches the original is left
    return torch.where(total > 0, there / total.clamp(min=1e-300), alone)


def _mean_shares(ratios: Tensor, covered: Tensor, end: Tensor) -> Tensor:
    """Return the mean over a clip, up to its `end` (B,), of what `share_in_frames` returns; (B, S + 1)."""
    edges = torch.cat([covered.clamp(max=end[:, None]), end[:, None]], 1).sort(1).values
    starts = torch.cat([torch.zeros_like(end)[:, None], edges[:, :-1]], 1)
    shares = share_in_frames(ratios, covered, ((starts + edges) / 2)[:, None])
    return (shares * (edges - starts)[:, None]).sum(2) / end.clamp(min=1e-300)[:, None]
