"""The plan of scenes: who sounds with whom, when and how loud, and what is said of it."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .. import check
from ..part import Part
from ..plan import NOT_DRAWN
from ..plan_sources import PlacedPlan
from .scene import Scene, SoundEvent
from .tree import Tree

__all__ = ["CaptionedScene", "ScenePlan"]


@dataclass(frozen=True)
class CaptionedScene:
    """What was drawn for one clip.

    Parameters
    ----------
    partners : list of int
        Rows of the batch that partners come from.
    scene : Scene
        Its events belong to the original and to the partners, in this order.
    texts : list of str
        By source: the caption that was taken of it.
    chosen : list of int
        By source: which of its captions that is; -1 where it has none.
    caption : str
        What is said of the mix; empty where nothing is.
    why : str
        Why the clip stays alone; empty otherwise.
    negatives : tuple of (str, str)
        Kinds and texts of captions that are false of it.
    """

    partners: list[int]
    scene: Scene
    texts: list[str]
    chosen: list[int]
    caption: str
    why: str = ""
    negatives: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class ScenePlan(PlacedPlan):
    """Who sounds with whom, when and how loud. S is the largest number of sources, the original included.

    Places in the mix are fractions of the original's (padded) time axis; they may exceed 1 where a scene is longer.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    partners, gain_db, at, piece, active, length, seconds
        See `audiomix.plan_sources.PlacedPlan`.
    shares : Tensor, shape (B, S), float64
        Each source's share of the energy.
    snr_db : Tensor, shape (B, S), float64
        How far each source's level lies below the original's in the mixer's measure; infinite where it is left out.
    fade : Tensor, shape (B, S, 2), float64
        Lengths of its fades.
    tree : tuple of str
        JSON; see `audiomix.captions.tree`. ``0`` where the original is alone.
    named : Tensor, shape (B, S), bool
        Sources that the caption names: those that can be heard.
    chosen : Tensor, shape (B, S), int64
        Which of a source's captions was taken; -1 where it has none.
    texts : tuple of (tuple of str)
        The captions taken, by source.
    caption : tuple of str
        What is said of the mix; empty where there are no words.
    plain : bool
        Every source sounds from its start, unfaded, within the original: the mix is a plain sum.
    keep_length : bool, optional
        Each mix is as long as its original, with silence behind a scene that is shorter; else it is as long as the
        scene.
    measure : str, optional
        What `snr_db` is a difference of: levels over the ``active`` part, or ``rms`` over all that is heard; None for
        A-weighted levels, and in plans of the first edition.
    negatives : tuple of (tuple of (str, str)), optional
        Kinds and texts of hard negatives, where they were asked for. Not written to JSON.
    """

    snr_db: Tensor
    fade: Tensor
    tree: tuple[str, ...]
    named: Tensor
    chosen: Tensor
    texts: tuple[tuple[str, ...], ...]
    caption: tuple[str, ...]
    plain: bool = False
    keep_length: bool | None = None
    measure: str | None = None
    negatives: tuple[tuple[tuple[str, str], ...], ...] | None = field(default=None, metadata={"stored": False})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tree", "caption"):
            if len(getattr(self, name)) != len(self):
                check.fail(name, f"of {len(self)} items, as partner is", len(getattr(self, name)))

    @classmethod
    def of(
        cls,
        rows: Sequence[CaptionedScene],
        sizes: tuple[int, int],
        rate: int,
        *,
        most: int,
        in_batch: bool,
        keep_length: bool,
        measure: str | None = None,
        negatives: bool = False,
    ) -> "ScenePlan":
        """Return the plan of drawn scenes: samples become fractions of the clips.

        Parameters
        ----------
        rows : sequence of CaptionedScene
            One a clip.
        sizes : (int, int)
            Samples of the axes of originals and partners.
        rate : int
            In Hz.
        most : int
            Largest number of sources, the original included.
        in_batch : bool
            Whether partners come from the batch itself: a clip that is alone is then its own partner.
        keep_length : bool
            Whether mixes are as long as their originals.
        measure : str, optional
            What the SNRs are differences of: ``active`` or ``rms``.
        negatives : bool
            Whether hard negatives were written.
        """
        entries = [_numbers(row, i if in_batch else 0, sizes, rate, most) for i, row in enumerate(rows)]
        numbers = {
            name: torch.tensor([entry[name] for entry in entries], dtype=kind)
            for kind, names in _KINDS.items()
            for name in names
        }
        return cls(
            **numbers,
            weight=numbers["shares"][:, 0].clone().clamp(0, 1),
            tree=tuple(json.dumps(row.scene.tree) for row in rows),
            texts=tuple(tuple(row.texts) for row in rows),
            caption=tuple(row.caption for row in rows),
            why=tuple(row.why for row in rows),
            plain=keep_length and all(_is_plain(row.scene) for row in rows),
            keep_length=keep_length or None,
            measure=measure,
            negatives=tuple(row.negatives for row in rows) if negatives else None,
        )

    @classmethod
    def identity(cls, size: int) -> "ScenePlan":
        """Return the plan in which each of `size` clips is alone and nothing is said of it."""
        alone = CaptionedScene([], Scene(0, (SoundEvent(0, 0, 1, 0, 0, share=1.0),), 1), [""], [-1], "", NOT_DRAWN)
        return cls.of([alone] * size, (1, 1), 1, most=2, in_batch=True, keep_length=True)

    def parts(self, index: int) -> list[Part]:
        """Return the sources of one mix where they sound, with their fades, the original's first."""
        fades = self.fade[index].tolist()
        parts = zip(super().parts(index), self.source_numbers(index))
        return [replace(part, fade_in=fades[k][0], fade_out=fades[k][1]) for part, k in parts]

    @property
    def _keeps_length(self) -> bool:
        return bool(self.keep_length or self.plain)  # plans of the first edition have `plain` alone

    def scene(self, index: int) -> Tree:
        """Return the tree of a mix."""
        return json.loads(self.tree[index])

    def describe(self, index: int) -> dict[str, Any]:
        """Return what a manifest says of a scene: its words, its tree, and when each source sounds."""
        seconds = float(self.seconds[index])
        texts, caption = self.texts[index], self.caption[index]
        sources = self.source_numbers(index)
        events = [
            {
                "source": k,
                "onset": round(float(self.active[index, k, 0]) * seconds, 6),
                "offset": round(float(self.active[index, k, 1]) * seconds, 6),
                "caption": texts[k] if k < len(texts) else None,
                "named": bool(self.named[index, k]),
                "snr_db": _finite(round(float(self.snr_db[index, k]), 6)),
                "gain_db": round(float(self.gain_db[index, k]), 6),
            }
            for k in sources
        ]
        found: dict[str, Any] = {
            "caption": caption or None,
            "captions": [event["caption"] for event in events if event["named"] and event["caption"]],
            "caption_by": "template" if caption and len(sources) > 1 else None,
            "caption_why": None,
            "tree": self.tree[index],
            "events": events,
            "snr_measure": self.measure,
            "why": self.why[index] or None,
        }
        if self.negatives is not None:
            found["negatives"] = [{"kind": kind, "caption": text} for kind, text in self.negatives[index]]
        return found


