"""A network for embeddings: each feature standardised, hidden layers if any, a linear head."""

from itertools import pairwise

from torch import Tensor, nn

from audiomix import check

from ._blocks import initialise, whole

__all__ = ["MLP"]

_WIDEST = 65536


class MLP(nn.Module):
    """Batch norm of the inputs, so many hidden layers of one width with batch norm and ReLU, linear.

    Without hidden layers it is a linear classifier on standardised embeddings.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    inputs : int
        D, the size of an embedding; a run with an embedding sets it.
    hidden : int
        Width of the hidden layers, at most 65536.
    layers : int
        Number of hidden layers, at most 16.

    Raises
    ------
    ValueError, TypeError
        A number is out of its range, or no whole number.

    Examples
    --------
    >>> import torch
    >>> MLP(3, inputs=8, hidden=4)(torch.zeros(2, 8)).shape
    torch.Size([2, 3])
    """

    def __init__(self, num_classes: int, *, inputs: int = 1, hidden: int = 256, layers: int = 0) -> None:
        super().__init__()
        check.integer("num_classes", num_classes, 1)
        sizes = [whole("inputs", inputs, _WIDEST)]
        if check.integer("layers", layers, 0) > 16:
            check.fail("layers", "at most 16", layers)
        sizes += [whole("hidden", hidden, _WIDEST)] * layers
        parts: list[nn.Module] = [nn.BatchNorm1d(sizes[0])]
        for a, b in pairwise(sizes):
            parts += [nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*parts)
        self.head = nn.Linear(sizes[-1], num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K) of embeddings (B, D)."""
        return self.head(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """Return the input of the head, (B, hidden), or (B, D) without hidden layers."""
        return self.body(x)
