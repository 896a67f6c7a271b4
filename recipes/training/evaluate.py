"""Predictions for held-out clips: every one of them, the last incomplete batch included."""

import torch
from torch import Tensor, nn

from ..benchmark.measures import error_rate
from ..data.views import Views

__all__ = ["error_rate", "logits", "predict"]

_BATCH = 64


@torch.no_grad()
def logits(model: nn.Module, views: Views, kept: Tensor) -> Tensor:
    """Return what the model says of each clip, float32 (N, K), from its unchanged spectrogram, in eval mode."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        return torch.cat([model(_plain(views, batch)).float() for batch in kept.split(_BATCH)])
    finally:
        for module, mode in modes.items():  # each its own: a frozen trunk stays in eval mode
            module.training = mode


def _plain(views: Views, batch: Tensor) -> Tensor:
    """Return spectrograms in full precision, as training makes them."""
    with torch.autocast(batch.device.type, enabled=False):
        return views.plain(batch)


def predict(model: nn.Module, views: Views, kept: Tensor) -> Tensor:
    """Return the class of each clip, int64 (N,)."""
    return logits(model, views, kept).argmax(-1)
