"""The plan of a beat mix: what is laid where, as fractions of the clips, and what follows for other streams."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import check
from ..audio.blend import area_share
from ..plan import GainPlan
from .grid import BeatGrid
from .key import shifted as shifted_key
from .placement import Laid

__all__ = ["BeatPlan", "described", "frame_map", "mean_share", "mixed_grid", "places", "weight"]


@dataclass(frozen=True, eq=False, kw_only=True)
class BeatPlan(GainPlan):
    """Adds to the gains what is laid where. All places are fractions of the original's (padded) time axis.

    Parameters
    ----------
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
        Of a cross-fade; (0, 0) where there is none.
    semitones : Tensor, shape (B,), int64
        How the partner's pitch is shifted.
    seconds : Tensor, shape (B, 2), float64
        Length in seconds of the axes of the original and of the partner.
    warp : tuple of Tensor, shape (K, 2), float64
        Of each clip the knots of the map: place in the original, place in the partner (a fraction of the partner's
        axis); linear in between. No knots where it is not aligned.
    own_warp : tuple of Tensor, shape (K, 2), float64
        Of a cross-fade: the map of the original onto itself. Empty where originals are not warped.
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

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("aligned", "why", "unit", "shift", "overlap", "kept", "fade", "semitones", "seconds", "warp"):
            if len(getattr(self, name)) != len(self):
                check.fail(name, f"of {len(self)} items, as partner is", len(getattr(self, name)))

    def size(self, size: int) -> int:
        """Return how many samples or frames come out for `size` of the original's axis."""
        return max(size, round(float(self.kept[:, 1].max()) * size))

    def lengths(self, lengths: Tensor | None, size: int) -> Tensor:
        """Return the valid lengths of the mix, for originals of `size` samples or frames."""
        own = torch.full((len(self),), size) if lengths is None else lengths
        cut = ((self.kept[:, 1] - self.kept[:, 0]) * size).round().long()
        whole = (self.kept[:, 0] == 0) & (self.kept[:, 1] == 1) & (self.fade[:, 1] == 0)
        return torch.where(whole, own, cut)

    def cut(self, x: Tensor, size: int) -> Tensor:
        """Return (B, ..., N) with what is kept at the start of each clip, and zeros behind; `size` as in `lengths`."""
        starts = (self.kept[:, 0] * size).round().long().tolist()
        ends = [s + n for s, n in zip(starts, self.lengths(None, size).tolist())]
        if all(s == 0 and e >= x.shape[-1] for s, e in zip(starts, ends)):
            return x
        cut = torch.zeros_like(x)
        for row, clip, start, end in zip(cut, x, starts, ends):
            kept = clip[..., start:end]
            row[..., : kept.shape[-1]] = kept
        return cut

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


def places(laid: Sequence[Laid | None], ends: Tensor, seconds: Tensor, *, keep: str, whole: bool) -> dict[str, Any]:
    """Return what of a BeatPlan says where things are, as fractions.

    Parameters
    ----------
    laid : sequence of B Laid or None
        None for a clip that is not aligned: its partner sounds from its start.
    ends : Tensor, shape (B, 2), float64
        How far on the original's axis the original and an unaligned partner reach, fractions.
    seconds : Tensor, shape (B, 2), float64
        Lengths of the axes.
    keep, whole
        As for `audiomix.BeatMix`.
    """
    rows = [_row(one, end, axis, keep, whole) for one, end, axis in zip(laid, ends.tolist(), seconds.tolist())]
    own_warp = tuple(row["own_warp"] for row in rows) if any(len(row["own_warp"]) for row in rows) else ()
    numbers = {n: torch.tensor([r[n] for r in rows], dtype=torch.float64) for n in ("shift", *_SPANS)}
    return {
        **numbers,
        "aligned": torch.tensor([one is not None for one in laid]),
        "unit": tuple("" if one is None else one.match.unit for one in laid),
        "semitones": torch.tensor([0 if one is None else one.match.semitones for one in laid]),
        "warp": tuple(row["warp"] for row in rows),
        "own_warp": own_warp,
    }


