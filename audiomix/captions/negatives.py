"""Hard negatives: captions of the same words that are false of a scene.

=========  =======================================================================================
kind       what is false
=========  =======================================================================================
order      the two sides of a ``then`` are swapped (sounds together have no order)
connector  a ``then`` is a ``while``, or a ``while`` a ``then``
source     one source's caption is replaced by that of a sound which is not in the scene
=========  =======================================================================================

"And" makes no claim of simultaneity or order (`audiomix.captions.parse.parse_caption`): a caption in which it only
replaces a word of order is true, and so no negative: `write_caption` writes none where the templates have other words.
"""

from collections.abc import Sequence

from .. import check
from ..draw import Generator, generator_for
from .compose import draw_one, write_caption
from .parse import find_mentions
from .templates import Templates, content_stems
from .text import tokens
from .tree import Tree, leaves, node_at, nodes, replace_node, simplify

__all__ = ["NEGATIVES", "write_negative", "write_negatives"]

NEGATIVES = ("order", "connector", "source")


def write_negatives(
    tree: Tree,
    captions: Sequence[str],
    *,
    caption: str,
    named: Sequence[bool],
    distractors: Sequence[str],
    templates: Templates,
    max_words: int | None = None,
) -> tuple[tuple[str, str], ...]:
    """Write one hard negative of every kind there is, as (kind, caption); none where less than two sources are named.

    Parameters
    ----------
    tree, captions, templates, max_words
        As for `audiomix.captions.compose.write_caption`.
    caption : str
        The true caption: on it, and on nothing else, depends what is drawn.
    named : sequence of bool
        By source.
    distractors : sequence of str
        Captions of other clips; the first one that fits is used.
    """
    if sum(named) < 2:
        return ()
    found = []
    for kind in NEGATIVES:
        for distractor in distractors if kind == "source" else [None]:
            text = write_negative(
                tree, captions, kind=kind, templates=templates, named=named, max_words=max_words,
                generator=generator_for(0, "negative", kind, caption), replacement=distractor,
            )  # fmt: skip
            if text is not None:
                found.append((kind, text))
                break
    return tuple(found)


def write_negative(
    tree: Tree,
    captions: Sequence[str],
    *,
    kind: str,
    templates: Templates,
    generator: Generator = None,
    replacement: str | None = None,
    named: Sequence[bool] | None = None,
    max_words: int | None = None,
) -> str | None:
    """Write a hard negative of one kind.

    Parameters
    ----------
    tree, captions, templates, generator, named, max_words
        As for `audiomix.captions.compose.write_caption`.
    kind : str
        ``order``, ``connector`` or ``source``.
    replacement : str, optional
        For ``source``: a caption of a sound that is not in the scene.

    Returns
    -------
    str, or None
        None where there is no such negative: no ``then``, or only one between captions of the same content words;
        a replacement that a caption of the scene mentions, or that mentions one; and where `write_caption` has none.

    Raises
    ------
    ValueError, TypeError
        An unknown kind, no replacement for ``source``, and what `write_caption` raises.

    Examples
    --------
    >>> write_negative(["then", 0, 1], ["a dog barks", "rain"], kind="order", templates=Templates.english(),
    ...                generator=generator_for(0, "rain"))
    'rain followed by a dog barks'
    """
    check.choice("kind", kind, NEGATIVES)
    scene = simplify(tree, captions, named)
    texts = list(captions)
    if kind == "source":
        if not isinstance(replacement, str) or not tokens(replacement):
            check.fail("replacement", "a caption, for kind='source'", repr(replacement))
        if scene is None or _mentions(str(replacement), captions, templates):
            return None
        texts[draw_one(leaves(scene), generator)] = str(replacement)
    else:
        scene = None if scene is None else _falsify(scene, kind, captions, templates, generator)
        if scene is None:
            return None
    return write_caption(scene, texts, templates=templates, max_words=max_words, generator=generator)


def _falsify(
    scene: Tree, kind: str, captions: Sequence[str], templates: Templates, generator: Generator
) -> Tree | None:
    """Return the tree with one node swapped or of the other kind; None without such a node."""
    stems = {i: content_stems(captions[i], templates) for i in leaves(scene)}
    able = []
    for path in nodes(scene):
        name, left, right = node_at(scene, path)
        tells = name == "then" and any(stems[i] != stems[j] for i in leaves(left) for j in leaves(right))
        if tells or kind == "connector":
            able.append(path)
    if not able:
        return None
    path = draw_one(able, generator)
    name, left, right = node_at(scene, path)
    changed = ["then", right, left] if kind == "order" else ["while" if name == "then" else "then", left, right]
    return replace_node(scene, path, changed)


def _mentions(replacement: str, captions: Sequence[str | None], templates: Templates) -> bool:
    """Return whether a caption mentions a source of the scene, or is mentioned by one of its captions, heard or not."""
    given = [text for text in captions if isinstance(text, str) and tokens(text)]
    return any(
        place is not None
        for text in given
        for inside, caption in ((replacement, text), (text, replacement))
        for place in find_mentions(tokens(inside), [caption], templates)
    )
