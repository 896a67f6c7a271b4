"""Where each sound of a tree lies in time, in seconds, and how two sounds relate.

What counts is the active part of a sound: from its first to its last active frame (`audiomix.audio.level.active`). Two
sounds are in sequence where their active parts overlap by at most a tenth of the shorter, together where by at least
half; in between no words are true.
"""

from dataclasses import dataclass
from typing import Literal

from .. import draw
from ..draw import Generator
from .tree import Tree, leaves

__all__ = ["SEQUENCE", "TOGETHER", "ClipPlacement", "Span", "holds", "lay_out", "relation"]

# Largest overlap of a sequence and least overlap of sounds that are together, as shares of the shorter active part.
SEQUENCE, TOGETHER = 0.1, 0.5
Span = tuple[float, float]


@dataclass
class ClipPlacement:
    """Where one clip lies in a scene and what of it is heard, in seconds.

    Parameters
    ----------
    start : float
        When its first sample (of the whole clip) would sound.
    begin, end : float
        What of the clip is heard, counted from its first sample.
    fade_in, fade_out : float
        Lengths of the fades at `begin` and `end`.
    active : (float, float)
        The active part, counted from its first sample.
    """

    start: float
    begin: float
    end: float
    fade_in: float
    fade_out: float
    active: Span

    @property
    def active_in_scene(self) -> Span:
        """When the active part, as far as it is heard, begins and ends in the scene."""
        return self.start + max(self.begin, self.active[0]), self.start + min(self.end, self.active[1])


def relation(a: Span, b: Span) -> Literal["before", "after", "together"] | None:
    """Return how a sound with active part `a` relates to one with `b`; None where no words are true.

    >>> relation((0, 2), (2, 3)), relation((0, 2), (1, 4)), relation((0, 2), (1.5, 4)), relation((3, 4), (0, 1))
    ('before', 'together', None, 'after')
    """
    shorter = min(a[1] - a[0], b[1] - b[0])
    if shorter <= 0:
        return None
    share = max(0.0, min(a[1], b[1]) - max(a[0], b[0])) / shorter
    if share >= TOGETHER - 1e-9:
        return "together"
    if share <= SEQUENCE + 1e-9:
        return "before" if a[0] + a[1] < b[0] + b[1] else "after"
    return None


def holds(tree: Tree, spans: dict[int, Span]) -> bool:
    """Return whether the active parts of all sources relate as the tree has it, every pair of them.

    Parameters
    ----------
    tree : JSON tree
        See `audiomix.captions.tree`.
    spans : dict of int to (float, float)
        Onset and offset of each source.
    """
    if isinstance(tree, int):
        return True
    wanted = "before" if tree[0] == "then" else "together"
    left, right = leaves(tree[1]), leaves(tree[2])
    fit = all(relation(spans[i], spans[j]) == wanted for i in left for j in right)
    return fit and holds(tree[1], spans) and holds(tree[2], spans)


def lay_out(
    tree: Tree,
    seconds: dict[int, float],
    active: dict[int, Span],
    *,
    crossfade: float,
    at_once: bool = False,
    generator: Generator = None,
) -> dict[int, ClipPlacement]:
    """Lay the sounds of a tree out in time; the scene begins at 0.

    ``then``: what is on the right begins, at its active part, before the active part of the left ends, by a cross-fade
    of at most `crossfade` seconds and a tenth of the shorter; sounds are cut and faded there. ``while``: whole sounds,
    the right one at a random place where its active part overlaps the other's by at least half of the shorter; or, with
    `at_once`, both from their first sample on.

    Parameters
    ----------
    tree : JSON tree
        See `audiomix.captions.tree`.
    seconds : dict of int to float
        Length of each source.
    active : dict of int to (float, float)
        Onset and offset of each source's active part, in seconds.
    crossfade : float
        Seconds.
    at_once : bool
        Let sounds that are together begin with their first samples; nothing is drawn then.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    clips = {i: ClipPlacement(0.0, 0.0, seconds[i], 0.0, 0.0, active[i]) for i in leaves(tree)}
    _lay_out_node(tree, clips, crossfade, at_once, generator)
    _shift(clips, leaves(tree), -min(clip.start + clip.begin for clip in clips.values()))
    return clips


def _shift(clips: dict[int, ClipPlacement], sources: list[int], by: float) -> None:
    """Move some of the sounds later by so many seconds."""
    for i in sources:
        clips[i].start += by


def _lay_out_node(
    tree: Tree, clips: dict[int, ClipPlacement], crossfade: float, at_once: bool, generator: Generator
) -> None:
    if isinstance(tree, int):
        return
    _lay_out_node(tree[1], clips, crossfade, at_once, generator)
    _lay_out_node(tree[2], clips, crossfade, at_once, generator)
    left, right = leaves(tree[1]), leaves(tree[2])
    spans = {i: clip.active_in_scene for i, clip in clips.items()}
    a, b = _hull(left, spans), _hull(right, spans)
    if tree[0] == "then":
        _follow(clips, left, right, a, b, crossfade)
    elif not at_once:
        shorter = min(a[1] - a[0], b[1] - b[0])
        # from where the right one's end reaches half of the shorter into the left one, to where its start does
        first, last = a[0] + TOGETHER * shorter - b[1], a[1] - TOGETHER * shorter - b[0]
        u = float(draw.uniform(0, 1, 1, generator=generator))
        _shift(clips, right, first + u * (last - first))


def _follow(
    clips: dict[int, ClipPlacement], left: list[int], right: list[int], a: Span, b: Span, crossfade: float
) -> None:
    """Let the sounds on the right begin where those on the left end, with one cross-fade for all."""
    shortest = min(clips[i].active_in_scene[1] - clips[i].active_in_scene[0] for i in (*left, *right))
    fade = min(crossfade, SEQUENCE * max(shortest, 0.0))
    _shift(clips, right, a[1] - fade - b[0])
    for i in left:  # nothing on the left sounds on behind its active part
        clip = clips[i]
        end = a[1] - clip.start
        if clip.end > end:
            clip.end, clip.fade_out = end, min(fade, end - clip.begin)
    for i in right:
        clip = clips[i]
        begin = a[1] - fade - clip.start
        if clip.begin < begin:
            clip.begin, clip.fade_in = begin, min(fade, clip.end - begin)


def _hull(sources: list[int], spans: dict[int, Span]) -> Span:
    return min(spans[i][0] for i in sources), max(spans[i][1] for i in sources)
