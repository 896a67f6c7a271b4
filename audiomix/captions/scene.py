"""Make a scene of sounds: draw when each sounds and how loud, until what the words say of it can be true."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .. import draw
from ..audio import level
from ..draw import Generator
from ..parts import place
from ..plan import Part
from .audible import are_audible
from .layout import ClipPlacement, Span, holds, lay_out, relation
from .tree import Tree, draw_tree

__all__ = ["Scene", "SceneMaker", "SoundEvent", "active_span", "active_spans"]

# Placements that are tried until the words can be true (numbers only), and until all can be heard (with the sound).
_PLACEMENTS, _RENDERINGS = 32, 4
# A source is in a scene if so many seconds and such a share of its active part are heard. Two frames of 25 ms are the
# least of which audibility in mel bands says anything; of a dog that barks three times half is still a dog that barks.
_LEAST_SECONDS, _LEAST_SHARE = 0.05, 0.5
# Label ratios of between-class learning closer to 0 or 1 would leave one of the two out.
_LEAST_RATIO = 1e-3
# Window of `audiomix.audio.level.active`, in samples.
_ACTIVE = 512
_NOTHING_TRUE = "no placement of which any words are true"


@dataclass(frozen=True)
class SoundEvent:
    """One source of a scene: when it sounds, what of it, and how loud.

    Parameters
    ----------
    at : int
        Where in the scene it begins, in samples.
    begin, end : int
        What of the clip is heard, in samples.
    fade_in, fade_out : int
        Lengths of its fades in samples.
    gain : float
        Amplitude.
    snr_db : float
        How far its level lies below the original's.
    share : float
        Its share of the energy of the scene.
    named : bool
        Whether a caption names it: it can be heard beside the others.
    active : (float, float)
        Onset and offset of its active part in the scene, in seconds.
    whole : bool
        Whether its end is its clip's, or the end of all that may sound.
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
    active: Span = (0.0, 0.0)
    whole: bool = True

    def track(self, clip: Tensor, length: int) -> Tensor:
        """Return what the event adds to a scene of `length` samples, before its gain: its clip (C, T), placed."""
        piece = (self.begin / clip.shape[-1], self.end / clip.shape[-1])
        fade_in, fade_out = self.fade_in / length, self.fade_out / length
        return place(Part(0, start=self.at / length, piece=piece, fade_in=fade_in, fade_out=fade_out), clip, length)


@dataclass(frozen=True)
class Scene:
    """A scene of sounds.

    Parameters
    ----------
    tree : JSON tree
        How the sources relate; see `audiomix.captions.tree`.
    events : tuple of SoundEvent
        One a source; the original first.
    length : int
        In samples.
    """

    tree: Tree
    events: tuple[SoundEvent, ...]
    length: int


def active_span(sound: Tensor, rate: int) -> Span | None:
    """Return when a sound (C, T) first and last is active, in seconds; None for silence.

    Parameters
    ----------
    sound : Tensor, shape (C, T)
        Samples of one clip.
    rate : int
        In Hz.
    """
    return active_spans(sound[None], rate)[0]


def active_spans(sounds: Tensor, rate: int) -> list[Span | None]:
    """Return when each of several sounds (S, C, T) is first and last active; see `active_span`.

    Parameters
    ----------
    sounds : Tensor, shape (S, C, T)
        Samples of sounds of one length.
    rate : int
        In Hz.
    """
    size = sounds.shape[-1]
    if not size:
        return [None] * len(sounds)
    spans: list[Span | None] = []
    # a window is active as a whole, or not at all
    for windows in level.active(sounds, window=_ACTIVE)[:, ::_ACTIVE]:
        on = windows.nonzero().flatten().tolist()
        spans.append((on[0] * _ACTIVE / rate, min(size, (on[-1] + 1) * _ACTIVE) / rate) if on else None)
    return spans