_SPANS = ("overlap", "kept", "fade")


def _row(laid: Laid | None, ends: list[float], seconds: list[float], keep: str, whole: bool) -> dict[str, Any]:
    nothing = torch.zeros(0, 2, dtype=torch.float64)
    if laid is None:
        spans = {"overlap": (0.0, ends[1]), "kept": (0.0, 1.0), "fade": (0.0, 0.0)}
        return {"shift": 0.0, **spans, "warp": nothing, "own_warp": nothing}
    found, axis = laid.alignment, seconds[0]
    start, end = float(found.target[0]) / axis, float(found.target[-1]) / axis
    kept, fade, own = (0.0, 1.0), (0.0, 0.0), nothing
    if found.fade is not None and found.own is not None:
        fade = found.fade[0] / axis, found.fade[1] / axis
        kept = (0.0, end if whole else min(ends[0], end))
        own = torch.from_numpy(found.own / axis)
    elif keep != "original":
        kept = (start, end)
    warp = torch.from_numpy(np.stack([found.target / axis, found.source / seconds[1]], 1))
    shift = (found.anchor[0] - found.anchor[1]) / axis
    return {"shift": shift, "overlap": (start, end), "kept": kept, "fade": fade, "warp": warp, "own_warp": own}


def weight(places: dict[str, Any], ratio: Tensor, ends: Tensor) -> Tensor:
    """Return the original's share of what comes out, (B,), float64.

    Overlaid: its share of the sum over the valid area, as in mixup; `ratio` where the partner covers all that is kept.
    Cross-faded: the mean of cos^2 through the fade, 1 before and 0 behind it.

    Parameters
    ----------
    places : dict
        From `places`.
    ratio : Tensor, shape (B,), float64
        The original's share where both sound.
    ends : Tensor, shape (B,), float64
        How far the originals reach, fractions.
    """
    kept, (start, stop) = places["kept"], places["fade"].unbind(1)
    both = (places["overlap"][:, 1] - places["overlap"][:, 0]).clamp(min=0)
    steady = area_share(ratio, kept[:, 1].minimum(ends) - kept[:, 0], both)
    through = ((kept[:, 1] - start) / (stop - start).clamp(min=1e-12)).clamp(0, 1)
    faded = through / 2 + torch.sin(torch.pi * through) / (2 * torch.pi)  # the integral of cos^2(pi / 2 u)
    faded = (start.minimum(kept[:, 1]) + (stop - start) * faded) / kept[:, 1].clamp(min=1e-12)
    return torch.where(stop > start, faded, torch.where(ratio < 1, steady, 1.0)).clamp(0, 1)


def mean_share(places: dict[str, Any], ratio: Tensor, ends: Tensor) -> Tensor:
    """Return the mean of the original's share over what comes out: `ratio` in the overlap, 1 outside; as `weight`."""
    kept, sounds = places["kept"], places["overlap"]
    start, stop = kept[:, 0], kept[:, 1].minimum(ends)
    both = (sounds[:, 1].minimum(stop) - sounds[:, 0].maximum(start)).clamp(min=0)
    return (1 - (1 - ratio) * both / (stop - start).clamp(min=1e-12)).clamp(0, 1)


