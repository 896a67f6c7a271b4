"""Distribution alignment: classes that are predicted too often are made less likely.

Berthelot et al., "ReMixMatch", ICLR 2020, section 3.1; to a uniform target, Chen et al., "SoftMatch", ICLR 2023, eq. 8.
The target is `Algorithm.prior`, or follows the batches.
"""

import torch
from torch import Tensor, nn

from audiomix import check

__all__ = ["RunningAlignment", "WindowAlignment"]

# On both sides of the ratio, as in Google's code: a class that is never predicted stays finite.
_EPSILON = 1e-6


class RunningAlignment(nn.Module):
    r"""Alignment with exponential running means of the class frequencies.

    .. math:: \hat p \leftarrow m \hat p + (1 - m) \bar p, \qquad q'_j \propto q_j \, \hat p_\mathrm{target} / \hat p

    Both means start uniform and take this batch in before they are used.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    momentum : float in [0, 1]
        m: about 1 / (1 - m) batches are remembered.
    window : int
        Of the predictions, remember the means of so many batches alike instead; they start uniform. 0: as above.
    """

    expected: Tensor
    guessed: Tensor
    guesses: Tensor
    batches: Tensor

    def __init__(self, num_classes: int, momentum: float, *, window: int = 0) -> None:
        super().__init__()
        self.momentum = check.fraction("momentum", momentum)
        self.window = check.integer("window", window, 0)
        self.register_buffer("expected", torch.full((num_classes,), 1 / num_classes))
        self.register_buffer("guessed", torch.full((num_classes,), 1 / num_classes))
        if window:
            self.register_buffer("guesses", torch.full((window, num_classes), 1 / num_classes))
            self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, q: Tensor, q_mean: Tensor, target: Tensor, *, fixed: bool = False) -> Tensor:
        """Return the predictions `q` (U, K), aligned, once the means of this batch, of all processes, are taken in.

        They are `q_mean` (K,) of `q` and `target` (K,) of what it is aligned to. `fixed`: `target` is the target
        itself, not a batch's mean.
        """
        if self.window:
            self.guesses[self.batches % self.window] = q_mean.to(self.guesses)
            self.batches += 1
            self.guessed.copy_(self.guesses.mean(0))
        else:
            self.guessed.lerp_(q_mean.to(self.guessed), 1 - self.momentum)
        self.expected.lerp_(target.to(self.expected), 1.0 if fixed else 1 - self.momentum)
        aligned = q * (self.expected + _EPSILON) / (self.guessed + _EPSILON)
        return aligned / aligned.sum(-1, keepdim=True)


class WindowAlignment(nn.Module):
    r"""Alignment with the means of the last batches.

    .. math:: q'_k \propto q_k \, (\epsilon + p_k) / (\epsilon + g_k)

    p: class frequencies among the labels, g: among the predictions; both are means of the last batch means, uniform at
    the start. A batch is taken in after it was aligned, so no prediction is aligned with itself. Google's ReMixMatch
    does so with predictions; its p is fixed. The founding study has a window of labels too, but it starts empty and
    takes a batch in before it is aligned.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    size : int
        Number of batches in the window.
    """

    labels: Tensor
    guesses: Tensor
    batches: Tensor

    def __init__(self, num_classes: int, *, size: int = 128) -> None:
        super().__init__()
        uniform = torch.full((size, num_classes), 1 / num_classes)
        self.register_buffer("labels", uniform)
        self.register_buffer("guesses", uniform.clone())
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, q: Tensor, q_mean: Tensor, target: Tensor, *, fixed: bool = False) -> Tensor:
        """Return the predictions `q` (U, K), aligned; then take the means of this batch in.

        They are `q_mean` (K,) of `q` and `target` (K,) of the one-hot labels, over the whole batch of all processes.
        `fixed`: `target` is p itself, from the first batch on.
        """
        if fixed:
            self.labels.copy_(target.to(self.labels).expand_as(self.labels))
        aligned = q * (_EPSILON + self.labels.mean(0)) / (_EPSILON + self.guesses.mean(0))
        oldest = self.batches % len(self.labels)
        self.labels[oldest], self.guesses[oldest] = target.to(self.labels), q_mean.to(self.guesses)
        self.batches += 1
        return aligned / aligned.sum(-1, keepdim=True)
