"""Trees of scenes, as plain JSON: how they are drawn, their relations, and what is left of them in a caption.

A leaf is a source's number (0 is the original, 1.. its partners), a node is ``["then", left, right]`` (left sounds
first) or ``["while", left, right]`` (together). Every pair of sources has one relation: what is left of a ``then``
comes before what is right of it, the two sides of a ``while`` are together.
"""

from collections.abc import Sequence
from typing import Any

from .. import check, draw
from ..draw import Generator
from .text import tokens

__all__ = [
    "Tree",
    "check_tree",
    "draw_tree",
    "leaves",
    "node_at",
    "nodes",
    "prune",
    "relations",
    "replace_node",
    "simplify",
]

Tree = Any


def draw_tree(sources: int, placement: str, *, generator: Generator = None) -> Tree:
    """Draw a tree: the order of the sources, where the tree divides, and which nodes it has.

    Parameters
    ----------
    sources : int
        How many.
    placement : str
        ``sequence``: only ``then``; ``tree``: both kinds of nodes; anything else: only ``while``.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    names = {"sequence": ["then"], "tree": ["then", "while"]}.get(placement, ["while"])
    order = draw.permutation(check.integer("sources", sources, 1), generator=generator)
    return _divide(order.tolist(), names, generator)


def _divide(numbers: list[int], names: list[str], generator: Generator) -> Tree:
    if len(numbers) == 1:
        return numbers[0]
    at, which = draw.uniform(0, 1, 2, generator=generator).tolist()
    cut = 1 + int(at * (len(numbers) - 1))
    left, right = (_divide(part, names, generator) for part in (numbers[:cut], numbers[cut:]))
    return [names[int(which * len(names))], left, right]


def leaves(tree: Tree) -> list[int]:
    """Return the sources of a tree, from left to right.

    >>> leaves(["while", ["then", 0, 2], 1])
    [0, 2, 1]
    """
    return [tree] if isinstance(tree, int) else leaves(tree[1]) + leaves(tree[2])


def relations(tree: Tree) -> dict[tuple[int, int], str]:
    """Return for each pair of sources i < j whether i is ``before``, ``after`` or ``together`` with j.

    >>> relations(["while", ["then", 1, 0], 2])
    {(0, 1): 'after', (1, 2): 'together', (0, 2): 'together'}
    """
    if isinstance(tree, int):
        return {}
    pairs = relations(tree[1]) | relations(tree[2])
    for left in leaves(tree[1]):
        for right in leaves(tree[2]):
            turned = "before" if left < right else "after"
            pairs[min(left, right), max(left, right)] = turned if tree[0] == "then" else "together"
    return pairs


def simplify(tree: Tree, captions: Sequence[str | None], named: Sequence[bool] | None = None) -> Tree | None:
    """Return the tree of what a caption names: without sources that are not `named`, equal captions only once.

    Captions are equal where they have the same words, whatever their case and punctuation. None where nothing is left,
    and where an equal caption stands in other relations than the first one: named once it would say something false
    ("rain, then wind, then rain").

    Parameters
    ----------
    tree : JSON tree
        A leaf is a source's number, a node ``["then" or "while", left, right]``.
    captions : sequence of str
        By source; those that are not named may be None.
    named : sequence of bool, optional
        By source; all are named by default.

    Raises
    ------
    ValueError, TypeError
        Not a tree, a source twice or without a caption.

    >>> simplify(["then", 0, ["while", 1, 2]], ["Rain.", "A bell", "a bell."])
    ['then', 0, 1]
    """
    tree = check_tree(tree, len(captions))
    if named is not None and len(named) != len(captions):
        check.fail("named", f"{len(captions)} entries, as captions has", len(named))
    kept = [i for i in leaves(tree) if named is None or named[i]]
    words: dict[int, tuple[str, ...]] = {}
    for i in kept:
        caption = captions[i]
        words[i] = tuple(tokens(caption)) if isinstance(caption, str) else ()
        if not words[i]:
            check.fail(f"captions[{i}]", "a text with a word", repr(caption), "leave it out by named=")
    first: dict[tuple[str, ...], int] = {}
    pairs = relations(tree)
    for i in kept:
        one = first.setdefault(words[i], i)
        others = [j for j in kept if words[j] != words[i]]
        if one != i and any(_between(pairs, i, j) != _between(pairs, one, j) for j in others):
            return None
    return prune(tree, set(first.values()))


def check_tree(tree: Any, sources: int) -> Tree:
    """Return a tree of lists whose leaves are below `sources`, each there once at most, or raise."""
    seen: set[int] = set()

    def visit(node: Any) -> Tree:
        """Return one node as lists; its leaves go to `seen`."""
        if isinstance(node, (list, tuple)):
            if len(node) != 3 or node[0] not in ("then", "while"):
                check.fail("tree", 'numbers of sources and nodes ["then" or "while", left, right]', node)
            return [node[0], visit(node[1]), visit(node[2])]
        number = check.integer("a leaf of tree", node, 0)
        if number >= sources or number in seen:
            expected = f"one of {sources} sources, each once" if sources else "a source, but there are no captions"
            check.fail("a leaf of tree", expected, number)
        seen.add(number)
        return number

    return visit(tree)


def prune(tree: Tree, kept: set[int]) -> Tree | None:
    """Return the tree of the sources that are kept; None where none is."""
    if isinstance(tree, int):
        return tree if tree in kept else None
    sides = [side for side in (prune(tree[1], kept), prune(tree[2], kept)) if side is not None]
    return [tree[0], *sides] if len(sides) == 2 else sides[0] if sides else None


def _between(pairs: dict[tuple[int, int], str], i: int, j: int) -> str:
    name = pairs[min(i, j), max(i, j)]
    return name if i < j else {"before": "after", "after": "before"}.get(name, name)


def nodes(tree: Tree, path: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """Return the paths to all nodes that are no leaves: 1 is left, 2 is right."""
    return [] if isinstance(tree, int) else [path, *nodes(tree[1], (*path, 1)), *nodes(tree[2], (*path, 2))]


def node_at(tree: Tree, path: tuple[int, ...]) -> Tree:
    """Return the node at the end of a path."""
    return node_at(tree[path[0]], path[1:]) if path else tree


def replace_node(tree: Tree, path: tuple[int, ...], node: Tree) -> Tree:
    """Return the tree with another node at the end of a path."""
    if not path:
        return node
    return [replace_node(part, path[1:], node) if k == path[0] else part for k, part in enumerate(tree)]
