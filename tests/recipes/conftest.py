"""Small sounds whose classes can be told apart: tones in noise."""

import math

import numpy as np
import pytest
import soundfile
import torch

from recipes.data.loader import prepare
from recipes.data.protocol import read_dataset
from recipes.training.config import Config

RATE = 8000


def tone(frequency, seconds, generator, rate=RATE):
    n = round(seconds * rate)
    phase, level = torch.rand(2, generator=generator)
    wave = (0.2 + 0.3 * level) * torch.sin(2 * math.pi * (frequency / rate * torch.arange(n) + phase))
    return (wave + 0.02 * torch.randn(n, generator=generator)).numpy()


@pytest.fixture(autouse=True)
def _one_thread():
    """Keep tiny tensors on one thread: on a busy machine two wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tone_folder(tmp_path_factory):
    """Return 3 classes with 20 clips each, ROOT/CLASS/N.wav, 0.5 s at 8 kHz."""
    root = tmp_path_factory.mktemp("tones")
    generator = torch.Generator().manual_seed(0)
    for name, frequency in {"high": 2000, "low": 300, "middle": 900}.items():
        (root / name).mkdir()
        for i in range(20):
            soundfile.write(root / name / f"{i}.wav", tone(frequency, 0.5, generator), RATE)
    return root


@pytest.fixture(scope="session")
def toy_config():
    # 32 bands, 41 frames: never alike, so that swapped axes show
    return Config(
        labelled="2", rate=RATE, window=256, hop=100, n_mels=32, roll=1.0, strong_view="full", steps=6, every=3,
        batch_labelled=4, batch_unlabelled=8, threads=1, device="cpu",
    )  # fmt: skip


@pytest.fixture(scope="session")
def toy_data(tone_folder, toy_config, tmp_path_factory):
    dataset = read_dataset("folder", tone_folder)
    return prepare(toy_config, dataset, tmp_path_factory.mktemp("stores"), quiet=True)


@pytest.fixture
def write_wav():
    """Return a function that writes a 440 Hz tone in any form a data set may hold."""

    def write(path, *, seconds=0.5, rate=RATE, channels=1, subtype="PCM_16", frequency=440):
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = tone(frequency, seconds, torch.Generator().manual_seed(0), rate)
        soundfile.write(path, np.stack([wave] * channels, 1), rate, subtype=subtype)
        return path

    return write
