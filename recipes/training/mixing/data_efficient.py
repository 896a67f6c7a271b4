r"""Data-efficient augmentation: only the clips that stand for the others are augmented, chosen by their gradients.

.. math:: S_c = \arg\max_{|S| = k} \sum_{i \in c} \max_{j \in S} (d_\max - \lVert g_i - g_j \rVert), \qquad
          g_i = \mathrm{softmax}(z_i) - e_{y_i}

greedily, one class c after the other, the same number k of each. The weight of a chosen clip is how many clips of its
class it is the nearest of, scaled to a mean of 1. The choice is made anew every few passes over the clips.

Source: Liu and Mirzasoleiman, "Data-Efficient Augmentation for Training Neural Networks", NeurIPS 2022, and its code;
Mirzasoleiman, Bilmes and Leskovec, "Coresets for Data-efficient Training of Machine Learning Models", ICML 2020.
"""

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiomix import check, draw
from audiomix.draw import Generator

from ...models._modes import eval_mode
from ._frozen import one_hot
from .base import LearnedMixing, ReadClips
from .invariance_constrained import make_views

__all__ = ["Coreset", "DataEfficient", "choose_coreset", "greedy_choice"]

_AT_ONCE = 64  # clips whose gradients are computed at once
_GAINS_AT_ONCE = 32  # members whose gains are computed anew at once


