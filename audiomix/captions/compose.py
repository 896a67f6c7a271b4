"""One sentence from a scene and its sources' captions: phrases, punctuation and case.

Nodes of one kind inside each other are one enumeration. The innermost enumerations have no punctuation in front of
their connecting words, those around them a comma, then a semicolon, then a dash. Three or more members, or captions
with commas or connecting words of their own, count as one step more. So ``A while B, followed by C`` and ``A, while B
followed by C`` are different scenes, and `audiomix.captions.parse.parse_caption` can tell which.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from .. import check, draw
from ..draw import Generator
from .parse import parse_caption
from .templates import Phrase, Templates, one_sentence
from .text import count, strip_marks, tokens, uncapitalise, with_article
from .tree import Tree, leaves, relations, simplify

__all__ = ["caption_from_label", "choose_caption", "join_captions", "strip_marks", "write_caption"]

_Pick = Callable[[Sequence[Phrase]], Phrase]
# A source's number, or a kind and its members: nodes of one kind inside each other are one
_Node = Any

# What the phrases of a node are called, by its kind
_KINDS = {"then": ("then", "after"), "while": ("together",)}
_CLOSING = "\"'”’»)]"


def join_captions(a: str | None, b: str | None, connector: str = "and") -> str | None:
    """Return one caption for two sounds heard together; a missing or an equal one is not repeated.

    Parameters
    ----------
    a, b : str, optional
        The captions; None where there is none.
    connector : str
        The word between them.

    Examples
    --------
    >>> join_captions("A rock beat.", "A swung beat with brushes.")
    'A rock beat and a swung beat with brushes.'
    """
    english = Templates.english()
    texts = [one_sentence(t, english).strip() for t in (a, b) if t and t.strip()]
    bare = [t.rstrip(" .;,") for t in texts]
    if not texts:
        return None
    if len(texts) == 1 or bare[0].lower() == bare[1].lower():
        return texts[0]
    end = "." if texts[0].endswith(".") else ""
    return f"{bare[0]} {connector} {uncapitalise(bare[1], english.lowerable, english.names)}{end}"


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


def caption_from_label(name: str | Sequence[str], templates: Templates, generator: Generator = None) -> str:
    """Return a caption made from the name of a class, or of several.

    Underscores and CamelCase become spaces. Of names with commas, as AudioSet has them for one class, the first stands.

    Parameters
    ----------
    name : str or sequence of str
        One class, or several.
    templates : Templates
        The language.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.

    Examples
    --------
    >>> caption_from_label("crying_baby", Templates.english(), torch.Generator().manual_seed(0))
    'The sound of a crying baby.'
    >>> caption_from_label(["AirConditioner", "Rain"], Templates.english())
    'The sound of an air conditioner and rain.'
    """
    plain = [_plain_name(check.one_of_types("name", one, str, "the name of a class"), templates)
             for one in ([name] if isinstance(name, str) else name)]  # fmt: skip
    if not any(map(tokens, plain)):
        check.fail("name", "the name of a class", repr(name))
    text = str(draw_one(templates.label, generator))
    if "{a name}" in text:
        plain = [with_article(one, templates.articleless) for one in plain]
    listed = plain[0] if len(plain) == 1 else f"{', '.join(plain[:-1])} and {plain[-1]}"
    return text.replace("{a name}", listed).replace("{name}", listed)


def _plain_name(name: str, templates: Templates) -> str:
    """Return the name of a class as words, without capitals that are no proper name's."""
    name = re.sub(r"(?<=[a-z]{2})(?=[A-Z][a-z])", " ", name.partition(",")[0].replace("_", " "))
    if not templates.lowercase:
        return " ".join(name.split())
    return " ".join(uncapitalise(word, templates.lowerable, templates.names) for word in name.split())


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
    punctuation and the capital that is only the sentence's (`audiomix.captions.text.uncapitalise`). A caption of
    several sentences becomes one (`audiomix.captions.templates.one_sentence`).

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
    captions = [one_sentence(text, templates) if i in kept else "" for i, text in enumerate(captions)]
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
    able = {kind: _able(kind, templates, [captions[i] for i in sources]) for kind in _KINDS}
    pieces = _pieces(node, depth, templates, able, pick)
    texts = [piece if isinstance(piece, str) else strip_marks(captions[piece]) for piece in pieces]
    if templates.lowercase:
        inside = [at for at, piece in enumerate(pieces) if not isinstance(piece, str) and at > 0]
        for at in inside:
            texts[at] = uncapitalise(texts[at], templates.lowerable, templates.names)
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
    node: _Node,
    depth: dict[int, int],
    templates: Templates,
    able: Mapping[str, Sequence[Phrase]],
    pick: _Pick,
    root: bool = True,
) -> list[str | int]:
    """Return the words and the sources in the order of the text."""
    if isinstance(node, int):
        return [node]
    kind, members = node
    plain = root and all(isinstance(member, int) for member in members)
    pair = plain and len(members) == 2  # words around captions are for two only
    first = pick([phrase for phrase in able[kind] if phrase.infix or pair])
    order = members[::-1] if first.flipped else members
    parts = [_pieces(member, depth, templates, able, pick, root=False) for member in order]
    if not first.infix:
        return [first.front, *parts[0], first.middle, *parts[1], first.behind]
    same = [p for p in able[kind] if p.infix and (p.kind, p.flipped) == (first.kind, first.flipped)]
    separator = templates.separators[_height(node, depth) - 1]
    pieces = parts[0]
    for at, part in enumerate(parts[1:]):
        phrase = first if at == 0 else pick(same)
        # punctuation of a phrase's own would be taken for a step of the scene, unless the scene has only one
        mark = phrase.mark if plain and not separator else separator
        pieces = [*pieces, mark + phrase.middle[len(phrase.mark) :], *part]
    return pieces


def _able(kind: str, templates: Templates, captions: Sequence[str]) -> list[Phrase]:
    """Return the phrases for nodes of a kind in a scene of these captions.

    The names of classes are nouns, which "while" and "as" do not join; and "and" states nothing.
    """
    able = [phrase for phrase in templates.phrases if phrase.kind in _KINDS[kind]]
    nouns = [phrase for phrase in able if phrase not in templates.clause_phrases]
    firm = [phrase for phrase in able if not templates.is_weak(phrase)]
    for fewer in (nouns if any(map(templates.is_label, captions)) else able, firm):
        kept = [phrase for phrase in able if phrase in fewer]
        able = kept if any(phrase.infix for phrase in kept) else able
    return able
