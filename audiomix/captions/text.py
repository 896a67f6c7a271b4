"""Words of captions: taken apart, counted, and compared whatever their inflection."""

import re
import unicodedata
from collections.abc import Container, Iterable
from functools import lru_cache

__all__ = ["UNSPACED", "WORD", "count", "stem", "tokens", "uncapitalise", "wordings"]

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


def wordings(captions: Iterable[str]) -> frozenset[str]:
    """Return the different captions among some, without case and punctuation; those without a word are left out.

    Two clips whose wordings have none in common may be told apart by their captions.

    >>> sorted(wordings(["A dog barks.", "a DOG  barks", "Rain", "..."]))
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


def uncapitalise(caption: str, lowerable: Container[str]) -> str:
    """Return a caption as it stands inside a sentence: its first letter in lower case where that is safe.

    Parameters
    ----------
    caption : str
        A whole caption.
    lowerable : container of str
        First words that lose their capital. All others keep it: they may be names, acronyms or "I".

    >>> [uncapitalise(c, {"A", "It's"}) for c in ("A dog barks", "A/C hums", "It's raining")]
    ['a dog barks', 'A/C hums', "it's raining"]
    """
    first = caption.split(maxsplit=1)[0].rstrip(",;:") if caption.strip() else ""
    return caption[0].lower() + caption[1:] if first.replace("’", "'") in lowerable else caption
