"""The network of the founding study, which it calls WRN-28-2: 1,471,978 parameters with ten classes.

Not the pre-activation network of Zagoruyko and Komodakis (2016): torchvision's residual blocks, activated after the
sum, behind a stem of width 32 with a max-pooling. Cances, Labbe, Pellegrini, "Comparison of semi-supervised deep
learning algorithms for audio classification", EURASIP JASMP 2022.
"""

from itertools import pairwise

from torch import Tensor, nn

from audiomix import check

from ._blocks import BasicBlock, initialise, whole

__all__ = ["WideResNet"]

_MOST = 64  # of either: more than a thousand million parameters


class WideResNet(nn.Module):
    """Stem, three stages of four residual blocks with 32, 64 and 128 channels, mean over time and frequency, linear.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    widen : int
        Factor on the widths 16, 32 and 64, at most 64.
    depth : int
        Blocks of each stage, at most 64.

    Raises
    ------
    ValueError, TypeError
        A number is out of its range, or no whole number.
    """

    def __init__(self, num_classes: int, *, widen: int = 2, depth: int = 4) -> None:
        super().__init__()
        check.integer("num_classes", num_classes, 1)
        widen, depth = whole("widen", widen, _MOST), whole("depth", depth, _MOST)
        widths = [16 * widen, 16 * widen, 32 * widen, 64 * widen]
        self.stem = nn.Sequential(
            nn.Conv2d(1, widths[0], 3, 1, 1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        stages = []
        for (inputs, outputs), stride in zip(pairwise(widths), (1, 2, 2)):
            blocks = (BasicBlock(outputs, outputs) for _ in range(depth - 1))
            stages.append(nn.Sequential(BasicBlock(inputs, outputs, stride=stride), *blocks))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(widths[-1], num_classes)
        initialise(self)

    def forward(self, spec: Tensor) -> Tensor:
        """Return logits (B, K) of log-mel spectrograms (B, 1, F, N)."""
        return self.head(self.features(spec))

    def features(self, spec: Tensor) -> Tensor:
        """Return the input of the head, (B, D), of log-mel spectrograms (B, 1, F, N)."""
        return self.stages(self.stem(spec)).mean((2, 3))
