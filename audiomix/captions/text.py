"""Words of captions: taken apart, counted, and compared whatever their inflection."""

import re
import unicodedata
from collections.abc import Collection, Container, Iterable
from functools import lru_cache

__all__ = [
    "UNSPACED",
    "WORD",
    "count",
    "distinct_captions",
    "sentences",
    "stem",
    "strip_marks",
    "tokens",
    "uncapitalise",
    "with_article",
]  # fmt: skip

# Scripts without spaces between words: each character counts as one (Thai to Khmer, kana, Han).
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
WORD = re.compile(rf"[{UNSPACED}]|(?:(?![{UNSPACED}])[^\W_])+(?:['’](?:(?![{UNSPACED}])[^\W_])+)*")
_IRREGULAR = {"men": "man", "women": "woman", "children": "child", "feet": "foot", "spoken": "speak", "spoke": "speak"}
_IRREGULAR |= {"rang": "ring", "sang": "sing", "sung": "sing", "ran": "run", "blew": "blow", "fell": "fall"}


def tokens(text: str) -> list[str]:
    """Return the words of a text, case-folded and without punctuation: what "equal" means for captions.

    >>> tokens("The DJ's set, 3 p.m.")
    ['the', "dj's", 'set', '3', 'p', 'm']
    """
    return [word.casefold() for word in WORD.findall(unicodedata.normalize("NFC", text))]


def distinct_captions(captions: Iterable[str]) -> frozenset[str]:
    """Return the different captions among some, without case and punctuation; those without a word are left out.

    Two clips that have none of these in common may be told apart by their captions.

    >>> sorted(distinct_captions(["A dog barks.", "a DOG  barks", "Rain", "..."]))
    ['a dog barks', 'rain']
    """
    return frozenset(" ".join(tokens(caption)) for caption in captions) - {""}


def count(text: str) -> int:
    """Return the number of words: what stands between spaces, or characters where a script has no spaces.

    >>> count("A high-pitched bell – don't ask"), count("犬が吠える")
    (5, 5)
    """
    unspaced = re.compile(f"[{UNSPACED}]")
    return sum(max(1, len(unspaced.findall(part))) for part in text.split() if WORD.search(part))


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """Return a rough English stem, so that inflections of a word compare equal.

    >>> [stem(w) for w in ("barks", "barking", "running", "runs", "cries", "crying", "making", "makes", "string")]
    ['bark', 'bark', 'run', 'run', 'cry', 'cry', 'mak', 'mak', 'string']
    """
    word = re.sub("['’]s?$", "", word)
    word = _IRREGULAR.get(word, word)
    for end, put, least in (("ies", "y", 2), ("ied", "y", 2), ("sses", "ss", 2), ("s", "", 3)):
        if word.endswith(end) and len(word) - len(end) >= least and not (end == "s" and word[-2] in "sui"):
            word = word[: -len(end)] + put
            break
    for end in ("ing", "ed", "ly"):
        rest = word[: -len(end)]
        if word.endswith(end) and len(rest) >= 3 and re.search("[aeiouy]", rest) and not word.endswith("eed"):
            word = rest
            break
    word = word[:-1] if word.endswith("e") and len(word) > 3 else word
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiou" else word


def uncapitalise(caption: str, lowerable: Container[str], names: Collection[str] = ()) -> str:
    """Return a caption as it stands inside a sentence: its first letter in lower case where that is safe.

    Parameters
    ----------
    caption : str
        A whole caption.
    lowerable : container of str
        First words that lose their capital.
    names : collection of str
        First words that keep it. Where there are any, every other word in lower case but for its first letter loses
        its capital, unless the next word has one too ("Big Ben"). "I", acronyms and "A/C" are no such words.
        Where there are none, all words but the lowerable keep it.

    Examples
    --------
    >>> [uncapitalise(c, {"A", "It's"}) for c in ("A dog barks", "A/C hums", "It's raining", "Waves crash")]
    ['a dog barks', 'A/C hums', "it's raining", 'Waves crash']
    >>> [uncapitalise(c, {"A"}, {"Paris"}) for c in ("Waves crash", "Paris at night", "I sing", "Big Ben", "TV noise")]
    ['waves crash', 'Paris at night', 'I sing', 'Big Ben', 'TV noise']
    """
    words = [word.strip(",;:.!?").replace("’", "'") for word in caption.split(maxsplit=2)[:2]]
    if not words:
        return caption
    first = words[0]
    lower = first in lowerable
    if names and not lower:
        titled = len(words) > 1 and words[1] != "I" and words[1][:1].isupper()
        plain = first[:1].isupper() and first[1:2].isalpha() and first[1:].islower()
        lower = plain and not titled and first.removesuffix("'s") not in names
    return caption[0].lower() + caption[1:] if lower else caption


