"""Which clips keep their labels: stratified, seeded, pure functions of the labels.

The draw depends on the seed and on the order of the labels alone; a data set sorts its clips by id, so the order in
which files are found does not matter. The indices are saved with every run.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from audiomix import check, draw

__all__ = ["amount", "labelled_split", "stratified_folds"]


def labelled_split(
    labels: Tensor,
    *,
    fraction: float | None = None,
    per_class: int | None = None,
    seed: int,
    groups: Sequence[str] | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw the clips that keep their labels; all others are unlabelled.

    From class c with n_c clips, ``round(fraction * n_c)`` are drawn, or `per_class`, but at least one.

    Parameters
    ----------
    labels : Tensor, shape (N,), int64
        Classes; negative ones are unknown and always unlabelled.
    fraction : float in (0, 1], optional
        Share of each class that is labelled. Either this or `per_class`.
    per_class : int, optional
        Clips of each class that are labelled.
    seed : int
    groups : sequence of N strings, optional
        Clips of one group (recording, speaker) are labelled together or not at all: whole groups are drawn until the
        number is reached, so a class may get more than asked for.

    Returns
    -------
    labelled, unlabelled : Tensor, int64, ascending
        Disjoint; together 0..N-1.

    Raises
    ------
    ValueError
        Neither or both amounts, an amount out of range, or more clips per class than there are.

    Examples
    --------
    >>> labelled, unlabelled = labelled_split(torch.tensor([0, 1] * 10), fraction=0.1, seed=0)
    >>> len(labelled), len(unlabelled)
    (2, 18)
    """
    if (fraction is None) == (per_class is None):
        check.fail("fraction, per_class", "one of the two", f"{fraction} and {per_class}")
    if fraction is not None and check.fraction("fraction", fraction) == 0:
        check.fail("fraction", "above 0", 0, "one clip of each class is the least: per_class=1")
    if per_class is not None:
        check.integer("per_class", per_class, 1)
    drawn: list[Tensor] = []
    for c in labels[labels >= 0].unique().tolist():
        members = (labels == c).nonzero().flatten()
        if per_class is not None and per_class > len(members):
            check.fail("per_class", f"at most {len(members)}, the clips of class {c}", per_class)
        count = per_class if per_class is not None else max(1, round(float(fraction or 0) * len(members)))
        drawn.append(_drawn(members, count, groups, draw.generator_for(seed, "labelled", c)))
    labelled = torch.cat(drawn).unique()  # a group may span classes
    rest = torch.ones(len(labels), dtype=torch.bool)
    rest[labelled] = False
    return labelled, rest.nonzero().flatten()


def _drawn(members: Tensor, count: int, groups: Sequence[str] | None, generator: torch.Generator) -> Tensor:
    if groups is None:
        return members[draw.permutation(len(members), generator=generator)[:count]]
    names = sorted({groups[i] for i in members.tolist()})
    chosen: list[int] = []
    for g in draw.permutation(len(names), generator=generator).tolist():
        if len(chosen) >= count:
            break
        chosen += [i for i in members.tolist() if groups[i] == names[g]]
    return torch.tensor(chosen)


def stratified_folds(labels: Tensor, folds: int, *, seed: int) -> Tensor:
    """Deal each class out over `folds` folds, as evenly as its size allows; int64, shape (N,).

    >>> stratified_folds(torch.tensor([0, 0, 0, 0, 1, 1]), 2, seed=0).bincount()
    tensor([3, 3])
    """
    check.integer("folds", folds, 2)
    fold = torch.zeros(len(labels), dtype=torch.int64)
    for c in labels.unique().tolist():
        members = (labels == c).nonzero().flatten()
        order = draw.permutation(len(members), generator=draw.generator_for(seed, "folds", c))
        # each class starts at another fold, so that the left-over clips do not all fall into the first
        fold[members[order]] = (torch.arange(len(members)) + c) % folds
    return fold


def amount(text: str) -> dict[str, Any]:
    """Read an amount of labels: ``"10%"`` a fraction, ``"3"`` clips of each class.

    >>> amount("10%"), amount("3")
    ({'fraction': 0.1}, {'per_class': 3})
    """
    text = str(text).strip()
    try:
        return {"fraction": float(text[:-1]) / 100} if text.endswith("%") else {"per_class": int(text)}
    except ValueError:
        expected = 'a share of each class ("10%") or a number of clips of each class ("3")'
        return check.fail("labelled", expected, repr(text))
