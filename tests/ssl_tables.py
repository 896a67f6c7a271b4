"""Tiny models and batches whose losses can be computed by hand."""

import torch
from sounds import seeded
from torch import nn

from audiomix import MixUp, Plan
from recipes import models
from recipes.algorithms.base import Labelled, Unlabelled

CLASSES = 3
A, B, C, FLAT = [0.8, 0.1, 0.1], [0.2, 0.6, 0.2], [0.1, 0.3, 0.6], [1 / 3, 1 / 3, 1 / 3]


class Table(nn.Module):
    """Read logits from the first frame, times a scale that is trained; keep what was seen, and in what mode."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.head = nn.Linear(CLASSES, CLASSES).requires_grad_(False)  # for its size alone
        self.calls = []

    def forward(self, x):
        self.calls.append((x.detach().clone(), self.training, torch.is_grad_enabled()))
        return self.features(x)

    def features(self, x):
        return self.scale * x[:, 0, :, 0]


def clips(rows):
    """Return clips (B, 1, K, 5) for which `Table` believes these probabilities."""
    return torch.tensor(rows).log()[:, None, :, None].expand(-1, 1, -1, 5).clone()


def read(x):
    """Return what `Table` reads from clips, with a scale of 1."""
    return x[:, 0, :, 0]


def probabilities(x, scale=1.0):
    """Return the class probabilities that `Table` has for clips."""
    return (scale * read(x)).softmax(-1)


def cross_entropy(logits, target):
    """Return the mean cross-entropy with labels that are distributions, written out."""
    return -(target * logits.log_softmax(-1)).sum(-1).mean()


def labelled(rows, target):
    return Labelled(clips(rows), torch.tensor(target), torch.arange(len(target)))


def unlabelled(weaks, strongs=(), hidden=None):
    """Return views given as lists of probabilities, one list a view."""
    count = len(weaks[0])
    hidden = torch.tensor([-1] * count if hidden is None else hidden)
    return Unlabelled(tuple(map(clips, weaks)), tuple(map(clips, strongs)), hidden, torch.arange(count))


def ready(method, model, make_network=None):
    """Return the method, set up."""
    method.setup(model, make_network or (lambda key: Table()), 4)
    return method


def losses(method, model, known, unknown, progress=1.0, seed=0):
    return method.losses(model, known, unknown, progress=progress, generator=seeded(seed))


class Fixed(MixUp):
    """A mixer whose partner is the next clip, and whose original has three quarters."""

    plan_type = Plan

    def draw(self, own, source, *, progress=None, generator=None):
        partner = torch.arange(len(own)).roll(-1)
        return Plan(partner, torch.full((len(own),), 0.75, dtype=torch.float64))


def next_in(x):
    """Return what `Fixed` makes of a batch."""
    return 0.75 * x + 0.25 * x.roll(-1, 0)


def network(key="network"):
    return models.build("resnet_small", CLASSES, seed=0, key=key, width=4).train()


def noise(known=4, unknown=6):
    """Return batches for a real network: 8 bands, 12 frames."""
    x, *views = (torch.randn(n, 1, 8, 12, generator=seeded(n + i)) for i, n in enumerate([known] + 4 * [unknown]))
    hidden, index = torch.zeros(unknown, dtype=torch.int64), torch.arange(unknown)
    batch = Unlabelled(tuple(views[:2]), tuple(views[2:]), hidden, index)
    return Labelled(x, torch.arange(known) % 3, torch.arange(known)), batch


def batches_seen(model):
    """Return how many batches the first batch norm took in."""
    return int(next(b for n, b in model.named_buffers() if n.endswith("num_batches_tracked")))


def buffers(model):
    return {name: b.clone() for name, b in model.named_buffers()}
