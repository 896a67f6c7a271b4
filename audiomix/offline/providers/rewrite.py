"""Captions rewritten by a language model: asked, cached, checked; what does not hold stays the template's."""

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from ... import check
from ...audio.io import atomic_file
from ...captions.parse import parse_caption
from ...captions.templates import Templates
from ...captions.text import count, stem, tokens
from ...captions.tree import Tree, leaves, relations, simplify

__all__ = [
    "NOTHING_TO_JOIN",
    "VERSION",
    "CaptionRewriter",
    "LanguageModel",
    "Rewrite",
    "RewriteRequest",
    "prompt_of",
    "refusal",
]

# Part of the cache's keys: raise it when the prompt changes its meaning.
VERSION = "1"
# Prompts handed to the model at once: what is answered is in the cache before the next are sent.
_BATCH = 64
# An answer has at most so many times the words and the characters of the template, or of the captions together.
_LONGEST = 2
# Why a model is not asked for a caption.
NOTHING_TO_JOIN = "no two captions to join"
# Calls of a model in a row that may raise before it is given up.
_GIVE_UP = 3
_PREAMBLE = re.compile(
    r"(here (is|are)|here's|sure|certainly|of course|okay|ok|caption|answer|output|sentence)\b\W", re.I
)
_QUOTES = '"“”„«»`*'

# Anything that answers prompts, in order: a text for each, or None or an exception where there is none.
LanguageModel = Callable[[Sequence[str]], Sequence[str | Exception | None]]
_Origin = Literal["model", "cache", "template"]


@dataclass(frozen=True)
class RewriteRequest:
    """A caption to be rewritten.

    Parameters
    ----------
    tree : JSON tree
        The scene of the sources that are named; see `audiomix.captions.tree`.
    captions : sequence of str
        By source.
    template : str
        The caption that `audiomix.captions.compose.write_caption` wrote.
    """

    tree: Tree
    captions: Sequence[str]
    template: str

    @cached_property
    def scene(self) -> Tree | None:
        """The tree with equal captions once; None where nothing is left."""
        return simplify(self.tree, self.captions)

    @property
    def sources(self) -> list[int]:
        """The sources in the scene, ascending."""
        return [] if self.scene is None else sorted(leaves(self.scene))

    @property
    def source_captions(self) -> list[str]:
        """The captions of the sources in the scene, in their order."""
        return [self.captions[i] for i in self.sources]


@dataclass(frozen=True)
class Rewrite:
    """A caption and where it is from.

    Parameters
    ----------
    text : str
        The caption.
    by : str
        ``model``; ``cache``: what the model answered before; ``template``.
    reason : str
        Why it is the template's.
    """

    text: str
    by: _Origin
    reason: str = ""


