"""Where the tests find things, and seeded generators."""

import os
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("AUDIOMIX_DATA", ROOT.parent / "shared" / "data"))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=1, dtype=torch.float32):
    return torch.randn(*shape, generator=seeded(seed)).to(dtype)
