"""Who may meet whom: partners for a batch, one rule a file; see `audiomix.registry`.

``any``              a derangement of the whole batch: every clip meets another, each other with the same probability
``different_class``  a partner without a common class
``same_class``       a partner with a common class
``weighted``         each as often as its weight says: rare classes as often as common ones, or `pairing_weights`
``label_kernel``     a partner with a near value, for regression: ``label_kernel:bandwidth=0.5``
``self``             the clip itself, read from another place; the label is kept
``same_cluster``     a partner of the same cluster: `clusters`
``same_attribute``   a partner with a common attribute: `attributes`; of these the nearest, ``same_attribute:nearest=4``
``minority``         a partner of the same class with another attribute, a rare one more often: `attributes`
``same_tempo``       a partner of nearly the same tempo, or half or double: `bpm` or `beats`
``hard``             a partner of another class that lies near: `embeddings`
``confidence``       one that the model is sure of with one that it is not: `confidence`

The last six read notes of the clips, which stand behind the colon. They are arguments of the call, entries of the items
of `audiomix.Collate`, and, for files, columns of a manifest.

By any rule but ``self`` partners are also chosen by what the caller says of them: `allowed`, who may meet whom, and
`pairing_weights`, how often each is used.

A rule is a function ``pair(pool, generator, **options)`` that returns what `pair` does; `Pool` says who there is. Yours
is chosen by path, ``pairing="mine.py:nearest:radius=2"``, or by an entry point of the group ``audiomix.pairing``. A
partner that no rule may choose (the clip itself, one that is not `allowed`, one of weight 0, one that takes no part)
counts as none. `reads` says which notes yours looks at.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import check
from ..clips import NO_NOTES, Notes, check_allowed, check_weights
from ..draw import Generator
from ..registry import Choice, Registry, file_of
from ._pool import Pool, reads

__all__ = [
    "FILE_PAIRINGS", "PAIRINGS", "SELF", "Pool", "available", "check_files", "get", "notes_of", "pair", "read", "reads",
    "source_of", "title_of",
]  # fmt: skip

# No builtin named as a rule (any) may be used in this file: importing the rule puts its module in the name's place.
_REGISTRY: Registry[Callable[..., tuple[Tensor, Tensor]]] = Registry(
    "pairing", __name__, "audiomix.pairing", function="pair", positional=2
)
available, get = _REGISTRY.available, _REGISTRY.get
title_of, source_of = _REGISTRY.title_of, _REGISTRY.source_of
if not TYPE_CHECKING:  # a type checker knows the files, and so which names are misspelt
    __getattr__ = _REGISTRY.module

# The rules that files can be paired by too: they look at nothing but classes.
PAIRINGS = ("any", "different_class", "same_class")
# Those, and the rules that look at what a manifest says of each file.
FILE_PAIRINGS = (*PAIRINGS, "same_cluster", "same_attribute", "same_tempo")
_WITH_OPTIONS = "same_tempo"  # the options of the others are of batches
# The rule by which a mixer gets the clips themselves, shifted, as their partners.
SELF = "self"


def check_files(name: str, kind: str) -> str:
    """Return a rule that files can be paired by, or raise.

    Parameters
    ----------
    name : str
        Of the option, for the message.
    kind : str
        The rule.
    """
    rule, colon, _ = kind.partition(":")
    if rule in FILE_PAIRINGS and (rule == _WITH_OPTIONS or not colon):
        return read(kind).name + kind[len(rule) :]  # raises where an option is wrong
    if rule in available():
        slip = "that one pairs the clips of a batch, in training"
        check.fail(name, f"one of {', '.join(FILE_PAIRINGS)} for files", repr(kind), slip)
    return check.choice(name, kind, FILE_PAIRINGS)


def read(text: str) -> Choice[Callable[..., tuple[Tensor, Tensor]]]:
    """Return name, function and options of a rule; see `audiomix.registry.Registry.read`.

    Parameters
    ----------
    text : str
        ``NAME`` or ``NAME:key=value,...``.
    """
    check.one_of_types("pairing", text, str, "the name of a rule")
    if text not in PAIRINGS and file_of(text):
        return _REGISTRY.read(text)  # a changed file is read again
    return _read(text)


_read = lru_cache(maxsize=64)(_REGISTRY.read)


def notes_of(kind: str) -> tuple[str, ...]:
    """Return which notes of the clips a rule looks at: fields of `audiomix.Notes`.

    >>> notes_of("same_tempo:tolerance=2"), notes_of("any")
    (('bpm', 'beats'), ())

    Parameters
    ----------
    kind : str
        One of `available`, with its options, or a rule of your own that is marked by `reads`.
    """
    return getattr(read(kind).member, "reads", ())


def pair(
    size: int,
    kind: str = "any",
    *,
    target: Tensor | None = None,
    other_size: int | None = None,
    other_target: Tensor | None = None,
    eligible: Tensor | None = None,
    allowed: Tensor | None = None,
    weights: Tensor | None = None,
    notes: Notes = NO_NOTES,
    other_notes: Notes = NO_NOTES,
    generator: Generator = None,
) -> tuple[Tensor, Tensor]:
    """Draw a partner for each of `size` clips.

    A clip for which there is no partner (a batch of one, the only clip of its class, not eligible) is its own partner:
    it stays unchanged. With a second batch partners come from there; by ``any`` each is used equally often.

    Parameters
    ----------
    size : int
        Clips in the batch.
    kind : str
        One of `available`, with its options, or a rule of your own.
    target : Tensor, shape (size,) int64, (size, K) or (size, R), optional
        Class ids, soft or multi-hot labels, or values; needed for the rules that look at them. Soft labels count every
        class above 0.
    other_size, other_target : int and Tensor, optional
        The second batch that partners come from.
    eligible : Tensor, shape (size,), bool, optional
        Clips that take part: the others are neither changed nor used as partners.
    allowed : Tensor, shape (size, size or other_size), bool, optional
        Who may meet whom besides; each allowed partner is then equally likely.
    weights : Tensor, shape (size or other_size,), optional
        How often each clip is used as a partner, at least 0, in any unit; the rule's own probabilities are multiplied
        by them.
    notes, other_notes : Notes
        What some rules look at, of the clips and of the second batch.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.

    Returns
    -------
    partner : Tensor, shape (size,), int64
        Index in the batch, or in the second batch.
    found : Tensor, shape (size,), bool
        False where there is no partner; `partner` is then the clip itself (0 with a second batch).

    Examples
    --------
    >>> partner, found = pair(4, "different_class", target=torch.tensor([0, 0, 1, 1]))
    >>> bool((partner[:2] >= 2).all()), bool(found.all())
    (True, True)
    """
    whole = eligible is None
    eligible = torch.ones(size, dtype=torch.bool) if eligible is None else eligible.cpu()
    rule = read(kind)
    if allowed is not None:
        allowed = check_allowed("allowed", allowed, size, size if other_size is None else other_size)
    if weights is not None:
        weights = check_weights("weights", weights, size if other_size is None else other_size)
    pool = Pool(size, eligible, target, other_size, other_target, allowed, weights, whole, notes, other_notes)
    partner, found = rule.member(pool, generator, **rule.options)
    if kind not in PAIRINGS:
        _check(f"what {rule.name} returns", partner, found, pool)
    return (partner, found) if kind in (*PAIRINGS, SELF) else _permit(partner, found, pool)


def _permit(partner: Tensor, found: Tensor, pool: Pool) -> tuple[Tensor, Tensor]:
    """Return partners without those that no rule may choose: another's rule need not look at all that `Pool` says."""
    own = torch.arange(pool.size)
    partner = torch.where(found, partner, 0)
    may = found & pool.eligible
    if pool.other_size is None:
        may &= (partner != own) & pool.eligible[partner]
    if pool.allowed is not None:
        may &= pool.allowed[own, partner]
    if pool.weights is not None:
        may &= pool.weights[partner] > 0
    return torch.where(may, partner, own if pool.other_size is None else 0), may


def _check(name: str, partner: Tensor, found: Tensor, pool: Pool) -> None:
    """Raise where another's rule returns no partners."""
    for value, dtype in ((partner, torch.int64), (found, torch.bool)):
        if check.tensor(name, value).dtype != dtype or tuple(value.shape) != (pool.size,):
            expected = f"partner, int64, and found, bool, each of shape ({pool.size},)"
            check.fail(name, expected, f"{value.dtype} of shape {tuple(value.shape)}")
    used = partner[found]
    if len(used) and not 0 <= int(used.min()) <= int(used.max()) < pool.candidates:
        check.fail(name, f"indices in 0..{pool.candidates - 1}", f"{int(used.min())}..{int(used.max())}")
