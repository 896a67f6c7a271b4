"""Captions of a data set's mixes: made from labels where there are none, groups that never repeat, a language model."""

import hashlib
import json
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
from ..partners.index import PartnerIndex
from ..partners.unique import UniquePairs, read_embeddings
from .rewrite import Joiner, Request, join_captions

__all__ = ["CaptionOptions", "CaptionPartners", "rewrite_rows", "write_captions"]

# Groups for each mix beside its own, for where no scene can be made of that one; only where there are plenty.
_SPARE = 2
# Rows whose captions are asked for at once.
_ROWS = 512


@dataclass(frozen=True)
class CaptionOptions:
    """What a run of a caption mixer is asked for beside the mixer's options.

    Parameters
    ----------
    join : str or callable, optional
        A language model that rewrites the templates' captions: the address of an OpenAI-compatible server, or any
        callable; see `audiomix.offline.providers.rewrite`.
    model : str
        Its name, as the server knows it.
    embeddings : path, optional
        Of the clips, .npy or .npz; with them the cosine of two that meet lies within the limits.
    tags : bool
        Limit the share of common tags instead.
    min_similarity, max_similarity : float
    """

    join: str | Joiner | None = None
    model: str = "default"
    embeddings: str | Path | None = None
    tags: bool = False
    min_similarity: float = -1.0
    max_similarity: float = 1.0

    def describe(self, query: CaptionQuery) -> dict[str, Any]:
        """Return what the sounds of a run depend on: the limits, and digests of embeddings and templates."""
        files = {"embeddings": self.embeddings, "templates": query.templates}
        digests = {
            name: None if path is None else hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
            for name, path in files.items()
        }
        return {"tags": self.tags, "min": self.min_similarity, "max": self.max_similarity, **digests}

    def joiner(self) -> Joiner | None:
        """Return what is asked for captions; a wrong address is an error now."""
        if isinstance(self.join, str):
            from .llm import Endpoint

            return Endpoint(self.join, self.model)
        return self.join


def write_captions(items: list[Item], query: CaptionQuery) -> tuple[list[Item], list[dict[str, Any]]]:
    """Return the items that have a caption, or get one made from their label; and the others as entries of errors.

    Parameters
    ----------
    items : list of Item
    query : CaptionQuery
        What the mixer asks: whose templates the captions are made of.
    """
    templates = query.read()
    found, without = [], []
    for item in items:
        if not any(tokens(text) for text in item.captions):
            name = item.label if isinstance(item.label, str) else " and ".join(item.classes)
            if not tokens(name):
                reason = "no caption with a word in it, and no class to make one of"
                without.append({"file": item.id, "copies": [], "reason": reason})
                continue
            generator = draw.generator_for(0, "caption", name)
            text = caption_from_label(name, templates, generator)
            item = replace(item, caption=text, captions=(text,))
        found.append(item)
    return found, without


class CaptionPartners(PartnerIndex):
    """Partners of a caption mixer: groups of different captions, no group twice in a run.

    Parameters
    ----------
    items, kind, across
        As `PartnerIndex`.
    sources : (int, int)
        Fewest and most in a group, the item itself among them.
    copies, seed
        As `UniquePairs`.
    words : CaptionOptions
        Limits of similarity.
    worded : bool
        Whether captions must differ.
    """

    def __init__(
        self,
        items: Sequence[Item],
        kind: str,
        across: Sequence[str],
        *,
        sources: tuple[int, int],
        copies: int,
        seed: int,
        words: CaptionOptions,
        worded: bool,
    ) -> None:
        super().__init__(items, kind, across)
        given: dict[str, Any] = {
            "kind": kind, "across": across, "captions": worded, "tags": words.tags,
            "min_similarity": words.min_similarity, "max_similarity": words.max_similarity,
            "embeddings": None if words.embeddings is None else read_embeddings(words.embeddings, items),
        }  # fmt: skip
        low, high = sources
        self.sizes = range(low, high + 1)
        # of each size its own: sets of different sizes differ
        self.groups = [UniquePairs(items, sources=n, copies=copies, seed=seed, **given) for n in self.sizes]
        self.spares = [
            UniquePairs(items, sources=n, copies=copies * _SPARE, seed=seed + 1, **given)
            if all(pool.possible >= 3 * pool.asked for pool in main.pools)
            else None
            for n, main in zip(self.sizes, self.groups)
        ]
        self._taken = [
            {frozenset((i, *main.partners(i, c))) for i in range(len(items)) for c in range(copies)}
            if spare is not None
            else set()
            for main, spare in zip(self.groups, self.spares)
        ]

    def partners(self, index: int, *, copy: int, seed: int, count: int = 8) -> list[int]:
        """Return the group of one item and copy, then its spare ones that no other mix has, one after the other."""
        k = self._size(index, copy, seed)
        found = list(self.groups[k].partners(index, copy))
        spare = self.spares[k]
        for number in range(_SPARE if spare is not None and found else 0):
            more = spare.partners(index, copy * _SPARE + number)  # type: ignore[union-attr]
            if more and frozenset((index, *more)) not in self._taken[k]:
                found += more
        return found

    def group(self, index: int, *, copy: int, seed: int) -> int:
        """Return how many partners sound together in this mix."""
        return self.sizes[self._size(index, copy, seed)] - 1

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of, in sentences."""
        return tuple(dict.fromkeys(note for groups in self.groups for note in groups.notes))

    def _size(self, index: int, copy: int, seed: int) -> int:
        """Draw how many sources a mix has, as a place in `sizes`."""
        if len(self.sizes) == 1:
            return 0
        generator = draw.generator_for(seed, "sources", self.items[index].id, copy)
        return int(draw.uniform(0, len(self.sizes), 1, generator=generator))


def rewrite_rows(
    rows: Iterable[dict[str, Any]], joiner: Joiner | None, query: CaptionQuery | None
) -> Iterator[dict[str, Any]]:
    """Yield manifest rows with the captions that a language model writes of them, where what it says is true."""
    rows = iter(rows)
    if joiner is None or query is None:
        yield from rows
        return
    templates, longest = query.read(), query.max_words
    while chunk := list(islice(rows, _ROWS)):
        asked = [row for row in chunk if row.get("caption_by") == "template"]
        requests = [_request(row) for row in asked]
        found = join_captions(
            requests, joiner, templates=templates, max_words=longest, cache=default_folder("captions")
        )
        for row, one in zip(asked, found):
            row.update(caption=one.text, caption_by=one.by, caption_why=one.reason or None)
        yield from chunk


def _request(row: dict[str, Any]) -> Request:
    """Return what is asked of a mix: the scene of the sources that are named."""
    named = [event["named"] for event in row["events"]]
    texts = [event["caption"] for event in row["events"]]
    tree = simplify(json.loads(row["tree"]), texts, named)
    return Request(tree, texts, row["caption"])
