"""Signals whose answer is known, and where the real ones are."""

import pytest
import torch
from sounds import DATA


@pytest.fixture
def esc10():
    if not (DATA / "esc10").exists():
        pytest.skip(f"no ESC-10 at {DATA} (set AUDIOMIX_DATA)")
    return DATA / "esc10"


@pytest.fixture
def speech():
    if not (DATA / "speech_commands").exists():
        pytest.skip(f"no Speech Commands at {DATA} (set AUDIOMIX_DATA)")
    return DATA / "speech_commands"


@pytest.fixture
def spelled():
    """Clip i is 1 in channel i and 0 elsewhere: it spells its own one-hot label."""
    return torch.eye(8).unsqueeze(-1).repeat(1, 1, 100)
