"""Captions joined by a language model: asked, cached, checked; what does not hold stays a template's."""

import hashlib
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ... import check
from ...audio.io import atomic_file
from ...captions.parse import parse_caption
from ...captions.templates import Templates
from ...captions.text import count, stem, tokens
from ...captions.tree import leaves, relations, simplify

__all__ = ["VERSION", "Joined", "Joiner", "Request", "join_captions", "prompt", "refusal"]

# Part of the cache's keys: raise it when the prompt changes its meaning.
VERSION = "1"
# Prompts handed to the joiner at once: what is answered is in the cache before the next are sent.
_BATCH = 64
# Calls of a joiner in a row that may raise before it is given up for the run.
_GIVE_UP = 3
_PREAMBLE = re.compile(
    r"(here (is|are)|here's|sure|certainly|of course|okay|ok|caption|answer|output|sentence)\b\W", re.I
)
_QUOTES = '"“”„«»`*'


class Joiner(Protocol):
    """Anything that answers prompts: one text for each, or None or an exception where there is none.

    What it answers is cached under its attribute ``model``, or else the name of its function or class: give it the
    attribute where one function asks different models.
    """

    def __call__(self, prompts: Sequence[str], /) -> Sequence[str | Exception | None]:
        """Answer the prompts, in order."""
        ...


@dataclass(frozen=True)
class Request:
    """A caption to be written: the scene, its sources' captions, and what the template says.

    Parameters
    ----------
    tree : JSON tree
        Of the sources that are named; see `audiomix.captions.tree`.
    captions : sequence of str
        By source.
    template : str
        The caption that `write` made.
    """

    tree: Any
    captions: Sequence[str]
    template: str

    @property
    def named(self) -> list[str]:
        """The captions of the sources in the tree, by number; of equal ones the first."""
        scene = simplify(self.tree, self.captions)
        return [] if scene is None else [self.captions[i] for i in sorted(leaves(scene))]


@dataclass(frozen=True)
class Joined:
    """A caption and where it is from.

    Parameters
    ----------
    text : str
    by : str
        ``model``; ``cache``: what the model answered before; ``template``.
    reason : str
        Why it is the template's.
    """

    text: str
    by: Literal["model", "cache", "template"]
    reason: str = ""


def join_captions(
    requests: Sequence[Request],
    joiner: Joiner,
    *,
    templates: Templates,
    max_words: int | None = None,
    cache: str | Path | None = None,
    new_words: int = 0,
) -> list[Joined]:
    """Let a language model write captions; the template's stays where it fails or says something that is not true.

    Equal prompts are sent once, and what the cache has is not sent. Refused answers stay in the cache: to ask again,
    empty it. Nothing that the joiner, the server or the cache does raises.

    Parameters
    ----------
    requests : sequence of Request
    joiner : callable
        See `Joiner`; `audiomix.offline.providers.llm.Endpoint` is one.
    templates : Templates
        By whose words answers are read.
    max_words : int, optional
    cache : path, optional
        A folder of answers, by the content of the prompt, the model and `VERSION`.
    new_words : int
        How many content words an answer may have that no caption has; see `refusal`.

    Raises
    ------
    ValueError, TypeError
        A request whose tree and captions do not fit.

    Examples
    --------
    >>> english = Templates.english()
    >>> request = Request(["then", 0, 1], ["A dog barks.", "Rain falls."], "A dog barks, then rain falls.")
    >>> join_captions([request], lambda prompts: ["A dog is barking before the rain falls."], templates=english)
    [Joined(text='A dog is barking before the rain falls.', by='model', reason='')]
    >>> join_captions([request], lambda prompts: ["A dog barks in the rain."], templates=english)[0].reason
    "answer refused: says nothing on 'A dog barks.' and 'Rain falls.', which is before"
    """
    check.integer("new_words", new_words, 0)
    prompts = [prompt(request, max_words) for request in requests]
    wanted = [text for text in dict.fromkeys(prompts) if text]
    store = _Answers(cache, joiner)
    kept = {text: answer for text in wanted if (answer := store.load(text)) is not None}
    answers: dict[str, str | Exception | None] = {**kept}
    _ask([text for text in wanted if text not in kept], joiner, store, answers)
    joined = []
    for request, text in zip(requests, prompts):
        if not text:
            joined.append(Joined(request.template, "template", "no two captions to join"))
            continue
        by: Literal["cache", "model"] = "cache" if text in kept else "model"
        joined.append(_judged(request, answers.get(text), by, templates, max_words, new_words))
    return joined