@dataclass(frozen=True)
class SceneMaker:
    """How scenes are made.

    Parameters
    ----------
    rate : int
        In Hz.
    snr_db, placement, level, crossfade, min_bands, min_share
        As the options of `audiomix.CaptionMix`.
    with_words : bool
        Whether words must be true of the scene, and its sources are tested for being heard.
    """

    rate: int
    snr_db: tuple[float, float]
    placement: str
    level: str
    crossfade: float
    min_bands: int
    min_share: float
    with_words: bool

    def make(self, clips: Sequence[Tensor], limit: int | None, generator: Generator = None) -> Scene | str:
        """Return a scene of clips (C, T), or why none can be put into words.

        Parameters
        ----------
        clips : sequence of Tensor, shape (C, T)
            The original first; of any lengths.
        limit : int, optional
            Samples; what sounds later is cut.
        generator : torch.Generator, optional
            On the CPU; None means torch's global one.
        """
        active = [active_span(clip, self.rate) for clip in clips]
        if None in active:
            return f"silence {'cannot be named' if self.with_words else 'has no level'}: source {active.index(None)}"
        spans = {k: span for k, span in enumerate(active) if span is not None}
        best: Scene | str = _NOTHING_TRUE
        for _ in range(_RENDERINGS if self.with_words else 1):
            placement = self._draw_placement(clips, spans, limit, generator)
            if placement is None:
                return best
            scene = self._scale(clips, spans, *placement, generator)
            if scene is None:
                continue
            if all(event.named for event in scene.events):
                return scene
            best = scene if isinstance(best, str) else best
        return best

    def _draw_placement(
        self, clips: Sequence[Tensor], spans: dict[int, Span], limit: int | None, generator: Generator
    ) -> tuple[Tree, list[SoundEvent]] | None:
        """Draw a tree and a placement of which words can be true; None where none is found."""
        seconds = {k: clip.shape[-1] / self.rate for k, clip in enumerate(clips)}
        for _ in range(_PLACEMENTS):
            kind = self.placement
            if kind == "random":
                kinds = ["together", "offset", "sequence"] + (["tree"] if len(clips) > 2 else [])
                kind = kinds[int(draw.uniform(0, len(kinds), 1, generator=generator))]
            tree = draw_tree(len(clips), kind, generator=generator)
            at_once = kind == "together"
            placed = lay_out(tree, seconds, spans, crossfade=self.crossfade, at_once=at_once, generator=generator)
            events = [self._event(placed[k], clips[k].shape[-1], limit) for k in range(len(clips))]
            if all(event.end > event.begin for event in events) and (
                not self.with_words or _true_tree(tree, {k: clip.active_in_scene for k, clip in placed.items()})
            ):
                return tree, events
            if at_once:  # nothing is drawn: it will not change
                break
        return None

    def _event(self, clip: ClipPlacement, size: int, limit: int | None) -> SoundEvent:
        """Return a placement in samples, cut at `limit`."""
        begin, end = max(0, round(clip.begin * self.rate)), min(size, round(clip.end * self.rate))
        at = max(0, round((clip.start + clip.begin) * self.rate))
        fades = round(clip.fade_in * self.rate), round(clip.fade_out * self.rate)
        whole = end == size
        if limit is not None and at + end - begin > limit:
            whole, end, fades = whole or clip.fade_out == 0, begin + max(0, limit - at), (fades[0], 0)
        room = max(0, end - begin)
        return SoundEvent(at, begin, end, min(fades[0], room), min(fades[1], room), whole=whole)

    def _scale(
        self,
        clips: Sequence[Tensor],
        active: dict[int, Span],
        tree: Tree,
        events: list[SoundEvent],
        generator: Generator,
    ) -> Scene | None:
        """Scale the sources to the drawn SNRs, and measure the sound; None where no words are true of it."""
        length = max(event.at + event.end - event.begin for event in events)
        tracks = torch.stack([event.track(clip.float(), length) for clip, event in zip(clips, events)])
        spans = {k: span or (0.0, 0.0) for k, span in enumerate(active_spans(tracks, self.rate))}
        if self.with_words:
            tree = _true_tree(tree, spans)
            if tree is None or any(_is_too_short(spans[k], active[k]) for k in spans):
                return None
        gains, snr = self._gains(tracks, [event.end - event.begin for event in events], generator)
        tracks *= gains.float()[:, None, None]
        energy = tracks.double().square().sum((1, 2))
        share = energy / energy.sum().clamp(min=1e-300)
        if not float(energy.sum()) > 0:  # silence with silence: nothing to share
            share[0] = 1.0
        named = [True] * len(tracks)
        if self.with_words:
            named = are_audible(tracks, self.rate, min_bands=self.min_bands, min_share=self.min_share).tolist()
        numbers = zip(events, gains.tolist(), snr.tolist(), share.tolist(), named, spans.values())
        scaled = [
            replace(event, gain=gain, snr_db=db, share=part, named=bool(is_named), active=span)
            for event, gain, db, part, is_named, span in numbers
        ]
        return Scene(tree, tuple(scaled), length)

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
        snr = torch.where((loud[0] > 0) & (loud[1:] > 0), snr, torch.inf)  # what is heard of a clip may be silent
        one = torch.ones(1, dtype=torch.float64)
        return torch.cat([one, gains]), torch.cat([one * 0, snr])


def _true_tree(tree: Tree, spans: dict[int, Span]) -> Tree | None:
    """Return the tree that is true of these active parts, or None: of two sounds whichever relation they have."""
    if len(spans) > 2:
        return tree if holds(tree, spans) else None
    trees = {"before": ["then", 0, 1], "after": ["then", 1, 0], "together": ["while", 0, 1]}
    return trees.get(relation(spans[0], spans[1]) or "")


def _is_too_short(span: Span, active: Span) -> bool:
    """Return whether too little of an active part is heard to say that the sound is there."""
    seconds = span[1] - span[0]
    return seconds < _LEAST_SECONDS or seconds < _LEAST_SHARE * (active[1] - active[0])
