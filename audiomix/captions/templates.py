"""How a language says that sounds follow each other or are heard together: `Templates`, and what a mixer asks of it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from .. import check
from .names import ARTICLELESS, NAMES
from .text import UNSPACED, WORD, sentences, stem, strip_marks, tokens, uncapitalise

__all__ = ["CaptionQuery", "Phrase", "Templates", "content_stems"]

# First words that lose their capital whatever follows: none that could be a name.
_LOWERABLE = """A An The This That These Those Some Many Several Various Multiple Few Two Three Four Five One
Another Each Both All Every There There's Here It It's He She They We You His Her Their Its Our In On At As While
When With Without After Before During From Inside Outside Near Under Over Through Into Behind Then Someone Someone's
Somebody Something People Person Man Men Woman Women Child Children Kids Boys Girls Adults Birds Bird Dogs Dog Cats
Cat Animals Animal Insects Crickets Horses Water Music Rain Wind Thunder Traffic Vehicles Cars Car Trucks
Engine Engines Footsteps Loud Soft Quiet Heavy Light Distant Continuous Constant Repeated Faint Low High Deep Slow
Fast Small Large Different Bells Leaves Doors Metal Glass Wood Objects Sounds Sound Noise Static
Speech Singing Talking Speaking Walking Running Rustling Chirping Barking Humming Buzzing Typing Clapping Laughing
Crying Knocking And But Or"""

# Words that name no sound: they neither make a mention nor count as a new sound.
_NEUTRAL = """a an the this that these those some any it its it's he she they his her their there here of in on at
to from by for with into onto over under through near by off out up down and or but as while when where which who
whose then than is are was were be been being am has have had do does did can could may might will would also too
both each other another one's before after during until since followed follow follows following preceded precede
precedes preceding later next afterwards afterward thereafter subsequently finally first meanwhile simultaneously
together same time alongside accompanied begin begins beginning began start starts starting started end ends ending
ended stop stops continue continues sound sounds sounding noise noises audio hear hears heard audible background
foreground scene"""

_CUES = {
    "then": "followed by/and then/then/before/and later/later/next/after that/after which/afterwards/afterward/"
    "thereafter/subsequently/finally/ends with/ends and/stops and/gives way to/precedes/preceding/until",
    "after": "after/preceded by/follows/following/before that",
    "together": "while/as/with/during/amid/alongside/accompanied by/along with/together with/at the same time/"
    "meanwhile/simultaneously/over/in the background of",
    "weak": "and",
    "leading_then": "after/following/preceded by",
    "leading_after": "before/followed by",
    "leading_together": "while/as/with/during/amid/alongside/when",
}


@dataclass(frozen=True)
class Phrase:
    """A template taken apart.

    Parameters
    ----------
    kind : str
        ``then``, ``after`` or ``together``.
    front, middle, behind : str
        What stands in front of, between and behind the two captions.
    flipped : bool
        Whether {b} comes first.
    """

    kind: str
    front: str
    middle: str
    behind: str
    flipped: bool

    @property
    def infix(self) -> bool:
        """Whether all words stand between the captions: only such phrases can be nested."""
        return not self.front and not self.behind

    @property
    def mark(self) -> str:
        """The punctuation that the middle begins with."""
        mark = re.match(r"\s*[^\w\s]+", self.middle)
        return mark[0] if mark else ""

    @cached_property
    def words(self) -> tuple[tuple[str, ...], ...]:
        """The words of the three parts."""
        return tuple(tuple(tokens(part)) for part in (self.front, self.middle, self.behind))


def _phrase(kind: str, text: Any) -> Phrase:
    name = f"a phrase of {kind!r}"
    check.one_of_types(name, text, str, "text with {a} and {b}")
    parts = re.split(r"\{([ab])\}", text)
    if len(parts) != 5 or {parts[1], parts[3]} != {"a", "b"} or re.search("[{}]", parts[0] + parts[2] + parts[4]):
        check.fail(name, "text with {a} and {b}, once each", repr(text), 'as in "{a} followed by {b}"')
    phrase = Phrase(kind, parts[0].lstrip(), parts[2], parts[4].rstrip(), parts[1] == "b")
    if not any(phrase.words):
        check.fail(name, "text with a word that tells the relation", repr(text))
    if re.search(r"[^\W_]\{|\}[^\W_]", re.sub(f"[{UNSPACED}]", " ", text)):
        check.fail(name, "text with spaces around {a} and {b}", repr(text), "a space is missing")
    if kind != "together" and phrase.flipped != (kind == "after"):
        first, other = ("{b}", "then") if kind == "after" else ("{a}", "after")
        check.fail(name, f"text with {first} first ({{a}} is the earlier sound)", repr(text), f"a phrase of {other!r}?")
    return phrase


@dataclass(frozen=True)
class Templates:
    """How a language says that sounds follow each other or are heard together.

    Parameters
    ----------
    then : tuple of str
        Phrases in the order of the sounds; {a} is the earlier one: ``"{a} followed by {b}"``.
    together : tuple of str
        ``"{a} while {b}"``.
    after : tuple of str
        Reversing phrases, the later sound first: ``"{b} after {a}"``; {a} is still the earlier one. May be none.
    label : tuple of str
        Captions made from the names of classes: ``"the sound of {name}"``, or ``{a name}`` with an English article.
    clauses : tuple of str
        Those of the phrases that join sentences and no nouns, as captions made from the names of classes are.
    lowercase : bool
        Whether a caption inside a sentence loses its sentence capital.
    lowerable : tuple of str
        The first words that lose it: none that could be a name (or a German noun).
    names : tuple of str
        First words that keep it. Where there are any, other words lose it; see `audiomix.captions.text.uncapitalise`.
    articleless : tuple of str
        Nouns in front of which ``{a name}`` has no article; see `audiomix.captions.text.with_article`.
    separators : tuple of str
        Punctuation in front of the connecting words of a part of a sentence without parts, with parts, with parts
        that have parts...: what keeps ``A while B, followed by C`` and ``A, while B followed by C`` apart. Four are
        enough for any scene of five sources.
    cues : dict of str to tuple of str
        Further words by which `audiomix.captions.parse` tells relations in texts that people or models wrote: ``then``,
        ``after``, ``together``, ``weak``, and ``leading_then``,
        ``leading_after``, ``leading_together`` for words in front of the first caption ("After A, B").
        ``weak`` is "and": it joins captions and states no relation, neither an order nor that they sound together.
    neutral : tuple of str
        Words that name no sound: articles, "heard", "background".

    Raises
    ------
    ValueError, TypeError
        A phrase without {a} or {b}, words that stand for two relations, no phrase that can be nested, empty lists.

    Examples
    --------
    >>> german = Templates(then=("{a}, gefolgt von {b}",), together=("{a}, während {b}",), lowerable=("Ein", "Eine"))
    >>> german.after
    ()
    """

    then: tuple[str, ...]
    together: tuple[str, ...]
    after: tuple[str, ...] = ()
    label: tuple[str, ...] = ("{name}",)
    clauses: tuple[str, ...] = ()
    lowercase: bool = False
    lowerable: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    articleless: tuple[str, ...] = ()
    separators: tuple[str, ...] = ("", ",", ";", " –")
    cues: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    neutral: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("then", "together", "label", "separators"):
            if not getattr(self, name):
                check.fail(name, "a list of at least one text", "an empty list")
        for text in self.label:
            parts = re.split(r"\{(?:a )?name\}", text) if isinstance(text, str) else []
            if len(parts) != 2 or set("{}") & set("".join(parts)):
                check.fail("a phrase of 'label'", "text with {name}, once", repr(text), 'as in "a sound of {name}"')
        for text in self.clauses:
            check.choice("a phrase of 'clauses'", text, [*self.then, *self.after, *self.together])
        for name in self.cues:
            check.choice("a key of cues", name, _CUES)
        marks = [mark.strip() for mark in self.separators[1:]]
        if self.separators[0] or not all(marks) or len(set(marks)) < len(marks) or any(map(tokens, marks)):
            check.fail("separators", '"" and then different punctuation marks', list(self.separators))
        self._check_phrases()

    def _check_phrases(self) -> None:
        kinds_of: dict[tuple[tuple[str, ...], ...], str] = {}
        for phrase in self.phrases:
            if kinds_of.setdefault(phrase.words, phrase.kind) != phrase.kind:
                got = f"{' '.join(sum(phrase.words, ()))!r} in {kinds_of[phrase.words]!r} and in {phrase.kind!r}"
                check.fail("phrases", "words that tell one relation", got)
        for name, kinds in (("then", {"then", "after"}), ("together", {"together"})):
            if not any(phrase.infix for phrase in self.phrases if phrase.kind in kinds):
                check.fail(name, "a list with a phrase whose words all stand between {a} and {b}", getattr(self, name))

    @staticmethod
    @lru_cache(maxsize=1)
    def english() -> "Templates":
        """Return the default."""
        return Templates(
            then=("{a} followed by {b}", "{a}, then {b}", "{a} before {b}"),
            together=("{a} while {b}", "{a} as {b}", "{a} at the same time as {b}"),
            after=("{b} after {a}", "{b} preceded by {a}"),
            label=("The sound of {a name}.",),
            clauses=("{a} while {b}", "{a} as {b}"),
            lowercase=True,
            lowerable=tuple(_LOWERABLE.split()),
            names=tuple(NAMES.split()),
            articleless=tuple(ARTICLELESS.split()),
            cues={name: tuple(words.split("/")) for name, words in _CUES.items()},
            neutral=tuple(_NEUTRAL.split()),
        )

    @staticmethod
    def read(path: str | Path) -> "Templates":
        """Read a JSON object with the names above as keys; what is missing is not taken from English.

        Parameters
        ----------
        path : path
            A file in UTF-8.

        Raises
        ------
        ValueError, TypeError
            Not UTF-8 or not JSON, unknown keys, and what `Templates` raises; the message names the file.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            check.fail(str(path), "text in UTF-8", f"byte 0x{error.object[error.start]:02x}", "save it as UTF-8")
        except (json.JSONDecodeError, RecursionError) as error:
            check.fail(str(path), "JSON", str(error), "double quotes, no comma behind the last entry?")
        try:
            return Templates(**_entries(data))
        except (ValueError, TypeError) as error:
            raise type(error)(f"{path}: {error}") from None

    @cached_property
    def phrases(self) -> tuple[Phrase, ...]:
        """All phrases that join two captions."""
        return tuple(_phrase(kind, text) for kind in ("then", "after", "together") for text in getattr(self, kind))

    @cached_property
    def clause_phrases(self) -> tuple[Phrase, ...]:
        """The phrases that join sentences and no nouns."""
        return tuple(p for k in ("then", "after", "together") for t in getattr(self, k) if t in self.clauses
                     for p in [_phrase(k, t)])  # fmt: skip

    def is_weak(self, phrase: Phrase) -> bool:
        """Return whether a phrase states no relation, as "and" does."""
        return self.signs.get(phrase.words[1]) == "weak"

    def is_label(self, caption: str) -> bool:
        """Return whether a caption was made from the name of a class."""
        texts = [re.split(r"\{(?:a )?name\}", text) for text in self.label]
        bare = strip_marks(caption).casefold()
        return any(
            (front or behind) and bare.startswith(front.casefold()) and bare.endswith(strip_marks(behind).casefold())
            for front, behind in texts
        )

    @cached_property
    def neutral_stems(self) -> frozenset[str]:
        """Stems of the words that name no sound."""
        return frozenset(stem(token) for word in self.neutral for token in tokens(word))

    @cached_property
    def signs(self) -> dict[tuple[str, ...], str]:
        """What stands between two captions, by its words: ``then``, ``after``, ``together`` or ``weak``."""
        table = {phrase.words[1]: phrase.kind for phrase in self.phrases if phrase.infix}
        return table | {
            tuple(tokens(w)): k for k in ("then", "after", "together", "weak") for w in self.cues.get(k, ())
        }

    @cached_property
    def connectors(self) -> frozenset[tuple[str, ...]]:
        """The words of phrases that stand between two captions."""
        return frozenset(phrase.words[1] for phrase in self.phrases if phrase.infix)

    @cached_property
    def leading(self) -> dict[tuple[str, ...], str]:
        """What stands in front of the first caption, by its words."""
        kinds = {name.removeprefix("leading_"): words for name, words in self.cues.items() if "_" in name}
        return {tuple(tokens(word)): kind for kind, words in kinds.items() for word in words}


