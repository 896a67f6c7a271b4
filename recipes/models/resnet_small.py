"""A residual network for a CPU: 303,962 parameters with ten classes.

A strided stem and three residual stages of one block each, each of which halves time and frequency: most of the
computation is at low resolution, in dense 3x3 convolutions, which CPUs run best.
"""

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from audiomix import check

from ._blocks import BasicBlock, initialise, pair, whole

__all__ = ["ResNetSmall"]

_WIDEST = 1024  # more than a thousand million parameters
_LONGEST = 512  # bands or frames: as many as a spectrogram may have


class ResNetSmall(nn.Module):
    """Stem, three residual blocks, mean over frequency, mean and largest over time, linear.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    width : int
        Channels of the stem, at most 1024; the blocks have 2, 4 and 8 times as many.
    stem : tuple of int
        Kernel of the stem along frequency and time, each at most 512.
    stride : tuple of int
        Stride of the stem along frequency and time, each at most 512.
    pool : str
        Over time: mean_max, the sum of mean and largest value (Kong et al., "PANNs", IEEE/ACM TASLP 2020), so that a
        short sound in a long silence is not averaged away; or mean.

    Raises
    ------
    ValueError, TypeError
        A number is out of its range, or no whole number.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        width: int = 16,
        stem: tuple[int, int] = (3, 5),
        stride: tuple[int, int] = (2, 4),
        pool: Literal["mean_max", "mean"] = "mean_max",
    ) -> None:
        super().__init__()
        check.integer("num_classes", num_classes, 1)
        width = whole("width", width, _WIDEST)
        stem, stride = pair("stem", stem, _LONGEST), pair("stride", stride, _LONGEST)
        self.pool = check.choice("pool", pool, ["mean_max", "mean"])
        padding = (stem[0] // 2, stem[1] // 2)
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, stem, stride, padding, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.blocks = nn.Sequential(*(BasicBlock(a, b, stride=2) for a, b in pairwise(widths)))
        self.head = nn.Linear(widths[-1], num_classes)
        initialise(self)

    def forward(self, spec: Tensor) -> Tensor:
        """Return logits (B, K) of log-mel spectrograms (B, 1, F, N)."""
        return self.head(self.features(spec))

    def features(self, spec: Tensor) -> Tensor:
        """Return the input of the head, (B, D), of log-mel spectrograms (B, 1, F, N)."""
        x = self.blocks(self.stem(spec))
        if self.pool == "mean":
            return x.mean((2, 3))
        x = x.mean(2)  # (B, D, N')
        return x.mean(-1) + x.amax(-1)
