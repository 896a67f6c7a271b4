"""The plan of a beat mix: what is laid where, as fractions of the clips, and what follows for other streams."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import check
from ..audio.blend import area_share
from ..clips import fit_length
from ..plan import NOT_DRAWN, ORIGINAL, GainPlan, Part
from .grid import BeatGrid
from .key import transpose
from .placement import Placement

__all__ = ["BeatPlan", "locate", "map_frames", "mean_share", "share_of_sum"]

# Seconds over which a partner is faded in and out: long enough not to click.
_FADE = 0.02
# Seconds within which two beats are one: those of a grid are at least 0.1 s apart.
_SAME_BEAT = 0.05


@dataclass(frozen=True, eq=False, kw_only=True)
class BeatPlan(GainPlan):
    """Adds to the gains what is laid where. All places are fractions of the original's (padded) time axis.

    Parameters
    ----------
    partner, weight
        See `audiomix.Plan`.
    gain_db, ratio, covered, unmixed_behind, share_of
        See `audiomix.GainPlan`.
    aligned : Tensor, shape (B,), bool
        Whether the two keep time together.
    why : tuple of str
        Why not, where they do not; else empty.
    unit : tuple of str
        ``downbeat`` or ``beat``: what was laid on each other; else empty.
    shift : Tensor, shape (B,), float64
        How much later the anchor lies in the original than in the partner.
    overlap : Tensor, shape (B, 2), float64
        From where to where the partner sounds.
    kept : Tensor, shape (B, 2), float64
        What of the axis comes out; (0, 1) is all. A whole cross-fade may end behind 1.
    fade : Tensor, shape (B, 2), float64
        From where to where a cross-fade lasts; (0, 0) where there is none.
    semitones : Tensor, shape (B,), int64
        How the partner's pitch is shifted.
    seconds : Tensor, shape (B, 2), float64
        Length in seconds of the axes of the original and of the partner.
    warp : tuple of Tensor, shape (K, 2), float64
        Of each clip the knots of the map: place in the original, place in the partner (a fraction of the partner's
        axis); linear in between. No knots where it is not aligned.
    own_warp : tuple of Tensor, shape (K, 2), float64
        Of a cross-fade: the map of the original onto itself. Empty where originals are not warped.
    stretch : str, optional
        How a warp is done: ``pitch`` (the pitch stays), ``varispeed`` (it moves along) or ``none`` (partners are only
        shifted). None in plans of earlier versions: the mixer that replays them decides.
    free_length : bool, optional
        Mixes may be shorter or longer than their originals, so their lengths are given even where all are as long.
    score : Tensor, shape (B,), float64, optional
        How well original and partner go together where they were laid on each other, in [0, 1]
        (`audiomix.beats.mashability`); NaN where that was not measured.
    grids : tuple of (BeatGrid or None, BeatGrid or None)
        The beats of each original and of its partner that were laid on each other, for `describe`. They are not written
        to JSON: a plan that was read has none.

    Notes
    -----
    With `unmixed_behind` the original is alone, at gain 1, wherever the partner does not sound: before the overlap too.
    """

    aligned: Tensor
    why: tuple[str, ...]
    unit: tuple[str, ...]
    shift: Tensor
    overlap: Tensor
    kept: Tensor
    fade: Tensor
    semitones: Tensor
    seconds: Tensor
    warp: tuple[Tensor, ...]
    own_warp: tuple[Tensor, ...] = ()
    stretch: str | None = None
    free_length: bool | None = None
    score: Tensor | None = None
    grids: tuple[tuple[BeatGrid | None, BeatGrid | None], ...] = field(default=(), metadata={"stored": False})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("aligned", "why", "unit", "shift", "overlap", "kept", "fade", "semitones", "seconds", "warp"):
            if len(getattr(self, name)) != len(self):
                check.fail(name, f"of {len(self)} items, as partner is", len(getattr(self, name)))

    @classmethod
    def identity(cls, size: int) -> "BeatPlan":
        """Return the plan that leaves `size` clips as they are."""
        one, nothing = torch.ones(size, dtype=torch.float64), torch.zeros(size, 2, dtype=torch.float64)
        fields = locate([None] * size, nothing, nothing, keep="original", whole=False)
        gain_db = torch.tensor([[0.0, -math.inf]], dtype=torch.float64).repeat(size, 1)
        why = (NOT_DRAWN,) * size
        return cls(torch.arange(size), one, gain_db=gain_db, why=why, seconds=nothing, **fields)

    @property
    def mixed(self) -> Tensor:
        """Whether each mix differs from its original: in what sounds or in what of it comes out; (B,), bool."""
        return super().mixed | self._changes_extent

    @property
    def _changes_extent(self) -> Tensor:
        """Whether what comes out of each clip is not all of its axis, and nothing more; (B,), bool."""
        return (self.kept[:, 0] != 0) | (self.kept[:, 1] != 1) | (self.fade[:, 1] > 0)

    def parts(self, index: int) -> list[Part]:
        """Return the original, warped by a cross-fade, and the partner in its place, warped onto the original's beats.

        A partner that is not aligned sounds from the start on.
        """
        a, b = (float(gain[index]) for gain in self.gains())
        seconds, other_seconds = self.seconds[index].tolist()
        start, stop = self.overlap[index].tolist()
        stretch = self.stretch or "pitch"
        faded = bool(self.fade[index, 1] > 0)
        crossfade = (float(self.fade[index, 0]), float(self.fade[index, 1])) if faded else None
        own = [Part(ORIGINAL, a)]
        if len(self.own_warp) and len(self.own_warp[index]):
            warp, both = self.own_warp[index], (seconds, seconds)
            own = [Part(ORIGINAL, a, warp=warp, stretch=stretch, crossfade=crossfade, seconds=both)]
        elif self.unmixed_behind and b:
            pieces = ((1.0, 0.0, start), (a, start, stop), (1.0, stop, 1.0))
            own = [Part(ORIGINAL, gain, start=first, piece=(first, last)) for gain, first, last in pieces]
            own = [part for part in own if part.piece[0] < part.piece[1]]
        if not b:
            return own
        partner = int(self.partner[index])
        if not len(self.warp[index]):
            return [*own, Part(partner, b, stop=stop)]
        edge = 0.0 if faded else _FADE / seconds
        warped = Part(
            partner, b, start=start, warp=self.warp[index], stretch=stretch, semitones=int(self.semitones[index]),
            seconds=(seconds, other_seconds), crossfade=crossfade, fade_in=edge, fade_out=edge, fade="cosine",
        )  # fmt: skip
        return [*own, warped]

    def window(self, index: int) -> tuple[float, float]:
        """Return what of the original's time axis comes out, as fractions; a whole cross-fade may end behind 1."""
        start, stop = self.kept[index].tolist()
        return start, stop

    def total_size(self, size: int) -> int:
        """Return how many samples or frames the longest mix has, of `size` samples or frames of the originals' axis."""
        return max(size, round(float(self.kept[:, 1].max()) * size))

    def mixed_lengths(self, lengths: Tensor | None, size: int) -> Tensor | None:
        """Return the valid lengths of the mixes (B,), int64; those given where nothing can be cut."""
        cut = self._changes_extent
        if not self.free_length and not bool(cut.any()):
            return lengths
        own = torch.full((len(self),), size) if lengths is None else lengths
        start, stop = (self.kept * size).round().long().unbind(1)  # as `window`'s edges are rounded
        return torch.where(cut, stop - start, own)

    def cut(self, x: Tensor, size: int) -> Tensor:
        """Return (B, ..., N) with what is kept at the start of each clip, and zeros behind.

        Parameters
        ----------
        x : Tensor, shape (B, ..., N)
            Mixes on the originals' axis, which they may go on behind.
        size : int
            Samples of the originals' axis.
        """
        starts = (self.kept[:, 0] * size).round().long().tolist()
        sizes = self.mixed_lengths(torch.full((len(self),), size), size)
        assert sizes is not None
        ends = [start + kept for start, kept in zip(starts, sizes.tolist())]
        if all(start == 0 and end >= x.shape[-1] for start, end in zip(starts, ends)):
            return x
        return torch.stack([fit_length(clip[..., i:j], x.shape[-1]) for clip, i, j in zip(x, starts, ends)])

    @property
    def rates(self) -> Tensor:
        """Mean rate of each partner, above 1 where it is played faster; NaN where it is not aligned; (B,), float64."""
        steps = [w[-1] - w[0] if len(w) else torch.full((2,), torch.nan, dtype=torch.float64) for w in self.warp]
        span = torch.stack(steps) * self.seconds
        return span[:, 1] / span[:, 0]

    def share(self, size: int) -> Tensor:
        """The original's share at each of `size` frames of the original's axis; (B, size), float64."""
        return self.share_at(((torch.arange(size, dtype=torch.float64) + 0.5) / size).expand(len(self), -1))

    def share_at(self, place: Tensor) -> Tensor:
        """The original's share at places (B, N) of its axis: `ratio` where both sound; through a cross-fade cos^2."""
        ratio = self.weight if self.ratio is None else self.ratio
        inside = (place >= self.overlap[:, :1]) & (place < self.overlap[:, 1:])
        steady = torch.where(inside, ratio[:, None], 1.0)
        start, stop = self.fade[:, :1], self.fade[:, 1:]
        through = ((place - start) / (stop - start).clamp(min=1e-12)).clamp(0, 1)
        return torch.where(stop > start, torch.cos(torch.pi / 2 * through).square(), steady)

    def grid(self, index: int) -> BeatGrid | None:
        """Return the beats of a mix, in seconds of what comes out; None where those of the original are unknown.

        Overlaid, the partner keeps the original's time: the original's beats. Cross-faded: the original's up to the end
        of the fade, the partner's from there.
        """
        own, partner = self._laid(index)
        if own is None:
            return None
        seconds, other_seconds = self.seconds[index].tolist()
        start, stop = (self.kept[index] * seconds).tolist()
        if self.fade[index, 1] == 0 or partner is None:
            return replace(own, tracker="mix").between(start, stop)
        mine, theirs = self.own_warp[index].numpy(), self.warp[index].numpy()
        last, begin, end = mine[-1, 1] * seconds, theirs[0, 1] * other_seconds, theirs[-1, 1] * other_seconds
        beats = np.interp(own.array, mine[:, 1] * seconds, mine[:, 0] * seconds)
        behind = np.interp(partner.array, theirs[:, 1] * other_seconds, theirs[:, 0] * seconds)
        fade_end = float(self.fade[index, 1]) * seconds + _SAME_BEAT
        before = [i for i, t in enumerate(own.times) if t <= last + _SAME_BEAT]
        after = [j for j, t in enumerate(partner.times) if begin < t <= end + 1e-6 and behind[j] > fade_end]
        positions = None
        if own.positions is not None and partner.positions is not None:
            positions = [own.positions[i] for i in before] + [partner.positions[j] for j in after]
        times = [float(beats[i]) for i in before] + [float(behind[j]) for j in after]
        their_key = None if partner.key is None else transpose(partner.key, int(self.semitones[index]))
        key = own.key if own.key == their_key else None  # a piece that changes key has none
        return BeatGrid(times, positions, tracker="mix", key=key).between(start, stop)

    def describe(self, index: int) -> dict[str, Any]:
        """Return whether a mix is aligned, or why not, how, its beats, tempo, metre and key, and who found them."""
        grid, rate = self.grid(index), float(self.rates[index])
        score = math.nan if self.score is None else float(self.score[index])
        return {
            "aligned": bool(self.aligned[index]),
            "why": self.why[index] or None,
            "aligned_on": self.unit[index] or None,
            "partner_rate": round(rate, 6) if math.isfinite(rate) else None,
            "partner_semitones": int(self.semitones[index]),
            "mashability": None if math.isnan(score) else round(score, 6),
            "beats": [] if grid is None else [round(t, 6) for t in grid.times],
            "positions": [] if grid is None or grid.positions is None else list(grid.positions),
            "bpm": None if grid is None or grid.bpm is None else round(grid.bpm, 3),
            "metre": None if grid is None else grid.metre,
            "key": None if grid is None else grid.key,
            "trackers": [None if g is None else g.tracker for g in self._laid(index)],
            "confidence": [None if g is None else g.confidence for g in self._laid(index)],
        }

    def _laid(self, index: int) -> tuple[BeatGrid | None, BeatGrid | None]:
        """Return the beats of original and partner that were laid on each other."""
        return self.grids[index] if self.grids else (None, None)


