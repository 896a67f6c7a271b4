"""Captions of mixed sounds: the words follow the scene.

A scene is a tree, plain JSON: a leaf is a source's number (0 is the original, 1.. its partners), a node is ``["then",
left, right]`` (left sounds first) or ``["while", left, right]`` (together). Every pair of sources has one relation:
left of a ``then`` comes before right of it, the two sides of a ``while`` are together.

Wording: nodes of one kind inside each other are one enumeration. The innermost enumerations have no punctuation in
front of their connecting words, those around them a comma, then a semicolon, then a dash; three or more members, or
captions with commas or connecting words of their own, count as one step more. So ``A while B, followed by C`` and ``A,
while B followed by C`` are different scenes, and `stated` can tell which.
"""

from collections.abc import Container, Sequence
from typing import Any

import torch

from .. import check, draw
from . import text as words
from . import tree as trees
from .compose import sentence
from .parse import Stated, found, stated
from .templates import Phrase, Templates, content
from .tree import Tree, relations, simplified

__all__ = [
    "NEGATIVES",
    "Stated",
    "Templates",
    "choose",
    "from_label",
    "joined",
    "negatives",
    "relations",
    "simplified",
    "stated",
    "uncapitalised",
    "write",
]

NEGATIVES = ("order", "connector", "source")


def uncapitalised(caption: str, lowerable: Container[str] | None = None) -> str:
    """Return a caption as it stands inside a sentence: its first letter lower-cased where it is only the sentence's.

    A first word that may be a name, an acronym or "I" keeps its capital: only words known to be no names lose it; by
    default the English ones of `Templates`.

    >>> [uncapitalised(c) for c in ("A dog barks", "I sing", "DJ set", "Vienna waltz")]
    ['a dog barks', 'I sing', 'DJ set', 'Vienna waltz']
    """
    return words.uncapitalised(caption, Templates.english().lowerable if lowerable is None else lowerable)


def joined(a: str | None, b: str | None, connector: str = "and") -> str | None:
    """Return one caption for two sounds heard together; a missing or an equal one is not repeated.

    >>> joined("A rock beat.", "A swung beat with brushes.")
    'A rock beat and a swung beat with brushes.'
    """
    texts = [t.strip() for t in (a, b) if t and t.strip()]
    bare = [t.rstrip(" .;,") for t in texts]
    if not texts:
        return None
    if len(texts) == 1 or bare[0].lower() == bare[1].lower():
        return texts[0]
    end = "." if texts[0].endswith(".") else ""
    return f"{bare[0]} {connector} {uncapitalised(bare[1])}{end}"


def choose(captions: Sequence[str | None], generator: draw.Generator = None) -> tuple[int, str]:
    """Draw one of a clip's captions: its index and text, without spaces around it. Texts without a word are left out.

    Raises
    ------
    ValueError
        No caption has a word.

    >>> choose(["", "A dog barks. ", None])
    (1, 'A dog barks.')
    """
    given = [captions] if isinstance(captions, str) else captions
    able = [i for i, text in enumerate(given) if isinstance(text, str) and words.tokens(text)]
    if not able:
        check.fail("captions", "texts of which one has a word", list(given), "make one by captions.from_label")
    index = _drawn(able, generator)
    return index, str(given[index]).strip()


def from_label(name: str, templates: Templates, generator: draw.Generator = None) -> str:
    """Return a caption made from the name of a class.

    >>> from_label("crying_baby", Templates.english(), torch.Generator().manual_seed(0))
    'the sound of crying baby'
    """
    check.one_of_types("name", name, str, "the name of a class")
    plain = " ".join(name.replace("_", " ").split())
    if not words.tokens(plain):
        check.fail("name", "the name of a class", repr(name))
    return str(_drawn(templates.label, generator)).replace("{name}", plain)


def write(
    tree: Tree,
    captions: Sequence[str],
    *,
    templates: Templates,
    max_words: int | None = None,
    named: Sequence[bool] | None = None,
    generator: draw.Generator = None,
) -> str | None:
    """Write the caption of a scene: one sentence whose words state the relations of its sounds.

    The sentence begins with a capital where any of the sources' captions does, and ends with a full stop where the one
    of the first source (the lowest number) ends a sentence, be it by "!" or "?". Inside, captions lose their final
    punctuation and the capital that is only the sentence's.

    Parameters
    ----------
    tree : JSON tree
    captions : sequence of str
        By source; those that are not named may be empty.
    templates : Templates
        Of which phrases are drawn.
    max_words : int, optional
        If the drawn phrases make it longer, the shortest are tried.
    named : sequence of bool, optional
        By source; what cannot be heard is not named. Default: all are.
    generator : torch.Generator, optional

    Returns
    -------
    str, or None
        None where there is nothing to name, where it cannot be said in `max_words` words, where equal captions stand in
        different relations (see `simplified`), and where the captions' own words make the sentence ambiguous.

    Raises
    ------
    ValueError, TypeError
        Not a tree, a named source without a caption.

    Examples
    --------
    >>> write(["then", ["while", 0, 1], 2], ["A dog barks.", "I sing.", "The rain falls."],
    ...       templates=Templates.english(), generator=torch.Generator().manual_seed(1))
    'A dog barks while I sing, followed by the rain falls.'
    """
    if max_words is not None:
        check.integer("max_words", max_words, 1)
    scene = simplified(tree, captions, named)
    if scene is None:
        return None
    kept = sorted(trees.leaves(scene))
    if max_words is not None and sum(words.count(captions[i]) for i in kept) > max_words:
        return None
    for pick in (lambda options: _drawn(options, generator), _shortest):
        text = sentence(scene, captions, templates, pick)
        if text and (max_words is None or words.count(text) <= max_words) and _says(text, scene, captions, templates):
            return text
    return None


