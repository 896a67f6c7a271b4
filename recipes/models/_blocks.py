"""The residual block, the initialisation and the checks that the networks share."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from audiomix import check

__all__ = ["BasicBlock", "initialise", "pair", "whole"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, activated after the sum.

    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, figure 2; the shortcut is a 1x1 convolution
    where the shape changes (option B).

    Parameters
    ----------
    inputs : int
        Channels of the input.
    outputs : int
        Channels of the output.
    stride : int
        Stride of the first convolution, along both axes.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, F', N') of channels, frequency and time (B, inputs, F, N)."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x), inplace=True)


def initialise(network: nn.Module) -> None:
    """Draw the weights of convolutions: He et al. 2015, normal, fan out. Batch norms start as the identity."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def whole(name: str, value: Any, most: int) -> int:
    """Return the value of the option `name`, if it is a whole number in [1, most].

    >>> whole("width", 16, 1024)
    16
    """
    slip = "more would fill the memory" if isinstance(value, int) and value > most else ""
    return int(check.number(name, check.integer(name, value, 1), 1, most, slip=slip))


def pair(name: str, value: Any, most: int) -> tuple[int, int]:
    """Return the value of the option `name`, if it is two whole numbers in [1, most], along frequency and time.

    >>> pair("stem", (3, 5), 512)
    (3, 5)
    """
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        slip = f"({value}, {value})?" if isinstance(value, int) else ""
        check.fail(name, "two whole numbers, along frequency and time", repr(value), slip)
    return whole(name, value[0], most), whole(name, value[1], most)
