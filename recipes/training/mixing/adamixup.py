r"""AdaMixUp: a network learns the interval that ratios are drawn from, and a second one keeps mixes off the data.

.. math:: (a, b, c) = \mathrm{softmax}(P(\tfrac{1}{2}(n_1 x_1 + n_2 x_2))), \quad w = a + b u, \quad
          \tilde x = w x_1 + (1 - w) x_2, \quad \tilde y = w y_1 + (1 - w) y_2

          L = H(\{\tilde y\} \cup \{y_1\}, f(\{\tilde x\} \cup \{x_1\})) + \mu \, H(\text{mix?}, d(\{\tilde x\} \cup X))

with u uniform in [0, 1), one w a pair, and n truncated normal numbers, one for each cell. Because a + b + c = 1, w lies
in [a, a + b], within [0, 1]. The gradient reaches P through the mix and through its label. The discriminator d stands
on the features of f and tells mixes (negative) from clips (positive): X is the first half of the batch, which the mixes
are made of, and the second, which they are not. All networks minimise the same sum: nothing is adversarial.

Source: Guo, Mao and Zhang, "MixUp as Locally Linear Out-Of-Manifold Regularization", AAAI 2019, and its code.
"""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiomix import check, draw

from ...models._modes import random_state
from ._frozen import one_hot, soft_cross_entropy
from .base import LearnedMixing

__all__ = ["AdaMixUp", "ratio_interval"]

_CUT = 2.0  # standard deviations that the noise of the policy's input is cut at


class AdaMixUp(LearnedMixing):
    """Learn the interval of the mixing ratio of each pair, with an intrusion discriminator.

    Parameters
    ----------
    intrusion : float
        Weight of the discriminator's term.
    width : int
        Channels of the first layer of the policy network.

    Deviations
    ----------
    - The policy is a network of three strided convolutions on the spectrogram with a mean over time and bands.
    - Both clips of a pair are of one batch, whose first half is mixed; the paper draws a second batch.
    - The optimiser is the run's.
    """

    needs_features = True

    def __init__(self, *, intrusion: float = 1.0, width: int = 16) -> None:
        super().__init__()
        self.intrusion, self.width = check.number("intrusion", intrusion, 0), check.integer("width", width, 1)
        self._logs: dict[str, Tensor] = {}

    def setup(self, model: nn.Module, num_classes: int, clips: int, seed: int) -> None:
        """Make policy and discriminator; see `LearnedMixing.setup`."""
        super().setup(model, num_classes, clips, seed)
        head: Any = model.head
        widths = [1, self.width, 2 * self.width, 4 * self.width]
        with random_state(seed, "adamixup"):
            layers: list[nn.Module] = []
            for a, b in pairwise(widths):
                layers += [nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
            self.policy = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 3))
            self.discriminator = nn.Linear(head.in_features, 2)

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
        """Return the terms ``labelled`` and ``intrusion``; see `LearnedMixing.losses`."""
        size = len(x) // 2
        if size < 2:
            check.fail("batch_labelled", "4 or more with adamixup, which mixes half of the clips", len(x))
        own, y = x[:size], one_hot(target[:size], self.num_classes)
        partner = draw.derangement(size, generator=generator).to(x.device)
        first, width = ratio_interval(self.policy(_blur(own, own[partner], generator)))
        share = first + width * draw.uniform(0, 1, size, generator=generator).to(first)
        w = share.view(-1, 1, 1, 1).to(x)
        mixed = w * own + (1 - w) * own[partner]
        mixed_y = share[:, None] * y + (1 - share[:, None]) * y[partner]
        network: Any = model
        features = network.features(torch.cat([mixed, x])).float()
        logits = network.head(features[: 2 * size]).float()
        is_clip = torch.arange(len(features), device=x.device) >= size
        self._logs = {"ratio_least": first.detach().mean(), "ratio_width": width.detach().mean()}
        return {
            "labelled": soft_cross_entropy(logits, torch.cat([mixed_y, y])).mean(),
            "intrusion": self.intrusion * F.cross_entropy(self.discriminator(features).float(), is_clip.long()),
        }

    def logs(self) -> dict[str, Tensor]:
        """Return the mean of the least ratio and of the width of the interval."""
        return self._logs


def ratio_interval(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least ratio a and the width b of the interval, each (B,), from three logits (B, 3).

    Examples
    --------
    >>> [one.item() for one in ratio_interval(torch.tensor([[0.0, 0.0, -torch.inf]]))]
    [0.5, 0.5]
    """
    shares = logits.float().softmax(-1)
    return shares[:, 0], shares[:, 1]


def _blur(a: Tensor, b: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return the mean of two batches, each cell of both times a number of its own: normal, cut at two deviations."""
    inside = torch.special.ndtr(torch.tensor(_CUT)).item()
    u = draw.uniform(1 - inside, inside, 2 * a.numel(), generator=generator)
    n = torch.special.ndtri(u).to(a).view(2, *a.shape)
    return (n[0] * a + n[1] * b) / 2
