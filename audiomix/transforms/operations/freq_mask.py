"""Frequency mask: a band of a spectrogram is its mean."""

import torch
from torch import Tensor

from ... import check
from ...needs import SPECTROGRAM
from .._operation import Group, Operation

__all__ = ["FreqMask"]


class FreqMask(Operation):
    """Hide one band of frequencies of each spectrogram behind the spectrogram's own mean.

    Parameters
    ----------
    share : float
        What of the frequency axis is hidden at magnitude 1.
    """

    domains = frozenset({SPECTROGRAM})
    numbers = 1
    changes = frozenset({"content"})

    def __init__(self, share: float = 0.3) -> None:
        self.share = check.fraction("share", share)

    def apply(self, group: Group) -> Tensor:
        """Fill a band that lies anywhere with the same probability."""
        bins = group.x.shape[-2]
        width = (group.level * self.share * bins).round()
        start = torch.floor(group.numbers[:, 0] * (bins - width + 1))
        ends = torch.stack([start, start + width]).long().view(2, -1, *[1] * (group.x.ndim - 1))
        first, stop = ends.to(group.x.device, non_blocking=True)
        place = torch.arange(bins, device=group.x.device)[:, None]
        return torch.where((place >= first) & (place < stop), group.mean(), group.x)
