"""Captions of a data set: made from labels where there are none, and those of its mixes, which a model may rewrite."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ... import draw
from ...beats.cache import default_folder
from ...captions.compose import caption_from_label
from ...captions.templates import CaptionQuery
from ...captions.text import tokens
from ...captions.tree import simplify
from ...datasets.item import Item
from ...datasets.item_table import ItemTable
from ..partners.similarity import SimilarityLimits
from .llm import ChatModel
from .rewrite import NOTHING_TO_JOIN, CaptionRewriter, LanguageModel, RewriteRequest

__all__ = ["CaptionOptions", "rewrite_rows", "write_captions"]

# Rows whose captions are asked for at once.
_ROWS = 512


@dataclass(frozen=True, kw_only=True)
class CaptionOptions(SimilarityLimits):
    """What a run of a mixer with captions is asked for beside the mixer's options: limits of similarity, and a model.

    Parameters
    ----------
    join : str or callable, optional
        A language model that rewrites the templates' captions: the address of an OpenAI-compatible server, or any
        callable from prompts to texts; see `audiomix.offline.providers.rewrite`.
    model : str
        Its name, as the server knows it.
    embeddings, tags, min_similarity, max_similarity
        See `audiomix.offline.partners.similarity.SimilarityLimits`.
    """

    join: str | LanguageModel | None = None
    model: str = "default"

    def describe(self, query: CaptionQuery) -> dict[str, Any]:
        """Return what the sounds of a run depend on: the limits, and digests of embeddings and templates."""
        files = {"embeddings": self.embeddings, "templates": query.templates}
        digests = {
            name: None if path is None else hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
            for name, path in files.items()
        }
        return {"tags": self.tags, "min": self.min_similarity, "max": self.max_similarity, **digests}

    def language_model(self) -> LanguageModel | None:
        """Return what is asked for captions; a wrong address is an error now."""
        return ChatModel(self.join, self.model) if isinstance(self.join, str) else self.join


def write_captions(items: Sequence[Item], query: CaptionQuery) -> tuple[Sequence[Item], list[dict[str, Any]]]:
    """Return the items that have a caption, or get one made from their label; and what is listed of the others.

    Parameters
    ----------
    items : sequence of Item
        Clips of a data set.
    query : CaptionQuery
        What the mixer asks of captions: ``Needs.notes["captions"]``.

    Returns
    -------
    items : sequence of Item
    errors : list of dict
        The items without a caption and a class, as entries of ``errors.jsonl``.
    """
    templates = query.read()
    errors: list[dict[str, Any]] = []
    found: Any = ItemTable() if isinstance(items, ItemTable) else []
    for item in items:
        if not any(tokens(text) for text in item.captions):
            name = " and ".join(item.classes)
            if not tokens(name):
                reason = "no caption with a word in it, and no class to make one of"
                errors.append({"file": item.id, "copies": [], "reason": reason})
                continue
            text = caption_from_label(
                [one for one in item.classes if tokens(one)], templates, draw.generator_for(0, "caption", name)
            )
            item = replace(item, caption=text, captions=(text,))
        found.append(item)
    return found, errors


def rewrite_rows(
    rows: Iterable[dict[str, Any]],
    model: LanguageModel | None,
    query: CaptionQuery,
    reasons: Counter[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield manifest rows with the captions that a language model writes of them, where what it says is true.

    Parameters
    ----------
    rows : iterable of dict
        Of a manifest. Those whose ``caption_by`` is not ``template`` are left as they are.
    model : callable, optional
        From prompts to texts; see `audiomix.offline.providers.rewrite`. Without one all rows are left as they are.
    query : CaptionQuery
        What the mixer asks of captions: ``Needs.notes["captions"]``.
    reasons : Counter, optional
        Counts the captions that were asked for, by why the template's stays; "" counts those that the model wrote.
    """
    if model is None:
        yield from rows
        return
    rewriter = CaptionRewriter(
        model, templates=query.read(), max_words=query.max_words, cache=default_folder("captions")
    )
    rows = iter(rows)
    while chunk := list(islice(rows, _ROWS)):
        asked = [row for row in chunk if row.get("caption_by") == "template"]
        for row, one in zip(asked, rewriter([_request(row) for row in asked])):
            row.update(caption=one.text, caption_by=one.by, caption_why=one.reason or None)
            if reasons is not None and one.reason != NOTHING_TO_JOIN:
                reasons[one.reason] += 1
        yield from chunk


def _request(row: dict[str, Any]) -> RewriteRequest:
    """Return what is asked of a mix: the scene of the sources that are named."""
    named = [event["named"] for event in row["events"]]
    texts = [event["caption"] for event in row["events"]]
    return RewriteRequest(simplify(json.loads(row["tree"]), texts, named), texts, row["caption"])