def prompt(request: Request, max_words: int | None = None) -> str:
    """Return what the model is asked; "" where there are no two captions to join.

    Raises
    ------
    ValueError, TypeError
        The tree and the captions do not fit.
    """
    scene = simplify(request.tree, request.captions)
    if scene is None or isinstance(scene, int):
        return ""
    numbers = {source: k for k, source in enumerate(sorted(leaves(scene)), 1)}
    lines = [f"{k}. {' '.join(request.captions[source].split())}" for source, k in numbers.items()]
    order = [
        f"{numbers[i]} is heard {'together with' if name == 'together' else name} {numbers[j]}."
        for (i, j), name in sorted(relations(scene).items())
    ]
    limit = "" if max_words is None else f" of at most {max_words} words"
    return "\n".join(
        [
            f"Join these captions of sounds into one fluent sentence{limit}, in the language of the captions.",
            *lines,
            "The sounds relate so:",
            *order,
            f"A clumsy but true version: {request.template}",
            "Name every sound, keep each one's words as far as you can, and say in which order or together they are "
            "heard. Add no other sound, no interpretation, no quotation marks. Answer with the sentence only.",
        ]
    )


def refusal(
    text: str, request: Request, *, templates: Templates, max_words: int | None = None, new_words: int = 0
) -> str:
    """Return why an answer cannot be taken; "" for one that can.

    Checked are, in this order: one line of printable text; no quotation marks, asterisks or colons that the captions
    do not have; no preamble; the number of words; that `parse_caption` finds every source mentioned and every pair in the
    relation of the tree (a relation that it cannot read is refused too); and that there is no third sound: at most
    `new_words` of its words have a stem that neither a caption nor the template has and are not among the templates'
    neutral words (articles, "heard") or connecting words. Synonyms and adjectives count as new: better a template's
    words than a sound that is not there.
    """
    given = [*request.named, request.template]
    if "\n" in text.strip() or not text.isprintable():
        return "more than one line" if "\n" in text.strip() else "characters that cannot be printed"
    odd = sorted({sign for sign in text if sign in _QUOTES + ":" and not any(sign in caption for caption in given)})
    if odd:
        return f"has {' '.join(odd)}, which no caption has"
    if _PREAMBLE.match(text) and not any(_PREAMBLE.match(caption) for caption in given):
        return f"begins with {' '.join(text.split()[:2])!r}"
    if max_words is not None and count(text) > max_words:
        return f"{count(text)} words, more than {max_words}"
    return _untrue(text, request, templates) or _third(text, request, templates, new_words)


def _untrue(text: str, request: Request, templates: Templates) -> str:
    scene = simplify(request.tree, request.captions)
    sources = [] if scene is None else sorted(leaves(scene))
    said = parse_caption(text, request.named, templates)
    for caption, mentioned in zip(request.named, said.mentioned):
        if not mentioned:
            return f"does not mention {caption!r}"
    for (i, j), name in sorted(relations(scene).items()):
        found = said.relations[sources.index(i), sources.index(j)]
        if found != name:
            what = f"says {found!r}" if found else "says nothing"
            return f"{what} on {request.captions[i]!r} and {request.captions[j]!r}, which is {name}"
    return ""


