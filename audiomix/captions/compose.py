"""One sentence from a scene and its sources' captions: phrases, punctuation and case."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from .templates import Phrase, Templates
from .text import tokens, uncapitalised

__all__ = ["core", "sentence"]

Pick = Callable[[Sequence[Phrase]], Phrase]
# A source's number, or a kind and its members: nodes of one kind inside each other are one
Node = Any

_MARKS = " .,;:!?…。、，！？；：–—-"
_ABBREVIATION = re.compile(r"(?:^|\W)(?:(?:[^\W\d_]\.){2,}|(?:etc|Jr|Sr|Inc|Ltd)\.)$")
_CLOSING = "\"'”’»)]"


def core(caption: str) -> str:
    """Return a caption without the punctuation around it; an abbreviation keeps its full stop.

    >>> core(" Rain,  then wind!"), core("News at 5 p.m.")
    ('Rain, then wind', 'News at 5 p.m.')
    """
    text = " ".join(caption.split()).lstrip(_MARKS)
    bare = text.rstrip(_MARKS)
    return text[: len(bare) + 1] if _ABBREVIATION.search(text[: len(bare) + 1]) else bare


def sentence(tree: Any, captions: Sequence[str], templates: Templates, pick: Pick) -> str | None:
    """Return the sentence for a tree without equal captions, its phrases chosen by `pick`.

    None where the templates have too few separators for so deep a scene.
    """
    node = _flat(tree)
    sources = _sources(node)
    depth = {i: _depth(captions[i], templates) for i in sources}
    if _height(node, depth) > len(templates.separators):
        depth = dict.fromkeys(sources, 0)
        if _height(node, depth) > len(templates.separators):
            return None
    pieces = _pieces(node, depth, templates, pick)
    texts = [piece if isinstance(piece, str) else core(captions[piece]) for piece in pieces]
    if templates.lowercase:
        inside = [at for at, piece in enumerate(pieces) if not isinstance(piece, str) and at > 0]
        for at in inside:
            texts[at] = uncapitalised(texts[at], templates.lowerable)
    text = "".join(texts)
    if any(core(captions[i])[:1].isupper() for i in sources) and not text[1:2].isupper():  # not "iPhone"
        text = text[0].upper() + text[1:]
    end = _end(captions[min(sources)])
    return text if text.endswith(end) else text + end


def _end(caption: str) -> str:
    """Return the full stop of a caption's script where the caption ends a sentence, else nothing."""
    last = caption.rstrip().rstrip(_CLOSING)[-1:]
    return "。" if last and last in "。！？" else "." if last and last in ".!?…" else ""


def _flat(tree: Any) -> Node:
    if isinstance(tree, int):
        return tree
    members: list[Node] = []
    for side in map(_flat, tree[1:]):
        members += side[1] if not isinstance(side, int) and side[0] == tree[0] else [side]
    return (tree[0], members)


def _sources(node: Node) -> list[int]:
    return [node] if isinstance(node, int) else [i for member in node[1] for i in _sources(member)]


def _depth(caption: str, templates: Templates) -> int:
    """Return how many steps of punctuation a caption has itself; a connecting word is one."""
    text, said = core(caption), tokens(caption)
    marks = max(at for at, mark in enumerate(templates.separators) if mark.strip() in text)
    joins = any(
        sign and tuple(said[at : at + len(sign)]) == sign for sign in _joining(templates) for at in range(len(said))
    )
    return max(marks, int(joins))


def _joining(templates: Templates) -> set[tuple[str, ...]]:
    return {phrase.words[1] for phrase in templates.phrases if phrase.infix}


def _height(node: Node, depth: dict[int, int]) -> int:
    if isinstance(node, int):
        return depth[node]
    return max(1 + max(_height(member, depth) for member in node[1]), 2 if len(node[1]) > 2 else 1)


def _pieces(node: Node, depth: dict[int, int], templates: Templates, pick: Pick, root: bool = True) -> list[str | int]:
    """Return the words and the sources in the order of the text."""
    if isinstance(node, int):
        return [node]
    kind, members = node
    plain = root and all(isinstance(member, int) for member in members)
    first = pick(_options(kind, templates, pair=plain and len(members) == 2, plain=plain))
    order = members[::-1] if first.flipped else members
    parts = [_pieces(member, depth, templates, pick, root=False) for member in order]
    if not first.infix:
        return [first.front, *parts[0], first.middle, *parts[1], first.behind]
    same = [
        p
        for p in _options(kind, templates, pair=False, plain=plain)
        if p.kind == first.kind and p.flipped == first.flipped
    ]
    separator = templates.separators[_height(node, depth) - 1]
    pieces = parts[0]
    for at, part in enumerate(parts[1:]):
        phrase = first if at == 0 else pick(same)
        # punctuation of a phrase's own would be taken for a step of the scene, unless the scene has only one
        mark = phrase.mark if plain and not separator else separator
        pieces = [*pieces, mark + phrase.middle[len(phrase.mark) :], *part]
    return pieces


def _options(kind: str, templates: Templates, *, pair: bool, plain: bool) -> list[Phrase]:
    """Return the phrases that a node may have: with words around only a pair, "and" only where nothing is nested."""
    kinds = ("then", "after") if kind == "then" else ("together",)
    able = [phrase for phrase in templates.phrases if phrase.kind in kinds and (phrase.infix or pair)]
    strong = [phrase for phrase in able if templates.signs.get(phrase.words[1]) != "weak"]
    return able if plain else strong or able
