"""Captions of mixed sounds."""

import re

__all__ = ["joined", "uncapitalised"]

# Sentence-like words in front of which a capital is only the sentence's: not "I", acronyms or names
_PLAIN_START = re.compile(
    r"(A|An|The|This|That|These|Those|Some|Many|Several|Two|Three|Four|Five|One|There|It|In|On|At|As|While|When|With|"
    r"Someone|Somebody|Something|People|Men|Women|Children|Birds|Water|Music)\b(?!')"
)


def uncapitalised(caption: str) -> str:
    """Return a caption as it stands inside a sentence: its first letter lower-cased where it is only the sentence's.

    A first word that may be a name, an acronym or "I" keeps its capital: only words known to be no names lose it.

    >>> [uncapitalised(c) for c in ("A dog barks", "I sing", "DJ set", "Vienna waltz")]
    ['a dog barks', 'I sing', 'DJ set', 'Vienna waltz']
    """
    return caption[0].lower() + caption[1:] if _PLAIN_START.match(caption) else caption


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
