"""The words of scenes: whose captions may meet, and what a manifest says."""

from collections.abc import Mapping, Sequence
from typing import Any

from .. import check, draw
from . import captions
from .plan import ScenePlan
from .text import tokens

__all__ = ["Told", "all_differ", "described", "differ", "texts_of"]

# Captions of each clip and of each possible partner
Told = tuple[list[list[str]], list[list[str]]]


def texts_of(context: Mapping[str, Any], other: bool) -> Told:
    """Return each clip's captions and each possible partner's, as lists of texts."""
    own = [_listed(f"captions[{i}]", given) for i, given in enumerate(context["captions"])]
    if not other:
        return own, own
    return own, [_listed(f"other_captions[{i}]", given) for i, given in enumerate(context["other_captions"])]


def _listed(name: str, given: Any) -> list[str]:
    """Return a clip's captions as they were given, so that their numbers hold; nothing as an empty text."""
    found = [given] if isinstance(given, str) or given is None else given
    if not isinstance(found, Sequence) or not all(text is None or isinstance(text, str) for text in found):
        check.fail(name, "a text, or a list of texts", repr(given)[:60], error=TypeError)
    return [text or "" for text in found]


def _plainly(texts: list[str]) -> set[str]:
    """Return what the captions say, but for case and punctuation; those without a word are left out."""
    return {" ".join(tokens(text)) for text in texts} - {""}


def differ(a: list[str], b: list[str]) -> bool:
    """Whether two clips have captions, and none in common."""
    one, two = _plainly(a), _plainly(b)
    return bool(one) and bool(two) and one.isdisjoint(two)


def all_differ(own: list[str], others: list[list[str]]) -> bool:
    """Whether all of these clips have captions, and no two of them one in common."""
    every = [own, *others]
    return all(differ(a, b) for k, a in enumerate(every) for b in every[:k])


def described(
    plan: ScenePlan,
    index: int,
    context: Mapping[str, Any],
    templates: captions.Templates | None,
    max_words: int | None = None,
) -> dict[str, Any]:
    """Return what a manifest says of a scene, as plain values.

    Parameters
    ----------
    plan : ScenePlan
    index : int
        Which mix.
    context : mapping
        ``foils``, by clip: captions of sounds that are not in it.
    templates : Templates, optional
        With them hard negatives are written.
    max_words : int, optional
        Of a negative.
    """
    seconds = float(plan.seconds[index])
    sources = plan.sources(index)
    texts = plan.texts[index]
    events = [
        {
            "source": k,
            "onset": round(float(plan.active[index, k, 0]) * seconds, 6),
            "offset": round(float(plan.active[index, k, 1]) * seconds, 6),
            "caption": texts[k] if k < len(texts) else None,
            "named": bool(plan.named[index, k]),
            "snr_db": round(float(plan.snr_db[index, k]), 6),
            "gain_db": round(float(plan.gain_db[index, k]), 6),
        }
        for k in sources
    ]
    found: dict[str, Any] = {
        "caption": plan.caption[index] or None,
        "captions": [event["caption"] for event in events if event["named"] and event["caption"]],
        "caption_by": "template" if plan.caption[index] and len(sources) > 1 else None,
        "caption_why": None,
        "tree": plan.tree[index],
        "events": events,
        "why": plan.why[index] or None,
    }
    if templates is not None:
        found["negatives"] = _negatives(plan, index, context, templates, max_words)
    return found


def _negatives(
    plan: ScenePlan, index: int, context: Mapping[str, Any], templates: captions.Templates, max_words: int | None
) -> list[dict[str, str]]:
    """Write every kind of hard negative there is for what is said of a scene."""
    named = plan.named[index].tolist()[: len(plan.texts[index])]
    if plan.why[index] or sum(named) < 2:
        return []
    foils: Sequence[str] = (context.get("foils") or [()] * len(plan))[index]
    found = []
    for kind in ("order", "connector", "source"):
        for foil in foils if kind == "source" else [None]:
            text = captions.negatives(
                plan.scene(index), plan.texts[index], kind=kind, templates=templates, named=named, max_words=max_words,
                generator=draw.generator_for(0, "negative", kind, plan.caption[index]), replacement=foil,
            )  # fmt: skip
            if text is not None:
                found.append({"kind": kind, "caption": text})
                break
    return found
