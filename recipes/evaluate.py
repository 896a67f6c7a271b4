"""Error rates on the held-out clips: wrong clips over all clips, the last incomplete batch included."""

import torch
from torch import Tensor, nn

from audiomix import check

from .views import Views

__all__ = ["error_rate", "predict"]

_BATCH = 64


@torch.no_grad()
def predict(model: nn.Module, views: Views, kept: Tensor) -> Tensor:
    """Return the class of each clip, int64 (N,), from its unchanged spectrogram, with the model in eval mode."""
    was_training = model.training
    model.eval()
    try:
        return torch.cat([model(views.plain(batch)).argmax(-1) for batch in kept.split(_BATCH)])
    finally:
        model.train(was_training)


def error_rate(predicted: Tensor, labels: Tensor) -> float:
    """Return the share of wrong predictions, in percent.

    >>> error_rate(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 2]))
    33.333333333333336
    """
    check.batch("predicted", predicted, len(labels), ndim=1)
    return 100 * int((predicted != labels).sum()) / len(labels)
