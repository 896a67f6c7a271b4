"""Pseudo-labels: predictions of a network that are learnt as labels, made sharper, averaged, and described in logs."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ..models._modes import freeze_batch_norm

__all__ = [
    "GOOGLE",
    "PredictionMemory",
    "last_places",
    "predict_probabilities",
    "pseudo_label_logs",
    "sharpen",
    "study_passes",
]


def study_passes(batch_unlabelled: int) -> int:
    """Return the passes over the unlabelled clips that take as many steps as the founding study: 300, 30 a step.

    >>> study_passes(448)
    4480
    """
    return 10 * batch_unlabelled


# Fields of `Config` as in the authors' code of MixMatch and ReMixMatch (github.com/google-research/mixmatch at 1011a1d,
# /remixmatch at f7061eb: defaults of mixmatch.py and cta/cta_remixmatch.py): batches of 64 and 64, Adam with a constant
# learning rate of 0.002, kernels times 1 - 0.02 lr in every step, and an average with 0.999.
GOOGLE: dict[str, Any] = {
    "labelled_view": "weak",
    "optimiser": "adamw",
    "lr": 2e-3,
    "weight_decay": 0.02,
    "weight_decay_on": "kernels",
    "decay": "constant",
    "batch_labelled": 64,
    "batch_unlabelled": 64,
    "epochs": study_passes(64),
    "ema": 0.999,
}


@torch.no_grad()
def predict_probabilities(model: nn.Module, x: Tensor, *, quiet: bool = False) -> Tensor:
    """Return class probabilities (B, K), float32 and without gradient, of spectrograms (B, 1, F, N).

    The model stays in training mode, as in the published code: batch norm normalises with this batch. With `quiet` the
    batch is kept out of the running statistics of batch norm.
    """
    with freeze_batch_norm(model) if quiet else nullcontext():
        return model(x).float().softmax(-1)


def sharpen(probabilities: Tensor, temperature: float) -> Tensor:
    r"""Return distributions with less entropy.

    .. math:: p_k^{1/T} / \sum_j p_j^{1/T}

    In logarithms and float32: powers of small numbers underflow in half precision. A row of zeros becomes uniform.

    Parameters
    ----------
    probabilities : Tensor, shape (..., K)
        p, the distributions.
    temperature : float
        T: below 1 sharpens, 1 changes nothing.

    Examples
    --------
    >>> sharpen(torch.tensor([0.25, 0.75]), 0.5)
    tensor([0.1000, 0.9000])
    """
    log = probabilities.float().clamp_min(torch.finfo(torch.float32).tiny).log()
    return (log / temperature).softmax(-1).to(probabilities.dtype)


class PredictionMemory(nn.Module):
    r"""Running means of the predictions on each clip, the last one weighing most.

    .. math:: Z \leftarrow \alpha Z + (1 - \alpha) z, \qquad \tilde z = Z / (1 - \alpha^t)

    z: the prediction of this step, t: how often the clip has come up, this time included. Laine and Aila, "Temporal
    Ensembling for Semi-Supervised Learning", ICLR 2017, algorithm 2.

    Parameters
    ----------
    clips : int
        Number of unlabelled clips.
    num_classes : int
        K, the number of classes.
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
    def forward(self, q: Tensor, index: Tensor, gather: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the means (U, K), and store the predictions of all processes, which `gather` joins.

        `q` (U, K) are this step's class probabilities of the clips at `index` (U,). A clip may be in a batch twice
        where a
        pass over the clips ends; then its last prediction is stored.
        """
        means = self._total(q, index) / (1 - self.decay ** (self.times[index] + 1.0))[:, None]
        index, q = gather(index), gather(q)
        last = last_places(index, len(self.times))
        seen = (last >= 0).nonzero().squeeze(1)
        self.total[seen] = self._total(q[last[seen]], seen)
        self.times[seen] += 1
        return means

    def _total(self, q: Tensor, index: Tensor) -> Tensor:
        return self.decay * self.total[index] + (1 - self.decay) * q


def last_places(index: Tensor, size: int) -> Tensor:
    """Return where each of 0 .. `size` - 1 stands last in `index` (B,), -1 where it does not: (size,), int64.

    >>> last_places(torch.tensor([2, 0, 2]), 4)
    tensor([ 1, -1,  2, -1])
    """
    place = torch.arange(len(index), device=index.device)
    return torch.full((size,), -1, device=index.device).scatter_reduce(0, index, place, "amax")


def pseudo_label_logs(q: Tensor, hidden: Tensor) -> dict[str, Tensor]:
    """Return what is logged of pseudo-labels.

    Parameters
    ----------
    q : Tensor, shape (U, K)
        Class probabilities, or logits; the largest one is the pseudo-label.
    hidden : Tensor, shape (U,), int64
        True classes, below 0 where they are unknown.

    Returns
    -------
    dict of str to Tensor
        ``guess_accuracy``, the share of correct pseudo-labels, NaN where no true class is known; ``count`` (K,), the
        number of pseudo-labels of each class. Both of this process; the engine joins them.
    """
    pseudo, known = q.argmax(-1), hidden >= 0
    count = nn.functional.one_hot(pseudo, q.shape[-1]).double().sum(0)
    return {"guess_accuracy": (pseudo == hidden)[known].double().mean(), "count": count}