def negatives(
    tree: Tree,
    captions: Sequence[str],
    *,
    kind: str,
    templates: Templates,
    generator: draw.Generator = None,
    replacement: str | None = None,
    named: Sequence[bool] | None = None,
    max_words: int | None = None,
) -> str | None:
    """Write a hard negative: a caption of the same words that is false of the scene.

    =========  =======================================================================================
    kind       what is false
    =========  =======================================================================================
    order      the two sides of a ``then`` are swapped (sounds together have no order)
    connector  a ``then`` is a ``while``, or a ``while`` a ``then``
    source     one source's caption is replaced by `replacement`
    =========  =======================================================================================

    Parameters
    ----------
    tree, captions, templates, generator, named, max_words
        As for `write`.
    kind : str
        ``order``, ``connector`` or ``source``.
    replacement : str, optional
        For ``source``: a caption of a sound that is not in the scene.

    Returns
    -------
    str, or None
        None where there is no such negative: no ``then``, or only one between captions of the same content words;
        a replacement that a caption of the scene mentions, or that mentions one; and where `write` has none.

    Raises
    ------
    ValueError, TypeError
        An unknown kind, no replacement for ``source``, and what `write` raises.

    Examples
    --------
    >>> negatives(["then", 0, 1], ["a dog barks", "rain"], kind="order", templates=Templates.english(),
    ...           generator=torch.Generator().manual_seed(1))
    'rain, then a dog barks'
    """
    check.choice("kind", kind, NEGATIVES)
    scene = simplified(tree, captions, named)
    texts = list(captions)
    if kind == "source":
        if not isinstance(replacement, str) or not words.tokens(replacement):
            check.fail("replacement", "a caption, for kind='source'", repr(replacement))
        if scene is None or _alike(str(replacement), captions, templates):
            return None
        texts[_drawn(trees.leaves(scene), generator)] = str(replacement)
    else:
        scene = scene if scene is None else _falsified(scene, kind, captions, templates, generator)
        if scene is None:
            return None
    return write(scene, texts, templates=templates, max_words=max_words, generator=generator)


def _falsified(
    scene: Tree, kind: str, captions: Sequence[str], templates: Templates, generator: draw.Generator
) -> Tree | None:
    """Return the tree with one node swapped or of the other kind; None without such a node."""
    sense = {i: content(captions[i], templates) for i in trees.leaves(scene)}
    able = []
    for path in trees.nodes(scene):
        name, left, right = trees.at(scene, path)
        tells = name == "then" and any(sense[i] != sense[j] for i in trees.leaves(left) for j in trees.leaves(right))
        if tells or kind == "connector":
            able.append(path)
    if not able:
        return None
    path = _drawn(able, generator)
    name, left, right = trees.at(scene, path)
    changed = ["then", right, left] if kind == "order" else ["while" if name == "then" else "then", left, right]
    return trees.replaced(scene, path, changed)


def _alike(replacement: str, captions: Sequence[str | None], templates: Templates) -> bool:
    """Whether a caption mentions a source of the scene, or one of its captions mentions it: heard or not."""
    given = [text for text in captions if isinstance(text, str) and words.tokens(text)]
    return any(
        place is not None
        for text in given
        for inside, said in ((replacement, text), (text, replacement))
        for place in found(words.tokens(inside), [said], templates)
    )


def _says(text: str, scene: Tree, captions: Sequence[str], templates: Templates) -> bool:
    """Whether a text mentions all sources of a scene in their relations, and says so to a reader without the scene."""
    kept = sorted(trees.leaves(scene))
    said = stated(text, [captions[i] for i in kept], templates)
    wanted = {(kept.index(i), kept.index(j)): name for (i, j), name in relations(scene).items()}
    return all(said.mentioned) and said.relations == wanted


def _drawn(options: Sequence[Any], generator: draw.Generator) -> Any:
    return options[int(draw.integers(torch.tensor(len(options)), generator=generator))]


def _shortest(options: Sequence[Phrase]) -> Phrase:
    return min(options, key=lambda phrase: (sum(map(len, phrase.words)), phrase.front + phrase.middle + phrase.behind))
