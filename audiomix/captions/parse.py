"""What a text states of sounds: which are mentioned, and in which relation (`parse_caption`)."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .templates import Templates, content_stems, one_sentence
from .text import WORD, stem, tokens

__all__ = ["SHARE", "Statement", "find_mentions", "parse_caption"]

# Share of a caption's content words that a text must hold to mention it, where it does not hold the caption itself.
SHARE = 0.5


@dataclass(frozen=True)
class Statement:
    """What a text says of sources with given captions.

    Parameters
    ----------
    mentioned : tuple of bool
        For each source.
    relations : dict of (int, int) to str or None
        For each pair i < j of mentioned sources: i is ``before``, ``after`` or ``together`` with j; None where the text
        does not tell.
    """

    mentioned: tuple[bool, ...]
    relations: dict[tuple[int, int], str | None]


@dataclass(frozen=True)
class _Joint:
    """What stands between two neighbouring mentions: ``then``, ``after``, ``together``, "" or None, and its level."""

    kind: str | None
    level: int


def parse_caption(
    text: str, captions: Sequence[str], templates: Templates | None = None, *, weak: str | None = None
) -> Statement:
    """Read what a text states of sources with these captions, whoever wrote it.

    A source is mentioned where the text holds its caption's words in a row (longer captions are looked for first), or
    else at least `SHARE` of its content words by stems, among them one that no other caption has.

    Two mentions are related by the words between them. Where others stand between, the joint behind the highest
    punctuation decides (none < comma < semicolon < dash < full stop); where joints of that level say different
    things, every reading of the sentence that has brackets set in some way is possible and None is the answer. Words
    in front of the first mention ("After A, B") count for the first joint without words of its own.

    Parameters
    ----------
    text : str
        What is read.
    captions : sequence of str
        By source; a source without words is not mentioned. Equal ones share a place, and None is their relation.
    templates : Templates, optional
        Whose words tell relations. Default: English.
    weak : str, optional
        The relation that "and" alone states. None, the rule: it makes no claim, not that of simultaneity either.

    Examples
    --------
    >>> parsed = parse_caption("A dog barks, while rain falls before a car passes.",
    ...                        ["A dog barks", "Rain falls", "A car passes", "Bells ring"])
    >>> parsed.mentioned, parsed.relations
    ((True, True, True, False), {(0, 1): 'together', (0, 2): 'together', (1, 2): 'before'})
    """
    templates = Templates.english() if templates is None else templates
    text = unicodedata.normalize("NFC", text)
    words = list(WORD.finditer(text))
    places = find_mentions([match[0].casefold() for match in words], captions, templates)
    spans = sorted({place for place in places if place is not None})
    joints = _joints(text, words, spans, templates, weak)
    relations: dict[tuple[int, int], str | None] = {}
    for i, own in enumerate(places):
        for j, other in enumerate(places[i + 1 :], i + 1):
            if own is not None and other is not None:
                relations[i, j] = _relation(spans.index(own), spans.index(other), joints)
    return Statement(tuple(place is not None for place in places), relations)


def _relation(i: int, j: int, joints: list[_Joint]) -> str | None:
    """Return the relation of two mentions, by their numbers in the text."""
    if i > j:
        turned = _relation(j, i, joints)
        return {"before": "after", "after": "before"}.get(turned or "", turned)
    between = joints[i:j]
    top = max((joint.level for joint in between), default=0)
    kinds = {joint.kind for joint in between if joint.level == top}
    names = {"then": "before", "after": "after", "together": "together"}
    return names.get(kinds.pop() or "") if len(kinds) == 1 else None


def find_mentions(words: list[str], captions: Iterable[str], templates: Templates) -> list[tuple[int, int] | None]:
    """Return for each caption the range of a text's words that mentions it, or None; equal captions share a place.

    Parameters
    ----------
    words : list of str
        `audiomix.captions.text.tokens` of the text.
    captions : iterable of str
        What is looked for.
    templates : Templates
        Whose neutral words do not count.
    """
    cores = [tuple(tokens(one_sentence(caption, templates))) for caption in captions]
    places: dict[tuple[str, ...], tuple[int, int]] = {}
    free = [True] * len(words)
    for core in sorted({core for core in cores if core}, key=lambda core: (-len(core), core)):
        size = len(core)
        starts = (at for at, word in enumerate(words) if word == core[0] and all(free[at : at + size]))
        start = next((at for at in starts if tuple(words[at : at + size]) == core), None)
        if start is not None:
            places[core] = (start, start + size)
            free[start : start + size] = [False] * size
    stems = [stem(word) if is_free else "" for word, is_free in zip(words, free)]
    owned = {core: content_stems(" ".join(core), templates) for core in set(cores) if core}
    for core in sorted(set(owned) - set(places)):
        others = frozenset().union(*(own for other, own in owned.items() if other != core))
        place = _window(stems, owned[core], owned[core] - others)
        if place:
            places[core] = place
    return [places.get(core) for core in cores]


def _window(stems: list[str], own: frozenset[str], telling: frozenset[str]) -> tuple[int, int] | None:
    """Return the shortest range that holds all telling words that occur, where enough of a caption's words do."""
    wanted = telling & set(stems)
    if not wanted or len(own & set(stems)) < SHARE * len(own):
        return None
    last: dict[str, int] = {}
    best: tuple[int, int] | None = None
    for at, word in enumerate(stems):
        if word in wanted:
            last[word] = at
            if len(last) == len(wanted) and (best is None or at + 1 - min(last.values()) < best[1] - best[0]):
                best = (min(last.values()), at + 1)
    return best


