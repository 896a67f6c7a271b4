"""Labels guessed by a network: made sharper, aligned to a class distribution, and told of in logs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["GOOGLE", "History", "Memory", "evaluating", "probabilities", "sharpen", "statistics_kept", "told"]

# Fields of `Config` as in the authors' code of MixMatch and ReMixMatch: Adam with a constant learning rate, and weights
# times 1 - 0.02 lr after every step. (They decay kernels alone; AdamW decays everything.)
GOOGLE: dict[str, Any] = {"optimiser": "adamw", "lr": 2e-3, "weight_decay": 0.02, "decay": "constant"}
_EPSILON = 1e-6  # Google's, on both sides of the ratio


@torch.no_grad()
def probabilities(model: nn.Module, x: Tensor, *, quiet: bool = False) -> Tensor:
    """Return what the model believes of x (B, ...), (B, K), float32 and without gradient.

    The model stays in training mode, as in the published code: batch norm normalises with this batch. Its running
    statistics take the batch in unless `quiet`.
    """
    with statistics_kept(model) if quiet else nullcontext():
        return model(x).float().softmax(-1)


def sharpen(guess: Tensor, temperature: float) -> Tensor:
    r"""Return guesses (..., K) made surer.

    .. math:: p_k^{1/T} / \sum_j p_j^{1/T}

    In logarithms and float32: powers of small numbers underflow in half precision. A row of zeros becomes uniform.

    >>> sharpen(torch.tensor([0.25, 0.75]), 0.5)
    tensor([0.1000, 0.9000])
    """
    log = guess.float().clamp_min(torch.finfo(torch.float32).tiny).log()
    return (log / temperature).softmax(-1).to(guess.dtype)


class History(nn.Module):
    r"""Alignment with the means of the last batches.

    .. math:: q'_k \propto q_k \, (\epsilon + p_k) / (\epsilon + g_k)

    p: classes among the labels, g: among the guesses; means of the last 128 batch means, all uniform at the start. A
    batch is taken in after it was aligned: no guess is aligned with itself. Google's ReMixMatch does so with guesses;
    the founding study has a history of labels too, but starts with none and takes a batch in before it is aligned.
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
    def forward(self, guess: Tensor, guess_mean: Tensor, label_mean: Tensor) -> Tensor:
        """Return the guesses (U, K), aligned; then take in the means (K,) of the whole batch, of all processes."""
        aligned = guess * (_EPSILON + self.labels.mean(0)) / (_EPSILON + self.guesses.mean(0))
        oldest = self.batches % len(self.labels)
        self.labels[oldest], self.guesses[oldest] = label_mean.to(self.labels), guess_mean.to(self.guesses)
        self.batches += 1
        return aligned / aligned.sum(-1, keepdim=True)


class Memory(nn.Module):
    r"""Means of all that was guessed of each clip, the last guesses weighing most.

    .. math:: Z \leftarrow \alpha Z + (1 - \alpha) z, \qquad \tilde z = Z / (1 - \alpha^t)

    z: the guess of now, t: how often the clip has come up, this time included. Laine and Aila, "Temporal Ensembling for
    Semi-Supervised Learning", ICLR 2017, algorithm 2.

    Parameters
    ----------
    clips, num_classes : int
    decay : float
        alpha, below 1.
    """

    total: Tensor
    times: Tensor

    def __init__(self, clips: int, num_classes: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("total", torch.zeros(clips, num_classes))
        self.register_buffer("times", torch.zeros(clips, dtype=torch.int64))

    @torch.no_grad()
    def forward(self, guess: Tensor, index: Tensor, gather: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the means (U, K) of the clips `index` (U,), and note the guesses (U, K), those of all processes.

        Of a clip that is in a batch twice, as may be where a pass over the clips ends, the second guess is noted.
        """
        means = self._total(guess, index) / (1 - self.decay ** (self.times[index] + 1.0))[:, None]
        index, guess = gather(index), gather(guess)
        place = torch.arange(len(index), device=index.device)
        last = torch.full_like(self.times, -1).scatter_reduce(0, index, place, "amax")
        seen = (last >= 0).nonzero().squeeze(1)
        self.total[seen] = self._total(guess[last[seen]], seen)
        self.times[seen] += 1
        return means

    def _total(self, guess: Tensor, index: Tensor) -> Tensor:
        return self.decay * self.total[index] + (1 - self.decay) * guess


def told(guess: Tensor, hidden: Tensor) -> dict[str, Tensor]:
    """Return what logs tell of guesses.

    Parameters
    ----------
    guess : Tensor, shape (U, K)
    hidden : Tensor, shape (U,), int64
        The true classes, below 0 where nobody knows.

    Returns
    -------
    dict
        ``guess_accuracy``, the share that is right, NaN where nobody knows; ``count`` (K,), how many of each class.
        Both of this process; the engine joins them.
    """
    pseudo, known = guess.argmax(-1), hidden >= 0
    count = nn.functional.one_hot(pseudo, guess.shape[-1]).double().sum(0)
    return {"guess_accuracy": (pseudo == hidden)[known].double().mean(), "count": count}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Hold all modules in eval mode; each goes back to the mode it had."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Normalise with each batch as in training, but leave the running statistics of all batch norms alone."""
    kind = nn.modules.batchnorm._BatchNorm  # of any dimension, and across processes
    norms = [m for m in model.modules() if isinstance(m, kind) and m.track_running_stats]
    for module in norms:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in norms:
            module.track_running_stats = True