def _entries(data: Any) -> dict[str, Any]:
    """Return what a template file says as arguments of `Templates`."""
    check.one_of_types("the file", data, dict, 'a JSON object with "then" and "together"')
    known = [f.name for f in fields(Templates)]
    for name, value in data.items():
        check.choice("a key", name, known)
        if name == "lowercase":
            check.one_of_types(name, value, bool, "true or false")
            continue
        if name == "cues":
            check.one_of_types(name, value, dict, "an object of lists of words")
        for part, entry in value.items() if name == "cues" else [(name, value)]:
            if not isinstance(entry, list) or not entry or not all(isinstance(text, str) for text in entry):
                check.fail(part, "a list of at least one text", json.dumps(entry, ensure_ascii=False)[:60])
    for name in ("then", "together"):
        if name not in data:
            check.fail("the file", f"an object with {name!r}", f"keys {', '.join(data) or 'none'}")
    tuples = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    return tuples | ({"cues": {k: tuple(v) for k, v in data["cues"].items()}} if "cues" in data else {})


def one_sentence(caption: str, templates: Templates) -> str:
    """Return a caption of several sentences as one: joined by "and" (or their own "and", "but", "or").

    Punctuation joins them where the templates have no such word.

    >>> one_sentence("A dog barks. Then it rains.", Templates.english())
    'A dog barks and then it rains.'
    >>> one_sentence("A dog barks. But no cat hisses.", Templates.english())
    'A dog barks, but no cat hisses.'
    """
    parts = [part for part in sentences(caption) if WORD.search(part)]
    if len(parts) < 2:
        return caption
    bare = [strip_marks(part) for part in parts[:-1]] + parts[-1:]
    if templates.lowercase:
        bare[1:] = [uncapitalise(part, templates.lowerable, templates.names) for part in bare[1:]]
    word = next(iter(templates.cues.get("weak", ())), "")
    if word:
        first = bare[-1].partition(" ")[0].strip(",").casefold()
        joint = " " if first == word else ", " if first in ("but", "or") else f" {word} "
        return ", ".join(bare[:-1]) + joint + bare[-1]
    space = "" if re.match(f"[{UNSPACED}]", bare[-1]) else " "
    return (templates.separators[min(2, len(templates.separators) - 1)] + space).join(bare)


def content_stems(text: str, templates: Templates) -> frozenset[str]:
    """Return the stems of a caption's content words; of all its words where it has no others.

    >>> sorted(content_stems("The sound of barking dogs", Templates.english()))
    ['bark', 'dog']
    """
    stems = frozenset(map(stem, tokens(text)))
    return (stems - templates.neutral_stems) or stems


@dataclass(frozen=True)
class CaptionQuery:
    """What a mixer asks of whoever finds the captions of its clips, and rewrites those of its mixes.

    Parameters
    ----------
    templates : path, optional
        A JSON file with the phrases of another language; English by default.
    max_words : int, optional
        Words of the longest caption.
    distractors : bool
        Whether captions of other clips are wanted too, for false captions.
    """

    templates: str | Path | None = None
    max_words: int | None = None
    distractors: bool = False

    def read(self) -> Templates:
        """Return the templates; raises as `Templates.read`."""
        if self.templates is None:
            return Templates.english()
        return Templates.read(check.one_of_types("templates", self.templates, (str, Path), "a path"))