def frame_map(plan: BeatPlan, size: int, other_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return which frames of the two streams are heard in each frame of the mix.

    Parameters
    ----------
    plan : BeatPlan
    size, other_size : int
        Frames of the originals' and of the partners' axes.

    Returns
    -------
    own, partner : Tensor, shape (B, N), int64
        Indices of frames; -1 where nothing is.
    share : Tensor, shape (B, N), float64
        The original's share.
    """
    number = torch.arange(plan.size(size), dtype=torch.float64)
    place = plan.kept[:, :1] + (number + 0.5) / size
    valid = place < plan.kept[:, 1:]
    own, partner = torch.full(place.shape, -1), torch.full(place.shape, -1)
    for i in range(len(plan)):
        at = place[i]
        if len(plan.own_warp) and len(plan.own_warp[i]):
            own[i] = _frames(at, plan.own_warp[i], size)
        else:
            own[i] = torch.where(at < 1, (at * size).long(), -1)
        if len(plan.warp[i]):
            partner[i] = _frames(at, plan.warp[i], other_size)
        else:
            inside = (at >= plan.overlap[i, 0]) & (at < plan.overlap[i, 1])
            partner[i] = torch.where(inside, (at * size).long(), -1)
    own, partner = torch.where(valid, own, -1), torch.where(valid, partner, -1)
    return own, partner.clamp(max=other_size - 1), plan.share_at(place)


# Two beats are at least 0.1 s apart: within this they are one.
_SAME = 0.05


def mixed_grid(plan: BeatPlan, index: int, own: BeatGrid, partner: BeatGrid | None) -> BeatGrid:
    """Return the beats of a mix, in seconds of what comes out.

    Overlaid, the partner keeps the original's time: the original's beats. Cross-faded: the original's up to the end of
    the fade, the partner's from there.

    Parameters
    ----------
    plan : BeatPlan
    index : int
        Which clip of the plan.
    own, partner : BeatGrid
        The grids of its original and its partner, as they were laid on each other: smoothed.
    """
    seconds, other_seconds = plan.seconds[index].tolist()
    start, stop = (plan.kept[index] * seconds).tolist()
    if plan.fade[index, 1] == 0 or partner is None:
        return replace(own, tracker="mix").between(start, stop)
    mine, theirs = plan.own_warp[index].numpy(), plan.warp[index].numpy()
    last, begin, end = mine[-1, 1] * seconds, theirs[0, 1] * other_seconds, theirs[-1, 1] * other_seconds
    beats = np.interp(own.array, mine[:, 1] * seconds, mine[:, 0] * seconds)
    behind = np.interp(partner.array, theirs[:, 1] * other_seconds, theirs[:, 0] * seconds)
    kept = [i for i, t in enumerate(own.times) if t <= last + _SAME]
    fade_end = float(plan.fade[index, 1]) * seconds
    more = [j for j, t in enumerate(partner.times) if begin < t <= end + 1e-6 and behind[j] > fade_end + _SAME]
    positions = None
    if own.positions is not None and partner.positions is not None:
        positions = [own.positions[i] for i in kept] + [partner.positions[j] for j in more]
    times = [float(beats[i]) for i in kept] + [float(behind[j]) for j in more]
    theirs_key = None if partner.key is None else shifted_key(partner.key, int(plan.semitones[index]))
    key = own.key if own.key == theirs_key else None  # a piece that changes key has none
    return BeatGrid(times, positions, tracker="mix", key=key).between(start, stop)


def described(plan: BeatPlan, index: int, own: BeatGrid | None, partner: BeatGrid | None) -> dict[str, Any]:
    """Return what a manifest says of a mix, as plain values: alignment, beats, tempo, metre, key, trackers."""
    grid = None if own is None else mixed_grid(plan, index, own, partner if bool(plan.aligned[index]) else None)
    rate = float(plan.rates[index])
    return {
        "aligned": bool(plan.aligned[index]),
        "why": plan.why[index] or None,
        "aligned_on": plan.unit[index] or None,
        "partner_rate": round(rate, 6) if rate == rate else None,
        "partner_semitones": int(plan.semitones[index]),
        "beats": [] if grid is None else [round(t, 6) for t in grid.times],
        "positions": [] if grid is None or grid.positions is None else list(grid.positions),
        "bpm": None if grid is None or grid.bpm is None else round(grid.bpm, 3),
        "metre": None if grid is None else grid.metre,
        "key": None if grid is None else grid.key,
        "trackers": [None if g is None else g.tracker for g in (own, partner)],
    }


def _frames(at: Tensor, knots: Tensor, size: int) -> Tensor:
    """Return the frames that a map puts at places `at` (N,); -1 outside of it."""
    place, source = knots[:, 0].numpy(), knots[:, 1].numpy()
    found = torch.from_numpy(np.floor(np.interp(at.numpy(), place, source) * size)).long()
    inside = (at >= place[0]) & (at < place[-1])
    return torch.where(inside, found.clamp(0, size - 1), -1)
