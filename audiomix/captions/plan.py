"""The plan of a scene of several sounds, and its tracks: what each source adds to the mix."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import check
from ..plan import Plan
from .scene_draw import Made, segment

__all__ = ["Row", "ScenePlan", "frame_index", "plan_of", "scene_tracks"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ScenePlan(Plan):
    """Who sounds with whom, when and how loud. S is the largest number of sources, the original included.

    Places in the mix are fractions of the original's (padded) time axis; they may exceed 1 where a scene is longer.

    Parameters
    ----------
    partners : Tensor, shape (B, S - 1), int64
        Index of each further source in the batch, or in `other`; -1 where there is none. `partner` is the first.
    shares : Tensor, shape (B, S), float64
        Each source's share of the energy; `weight` is the original's.
    gain_db : Tensor, shape (B, S), float64
        ``-inf`` for a source that is left out.
    snr_db : Tensor, shape (B, S), float64
        How far each source's level lies below the original's in the mixer's measure; infinite where it is left out.
    at : Tensor, shape (B, S), float64
        Where each source's piece begins in the mix.
    piece : Tensor, shape (B, S, 2), float64
        What of each source is heard: fractions of its own time axis.
    fade : Tensor, shape (B, S, 2), float64
        Lengths of its fades.
    active : Tensor, shape (B, S, 2), float64
        Onset and offset of its active part in the mix.
    length : Tensor, shape (B,), float64
        Of the mix.
    seconds : Tensor, shape (B,), float64
        Length in seconds of the original's axis.
    tree : tuple of str
        JSON; see `audiomix.captions.layout`. ``0`` where the original is alone.
    named : Tensor, shape (B, S), bool
        Sources that the caption names: those that can be heard.
    chosen : Tensor, shape (B, S), int64
        Which of a source's captions was taken; -1 where it has none.
    texts : tuple of (tuple of str)
        The captions taken, by source.
    caption : tuple of str
        What is said of the mix; empty where there are no words.
    why : tuple of str
        Why a clip was left alone; else empty.
    plain : bool
        Every source sounds from its start, unfaded, within the original: the mix is a plain sum.
    """

    partners: Tensor
    shares: Tensor
    gain_db: Tensor
    snr_db: Tensor
    at: Tensor
    piece: Tensor
    fade: Tensor
    active: Tensor
    length: Tensor
    seconds: Tensor
    tree: tuple[str, ...]
    named: Tensor
    chosen: Tensor
    texts: tuple[tuple[str, ...], ...]
    caption: tuple[str, ...]
    why: tuple[str, ...]
    plain: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("partners", "shares", "gain_db", "at", "piece", "tree", "caption", "why"):
            if len(getattr(self, name)) != len(self):
                check.fail(name, f"of {len(self)} items, as partner is", len(getattr(self, name)))

    def gains(self) -> tuple[Tensor, Tensor]:
        """Amplitude of the original and of the first partner; two tensors (B,), float64."""
        linear = torch.pow(10.0, self.gain_db[:, :2] / 20)
        return linear[:, 0], linear[:, 1]

    def size(self, size: int) -> int:
        """Return how many samples come out for originals of `size` samples."""
        return max(size, round(float(self.length.max()) * size))

    def sources(self, index: int) -> list[int]:
        """Return the numbers of the sources that are in a mix."""
        return [k for k, gain in enumerate(self.gain_db[index].tolist()) if gain > -math.inf]

    def scene(self, index: int) -> Any:
        """Return the tree of a mix."""
        return json.loads(self.tree[index])


def scene_tracks(
    x: Tensor, plan: ScenePlan, index: int, *, other: Tensor | None = None, size: int | None = None
) -> list[Tensor | None]:
    """Return what each source adds to one mix, before its gain: (C, N) for each, None for one that is left out.

    Parameters
    ----------
    x : Tensor, shape (B, C, T)
    plan : ScenePlan
    index : int
        Which mix.
    other : Tensor, shape (M, C, T'), optional
        Where partners come from.
    size : int, optional
        Samples N of the result; ``plan.size(T)`` by default.
    """
    source, span = (x if other is None else other), x.shape[-1]
    size = plan.size(span) if size is None else size
    heard, tracks = plan.sources(index), list[Tensor | None]()
    for k in range(plan.gain_db.shape[1]):
        if k not in heard:
            tracks.append(None)
            continue
        clip = x[index] if k == 0 else source[int(plan.partners[index, k - 1])]
        begin, end = (round(v * clip.shape[-1]) for v in plan.piece[index, k].tolist())
        fades = [round(v * span) for v in plan.fade[index, k].tolist()]
        sound = segment(clip, begin, end, *fades)
        at = round(float(plan.at[index, k]) * span)
        sound = sound[..., : max(0, size - at)]
        tracks.append(torch.nn.functional.pad(sound, (at, size - at - sound.shape[-1])))
    return tracks


def frame_index(plan: ScenePlan, source: int, frames: int, sizes: Sequence[int]) -> Tensor:
    """Return which frame of a source sounds in each frame of each mix, (B, N), int64; -1 where it does not.

    Parameters
    ----------
    plan : ScenePlan
    source : int
        0 is the original.
    frames : int
        Frames of the originals' axis.
    sizes : (int, int)
        Frames of that source's axis, and of the mix.
    """
    own, size = sizes
    place = (torch.arange(size, dtype=torch.float64) + 0.5) / frames
    begin, end = plan.piece[:, source, :1], plan.piece[:, source, 1:]
    # both axes have the same frames a second, so that lengths compare in frames
    at = begin + (place - plan.at[:, source, None]) * frames / own
    inside = (at >= begin) & (at < end) & (plan.gain_db[:, source, None] > -math.inf)
    return torch.where(inside, (at * own).long().clamp(0, own - 1), -1)


@dataclass(frozen=True)
class Row:
    """What was drawn for one clip: its partners, its scene, the captions taken and the one written."""

    partners: list[int]
    made: Made
    texts: list[str]
    chosen: list[int]
    caption: str
    why: str = ""


def plan_of(
    rows: Sequence[Row], spans: tuple[int, int], rate: int, *, most: int, in_batch: bool, cut: bool
) -> ScenePlan:
    """Bring what was drawn into fractions of the clips.

    Parameters
    ----------
    rows : sequence of Row
    spans : (int, int)
        Samples of the axes of originals and partners.
    rate : int
        Hz.
    most : int
        Largest number of sources, the original included.
    in_batch : bool
        Whether partners come from the batch itself: a clip that is alone is then its own partner.
    cut : bool
        Whether mixes are as long as their originals.
    """
    entries = [_entry(row, i if in_batch else 0, spans, rate, most) for i, row in enumerate(rows)]
    numbers = {
        name: torch.tensor([entry[name] for entry in entries], dtype=kind)
        for kind, names in _KINDS.items()
        for name in names
    }
    return ScenePlan(
        **numbers,
        weight=numbers["shares"][:, 0].clone().clamp(0, 1),
        tree=tuple(json.dumps(row.made.tree) for row in rows),
        texts=tuple(tuple(row.texts) for row in rows),
        caption=tuple(row.caption for row in rows),
        why=tuple(row.why for row in rows),
        plain=cut and all(_is_plain(row.made) for row in rows),
    )


_KINDS = {
    torch.int64: ("partner", "partners", "chosen"),
    torch.float64: ("shares", "gain_db", "snr_db", "at", "piece", "fade", "active", "length", "seconds"),
    torch.bool: ("named",),
}


def _entry(row: Row, itself: int, spans: tuple[int, int], rate: int, most: int) -> dict[str, Any]:
    found = [*row.made.sources, *[None] * (most - len(row.made.sources))]
    sizes = [spans[0]] + [spans[1]] * (most - 1)
    nothing = (0.0, 0.0)
    return {
        "partner": row.partners[0] if row.partners else itself,
        "partners": row.partners + [-1] * (most - 1 - len(row.partners)),
        "chosen": row.chosen + [-1] * (most - len(row.chosen)),
        "shares": [0.0 if s is None else s.share for s in found],
        "gain_db": [-math.inf if s is None or s.gain <= 0 else 20 * math.log10(s.gain) for s in found],
        "snr_db": [math.inf if s is None else s.snr_db for s in found],
        "at": [0.0 if s is None else s.at / spans[0] for s in found],
        "piece": [nothing if s is None else (s.begin / t, s.end / t) for s, t in zip(found, sizes)],
        "fade": [nothing if s is None else (s.fade_in / spans[0], s.fade_out / spans[0]) for s in found],
        "active": [nothing if s is None else tuple(t * rate / spans[0] for t in s.active) for s in found],
        "length": row.made.length / spans[0],
        "seconds": spans[0] / rate,
        "named": [s is not None and s.named for s in found],
    }


def _is_plain(made: Made) -> bool:
    """Whether a scene is two whole clips from their starts on, or one alone."""
    return len(made.sources) <= 2 and all(
        (s.at, s.begin, s.fade_in, s.fade_out) == (0, 0, 0, 0) and s.whole for s in made.sources
    )
