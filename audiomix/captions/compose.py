"""One sentence from a scene and its sources' captions: phrases, punctuation and case.

Nodes of one kind inside each other are one enumeration. The innermost enumerations have no punctuation in front of
their connecting words, those around them a comma, then a semicolon, then a dash. Three or more members, or captions
with commas or connecting words of their own, count as one step more. So ``A while B, followed by C`` and ``A, while B
followed by C`` are different scenes, and `audiomix.captions.parse.parse_caption` can tell which.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch

from .. import check, draw
from ..draw import Generator
from .parse import parse_caption
from .templates import Phrase, Templates
from .text import count, tokens, uncapitalise
from .tree import Tree, leaves, relations, simplify

__all__ = ["caption_from_label", "choose_caption", "join_captions", "strip_marks", "write_caption"]

_Pick = Callable[[Sequence[Phrase]], Phrase]
# A source's number, or a kind and its members: nodes of one kind inside each other are one
_Node = Any

_MARKS = " .,;:!?…。、，！？；：–—-"
_ABBREVIATION = re.compile(r"(?:^|\W)(?:(?:[^\W\d_]\.){2,}|(?:etc|Jr|Sr|Inc|Ltd)\.)$")
_CLOSING = "\"'”’»)]"


def strip_marks(caption: str) -> str:
    """Return a caption without the punctuation around it; an abbreviation keeps its full stop.

    >>> strip_marks(" Rain,  then wind!"), strip_marks("News at 5 p.m.")
    ('Rain, then wind', 'News at 5 p.m.')
    """
    text = " ".join(caption.split()).lstrip(_MARKS)
    bare = text.rstrip(_MARKS)
    return text[: len(bare) + 1] if _ABBREVIATION.search(text[: len(bare) + 1]) else bare


def join_captions(a: str | None, b: str | None, connector: str = "and") -> str | None:
    """Return one caption for two sounds heard together; a missing or an equal one is not repeated.

    >>> join_captions("A rock beat.", "A swung beat with brushes.")
    'A rock beat and a swung beat with brushes.'
    """
    texts = [t.strip() for t in (a, b) if t and t.strip()]
    bare = [t.rstrip(" .;,") for t in texts]
    if not texts:
        return None
    if len(texts) == 1 or bare[0].lower() == bare[1].lower():
        return texts[0]
    end = "." if texts[0].endswith(".") else ""
    return f"{bare[0]} {connector} {uncapitalise(bare[1], Templates.english().lowerable)}{end}"


def choose_caption(captions: Sequence[str | None], generator: Generator = None) -> tuple[int, str]:
    """Draw one of a clip's captions: its index and text, without spaces around it. Texts without a word are left out.

    Parameters
    ----------
    captions : sequence of str, or str
        What can be said of the clip.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.

    Raises
    ------
    ValueError
        No caption has a word.

    >>> choose_caption(["", "A dog barks. ", None])
    (1, 'A dog barks.')
    """
    given = [captions] if isinstance(captions, str) else captions
    able = [i for i, text in enumerate(given) if isinstance(text, str) and tokens(text)]
    if not able:
        slip = "make one by caption_from_label"
        check.fail("captions", "texts of which one has a word", list(given), slip)
    index = draw_one(able, generator)
    return index, str(given[index]).strip()


def caption_from_label(name: str, templates: Templates, generator: Generator = None) -> str:
    """Return a caption made from the name of a class.

    >>> caption_from_label("crying_baby", Templates.english(), torch.Generator().manual_seed(0))
    'the sound of crying baby'
    """
    check.one_of_types("name", name, str, "the name of a class")
    plain = " ".join(name.replace("_", " ").split())
    if not tokens(plain):
        check.fail("name", "the name of a class", repr(name))
    return str(draw_one(templates.label, generator)).replace("{name}", plain)


def write_caption(
    tree: Tree,
    captions: Sequence[str],
    *,
    templates: Templates,
    max_words: int | None = None,
    named: Sequence[bool] | None = None,
    generator: Generator = None,
) -> str | None:
    """Write the caption of a scene: one sentence whose words state the relations of its sounds.

    The sentence begins with a capital where any of the sources' captions does, and ends with a full stop where the one
    of the first source (the lowest number) ends a sentence, be it by "!" or "?". Inside, captions lose their final
    punctuation and the capital that is only the sentence's.

    Parameters
    ----------
    tree : JSON tree
        How the sources relate; see `audiomix.captions.tree`.
    captions : sequence of str
        By source; those that are not named may be empty.
    templates : Templates
        Of which phrases are drawn.
    max_words : int, optional
        If the drawn phrases make it longer, the shortest are tried.
    named : sequence of bool, optional
        By source; what cannot be heard is not named. Default: all are.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.

    Returns
    -------
    str, or None
        None where there is nothing to name, where it cannot be said in `max_words` words, where equal captions stand in
        different relations (see `audiomix.captions.tree.simplify`), and where the captions' own words make the sentence
        ambiguous.

    Raises
    ------
    ValueError, TypeError
        Not a tree, a named source without a caption.

    Examples
    --------
    >>> write_caption(["then", ["while", 0, 1], 2], ["A dog barks.", "I sing.", "The rain falls."],
    ...               templates=Templates.english(), generator=torch.Generator().manual_seed(1))
    'A dog barks while I sing, followed by the rain falls.'
    """
    if max_words is not None:
        check.integer("max_words", max_words, 1)
    scene = simplify(tree, captions, named)
    if scene is None:
        return None
    kept = sorted(leaves(scene))
    if max_words is not None and sum(count(captions[i]) for i in kept) > max_words:
        return None
    wanted = {(kept.index(i), kept.index(j)): name for (i, j), name in relations(scene).items()}
    for pick in (lambda options: draw_one(options, generator), _shortest):
        text = _sentence(scene, captions, templates, pick)
        if text and (max_words is None or count(text) <= max_words):
            parsed = parse_caption(text, [captions[i] for i in kept], templates)
            if all(parsed.mentioned) and parsed.relations == wanted:  # so says a reader without the scene
                return text
    return None


def draw_one(options: Sequence[Any], generator: Generator) -> Any:
    """Draw one of some options."""
    return options[int(draw.integers(torch.tensor(len(options)), generator=generator))]


def _shortest(options: Sequence[Phrase]) -> Phrase:
    return min(options, key=lambda phrase: (sum(map(len, phrase.words)), phrase.front + phrase.middle + phrase.behind))


def _sentence(tree: Tree, captions: Sequence[str], templates: Templates, pick: _Pick) -> str | None:
    """Return the sentence for a tree without equal captions, its phrases chosen by `pick`.

    None where the templates have too few separators for so deep a scene.
    """
    node = _flatten(tree)
    sources = leaves(tree)
    depth = {i: _depth(captions[i], templates) for i in sources}
    if _height(node, depth) > len(templates.separators):
        depth = dict.fromkeys(sources, 0)
        if _height(node, depth) > len(templates.separators):
            return None
    pieces = _pieces(node, depth, templates, pick)
    texts = [piece if isinstance(piece, str) else strip_marks(captions[piece]) for piece in pieces]
    if templates.lowercase:
        inside = [at for at, piece in enumerate(pieces) if not isinstance(piece, str) and at > 0]
        for at in inside:
            texts[at] = uncapitalise(texts[at], templates.lowerable)
    text = "".join(texts)
    if any(strip_marks(captions[i])[:1].isupper() for i in sources) and not text[1:2].isupper():  # not "iPhone"
        text = text[0].upper() + text[1:]
    end = _end(captions[min(sources)])
    return text if text.endswith(end) else text + end


def _end(caption: str) -> str:
    """Return the full stop of a caption's script where the caption ends a sentence, else nothing."""
    last = caption.rstrip().rstrip(_CLOSING)[-1:]
    return "。" if last and last in "。！？" else "." if last and last in ".!?…" else ""


def _flatten(tree: Tree) -> _Node:
    """Return a tree whose nodes of one kind inside each other are one node."""
    if isinstance(tree, int):
        return tree
    members: list[_Node] = []
    for side in map(_flatten, tree[1:]):
        members += side[1] if not isinstance(side, int) and side[0] == tree[0] else [side]
    return (tree[0], members)


def _depth(caption: str, templates: Templates) -> int:
    """Return how many steps of punctuation a caption has itself; a connecting word is one."""
    text, words = strip_marks(caption), tokens(caption)
    marks = max(at for at, mark in enumerate(templates.separators) if mark.strip() in text)
    joins = any(
        sign and tuple(words[at : at + len(sign)]) == sign for sign in templates.connectors for at in range(len(words))
    )
    return max(marks, int(joins))


def _height(node: _Node, depth: dict[int, int]) -> int:
    """Return how many steps of punctuation a node needs."""
    if isinstance(node, int):
        return depth[node]
    return max(1 + max(_height(member, depth) for member in node[1]), 2 if len(node[1]) > 2 else 1)


def _pieces(
    node: _Node, depth: dict[int, int], templates: Templates, pick: _Pick, root: bool = True
) -> list[str | int]:
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
