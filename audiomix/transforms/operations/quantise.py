"""Quantise: samples are rounded to fewer bits."""

import torch
from torch import Tensor

from ... import check
from .._operation import Group, Operation

__all__ = ["Quantise"]


class Quantise(Operation):
    """Round samples to steps of ``2 p / 2**bits`` for a clip of peak p; from 16 bits down with the magnitude.

    Steps follow the clip's peak, so that a quiet clip is not rounded to silence. The gradient is that of the identity.

    Parameters
    ----------
    bits : float
        At magnitude 1.
    """

    def __init__(self, bits: float = 6.0) -> None:
        self.bits = check.number("bits", bits, 2, 16)

    def apply(self, group: Group) -> Tensor:
        """Round each clip."""
        x = group.x.detach()
        peak = x.abs().amax((1, 2), keepdim=True).clamp(min=1e-30)
        step = peak * group.column(torch.pow(2.0, 1 - 16 + (16 - self.bits) * group.level))
        return group.x + (torch.round(x / step) * step - x)
