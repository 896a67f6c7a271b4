"""What of a run could not be done, as entries of ``errors.jsonl``."""

from collections.abc import Callable, Sequence
from typing import Any

from ..audio import io
from ..audio.io import AudioError
from ..datasets.item import Item
from .cache import enough_memory
from .partners.roles import is_original
from .write import Outcome

__all__ = ["bad_partners", "describe_failures"]


def bad_partners(
    items: Sequence[Item], float_scale: float | None, failed: set[str], listed: set[str]
) -> list[dict[str, Any]]:
    """Return an entry for each file that no mix is made of and that could not be read as a partner (`failed`: ids).

    Those that have an entry (`listed`: ids) are left out.
    """
    found: list[dict[str, Any]] = []
    for item in items if failed else ():
        if item.id in failed and item.id not in listed and not is_original(item):
            try:
                with enough_memory(item.path, " to read it"):
                    io.read(
                        item.path, start=item.start or 0.0, seconds=item.seconds, float_scale=float_scale
                    )
            except AudioError as error:
                reason = str(error).replace(f"{item.path}: ", "")
                found.append({"file": item.id, "copies": [], "reason": reason + item.where})
    return found


def describe_failures(
    failed: list[Outcome], item_of: Callable[[int], Item], copies: int
) -> list[dict[str, Any]]:
    """Return one entry for each file and reason, in the order of the source."""
    found: dict[tuple[str, str], list[int]] = {}
    for outcome in sorted(failed):
        item = item_of(outcome.number)
        found.setdefault((item.id, outcome.reason + item.where), []).append(outcome.number % copies)
    return [{"file": name, "copies": done, "reason": reason} for (name, reason), done in found.items()]
