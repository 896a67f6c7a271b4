"""Networks used without training them: with copies of their weights, so that a gradient ends, or goes elsewhere."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

__all__ = ["call_with", "features_of", "one_hot", "soft_cross_entropy"]


def call_with(model: nn.Module, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Return what a network would return with other parameters; its running statistics stay as they are.

    Parameters
    ----------
    model : nn.Module
        Called in the mode that it is in.
    parameters : mapping of str to Tensor
        By the names of ``model.named_parameters()``.
    x : Tensor
        Its input.
    """
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    return functional_call(model, {**parameters, **buffers}, (x,))


@torch.no_grad()
def features_of(model: nn.Module, x: Tensor) -> Tensor:
    """Return the input of the head, (B, D), without gradient; running statistics stay as they are.

    Parameters
    ----------
    model : nn.Module
        With `head`, a linear layer that is called in its forward pass.
    x : Tensor
        Its input.
    """
    seen: list[Tensor] = []

    def keep(_: nn.Module, given: tuple[Any, ...]) -> None:
        seen.append(given[0])

    head: Any = model.head
    handle = head.register_forward_pre_hook(keep)
    try:
        call_with(model, {name: p.detach() for name, p in model.named_parameters()}, x)
    finally:
        handle.remove()
    return seen[0].float()


def one_hot(target: Tensor, num_classes: int) -> Tensor:
    """Return labels (B, K), float32, of classes (B,), int64."""
    return nn.functional.one_hot(target, num_classes).float()


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy of each clip, (B,), with labels (B, K); a gradient goes through the labels too."""
    return -(target * logits.log_softmax(-1)).sum(-1)
