"""What a picture of a beat mix shows: both sounds and their beats, as recorded and as they are heard in the mix."""

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..audio import io
from ..audio.io import Clip
from ..beats.grid import BeatGrid
from ..beats.plan import BeatPlan
from ..beats.render import render_tracks
from ..clips import Clips

__all__ = ["Beats", "Scene", "apart", "scene"]

# What is a little longer than asked for is shown whole.
_SLACK = 1.25


class Beats(NamedTuple):
    """Beat times in seconds, and which of them are downbeats."""

    times: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, grid: BeatGrid | None) -> "Beats":
        """Return the beats of a grid; none of None."""
        if grid is None:
            return cls(np.zeros(0), np.zeros(0, dtype=bool))
        return cls(grid.array, np.isin(np.arange(len(grid)), grid.downbeats))

    def within(self, start: float, stop: float) -> "Beats":
        """Return those from `start` to `stop`."""
        kept = (self.times >= start - 1e-9) & (self.times <= stop + 1e-9)
        return Beats(self.times[kept], self.first[kept])

    def map_times(self, source: np.ndarray, target: np.ndarray) -> "Beats":
        """Return those that a map covers, where it puts them."""
        kept = self.within(source[0], source[-1])
        return Beats(np.interp(kept.times, source, target), kept.first)

    def shift(self, by: float) -> "Beats":
        """Return them `by` seconds later."""
        return Beats(self.times + by, self.first)


@dataclass(frozen=True, eq=False)
class Scene:
    """Sounds (T,) and beats of original and partner.

    Parameters
    ----------
    plan : BeatPlan
        Of one clip and its partner in a second batch.
    rate : int
        Hz.
    recorded, beats
        The two as recorded, in their own seconds.
    played, played_beats
        The two as heard in the mix, with their gains, on the original's time axis. A partner that is left out is
        silent and has no beats.
    window : (float, float)
        What is shown of the original's time axis, seconds.
    partner_window : (float, float)
        As much of the partner as recorded, with what is heard of it.
    """

    plan: BeatPlan
    rate: int
    recorded: tuple[Tensor, Tensor]
    beats: tuple[Beats, Beats]
    played: tuple[Tensor, Tensor]
    played_beats: tuple[Beats, Beats]
    window: tuple[float, float]
    partner_window: tuple[float, float]

    @property
    def has_partner(self) -> bool:
        """Whether the partner is."""
        return bool(self.plan.aligned[0]) or float(self.plan.weight[0]) < 1

    @property
    def output_span(self) -> tuple[int, int]:
        """From where to where the mix comes out, in samples of the original's axis."""
        size = round(float(self.plan.seconds[0, 0]) * self.rate)
        start = round(float(self.plan.kept[0, 0]) * size)
        lengths = self.plan.mixed_lengths(torch.tensor([size]), size)
        assert lengths is not None
        return start, start + int(lengths[0])


def scene(
    plan: BeatPlan,
    index: int,
    clips: tuple[Clip, Clip],
    grids: tuple[BeatGrid | None, BeatGrid | None],
    *,
    seconds: float,
) -> Scene:
    """Play clip `index` of a plan, and find out where the beats come to lie.

    Parameters
    ----------
    plan : BeatPlan
        What `audiomix.BeatMix` drew for a batch.
    index : int
        Which clip of it.
    clips : (Clip, Clip)
        Original and partner, of one rate, not padded.
    grids : (BeatGrid or None, BeatGrid or None)
        Beats of original and partner; None where they are not known.
    seconds : float
        How much of longer sounds is shown.
    """
    plan, rate = _one(plan, index), clips[0].rate
    x, other = (clip.samples.float().mean(0) for clip in clips)
    sizes = (plan.seconds[0] * rate).round().long().tolist()
    padded = [io.fit_length(wave, size)[None] for wave, size in zip((x, other), sizes)]
    ends = [torch.tensor([min(len(wave), size)]) for wave, size in zip((x, other), sizes)]
    mine, theirs = render_tracks(Clips(padded[0], ends[0]), Clips(padded[1], ends[1]), plan)
    a, b = (float(gain) for gain in plan.gains())
    beats = Beats.of(grids[0]), Beats.of(grids[1])
    window = _window(plan, mine.shape[-1] / rate, seconds)
    theirs_window = _partner_window(plan, window)
    return Scene(
        plan, rate, (x, other), beats, (a * mine[0], b * theirs[0]), _map_beats(plan, beats), window, theirs_window
    )


def apart(a: Beats, b: Beats) -> float | None:
    """Return how far a beat of the sparser is at most from one of the other, in seconds; None where they never meet.

    Where one has two beats to one of the other, every second one has none to meet, which is not counted.
    """
    if min(len(a.times), len(b.times)) < 2:
        return None
    few, many = sorted((a.times, b.times), key=lambda times: -float(np.median(np.diff(times))))
    few = few[(few >= many[0] - 1e-9) & (few <= many[-1] + 1e-9)]
    return float(np.abs(few[:, None] - many).min(1).max()) if len(few) else None


def _one(plan: BeatPlan, index: int) -> BeatPlan:
    """Return the plan of one clip, whose partner is the only one of a second batch."""
    found = {f.name: getattr(plan, f.name) for f in fields(plan)}
    cut: dict[str, Any] = {
        n: v[index : index + 1] for n, v in found.items() if isinstance(v, (Tensor, tuple)) and len(v)
    }
    return replace(plan, **{**cut, "partner": torch.zeros(1, dtype=torch.int64)})


def _map_beats(plan: BeatPlan, beats: tuple[Beats, Beats]) -> tuple[Beats, Beats]:
    """Return where the beats of both are heard, on the original's time axis."""
    (own, partner), (seconds, other_seconds) = beats, plan.seconds[0].tolist()
    if len(plan.own_warp) and len(plan.own_warp[0]):
        place, source = (plan.own_warp[0] * seconds).T.numpy()
        own = own.map_times(source, place)
    if len(plan.warp[0]):
        place, source = plan.warp[0].T.numpy()
        return own, partner.map_times(source * other_seconds, place * seconds)
    start, stop = (plan.overlap[0] * seconds).tolist() if plan.weight[0] < 1 else (0.0, -1.0)
    return own, partner.within(start, stop)


def _window(plan: BeatPlan, total: float, seconds: float) -> tuple[float, float]:
    """Return what is shown of the original's axis: all, or from where the partner enters, or around a cross-fade."""
    start, stop = (plan.fade[0] * plan.seconds[0, 0]).tolist()
    size = max(seconds, 1.5 * (stop - start))
    if total <= _SLACK * size:
        return 0.0, total
    first = (start + stop - size) / 2 if stop > start else float(plan.overlap[0, 0] * plan.seconds[0, 0]) - 1.0
    first = min(max(first, 0.0), total - size)
    return first, first + size


def _partner_window(plan: BeatPlan, window: tuple[float, float]) -> tuple[float, float]:
    """Return what is shown of the partner as recorded: the same, if that holds what is heard; else from a second on."""
    start, stop = window
    if not len(plan.warp[0]):
        return window
    place, source = (plan.warp[0] * plan.seconds[0]).T.numpy()
    first, last = np.interp(window, place, source)
    if start <= first + 1e-6 and last <= stop + 1e-6:
        return window
    begin = max(0.0, float(np.floor(first - max(0.0, place[0] - start))))
    return begin, begin + stop - start