_KINDS = {
    torch.int64: ("partner", "partners", "chosen"),
    torch.float64: ("shares", "gain_db", "snr_db", "at", "piece", "fade", "active", "length", "seconds"),
    torch.bool: ("named",),
}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _numbers(row: CaptionedScene, itself: int, sizes: tuple[int, int], rate: int, most: int) -> dict[str, Any]:
    """Return the numbers of one clip by the names of the plan's fields."""
    events = [*row.scene.events, *[None] * (most - len(row.scene.events))]
    axes = [sizes[0]] + [sizes[1]] * (most - 1)
    nothing = (0.0, 0.0)
    return {
        "partner": row.partners[0] if row.partners else itself,
        "partners": row.partners + [-1] * (most - 1 - len(row.partners)),
        "chosen": row.chosen + [-1] * (most - len(row.chosen)),
        "shares": [0.0 if e is None else e.share for e in events],
        "gain_db": [-math.inf if e is None or e.gain <= 0 else 20 * math.log10(e.gain) for e in events],
        "snr_db": [math.inf if e is None else e.snr_db for e in events],
        "at": [0.0 if e is None else e.at / sizes[0] for e in events],
        "piece": [nothing if e is None else (e.begin / axis, e.end / axis) for e, axis in zip(events, axes)],
        "fade": [nothing if e is None else (e.fade_in / sizes[0], e.fade_out / sizes[0]) for e in events],
        "active": [nothing if e is None else tuple(t * rate / sizes[0] for t in e.active) for e in events],
        "length": row.scene.length / sizes[0],
        "seconds": sizes[0] / rate,
        "named": [e is not None and e.named for e in events],
    }


def _is_plain(scene: Scene) -> bool:
    """Return whether a scene is two whole clips from their starts on, or one alone."""
    return len(scene.events) <= 2 and all(
        (event.at, event.begin, event.fade_in, event.fade_out) == (0, 0, 0, 0) and event.whole for event in scene.events
    )