class DataEfficient(LearnedMixing):
    """Augment a coreset of the labelled clips, with weights.

    Parameters
    ----------
    share : float
        Share of the clips that is augmented, above 0.
    refresh : int
        Passes over the labelled clips from one choice to the next; the paper's scripts have 5 and 15.
    views : str
        Transform of the chosen clips: ``trivial_augment`` or ``rand_augment``.
    only : bool
        Train on the chosen clips alone, as the script for Caltech-256 does.
    weighted : bool
        Let chosen clips count by their weights.
    most : int
        Clips of a class that are compared with each other; of a larger one so many are drawn.

    Deviations
    ----------
    - What is not augmented is the run's labelled view (`--labelled-view`); the gradients are those of clips without
      any change.
    - A class with fewer clips than its number gives the rest to the larger classes; the code divides it wrongly.
    - `most` is ours: comparing all clips of a class takes memory in proportion to the square of their number.
    - In a run of several processes a pass is counted by the slice of one of them.
    - An error in the choice is an error; the code falls back to a random choice.
    """

    chosen: Tensor
    weight: Tensor
    steps: Tensor

    def __init__(
        self,
        *,
        share: float = 0.3,
        refresh: int = 5,
        views: Literal["trivial_augment", "rand_augment"] = "trivial_augment",
        only: bool = False,
        weighted: bool = True,
        most: int = 2000,
    ) -> None:
        super().__init__()
        self.share = check.fraction("share", share)
        if not share:
            check.fail("share", "above 0", share)
        self.refresh, self.most = check.integer("refresh", refresh, 1), check.integer("most", most, 1)
        self.only, self.weighted = only, weighted
        self.augment = make_views(views)
        self._read: ReadClips | None = None
        self._seed = 0

    def setup(self, model: nn.Module, num_classes: int, clips: int, seed: int) -> None:
        """Make room for the choice; see `LearnedMixing.setup`."""
        super().setup(model, num_classes, clips, seed)
        self._seed = seed
        self.register_buffer("chosen", torch.zeros(clips, dtype=torch.bool))
        self.register_buffer("weight", torch.ones(clips))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def fit(self, mean: float, std: float) -> None:
        """Make the views for this normalisation; see `LearnedMixing.fit`."""
        self.augment = self.augment.at_normalisation(mean, std)

    def take_clips(self, read: ReadClips, labels: Tensor) -> None:
        """Keep what reads the clips; see `LearnedMixing.take_clips`."""
        self._read = read

    def losses(
        self,
        model: nn.Module,
        x: Tensor,
        target: Tensor,
        index: Tensor,
        *,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms ``labelled`` (clips as they are) and ``chosen``; see `LearnedMixing.losses`."""
        if int(self.steps) % self.cost_period(len(x)) == 0:
            self._choose(model)
        chosen = self.chosen[index.to(self.chosen.device)].to(x.device)
        weight = self.weight[index.to(self.weight.device)].to(x.device) if self.weighted else 1.0
        views = self.augment(x, progress=progress, generator=generator).x
        logits = model(torch.where(chosen.view(-1, 1, 1, 1), views, x))
        each = F.cross_entropy(logits, target, reduction="none")
        rest = torch.zeros_like(each) if self.only else torch.where(chosen, 0.0, each)
        return {"labelled": rest.mean(), "chosen": torch.where(chosen, weight * each, 0.0).mean()}

    def cost_period(self, batch: int) -> int:
        """Return the steps from one choice to the next; see `LearnedMixing.cost_period`."""
        return self.refresh * math.ceil(len(self.chosen) / batch)

    def after_step(self, model: nn.Module) -> None:
        """Count the step; see `LearnedMixing.after_step`."""
        self.steps += 1

    @torch.no_grad()
    def _choose(self, model: nn.Module) -> None:
        """Choose the clips anew, by the gradients of the network as it is."""
        assert self._read is not None
        proxies, labels = [], []
        with eval_mode(model):
            for part in torch.arange(len(self.chosen)).split(_AT_ONCE):
                x, y = self._read(part)
                proxies.append(model(x).softmax(-1) - one_hot(y, self.num_classes))
                labels.append(y)
        generator = draw.generator_for(self._seed, "coreset", int(self.steps))
        found = choose_coreset(torch.cat(proxies).cpu(), torch.cat(labels).cpu(), self.share, self.most, generator)
        self.chosen.zero_()[found.places.to(self.chosen.device)] = True
        self.weight.fill_(1.0)[found.places.to(self.weight.device)] = found.weight.to(self.weight)

    def logs(self) -> dict[str, Tensor]:
        """Return how many clips are chosen."""
        return {"chosen_clips": self.chosen.sum().float()}


class Coreset(NamedTuple):
    """The clips that stand for the others."""

    places: Tensor  # (S,), int64, class by class
    weight: Tensor  # (S,): how many clips each is the nearest of, of mean 1


def choose_coreset(
    proxies: Tensor, labels: Tensor, share: float, most: int = 2000, generator: Generator = None
) -> Coreset:
    """Return the clips of each class that stand for it.

    Parameters
    ----------
    proxies : Tensor, shape (N, D)
        Of the gradients.
    labels : Tensor, shape (N,), int64
        Classes.
    share : float
        Share of the clips, in (0, 1]: ceil(share x N / classes) of each class, or all of a smaller one.
    most : int
        Clips of a class that are compared.
    generator : torch.Generator, optional
        Draws these of a larger class.
    """
    classes = labels.unique()
    sizes = torch.tensor([int((labels == c).sum()) for c in classes])
    counts = share_out(math.ceil(share * len(labels) / len(classes)) * len(classes), sizes)
    index, weight = [], []
    for c, count in zip(classes.tolist(), counts.tolist()):
        members = (labels == c).nonzero()[:, 0]
        pool = members
        if len(members) > most:
            pool = members[draw.permutation(len(members), generator=generator)[:most].sort().values]
        between = _distances(proxies[pool], proxies[pool])
        order, _ = greedy_choice(between.max() - between, min(count, len(pool)))
        index.append(pool[order])
        nearest = _distances(proxies[members], proxies[index[-1]]).argmin(1)
        weight.append(torch.bincount(nearest, minlength=len(order)).clamp(min=1).double())
    weights = torch.cat(weight)
    return Coreset(torch.cat(index), (weights / weights.mean()).float())


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Return the Euclidean distances of all rows of two matrices; by differences, so that equal rows are 0 apart."""
    return torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist")


def share_out(total: int, sizes: Tensor) -> Tensor:
    """Return how many are taken of each class: equally many, but what a class lacks comes from the larger ones.

    Parameters
    ----------
    total : int
        How many in all; no more than there are.
    sizes : Tensor, shape (C,), int64
        Clips of each class.

    Examples
    --------
    >>> share_out(9, torch.tensor([1, 10, 10]))
    tensor([1, 4, 4])
    """
    counts = torch.zeros_like(sizes)
    left = min(total, int(sizes.sum()))
    while left:
        for c in range(len(sizes)):
            if left and counts[c] < sizes[c]:
                counts[c] += 1
                left -= 1
    return counts


def greedy_choice(similarity: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the members that raise the facility location function most, one after the other, and by how much.

    Parameters
    ----------
    similarity : Tensor, shape (N, N)
        0 or more.
    count : int
        How many are chosen; of equals the first is.

    Returns
    -------
    order : Tensor, shape (count,), int64
        The chosen ones.
    gains : Tensor, shape (count,)
        What each added to the sum over all members of the similarity to the nearest chosen one; they never rise.

    Examples
    --------
    >>> greedy_choice(torch.tensor([[2.0, 1.0, 0.0], [1.0, 2.0, 1.0], [0.0, 1.0, 2.0]]), 2)
    (tensor([1, 0]), tensor([4., 1.]))
    """
    covered = torch.zeros_like(similarity[0])
    bound = similarity.clamp(min=0).sum(1)  # of the gain of each: gains never rise, so an earlier one bounds it
    known = torch.ones(len(similarity), dtype=torch.bool)  # where the bound is the gain
    order, gains = [], []
    for _ in range(count):
        while not known[best := int((bound == bound.max()).nonzero()[0, 0])]:
            some = bound.topk(min(_GAINS_AT_ONCE, len(bound))).indices
            some = torch.cat([some[~known[some]], torch.tensor([best])])
            bound[some] = torch.where(bound[some] < 0, -1.0, (similarity[some] - covered).clamp(min=0).sum(1))
            known[some] = True
        order.append(best)
        gains.append(bound[best].clone())
        bound[best] = -1.0
        covered = torch.maximum(covered, similarity[best])
        known.zero_()
    return torch.tensor(order), torch.stack(gains)
