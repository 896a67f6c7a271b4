"""Time mask: a span of the clip is silent, or the mean of a spectrogram."""

import torch
from torch import Tensor

from ... import check
from .._operation import BOTH, Group, Operation

__all__ = ["TimeMask"]


class TimeMask(Operation):
    """Hide one span of each clip: a waveform is silent there, a spectrogram has its own mean.

    Parameters
    ----------
    share : float
        What of the valid part is hidden at magnitude 1.
    """

    domains = BOTH
    numbers = 1
    changes = frozenset({"content"})

    def __init__(self, share: float = 0.3) -> None:
        self.share = check.fraction("share", share)

    def apply(self, group: Group) -> Tensor:
        """Fill a span that lies anywhere within the valid part with the same probability."""
        width = (group.level * self.share * group.valid).round()
        start = torch.floor(group.numbers[:, 0] * (group.valid - width + 1))
        ends = torch.stack([start, start + width]).long().view(2, -1, *[1] * (group.x.ndim - 1))
        first, stop = ends.to(group.x.device, non_blocking=True)
        place = torch.arange(group.x.shape[-1], device=group.x.device)
        value = group.floor() if group.is_wave else group.mean()
        return torch.where((place >= first) & (place < stop), value, group.x)