class CaptionRewriter:
    """Let a language model write captions; the template's stays where it fails or says something that is not true.

    Equal prompts are sent once, and what the cache has is not sent. Refused answers stay in the cache: to ask again,
    empty it. Nothing that the model, a server or the cache does raises. A model that raises in three calls in a row is
    given up for good.

    Parameters
    ----------
    model : callable
        From a list of prompts to as many texts, in order; None or an exception stands for no answer.
        `audiomix.offline.providers.llm.ChatModel` is one. Answers are cached under its attribute ``model``, or else the
        name of its function or class: give it the attribute where one function asks different models.
    templates : Templates
        By whose words answers are read.
    max_words : int, optional
        Words of the longest answer.
    cache : path, optional
        A folder of answers, by the content of the prompt, the model and `VERSION`.

    Examples
    --------
    >>> english = Templates.english()
    >>> request = RewriteRequest(["then", 0, 1], ["A dog barks.", "Rain falls."], "A dog barks, then rain falls.")
    >>> CaptionRewriter(lambda prompts: ["A dog is barking before the rain falls."], templates=english)([request])
    [Rewrite(text='A dog is barking before the rain falls.', by='model', reason='')]
    >>> CaptionRewriter(lambda prompts: ["A dog barks in the rain."], templates=english)([request])[0].reason
    "answer refused: says nothing on 'A dog barks.' and 'Rain falls.', which is before"
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        templates: Templates,
        max_words: int | None = None,
        cache: str | Path | None = None,
    ) -> None:
        self.model, self.templates, self.max_words = model, templates, max_words
        self._answers = _AnswerCache(cache, model)
        self._failures, self._stopped = 0, ""

    def __call__(self, requests: Sequence[RewriteRequest]) -> list[Rewrite]:
        """Return a caption for each request.

        Raises
        ------
        ValueError, TypeError
            A request whose tree and captions do not fit.
        """
        prompts = [prompt_of(request, self.max_words) for request in requests]
        different = [prompt for prompt in dict.fromkeys(prompts) if prompt]
        kept = {prompt: answer for prompt in different if (answer := self._answers.load(prompt)) is not None}
        answers = {**kept, **self._ask([prompt for prompt in different if prompt not in kept])}
        rewrites = []
        for request, prompt in zip(requests, prompts):
            if prompt:
                rewrites.append(self._check(request, answers[prompt], "cache" if prompt in kept else "model"))
            else:
                rewrites.append(Rewrite(request.template, "template", NOTHING_TO_JOIN))
        return rewrites

    def _ask(self, prompts: list[str]) -> dict[str, str | Exception | None]:
        """Ask in batches; what a model raises, or returns beside texts, becomes the reason of each failure."""
        answers: dict[str, str | Exception | None] = {}
        for start in range(0, len(prompts), _BATCH):
            batch = prompts[start : start + _BATCH]
            if self._stopped:
                answers.update(dict.fromkeys(batch, RuntimeError(self._stopped)))
                continue
            try:
                found = list(self.model(batch))
                if len(found) != len(batch):
                    check.fail("the model's answer", f"{len(batch)} texts, one for each prompt", len(found))
                self._failures = 0
            except Exception as error:  # whatever a callable does: the run goes on, and the manifest has the reason
                found = [error] * len(batch)
                self._failures += 1
            for prompt, answer in zip(batch, found):
                answers[prompt] = answer if isinstance(answer, (str, Exception)) else None
                if isinstance(answer, str) and answer.strip():
                    self._answers.store(prompt, answer)
            if self._failures == _GIVE_UP:
                self._stopped = f"{found[-1]}; the model failed {_GIVE_UP} times in a row and is given up"
                message = f"{self._stopped}; templates are used from here on"
                warnings.warn(message, RuntimeWarning, stacklevel=3)
        return answers

    def _check(self, request: RewriteRequest, answer: str | Exception | None, by: _Origin) -> Rewrite:
        """Return an answer that can be taken, or the template with the reason."""
        if not isinstance(answer, str):
            return Rewrite(request.template, "template", f"no answer: {answer}" if answer else "no answer")
        text = answer.strip()
        if len(text) > 2 and text[0] + text[-1] in ('""', "“”", "«»") and not set(text[1:-1]) & set(_QUOTES):
            text = text[1:-1].strip()
        reason = refusal(text, request, templates=self.templates, max_words=self.max_words)
        return Rewrite(request.template, "template", f"answer refused: {reason}") if reason else Rewrite(text, by)


def prompt_of(request: RewriteRequest, max_words: int | None = None) -> str:
    """Return what the model is asked; "" where there are no two captions to join.

    Raises
    ------
    ValueError, TypeError
        The tree and the captions do not fit.
    """
    if len(request.sources) < 2:
        return ""
    numbers = {source: k for k, source in enumerate(request.sources, 1)}
    lines = [f"{k}. {' '.join(request.captions[source].split())}" for source, k in numbers.items()]
    order = [
        f"{numbers[i]} is heard {'together with' if name == 'together' else name} {numbers[j]}."
        for (i, j), name in sorted(relations(request.scene).items())
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


def refusal(text: str, request: RewriteRequest, *, templates: Templates, max_words: int | None = None) -> str:
    """Return why an answer cannot be taken; "" for one that can.

    Checked are, in this order: one line of printable text; no quotation marks, asterisks or colons that the captions
    do not have; no preamble; the number of words and, whatever the options, not more than twice the words or the
    characters of the template (or of the captions, if they are longer); that `audiomix.captions.parse.parse_caption`
    finds every source mentioned and every pair in the relation of the tree (a relation that it cannot read is refused
    too, but for "and" between sounds that are heard together); and that there
    is no third sound: a word whose stem neither a caption nor the template has, and which is not among the templates'
    neutral words (articles, "heard") or connecting words. Synonyms and adjectives count as new: better a template's
    words than a sound that is not there.
    """
    given = [*request.source_captions, request.template]
    if "\n" in text.strip() or not text.isprintable():
        return "more than one line" if "\n" in text.strip() else "characters that cannot be printed"
    odd = sorted({sign for sign in text if sign in _QUOTES + ":" and not any(sign in caption for caption in given)})
    if odd:
        return f"has {' '.join(odd)}, which no caption has"
    if _PREAMBLE.match(text) and not any(_PREAMBLE.match(caption) for caption in given):
        return f"begins with {' '.join(text.split()[:2])!r}"
    if max_words is not None and count(text) > max_words:
        return f"{count(text)} words, more than {max_words}"
    for unit, size in (("words", lambda one: len(tokens(one))), ("characters", len)):
        most = _LONGEST * max(size(request.template), sum(map(size, request.source_captions)))
        if size(text) > most:
            return f"{size(text)} {unit}, more than {most}: {_LONGEST} times those of the template"
    return _false_relation(text, request, templates) or _third_sound(text, given, templates)


def _false_relation(text: str, request: RewriteRequest, templates: Templates) -> str:
    parsed = parse_caption(text, request.source_captions, templates)
    # of sounds together "A and B" is true
    loose = parse_caption(text, request.source_captions, templates, weak="together")
    for caption, mentioned in zip(request.source_captions, parsed.mentioned):
        if not mentioned:
            return f"does not mention {caption!r}"
    sources = request.sources
    for (i, j), name in sorted(relations(request.scene).items()):
        pair = sources.index(i), sources.index(j)
        relation = parsed.relations[pair]
        if name not in (relation, loose.relations[pair]):
            what = f"says {relation!r}" if relation else "says nothing"
            return f"{what} on {request.captions[i]!r} and {request.captions[j]!r}, which is {name}"
    return ""


def _third_sound(text: str, given: Sequence[str], templates: Templates) -> str:
    joining = {word for table in (templates.signs, templates.leading) for sign in table for word in sign}
    around = {word for phrase in templates.phrases for part in phrase.words for word in part}
    known = {stem(word) for caption in given for word in tokens(caption)}
    known |= templates.neutral_stems | {stem(word) for word in joining | around}
    new = [word for word in dict.fromkeys(tokens(text)) if stem(word) not in known]
    return f"a sound of its own? {', '.join(new[:5])}" if new else ""


class _AnswerCache:
    """A folder of answers, one JSON file each; what cannot be read counts as absent, what cannot be written is said."""

    def __init__(self, folder: str | Path | None, model: LanguageModel) -> None:
        self.folder = None if folder is None else Path(folder)
        name, own = getattr(model, "model", None), model if hasattr(model, "__qualname__") else type(model)
        self.model = name if isinstance(name, str) else f"{own.__module__}.{own.__qualname__}"
        self._warned = False

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
            if not self._warned:
                reason = error.strerror or error
                warnings.warn(f"{self.folder}: answers cannot be kept ({reason})", RuntimeWarning, stacklevel=4)
            self._warned = True