def _third(text: str, request: Request, templates: Templates, new_words: int) -> str:
    joining = {word for table in (templates.signs, templates.leading) for sign in table for word in sign}
    around = {word for phrase in templates.phrases for part in phrase.words for word in part}
    known = {stem(word) for caption in (*request.named, request.template) for word in tokens(caption)}
    known |= templates.neutral_stems | {stem(word) for word in joining | around}
    new = [word for word in dict.fromkeys(tokens(text)) if stem(word) not in known]
    return f"a sound of its own? {', '.join(new[:5])}" if len(new) > new_words else ""


def _judged(
    request: Request,
    answer: str | Exception | None,
    by: Literal["cache", "model"],
    templates: Templates,
    max_words: int | None,
    new_words: int,
) -> Joined:
    if not isinstance(answer, str):
        return Joined(request.template, "template", f"no answer: {answer}" if answer else "no answer")
    text = answer.strip()
    if len(text) > 2 and text[0] + text[-1] in ('""', "“”", "«»") and not set(text[1:-1]) & set(_QUOTES):
        text = text[1:-1].strip()
    reason = refusal(text, request, templates=templates, max_words=max_words, new_words=new_words)
    if reason:
        return Joined(request.template, "template", f"answer refused: {reason}")
    return Joined(text, by)


def _ask(prompts: list[str], joiner: Joiner, store: "_Answers", answers: dict[str, Any]) -> None:
    """Ask in batches; what a joiner raises, or returns beside texts, becomes the reason of each failure."""
    failed = 0
    for start in range(0, len(prompts), _BATCH):
        batch = prompts[start : start + _BATCH]
        try:
            found = list(joiner(batch))
            if len(found) != len(batch):
                check.fail("the joiner's answer", f"{len(batch)} texts, one for each prompt", len(found))
            failed = 0
        except Exception as error:  # whatever a callable does: the run goes on, and the manifest has the reason
            found = [error] * len(batch)
            failed += 1
        for text, answer in zip(batch, found):
            answers[text] = answer if isinstance(answer, (str, Exception)) else None
            if isinstance(answer, str) and answer.strip():
                store.store(text, answer)
        if failed == _GIVE_UP:
            reason = f"{found[-1]}; the joiner failed {_GIVE_UP} times in a row and is given up"
            warnings.warn(f"{reason}; templates are used from here on", RuntimeWarning, stacklevel=3)
            answers.update(dict.fromkeys(prompts[start + _BATCH :], RuntimeError(reason)))
            return


class _Answers:
    """A folder of answers, one JSON file each; what cannot be read counts as absent, what cannot be written is said."""

    def __init__(self, folder: str | Path | None, joiner: Joiner) -> None:
        self.folder = None if folder is None else Path(folder)
        model, own = getattr(joiner, "model", None), joiner if hasattr(joiner, "__qualname__") else type(joiner)
        self.model = model if isinstance(model, str) else f"{own.__module__}.{own.__qualname__}"
        self._said = False

    def path(self, prompt: str) -> Path:
        key = hashlib.blake2b(json.dumps([prompt, self.model, VERSION]).encode(), digest_size=16).hexdigest()
        return (self.folder or Path()) / key[:2] / f"{key}.json"

    def load(self, prompt: str) -> str | None:
        """Return what was answered before; None where nothing is kept or the entry is broken: it is asked again."""
        if self.folder is None:
            return None
        try:
            entry = json.loads(self.path(prompt).read_bytes())
            fits = [entry["prompt"], entry["model"], entry["version"]] == [prompt, self.model, VERSION]
            return entry["answer"] if fits and isinstance(entry["answer"], str) and entry["answer"].strip() else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def store(self, prompt: str, answer: str) -> None:
        """Keep an answer; a folder that cannot be written stops nothing."""
        if self.folder is None:
            return
        entry = self.path(prompt)
        text = json.dumps({"prompt": prompt, "model": self.model, "version": VERSION, "answer": answer})
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(entry) as file:
                file.write(text.encode())
        except OSError as error:
            if not self._said:
                reason = error.strerror or error
                warnings.warn(f"{self.folder}: answers cannot be kept ({reason})", RuntimeWarning, stacklevel=4)
            self._said = True