def locate(
    placements: Sequence[Placement | None], ends: Tensor, seconds: Tensor, *, keep: str, whole: bool
) -> dict[str, Any]:
    """Return the fields of a `BeatPlan` that say where things are.

    Parameters
    ----------
    placements : sequence of B Placement or None
        None for a clip that is not aligned: its partner sounds from its start.
    ends : Tensor, shape (B, 2), float64
        How far on the original's axis the original and an unaligned partner reach, as fractions.
    seconds : Tensor, shape (B, 2), float64
        Lengths of the axes of original and partner in seconds.
    keep : str
        As for `audiomix.BeatMix`.
    whole : bool
        As for `audiomix.BeatMix`.
    """
    rows = [_row(one, end, axis, keep, whole) for one, end, axis in zip(placements, ends.tolist(), seconds.tolist())]
    spans = {n: [r[n] for r in rows] for n in ("shift", "overlap", "kept", "fade")}
    return {
        **{name: torch.tensor(values, dtype=torch.float64) for name, values in spans.items()},
        "aligned": torch.tensor([one is not None for one in placements]),
        "unit": tuple("" if one is None else one.match.unit for one in placements),
        "semitones": torch.tensor([0 if one is None else one.match.semitones for one in placements]),
        "warp": tuple(row["warp"] for row in rows),
        "own_warp": tuple(row["own_warp"] for row in rows) if any(len(row["own_warp"]) for row in rows) else (),
    }


