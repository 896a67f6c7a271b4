"""Cutout: a box of a spectrogram is its mean."""

import torch
from torch import Tensor

from ... import check
from ...needs import SPECTROGRAM
from .._operation import Group, Operation

__all__ = ["Cutout"]


class Cutout(Operation):
    """Hide a box of each spectrogram behind the spectrogram's own mean.

    DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", 2017; the box is as wide
    in time as in frequency, as fractions of the axes, and lies within the valid part [ours].

    Parameters
    ----------
    share : float
        What of the valid area is hidden at magnitude 1.
    """

    domains = frozenset({SPECTROGRAM})
    numbers = 2
    changes = frozenset({"content"})

    def __init__(self, share: float = 0.2) -> None:
        self.share = check.fraction("share", share)

    def apply(self, group: Group) -> Tensor:
        """Fill a box that lies anywhere within the valid part with the same probability."""
        side = (group.level * self.share).sqrt()
        inside = torch.ones((), dtype=torch.bool, device=group.x.device)
        for axis, sizes in ((-2, torch.full_like(group.valid, group.x.shape[-2])), (-1, group.valid)):
            width = (side * sizes).round()
            start = torch.floor(group.numbers[:, axis] * (sizes - width + 1))
            ends = torch.stack([start, start + width]).long().view(2, -1, *[1] * (group.x.ndim - 1))
            first, stop = ends.to(group.x.device, non_blocking=True)
            place = torch.arange(group.x.shape[axis], device=group.x.device).view(-1, *[1] * (-1 - axis))
            inside = inside & (place >= first) & (place < stop)
        return torch.where(inside, group.mean(), group.x)
