"""Where networks are placed: oneDNN's backward pass damages memory for some convolutions with their channels last."""

import subprocess
import sys

import pytest
import torch
from sounds import ROOT
from torch import nn

from recipes import models
from recipes.semi_supervised.run_spec import _place


@pytest.mark.parametrize(
    ("network", "last"),
    [
        (models.build("resnet_small", 10, seed=0, width=4), False),
        (models.build("resnet_small", 10, seed=0, width=15), False),
        (models.build("resnet_small", 10, seed=0), True),
        (nn.Conv2d(8, 16, 1, 2), False),
        (nn.Conv2d(32, 64, 1, 2, groups=8), False),
        (nn.Conv2d(8, 16, 1), True),
        (nn.Conv2d(8, 16, 3, 2), True),
    ],
)
def test_channels_are_last_where_that_is_safe(network, last):
    _place(network, torch.device("cpu"))
    weights = [p for p in network.parameters() if p.ndim == 4 and max(p.shape[2:]) > 1]
    for weight in weights or [next(network.parameters())]:
        assert weight.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


@pytest.mark.slow
def test_a_narrow_network_trains_on_two_threads():
    code = """if True:
        import torch
        from recipes import models
        from recipes.semi_supervised.run_spec import _place
        torch.set_num_threads(2)
        network = models.build("resnet_small", 10, seed=0, width=4)
        _place(network, torch.device("cpu"))
        for _ in range(20):
            network(torch.randn(15, 1, 64, 32)).square().mean().backward()
    """
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