def _row(
    placement: Placement | None, ends: list[float], seconds: list[float], keep: str, whole: bool
) -> dict[str, Any]:
    nothing = torch.zeros(0, 2, dtype=torch.float64)
    if placement is None:
        spans = {"overlap": (0.0, ends[1]), "kept": (0.0, 1.0), "fade": (0.0, 0.0)}
        return {"shift": 0.0, **spans, "warp": nothing, "own_warp": nothing}
    alignment, axis = placement.alignment, seconds[0]
    start, end = float(alignment.target[0]) / axis, float(alignment.target[-1]) / axis
    kept, fade, own = (0.0, 1.0), (0.0, 0.0), nothing
    if alignment.fade is not None and alignment.own is not None:
        fade = alignment.fade[0] / axis, alignment.fade[1] / axis
        kept = (0.0, end if whole else min(ends[0], end))
        own = torch.from_numpy(alignment.own / axis)
    elif keep != "original":
        kept = (start, end)
    warp = torch.from_numpy(np.stack([alignment.target / axis, alignment.source / seconds[1]], 1))
    shift = (alignment.anchor[0] - alignment.anchor[1]) / axis
    return {"shift": shift, "overlap": (start, end), "kept": kept, "fade": fade, "warp": warp, "own_warp": own}


def share_of_sum(fields: dict[str, Any], ratio: Tensor, ends: Tensor) -> Tensor:
    """Return the original's share of what comes out of a sum of sounds, (B,), float64.

    Overlaid: its share of the sum over the valid area, as in mixup; `ratio` where the partner covers all that is kept.
    Cross-faded: the mean of cos^2 through the fade, 1 before and 0 behind it.

    Parameters
    ----------
    fields : dict
        From `locate`.
    ratio : Tensor, shape (B,), float64
        The original's share where both sound.
    ends : Tensor, shape (B,), float64
        How far the originals reach, as fractions of their axis.
    """
    kept, (start, stop) = fields["kept"], fields["fade"].unbind(1)
    both = (fields["overlap"][:, 1] - fields["overlap"][:, 0]).clamp(min=0)
    steady = area_share(ratio, kept[:, 1].minimum(ends) - kept[:, 0], both)
    through = ((kept[:, 1] - start) / (stop - start).clamp(min=1e-12)).clamp(0, 1)
    faded = through / 2 + torch.sin(torch.pi * through) / (2 * torch.pi)  # the integral of cos^2(pi / 2 u)
    faded = (start.minimum(kept[:, 1]) + (stop - start) * faded) / kept[:, 1].clamp(min=1e-12)
    return torch.where(stop > start, faded, torch.where(ratio < 1, steady, 1.0)).clamp(0, 1)


