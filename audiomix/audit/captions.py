"""Hold the words of a caption against the sound: who is named, who can be heard, and what relation is stated."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from ..captions.parse import parse_caption
from ..captions.templates import Templates
from .claims import Claims
from .limits import Limits, Verdict
from .recover import Recovery
from .rows import AuditRow

__all__ = ["check_caption"]


class _Said(NamedTuple):
    """Which sources a caption mentions, and the relation it states of pairs of them."""

    mentioned: tuple[bool, ...]
    relations: Mapping[tuple[int, int], str | None]


def check_caption(verdict: Verdict, row: AuditRow, got: Recovery, claims: Claims, limits: Limits) -> None:
    """Note whether a caption is true of the sound.

    It is where every source it mentions can be heard, every source that can be heard is mentioned (or said to be
    unnamed), and every relation it states is that of the active parts.
    """
    if claims.ours and not row.row.get("events") and row.row.get("caption_by") != "joined":
        verdict.notes.append("this mixer keeps the original's caption: it is not compared with the sound")
        return
    texts = row.captions or _events_captions(row)
    if texts is None:
        verdict.notes.append("the captions of the sources are not known: the caption is not verdict")
        return
    said = _read_caption(row.caption or "", texts, limits.templates or claims.options.get("templates"))
    wrong = [*_wrong_names(said, row, got, claims, limits), *_wrong_relations(said, row, got)]
    verdict.add("caption", float(bool(wrong)), 0.5, f"caption {row.caption!r}: " + "; ".join(wrong))


def _events_captions(row: AuditRow) -> list[str] | None:
    """Return the captions that the events of a scene hold."""
    events = row.row.get("events")
    found = [event.get("caption") for event in events] if isinstance(events, list) else []
    return found if len(found) == len(row.sources) and all(isinstance(text, str) for text in found) else None


def _wrong_names(said: _Said, row: AuditRow, got: Recovery, claims: Claims, limits: Limits) -> list[str]:
    wrong = []
    for i, (source, one, claim) in enumerate(zip(row.sources, got.found, claims.sources)):
        heard = not one.why and one.audible >= limits.min_share
        if said.mentioned[i] and not heard:
            why = one.why or f"dominates {limits.min_bands} bands in {one.audible:.0%} of its frames"
            wrong.append(f"{source.name} is named and cannot be heard ({why})")
        elif heard and not said.mentioned[i] and claim.named is not False:
            wrong.append(f"{source.name} is heard ({one.audible:.0%} of its frames) and not named")
    return wrong


def _wrong_relations(said: _Said, row: AuditRow, got: Recovery) -> list[str]:
    wrong = []
    for pair in got.pairs:
        stated = said.relations.get((pair.first, pair.second))
        if stated is not None and stated not in pair.possible:
            names = row.sources[pair.first].name, row.sources[pair.second].name
            wrong.append(
                f"{names[0]} is stated {stated} {names[1]}, and is {pair.relation} (active parts overlap by "
                f"{pair.overlap:.0%})"
            )
    return wrong


def _read_caption(text: str, captions: Sequence[str], templates: str | None) -> _Said:
    """Return what a caption says of its sources; see `audiomix.captions.parse.parse_caption`."""
    found = parse_caption(text, list(captions), _templates(templates))
    return _Said(found.mentioned, found.relations)


@lru_cache(maxsize=4)
def _templates(path: str | None) -> Any:
    return None if path is None else Templates.read(path)
