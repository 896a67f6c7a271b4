"""The network for embeddings: its layers, its features, and what is refused."""

import pytest
import torch
from torch import nn

from recipes import models


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_logits_are_the_head_of_the_features_in_any_units(layers):
    network = models.build("mlp", 3, seed=0, inputs=5, hidden=7, layers=layers).train()
    x = torch.randn(16, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(x), network.head(network.features(x)))
    assert network.features(x).shape == (16, 7 if layers else 5)
    torch.testing.assert_close(network(1000 * x - 50), network(x), rtol=1e-3, atol=1e-3)
    assert sum(isinstance(part, nn.ReLU) for part in network.modules()) == layers


def test_gradients_reach_every_weight():
    network = models.build("mlp", 3, seed=0, inputs=5, hidden=7, layers=2).train()
    network(torch.randn(16, 5, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.head.parameters())
    assert network.body[1].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("pair", "message"),
    [("layers=17", "at most 16"), ("hidden=0", "hidden"), ("inputs=0", "inputs")],
    ids=["layers", "hidden", "inputs"],
)
def test_wrong_sizes_are_refused(pair, message):
    with pytest.raises(ValueError, match=message):
        models.options("mlp", (pair,))