def mean_share(fields: dict[str, Any], ratio: Tensor, ends: Tensor) -> Tensor:
    """Return the mean of the original's share over what comes out, `ratio` in the overlap and 1 outside of it.

    (B,), float64; for originals that are alone, at gain 1, outside of the overlap.

    Parameters
    ----------
    fields : dict
        From `locate`.
    ratio : Tensor, shape (B,), float64
        The original's share where both sound.
    ends : Tensor, shape (B,), float64
        How far the originals reach, as fractions of their axis.
    """
    kept, overlap = fields["kept"], fields["overlap"]
    start, stop = kept[:, 0], kept[:, 1].minimum(ends)
    both = (overlap[:, 1].minimum(stop) - overlap[:, 0].maximum(start)).clamp(min=0)
    return (1 - (1 - ratio) * both / (stop - start).clamp(min=1e-12)).clamp(0, 1)


def map_frames(plan: BeatPlan, size: int, other_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return which frames of two streams are heard in each frame of the mix.

    Parameters
    ----------
    plan : BeatPlan
        Of B mixes.
    size, other_size : int
        Frames of the originals' and of the partners' axes.

    Returns
    -------
    own, partner : Tensor, shape (B, N), int64
        Indices of frames; -1 where nothing is.
    share : Tensor, shape (B, N), float64
        The original's share.
    """
    number = torch.arange(plan.total_size(size), dtype=torch.float64)
    place = plan.kept[:, :1] + (number + 0.5) / size
    valid = place < plan.kept[:, 1:]
    own, partner = torch.full(place.shape, -1), torch.full(place.shape, -1)
    for i in range(len(plan)):
        at = place[i]
        if len(plan.own_warp) and len(plan.own_warp[i]):
            own[i] = _map_places(at, plan.own_warp[i], size)
        else:
            own[i] = torch.where(at < 1, (at * size).long(), -1)
        if len(plan.warp[i]):
            partner[i] = _map_places(at, plan.warp[i], other_size)
        else:
            inside = (at >= plan.overlap[i, 0]) & (at < plan.overlap[i, 1])
            partner[i] = torch.where(inside, (at * size).long(), -1)
    own, partner = torch.where(valid, own, -1), torch.where(valid, partner, -1)
    return own, partner.clamp(max=other_size - 1), plan.share_at(place)


def _map_places(at: Tensor, knots: Tensor, size: int) -> Tensor:
    """Return the frames that a map puts at places `at` (N,); -1 outside of it."""
    place, source = knots[:, 0].numpy(), knots[:, 1].numpy()
    found = torch.from_numpy(np.floor(np.interp(at.numpy(), place, source) * size)).long()
    inside = (at >= place[0]) & (at < place[-1])
    return torch.where(inside, found.clamp(0, size - 1), -1)