_MARKS = " .,;:!?…。、，！？；：–—-"
_ABBREVIATION = re.compile(r"(?:^|\W)(?:(?:[^\W\d_]\.){2,}|(?:etc|Jr|Sr|Inc|Ltd)\.)$")
# A full stop behind these ends no sentence, whatever follows.
_TITLES = re.compile(r"(?:^|\W)(?:Mr|Mrs|Ms|Dr|Prof|St|No|vs|approx|ca|e\.g|i\.e|[A-Z])\.$")
_END = re.compile(r"(?:[.!?…]+[\"'”’»)\]]*\s+|[。！？]+\s*)(?=\S)")


def strip_marks(caption: str) -> str:
    """Return a caption without the punctuation around it; an abbreviation keeps its full stop.

    >>> strip_marks(" Rain,  then wind!"), strip_marks("News at 5 p.m.")
    ('Rain, then wind', 'News at 5 p.m.')
    """
    text = " ".join(caption.split()).lstrip(_MARKS)
    bare = text.rstrip(_MARKS)
    return text[: len(bare) + 1] if _ABBREVIATION.search(text[: len(bare) + 1]) else bare


def sentences(caption: str) -> list[str]:
    """Return the sentences of a caption; a full stop ends one where it belongs to no abbreviation.

    Dots, quotes and brackets end none where a small letter follows.

    >>> sentences("A dog barks. Then rain falls!"), sentences("News at 5 p.m. while Dr. Who talks")
    (['A dog barks.', 'Then rain falls!'], ['News at 5 p.m. while Dr. Who talks'])
    >>> sentences('A man says "Stop!" and runs... then he falls')
    ['A man says "Stop!" and runs... then he falls']
    """
    text, found, start = " ".join(caption.split()), list[str](), 0
    for end in _END.finditer(text):
        before, mark = text[start : end.end()].rstrip(), end[0].strip()[:1]
        begins = text[end.end() :].lstrip("\"'“‘«([")[:1]
        short = _ABBREVIATION.search(before) and not begins.isupper()
        goes_on = begins.islower() and re.search(r"(?:\.\.|…|[\"'”’»)\]])$", before)
        if goes_on or (mark == "." and (short or _TITLES.search(before))) or not WORD.search(before):
            continue
        found.append(before)
        start = end.end()
    return [*found, text[start:]]


_DETERMINERS = frozenset(
    [
        "a",
        "an",
        "the",
        "this",
        "that",
        "these",
        "those",
        "some",
        "any",
        "no",
        "my",
        "your",
        "his",
        "her",
        "its",
        "our",
        "their",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "zero",
    ]
)
_PREPOSITIONS = frozenset(
    ["at", "by", "from", "in", "into", "of", "off", "on", "onto", "over", "through", "to", "under", "with"]
)


def with_article(noun: str, without: Container[str]) -> str:
    """Return an English noun, or the name of a class, with "a" or "an" where one belongs.

    None stands in front of a word that has a determiner, an activity (-ing), a plural (-s), and the words `without`;
    what decides is the last word before a preposition.

    >>> [with_article(name, {"rain"}) for name in ("dog", "air conditioner", "heavy rain", "sea waves", "bird singing")]
    ['a dog', 'an air conditioner', 'heavy rain', 'sea waves', 'bird singing']
    """
    words = noun.lower().split()
    if not words or words[0] in _DETERMINERS or words[0][0].isdigit():
        return noun
    cut = next((at for at, word in enumerate(words) if at and word in _PREPOSITIONS), len(words))
    head = words[cut - 1]
    plural = len(head) > 3 and head.endswith("s") and not head.endswith(("ss", "us", "is"))
    if head in without or plural or re.search(r"[aeiouy][a-z]*ing$", head):
        return noun
    vowel = re.match(r"[aeiou](?!u)|hour|honest", words[0]) and not re.match(r"uni|use|eu|one\b|ut", words[0])
    return f"{'an' if vowel else 'a'} {noun}"
