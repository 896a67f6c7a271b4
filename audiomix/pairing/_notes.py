"""What rules read of the notes of the clips: one value a clip, or a row, of both sides and in one numbering."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from .. import check
from ..clips import Notes
from ._pool import Pool

__all__ = ["attribute_table", "group_numbers", "is_missing", "note_values", "numbers", "unit_vectors"]


def note_values(pool: Pool, name: str, rule: str, slip: str) -> tuple[Any, Any]:
    """Return a note of the clips and of the candidates, one entry a clip; the same object twice in the batch itself.

    Parameters
    ----------
    pool : Pool
        Who there is.
    name : str
        A field of `audiomix.Notes`.
    rule : str
        Who asks, for the message.
    slip : str
        What it is and where it comes from, for the message.

    Raises
    ------
    ValueError
        It is missing, or has another number of entries.
    """
    own = _entries(name, pool.notes, name, pool.size, rule, slip)
    if pool.other_size is None:
        return own, own
    return own, _entries(name, pool.other_notes, f"other_{name}", pool.other_size, rule, slip)


def group_numbers(pool: Pool, name: str, rule: str, slip: str) -> tuple[Tensor, Tensor]:
    """Return a number for each clip and each candidate, the same for the same value of a note; -1 without a value.

    Parameters
    ----------
    pool, name, rule, slip
        See `note_values`.

    Raises
    ------
    TypeError, ValueError
        The note is missing, or is not one value a clip.
    """
    known: dict[Hashable, int] = {}

    def number(value: Any, index: int, argument: str) -> int:
        """Return the number of one value."""
        if is_missing(value):
            return -1
        if not isinstance(value, Hashable) or isinstance(value, (tuple, frozenset, Tensor)):
            check.fail(f"{argument}[{index}]", "one number or name", repr(value)[:80], error=TypeError)
        return known.setdefault(value, len(known))

    own, theirs = note_values(pool, name, rule, slip)
    numbers = torch.tensor([number(value, i, name) for i, value in enumerate(_plain(own))])
    if theirs is own:
        return numbers, numbers
    return numbers, torch.tensor([number(value, i, f"other_{name}") for i, value in enumerate(_plain(theirs))])


def attribute_table(pool: Pool, rule: str) -> tuple[Tensor, Tensor]:
    """Return which attributes each clip and each candidate has; two tables (size, A) and (candidates, A), bool.

    Parameters
    ----------
    pool : Pool
        Who there is.
    rule : str
        Who asks, for the message.

    Raises
    ------
    TypeError, ValueError
        There are no attributes, or of different forms in the two batches.
    """
    own, theirs = note_values(pool, "attributes", rule, "what is each clip, besides its class?")
    known: dict[Hashable, int] = {}
    sides = [("attributes", own)] + ([] if theirs is own else [("other_attributes", theirs)])
    sets = [_sets(name, values, known) for name, values in sides]
    if any(isinstance(side, Tensor) for side in sets):
        widths = [side.shape[1] if isinstance(side, Tensor) else "names" for side in sets]
        if widths[0] != widths[-1]:
            check.fail("other_attributes", f"like attributes, of width {widths[0]}", widths[-1])
    tables = [side if isinstance(side, Tensor) else _to_table(side, len(known)) for side in sets]
    return tables[0], tables[-1]


def numbers(pool: Pool, name: str, rule: str, slip: str) -> tuple[Tensor, Tensor]:
    """Return a number for each clip and each candidate; float64, NaN where it is not known.

    Parameters
    ----------
    pool, name, rule, slip
        See `note_values`.

    Raises
    ------
    TypeError, ValueError
        The note is missing, or is not one number a clip.
    """
    own, theirs = note_values(pool, name, rule, slip)
    mine = _numbers(name, own)
    return mine, mine if theirs is own else _numbers(f"other_{name}", theirs)


def unit_vectors(pool: Pool, rule: str) -> tuple[Tensor, Tensor]:
    """Return the embeddings of the clips and of the candidates at length 1, so that products are cosines; float64.

    A vector of zeros stays one: it has no direction, and its cosine with every other is 0.

    Parameters
    ----------
    pool : Pool
        Who there is.
    rule : str
        Who asks, for the message.

    Raises
    ------
    TypeError, ValueError
        There are no embeddings, they are not finite, or of different sizes.
    """
    own, theirs = note_values(pool, "embeddings", rule, "embeddings=model.embed(x)? of embeddings themselves, x")
    mine = _vectors("embeddings", own)
    others = mine if theirs is own else _vectors("other_embeddings", theirs)
    if others.shape[1] != mine.shape[1]:
        check.fail("other_embeddings", f"of {mine.shape[1]} dimensions, as embeddings are", others.shape[1])
    mine, others = (torch.nn.functional.normalize(side, dim=1, eps=1e-300) for side in (mine, others))
    return mine, others


def is_missing(value: Any) -> bool:
    """Return whether a value says that nothing is known: None, NaN, a negative number, an empty text.

    >>> [is_missing(value) for value in (None, -1, "", float("nan"), 0, "a")]
    [True, True, True, True, False, False]
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return True
    return isinstance(value, (int, float)) and not value >= 0