def _joints(
    text: str, words: list[re.Match[str]], spans: list[tuple[int, int]], templates: Templates, weak: str | None
) -> list[_Joint]:
    """Return what stands between each two neighbouring mentions."""
    plain = [match[0].casefold() for match in words]
    if len(spans) == 2 and spans[0][1] <= spans[1][0]:
        parts = (plain[: spans[0][0]], plain[spans[0][1] : spans[1][0]], plain[spans[1][1] :])
        for phrase in templates.phrases:
            if tuple(map(tuple, parts)) == phrase.words:
                return [_Joint(weak if templates.is_weak(phrase) else phrase.kind, 0)]
    front = _sign(plain[: spans[0][0]], templates.leading) if spans else ""
    joints: list[_Joint] = []
    for one, other in pairwise(spans):
        if one[1] > other[0]:  # they overlap: no words stand between them
            joints.append(_Joint(None, len(templates.separators) + 1))
            continue
        kind = templates.signs.get(tuple(plain[one[1] : other[0]])) or _sign(plain[one[1] : other[0]], templates.signs)
        if kind == "" and front:
            kind, front = front, ""
        if kind == "weak":
            tail = plain[other[1] :] if other == spans[-1] else []
            said = _sign(tail, templates.signs)
            kind = "together" if said == "together" else weak if said in ("", "weak") else None
        level = _level(text[words[one[1] - 1].end() : words[other[0]].start() + 1], templates)
        joints.append(_Joint(kind, level))
    return joints


def _sign(words: list[str], table: Mapping[tuple[str, ...], str]) -> str | None:
    """Return the kind that cue words in a row of words agree on; "" without cues, None where they disagree."""
    longest = max(map(len, table), default=0)
    kinds, at = set(), 0
    while at < len(words):
        size = next((n for n in range(longest, 0, -1) if tuple(words[at : at + n]) in table), 0)
        if size:
            kinds.add(table[tuple(words[at : at + size])])
        at += size or 1
    kinds = kinds - {"weak"} or kinds
    return None if len(kinds) > 1 else "".join(kinds)


def _level(between: str, templates: Templates) -> int:
    """Return the level of the highest punctuation between two mentions (`between` ends with the next one's letter)."""
    ends = re.finditer(r"[.!?]\W*\s\W*(\w)", between)
    if any(end[1].isupper() for end in ends):  # not the full stop of "5 p.m. while"
        return len(templates.separators)
    return max(at for at, mark in enumerate(templates.separators) if mark.strip() in between)
