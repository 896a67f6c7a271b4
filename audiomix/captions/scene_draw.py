"""Make a scene of sounds: draw when each sounds and how loud, until what the words say of it can be true."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .. import draw
from ..audio import level
from ..draw import Generator
from . import layout as scene
from .audible import audible_share

__all__ = ["Heard", "Made", "SceneMaker", "active_span", "segment"]

# Placements that are tried until the words can be true (numbers only), and until all can be heard (with the sound).
_PLACINGS, _SOUNDINGS = 32, 4
# A source is in a scene if so many seconds and such a share of its active part are heard. Two frames of 25 ms are the
# least of which audibility in mel bands says anything; of a dog that barks three times half is still a dog that barks.
_LEAST_SECONDS, _LEAST_HEARD = 0.05, 0.5
# Label ratios of between-class learning closer to 0 or 1 would leave one of the two out.
_LEAST_RATIO = 1e-3


@dataclass(frozen=True)
class Heard:
    """One source of a scene.

    When it sounds (`at`) and what of it (`begin` to `end`, `fade_in`, `fade_out`), in samples; its gain, SNR in dB and
    share of the energy; whether it is `named`; its `active` part in the mix, seconds; whether its end is its clip's, or
    the end of all that may sound.
    """

    at: int
    begin: int
    end: int
    fade_in: int
    fade_out: int
    gain: float = 1.0
    snr_db: float = 0.0
    share: float = 0.0
    named: bool = True
    active: scene.Span = (0.0, 0.0)
    whole: bool = True


@dataclass(frozen=True)
class Made:
    """A scene: its tree, its sources in their order, and its length in samples."""

    tree: Any
    sources: tuple[Heard, ...]
    length: int


def active_span(sound: Tensor, rate: int) -> scene.Span | None:
    """Return when a sound (C, T) first and last is active, in seconds; None for silence."""
    on = level.active(sound[None])[0].nonzero() if sound.shape[-1] else torch.empty(0)
    return None if not len(on) else (float(on[0]) / rate, (float(on[-1]) + 1) / rate)


@dataclass(frozen=True)
class SceneMaker:
    """How scenes are made; the options are those of `audiomix.CaptionMix`."""

    rate: int
    snr_db: tuple[float, float]
    placement: str
    level: str
    crossfade: float
    min_bands: int
    min_share: float
    worded: bool

    def make(self, clips: Sequence[Tensor], limit: int | None, generator: Generator = None) -> Made | str:
        """Make a scene of clips (C, T), or say why none can be put into words.

        Parameters
        ----------
        clips : sequence of Tensor, shape (C, T)
            The original first; of any lengths.
        limit : int, optional
            Samples; what sounds later is cut.
        generator : torch.Generator, optional
        """
        active = [active_span(clip, self.rate) for clip in clips]
        if self.worded and None in active:
            return f"silence cannot be named: source {active.index(None)}"
        spans = {k: span or (0.0, clips[k].shape[-1] / self.rate) for k, span in enumerate(active)}
        best: Made | str = "no placement of which any words are true"
        for _ in range(_SOUNDINGS if self.worded else 1):
            placed = self._placed(clips, spans, limit, generator)
            if isinstance(placed, str):
                return best if isinstance(best, Made) else placed
            made = self._sounded(clips, spans, *placed, generator)
            if isinstance(made, str):
                continue
            if all(one.named for one in made.sources):
                return made
            best = made if isinstance(best, str) else best
        return best

    def _placed(
        self, clips: Sequence[Tensor], spans: dict[int, scene.Span], limit: int | None, generator: Generator
    ) -> tuple[Any, list[Heard]] | str:
        """Draw a placement of which words can be true: tree and pieces."""
        seconds = {k: clip.shape[-1] / self.rate for k, clip in enumerate(clips)}
        for _ in range(_PLACINGS):
            kind = self._kind(len(clips), generator)
            tree = scene.draw_tree(len(clips), kind, generator=generator)
            once = kind == "together"
            pieces = scene.place(tree, seconds, spans, crossfade=self.crossfade, at_once=once, generator=generator)
            found = [self._in_samples(pieces[k], clips[k].shape[-1], limit) for k in range(len(clips))]
            fits = all(one.end > one.begin for one in found)
            if fits and (not self.worded or self._told(tree, {k: p.heard for k, p in pieces.items()}) is not None):
                return tree, found
            if once:  # nothing is drawn: it will not change
                break
        return "no placement of which any words are true"

    def _kind(self, sources: int, generator: Generator) -> str:
        if self.placement != "random":
            return self.placement
        kinds = ["together", "offset", "sequence"] + (["tree"] if sources > 2 else [])
        return kinds[int(draw.uniform(0, len(kinds), 1, generator=generator))]

    def _in_samples(self, piece: scene.Piece, size: int, limit: int | None) -> Heard:
        begin, end = max(0, round(piece.begin * self.rate)), min(size, round(piece.end * self.rate))
        at = max(0, round((piece.start + piece.begin) * self.rate))
        fades = round(piece.fade_in * self.rate), round(piece.fade_out * self.rate)
        whole = end == size
        if limit is not None and at + end - begin > limit:
            whole, end, fades = whole or piece.fade_out == 0, begin + max(0, limit - at), (fades[0], 0)
        room = max(0, end - begin)
        return Heard(at, begin, end, min(fades[0], room), min(fades[1], room), whole=whole)

    def _told(self, tree: Any, spans: dict[int, scene.Span]) -> Any:
        """Return the tree that is true of these active parts, or None: of two sounds whichever relation they have."""
        if len(spans) > 2:
            return tree if scene.holds(tree, spans) else None
        found = scene.relation(spans[0], spans[1])
        return {"before": ["then", 0, 1], "after": ["then", 1, 0], "together": ["while", 0, 1], None: None}[found]

    def _sounded(
        self,
        clips: Sequence[Tensor],
        active: dict[int, scene.Span],
        tree: Any,
        pieces: list[Heard],
        generator: Generator,
    ) -> Made | str:
        """Scale the sources to the drawn SNRs, and look at what is heard: from the sound, not from the placement."""
        length = max(one.at + one.end - one.begin for one in pieces)
        tracks = torch.stack([_track(clip.float(), one, length) for clip, one in zip(clips, pieces)])
        spans = {k: active_span(track, self.rate) or (0.0, 0.0) for k, track in enumerate(tracks)}
        if self.worded:
            tree = self._told(tree, spans)
            if tree is None or any(_cut_short(spans[k], active[k]) for k in spans):
                return "no placement of which any words are true"
        gains, snr = self._gains(tracks, [one.end - one.begin for one in pieces], generator)
        tracks *= gains.float()[:, None, None]
        energy = tracks.double().square().sum((1, 2))
        share = energy / energy.sum().clamp(min=1e-300)
        if not float(energy.sum()) > 0:  # silence with silence: nothing to share
            share[0] = 1.0
        named = [True] * len(tracks)
        if self.worded:
            named = (audible_share(tracks, self.rate, min_bands=self.min_bands) >= self.min_share).tolist()
        numbers = zip(pieces, gains.tolist(), snr.tolist(), share.tolist(), named)
        found = [
            replace(piece, gain=gain, snr_db=far, share=part, named=bool(told), active=spans[k])
            for k, (piece, gain, far, part, told) in enumerate(numbers)
        ]
        return Made(tree, tuple(found), length)

    def _gains(self, tracks: Tensor, sizes: list[int], generator: Generator) -> tuple[Tensor, Tensor]:
        """Return each source's gain, and by how much it then lies below the original, in dB; (S,) each.

        The rms of a source is over the `sizes` samples that are heard of it, not over all of the mix.
        """
        size = len(tracks) - 1
        if self.level == "between_class":
            ratio = draw.uniform(_LEAST_RATIO, 1 - _LEAST_RATIO, size, generator=generator)
            snr = 20 * torch.log10(ratio / (1 - ratio))
            loud = level.from_db(level.a_weighted_level(tracks, self.rate))
        else:
            snr = draw.uniform(*self.snr_db, size, generator=generator)
            loud = level.level(tracks, self.level)
            if self.level == "rms":
                loud = loud * (tracks.shape[-1] / torch.tensor(sizes, dtype=torch.float64)).sqrt()
        gains = level.snr_gain(loud[:1].expand(size), loud[1:], snr)
        one = torch.ones(1, dtype=torch.float64)
        return torch.cat([one, gains]), torch.cat([one * 0, snr])


def _cut_short(heard: scene.Span, active: scene.Span) -> bool:
    """Whether too little of an active part is heard to say that the sound is there."""
    long = heard[1] - heard[0]
    return long < _LEAST_SECONDS or long < _LEAST_HEARD * (active[1] - active[0])


def segment(clip: Tensor, begin: int, end: int, fade_in: int, fade_out: int) -> Tensor:
    """Return samples `begin` to `end` of a clip (..., T), faded in and out (sine and cosine, equal power)."""
    sound = clip[..., begin:end]
    curve = torch.ones(sound.shape[-1], dtype=torch.float64)
    for size, side in ((fade_in, slice(0, fade_in)), (fade_out, slice(sound.shape[-1] - fade_out, None))):
        if size > 0:
            ramp = torch.sin(math.pi / 2 * (torch.arange(size, dtype=torch.float64) + 0.5) / size)
            curve[side] *= ramp if side.start == 0 and side.stop == fade_in else ramp.flip(0)
    return sound if fade_in <= 0 and fade_out <= 0 else sound * curve.to(sound)


def _track(clip: Tensor, piece: Heard, length: int) -> Tensor:
    sound = segment(clip, piece.begin, piece.end, piece.fade_in, piece.fade_out)
    return torch.nn.functional.pad(sound, (piece.at, length - piece.at - sound.shape[-1]))