def _entries(name: str, notes: Notes, argument: str, size: int, rule: str, slip: str) -> Any:
    values = getattr(notes, name)
    if values is None:
        check.fail(argument, f"given for pairing {rule!r}", None, slip)
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__") or not getattr(values, "ndim", 1):
        got = repr(values)[:80]
        check.fail(argument, f"one entry for each of {size} clips", got, error=TypeError)
    if len(values) != size:
        check.fail(argument, f"one entry for each of {size} clips", f"{len(values)} entries")
    return values


def _plain(values: Any) -> Sequence[Any]:
    """Return the entries of a note as Python's own values, where they are numbers of torch or numpy."""
    if isinstance(values, Tensor) or hasattr(values, "tolist"):
        return (values.detach().cpu() if isinstance(values, Tensor) else values).tolist()
    return [value.item() if hasattr(value, "item") and not getattr(value, "ndim", 1) else value for value in values]


def _sets(name: str, values: Any, known: dict[Hashable, int]) -> Tensor | list[list[int]]:
    """Return a table of attributes (B, A), or for each clip the places of its attributes among `known`."""
    rows = getattr(values, "ndim", None) == 2 or (len(values) and all(getattr(v, "ndim", 0) == 1 for v in values))
    if rows:
        return _vectors(name, values) > 0
    found = []
    for i, value in enumerate(_plain(values)):
        several = list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]
        for one in several:
            if not isinstance(one, Hashable) or isinstance(one, (tuple, frozenset, Tensor)):
                check.fail(f"{name}[{i}]", "one attribute, or a list of them", repr(value)[:80], error=TypeError)
        found.append([known.setdefault(one, len(known)) for one in several if not is_missing(one)])
    return found


def _to_table(places: list[list[int]], width: int) -> Tensor:
    """Return a table (B, width) that is True at the places of each row; of one column at least."""
    table = torch.zeros(len(places), max(1, width), dtype=torch.bool)
    rows = [i for i, row in enumerate(places) for _ in row]
    table[rows, [place for row in places for place in row]] = True
    return table


def _numbers(name: str, values: Any) -> Tensor:
    found = []
    for i, value in enumerate(_plain(values)):
        try:
            found.append(math.nan if value is None or value == "" else float(value))
        except (TypeError, ValueError):
            check.fail(f"{name}[{i}]", "a number, or None where it is not known", repr(value)[:80], error=TypeError)
    return torch.tensor(found, dtype=torch.float64)


def _vectors(name: str, values: Any) -> Tensor:
    """Return rows of numbers as float64 (B, D) on the CPU, or raise."""
    expected = "numbers of shape (B, D), one row a clip"
    if not isinstance(values, Tensor) and isinstance(values[0], Tensor):
        if len({tuple(value.shape) for value in values}) > 1:
            check.fail(name, expected, f"rows of shapes {sorted({tuple(value.shape) for value in values})}")
        values = torch.stack(list(values))
    elif not isinstance(values, Tensor) and hasattr(values[0], "__array__"):
        import numpy as np

        values = np.stack(list(values))
    table = check.to_tensor(name, values, expected).detach().to(torch.float64)
    if table.ndim != 2:
        check.fail(name, expected, f"shape {tuple(table.shape)}", "one number a clip? values[:, None]")
    return check.finite(name, table)
