"""Scenes: where each sound of a tree lies in time, and how two sounds relate.

A tree is plain JSON: a leaf is a source's number, a node is ``["then", left, right]`` (left sounds first) or
``["while", left, right]`` (together). What counts is the active part of a sound: from its first to its last active
frame (`audiomix.audio.level.active`). Two sounds are in sequence where their active parts overlap by at most a tenth
of the shorter, together where by at least half; in between no words are true.
"""

from dataclasses import dataclass
from typing import Any, Literal

from .. import check, draw
from ..draw import Generator

__all__ = ["SEQUENCE", "TOGETHER", "Piece", "draw_tree", "holds", "leaves", "place", "relation", "shift"]

# Largest overlap of a sequence and least overlap of sounds that are together, as shares of the shorter active part.
SEQUENCE, TOGETHER = 0.1, 0.5
Tree = Any
Span = tuple[float, float]
Relation = Literal["before", "after", "together"]


@dataclass
class Piece:
    """One sound in a scene, in seconds.

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
    def heard(self) -> Span:
        """When the active part, as far as it is heard, begins and ends."""
        return self.start + max(self.begin, self.active[0]), self.start + min(self.end, self.active[1])


def leaves(tree: Tree) -> list[int]:
    """Return the sources of a tree, from left to right.

    >>> leaves(["while", ["then", 0, 2], 1])
    [0, 2, 1]
    """
    if isinstance(tree, list):
        return leaves(tree[1]) + leaves(tree[2])
    return [check.integer("a leaf of the tree", tree, 0)]


def relation(a: Span, b: Span) -> Relation | None:
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
    """Say whether the active parts of all sources relate as the tree has it, every pair of them.

    Each source on the left of a ``then`` comes before each on its right; each on the left of a ``while`` is together
    with each on its right.
    """
    if not isinstance(tree, list):
        return True
    wanted = "before" if tree[0] == "then" else "together"
    left, right = leaves(tree[1]), leaves(tree[2])
    fit = all(relation(spans[i], spans[j]) == wanted for i in left for j in right)
    return fit and holds(tree[1], spans) and holds(tree[2], spans)


def draw_tree(sources: int, placement: str, *, generator: Generator = None) -> Tree:
    """Draw the tree of a scene: `sequence` has only ``then``, `tree` both kinds, everything else only ``while``.

    Drawn are the order of the sources, where the tree divides and which nodes it has.
    """
    names = {"sequence": ["then"], "tree": ["then", "while"]}.get(placement, ["while"])
    order = draw.permutation(check.integer("sources", sources, 1), generator=generator)
    return _divided(order.tolist(), names, generator)


def _divided(numbers: list[int], names: list[str], generator: Generator) -> Tree:
    if len(numbers) == 1:
        return numbers[0]
    at, which = draw.uniform(0, 1, 2, generator=generator).tolist()
    cut = 1 + int(at * (len(numbers) - 1))
    left, right = (_divided(part, names, generator) for part in (numbers[:cut], numbers[cut:]))
    return [names[int(which * len(names))], left, right]


def place(
    tree: Tree,
    seconds: dict[int, float],
    active: dict[int, Span],
    *,
    crossfade: float,
    at_once: bool = False,
    generator: Generator = None,
) -> dict[int, Piece]:
    """Lay the sounds of a tree out in time; the scene begins at 0.

    ``then``: what is on the right begins, at its active part, before the active part of the left ends, by a cross-fade
    of at most `crossfade` seconds and a tenth of the shorter; sounds are cut and faded there. ``while``: whole sounds,
    the right one at a random place where its active part overlaps the other's by at least half of the shorter; or, with
    `at_once`, both from their first sample on.

    Parameters
    ----------
    tree : JSON tree
    seconds, active : dict
        Of each source: its length, and its active part.
    crossfade : float
        Seconds.
    at_once : bool
    generator : torch.Generator, optional
    """
    pieces = {i: Piece(0.0, 0.0, seconds[i], 0.0, 0.0, active[i]) for i in leaves(tree)}
    _lay(tree, pieces, crossfade, at_once, generator)
    shift(pieces, leaves(tree), -min(piece.start + piece.begin for piece in pieces.values()))
    return pieces


def shift(pieces: dict[int, Piece], sources: list[int], by: float) -> None:
    """Move some of the sounds later by so many seconds."""
    for i in sources:
        pieces[i].start += by


def _lay(tree: Tree, pieces: dict[int, Piece], crossfade: float, at_once: bool, generator: Generator) -> None:
    if not isinstance(tree, list):
        return
    _lay(tree[1], pieces, crossfade, at_once, generator)
    _lay(tree[2], pieces, crossfade, at_once, generator)
    left, right = leaves(tree[1]), leaves(tree[2])
    spans = {i: piece.heard for i, piece in pieces.items()}
    a, b = _hull(left, spans), _hull(right, spans)
    if tree[0] == "then":
        _follow(pieces, left, right, a, b, crossfade)
    elif not at_once:
        shorter = min(a[1] - a[0], b[1] - b[0])
        # from where the right one's end reaches half of the shorter into the left one, to where its start does
        first, last = a[0] + TOGETHER * shorter - b[1], a[1] - TOGETHER * shorter - b[0]
        u = float(draw.uniform(0, 1, 1, generator=generator))
        shift(pieces, right, first + u * (last - first))


def _follow(pieces: dict[int, Piece], left: list[int], right: list[int], a: Span, b: Span, crossfade: float) -> None:
    """Let the right sounds begin where the left ones end, with one cross-fade for all."""
    shortest = min(pieces[i].heard[1] - pieces[i].heard[0] for i in (*left, *right))
    fade = min(crossfade, SEQUENCE * max(shortest, 0.0))
    shift(pieces, right, a[1] - fade - b[0])
    for i in left:  # nothing on the left sounds on behind its active part
        piece = pieces[i]
        end = a[1] - piece.start
        if piece.end > end:
            piece.end, piece.fade_out = end, min(fade, end - piece.begin)
    for i in right:
        piece = pieces[i]
        begin = a[1] - fade - piece.start
        if piece.begin < begin:
            piece.begin, piece.fade_in = begin, min(fade, piece.end - begin)


def _hull(sources: list[int], spans: dict[int, Span]) -> Span:
    return min(spans[i][0] for i in sources), max(spans[i][1] for i in sources)
