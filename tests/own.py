"""A file of a user's own, with one of each kind that is chosen by name."""

OWN = '''
"""Things of one's own."""

from pathlib import Path
from typing import Literal

import torch
from torch import nn

from audiomix import Mixer, Needs, Plan
from audiomix.beats import BeatGrid
from audiomix.beats.trackers import Tracker
from audiomix.datasets.dataset import Dataset
from audiomix.datasets.item import Item
from recipes.algorithms.supervised import Supervised


class RollMix(Mixer):
    """Mix each clip with its partner, rolled in time.

    Parameters
    ----------
    share : float
        The original's share.
    shift : float
        How far the partner is rolled, as a fraction of the clip.
    way : str
        ``left`` or ``right``.
    """

    needs = Needs(summed=False)

    def __init__(self, share: float = 0.75, *, shift: float = 0.5, way: Literal["left", "right"] = "right"):
        super().__init__()
        self.share, self.shift, self.way = share, shift, way

    def draw(self, own, source, *, progress=None, generator=None):
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        return Plan(partner, torch.where(mixed, torch.tensor(self.share, dtype=torch.float64), 1.0))

    def render(self, own, source, plan):
        w = plan.weight.to(own.x).view(-1, *[1] * (own.x.ndim - 1))
        count = round(self.shift * own.size) * (1 if self.way == "right" else -1)
        return w * own.x + (1 - w) * source.x[plan.partner].roll(count, -1)


class Taps(Tracker):
    """A beat every so often.

    Parameters
    ----------
    every : float
        Seconds from beat to beat.
    """

    def __init__(self, every: float = 0.5):
        self.every = every

    def track(self, samples, rate):
        count = int(samples.shape[-1] / rate / self.every)
        return BeatGrid([i * self.every for i in range(count)])


class Halved(Supervised):
    """Supervised training with a smaller loss.

    Parameters
    ----------
    num_classes : int
    factor : float
        Of the loss.
    """

    def __init__(self, num_classes, mixer=None, *, factor: float = 0.5, power=2):
        super().__init__(num_classes, mixer)
        self.factor, self.power = factor, power

    def losses(self, *batches, **context):
        return {name: term * self.factor for name, term in super().losses(*batches, **context).items()}


class Net(nn.Module):
    def __init__(self, num_classes, *, width: int = 8):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(1, width, 3, 2), nn.ReLU())
        self.head = nn.Linear(width, num_classes)

    def forward(self, spec):
        return self.head(self.trunk(spec).mean((2, 3)))


def clips(folder, *, limit: int = 100):
    """The first clips of each class: the folders below `folder`."""
    items, names = [], sorted(path.name for path in Path(folder).iterdir())
    for name in names:
        for i, path in enumerate(sorted(Path(folder, name).glob("*.wav"))[:limit]):
            items.append(Item(str(folder), f"{name}/{path.name}", name, fold=str(i % 2)))
    return Dataset("clips", tuple(items), tuple(names), 8000, 0.5)


def nearest(pool, generator, *, step: int = 1):
    """The clip so many places further on."""
    partner = (torch.arange(pool.size) + step) % pool.candidates
    return partner, pool.eligible & (partner != torch.arange(pool.size))


def helper(root):
    """No mixer, no tracker, and no data set comes back."""
'''

POINTS = """
[audiomix.mixers]
roll = own_things:RollMix
[audiomix.trackers]
taps = own_things:Taps
[audiomix.algorithms]
halved = own_things:Halved
[audiomix.models]
net = own_things:Net
[audiomix.datasets]
clips = own_things:clips
[audiomix.pairing]
nearest = own_things:nearest
"""


def install(folder, points=POINTS, text=OWN, name="own_things"):
    """Write a package with entry points into `folder`, as pip would; it is installed where that is on the path."""
    (folder / f"{name}.py").write_text(text)
    info = folder / f"{name}-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(points)
