"""Which clips keep their labels, which are left out so that classes are uneven, and which labels are wrong.

Stratified, seeded, pure functions of the labels.

A draw depends on the seed, a key and the order of the labels alone. A data set sorts its clips by id, so the order in
which files are found does not matter. The indices are saved with every run.
"""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from audiomix import check, draw

__all__ = [
    "draw_grouped_folds",
    "draw_labelled_split",
    "draw_noisy_labels",
    "draw_stratified_folds",
    "long_tail",
    "thin_classes",
]


def draw_labelled_split(
    labels: Tensor,
    *,
    fraction: float | None = None,
    per_class: int | None = None,
    seed: int,
    key: tuple = (),
    groups: Sequence[str] | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw the clips that keep their labels; all others are unlabelled.

    From class c with n_c clips, ``round(fraction * n_c)`` are drawn, or `per_class`, but at least one.

    Parameters
    ----------
    labels : Tensor, shape (N,), int64
        Classes; negative ones are unknown and always unlabelled.
    fraction, per_class : float in (0, 1], int
        Share or number of the clips of each class that are labelled: one of the two.
    seed : int
        Seed of the draw.
    key : tuple
        What else the draw depends on, such as the held-out fold: with the seed alone, clips at the same positions would
        be drawn in every fold's training set, and runs would not be independent.
    groups : sequence of N strings, optional
        Clips of one group (recording, speaker) are labelled together or not at all: whole groups are drawn until the
        number is reached, so a class may get more than asked for.

    Returns
    -------
    labelled, unlabelled : Tensor, int64, ascending
        Indices: disjoint, together 0..N-1.

    Raises
    ------
    ValueError
        Neither or both amounts, an amount out of range, or more clips per class than there are.

    Examples
    --------
    >>> labelled, unlabelled = draw_labelled_split(torch.tensor([0, 1] * 10), fraction=0.1, seed=0)
    >>> len(labelled), len(unlabelled)
    (2, 18)
    """
    if (fraction is None) == (per_class is None):
        check.fail("fraction, per_class", "one of the two", f"{fraction} and {per_class}")
    if fraction is not None and check.fraction("fraction", fraction) == 0:
        check.fail("fraction", "above 0", 0, "one clip of each class is the least: per_class=1")
    if per_class is not None:
        check.integer("per_class", per_class, 1)
    wanted: dict[int, int] = {}
    for c in labels[labels >= 0].unique().tolist():
        members = int((labels == c).sum())
        if per_class is not None and per_class > members:
            check.fail("per_class", f"at most {members}, the clips of class {c}", per_class)
        wanted[c] = per_class if per_class is not None else max(1, round(float(fraction or 0) * members))
    labelled = (_clips if groups is None else _whole_groups)(labels, wanted, groups or (), (seed, "split", *key))
    rest = torch.ones(len(labels), dtype=torch.bool)
    rest[labelled] = False
    return labelled, rest.nonzero().flatten()


def _clips(labels: Tensor, wanted: dict[int, int], _: Sequence[str], key: tuple) -> Tensor:
    drawn = []
    for c, count in wanted.items():
        members = (labels == c).nonzero().flatten()
        drawn.append(members[draw.permutation(len(members), generator=draw.generator_for(*key, c))[:count]])
    return torch.cat(drawn).sort().values


def _whole_groups(labels: Tensor, wanted: dict[int, int], groups: Sequence[str], key: tuple) -> Tensor:
    """Draw whole groups, which may span classes, until every class has its number of clips."""
    names = sorted(set(groups))
    members: dict[str, list[int]] = {name: [] for name in names}
    for i, name in enumerate(groups):
        members[name].append(i)
    have, chosen = Counter[int](), []
    for g in draw.permutation(len(names), generator=draw.generator_for(*key, "groups")).tolist():
        known = [i for i in members[names[g]] if int(labels[i]) >= 0]
        if any(have[int(labels[i])] < wanted[int(labels[i])] for i in known):
            chosen += known
            have.update(int(labels[i]) for i in known)
    return torch.tensor(sorted(chosen))


def long_tail(num_classes: int, ratio: float, *, seed: int) -> Tensor:
    r"""Return which share of its clips each class keeps, float64 (K,).

    .. math:: s_k = R^{-r_k / (K - 1)}

    r_k is the place of class k, from 0 to K - 1, in an order that the seed draws: the frequent classes are not always
    the same. Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019, section 5.1.

    Parameters
    ----------
    num_classes : int
        K.
    ratio : float
        R, how often the most frequent class comes up for one clip of the rarest, where all have as many clips. Below 1
        the order is reversed, as Kim et al. have it for unlabelled clips ("Distribution Aligning Refinery of
        Pseudo-label for Imbalanced Semi-supervised Learning", NeurIPS 2020, section 4.1): 0.1 is as uneven as 10.
    seed : int
        Seed of the order.

    Examples
    --------
    >>> long_tail(3, 100, seed=0).sort().values
    tensor([0.0100, 0.1000, 1.0000], dtype=torch.float64)
    """
    check.number("ratio", ratio, 1e-4, 1e4)
    place = torch.empty(num_classes, dtype=torch.float64)
    order = draw.permutation(num_classes, generator=draw.generator_for(seed, "long tail"))
    place[order] = torch.arange(num_classes, dtype=torch.float64)
    shares = float(ratio) ** (-place / max(1, num_classes - 1))
    return shares / shares.max()


def thin_classes(labels: Tensor, shares: Tensor, *, seed: int, key: tuple = (), least: int = 0) -> Tensor:
    """Return which clips stay where each class keeps a share of them, bool (N,).

    Of the n_k clips of class k, ``round(s_k * n_k)`` stay, but at least `least` of those that there are.

    Parameters
    ----------
    labels : Tensor, shape (N,), int64
        Classes; clips of an unknown one, below 0, all stay.
    shares : Tensor, shape (K,)
        s_k, in [0, 1].
    seed, key
        Seed of the draw, and what else it depends on.
    least : int
        How many of each class stay at least.

    Examples
    --------
    >>> labels = torch.tensor([0] * 10 + [1] * 10 + [-1])
    >>> labels[thin_classes(labels, torch.tensor([1.0, 0.2]), seed=0)].tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, -1]
    """
    stays = labels < 0
    for c, share in enumerate(shares.tolist()):
        members = (labels == c).nonzero().flatten()
        count = min(len(members), max(least, round(share * len(members))))
        order = draw.permutation(len(members), generator=draw.generator_for(seed, "thin", *key, c))
        stays[members[order[:count]]] = True
    return stays


def draw_noisy_labels(labels: Tensor, share: float, num_classes: int, *, seed: int, key: tuple = ()) -> Tensor:
    """Return labels of which a share is wrong, int64 (L,): any other class is as likely as another.

    Symmetric noise, as in Patrini et al., "Making Deep Neural Networks Robust to Label Noise", CVPR 2017, section 5,
    but of exactly ``round(share * L)`` labels, spread over the classes in proportion: of few labels a free draw would
    often leave a class with none that is right.

    Parameters
    ----------
    labels : Tensor, shape (L,), int64
        The true classes, of which each has one label at least.
    share : float
        Which share of the labels is wrong, in (0, 1).
    num_classes : int
        K.
    seed, key
        Seed of the draw, and what else it depends on.

    Raises
    ------
    ValueError
        Not one label would be wrong, or all labels of some class.

    Examples
    --------
    >>> labels = torch.arange(5).repeat_interleave(4)
    >>> int((draw_noisy_labels(labels, 0.2, 5, seed=0) != labels).sum())
    4
    """
    generator = draw.generator_for(seed, "label noise", *key)
    counts = labels.bincount(minlength=num_classes)
    exact = counts * share
    wrong = exact.floor().long()
    order = draw.permutation(num_classes, generator=generator)  # of classes with equal remainders
    rest = round(share * len(labels)) - int(wrong.sum())
    wrong[order[(exact - wrong)[order].argsort(descending=True, stable=True)][:rest]] += 1
    if not wrong.sum():
        check.fail("label_noise", "enough for one wrong label", f"{share:g} of {len(labels)} labels")
    if bool((bad := (wrong >= counts) & (counts > 0)).any()):
        c = int(bad.nonzero()[0])
        got = f"{int(wrong[c])} wrong ones of {int(counts[c])} of class {c}"
        check.fail("label_noise", "a share that leaves each class a right label", got, "more labels, or less noise")
    noisy = labels.clone()
    for c, count in enumerate(wrong.tolist()):
        members = (labels == c).nonzero().flatten()
        drawn = members[draw.permutation(len(members), generator=generator)[:count]]
        other = draw.integers(torch.full((count,), num_classes - 1), generator=generator)
        noisy[drawn] = other + (other >= c)  # never c itself
    return noisy


def draw_stratified_folds(labels: Tensor, folds: int, *, seed: int) -> Tensor:
    """Return one of so many folds of each clip, int64 (N,): each class of labels (N,) is distributed as evenly as it
    can be.

    >>> draw_stratified_folds(torch.tensor([0, 0, 0, 0, 1, 1]), 2, seed=0).bincount()
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


def draw_grouped_folds(labels: Tensor, groups: Sequence[str], folds: int, *, seed: int) -> Tensor:
    """Return one of so many folds of each clip, int64 (N,): groups stay whole, classes are even as far as that allows.

    Large groups (recordings, speakers) come first, equal ones in a seeded order; each goes to the fold that has the
    fewest clips of its classes.

    >>> draw_grouped_folds(torch.tensor([0, 0, 0, 1, 1]), ["a", "a", "b", "c", "d"], 2, seed=0)[:2].unique().numel()
    1
    """
    check.integer("folds", folds, 2)
    names = sorted(set(groups))
    members = {name: [i for i, group in enumerate(groups) if group == name] for name in names}
    order = draw.permutation(len(names), generator=draw.generator_for(seed, "grouped folds")).tolist()
    fold = torch.zeros(len(labels), dtype=torch.int64)
    have = [Counter[int]() for _ in range(folds)]
    for g in sorted(order, key=lambda g: -len(members[names[g]])):
        mine = Counter(labels[members[names[g]]].tolist())
        scarcest = min(range(folds), key=lambda f: (sum(have[f][c] * n for c, n in mine.items()), have[f].total()))
        fold[members[names[g]]] = scarcest
        have[scarcest].update(mine)
    return fold
