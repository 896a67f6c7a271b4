"""Every mode of AVMix, and clips that say whose they are."""

import torch

MODES = {
    "linear": {},
    "linear sqrt": {"gains": "sqrt"},
    "time": {"mode": "time", "alpha": 1.0},
    "box": {"mode": "box", "alpha": 1.0},
    "box of pixels": {"mode": "box", "alpha": 1.0, "pixels": (12, 20)},
    "swap": {"mode": "swap"},
    "picture only": {"sound": "keep"},
    "picture cut only": {"mode": "time", "sound": "keep"},
    "other picture": {"mode": "swap", "sound": "keep"},
}


def spelled(size, *shape):
    """Clip i holds i + 1 everywhere: what stands somewhere says whose it is."""
    return (torch.arange(size) + 1.0).view(-1, *[1] * len(shape)).expand(size, *shape).double()
