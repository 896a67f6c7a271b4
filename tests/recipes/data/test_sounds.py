"""How long sounds last in clips, whatever their level, offset, polarity and rate."""

import dataclasses

import pytest
import soundfile
import torch
from sounds import seeded

from recipes.data.loader import prepare
from recipes.data.protocol import read_dataset
from recipes.data.sounds import measure_sounds
from recipes.training.choices import choose
from recipes.training.config import Config

RATES = (8000, 16000, 44100)


def noise_burst(rate, start, stop, seconds=1.0):
    """Return a clip with noise below 3.5 kHz between two times: the same sound at every rate."""
    time = torch.arange(round(seconds * rate)) / rate
    generator = seeded()
    frequency, phase = (torch.rand(60, 1, generator=generator) for _ in range(2))
    wave = torch.sin(6.2832 * (frequency * 3400 * time + phase)).sum(0) / 60
    return wave * ((time >= start) & (time < stop))


@pytest.mark.parametrize("rate", RATES)
def test_a_sound_lasts_from_its_first_to_its_last_frame(rate):
    twice = noise_burst(rate, 0.1, 0.2) + noise_burst(rate, 0.8, 0.9)
    clips = [noise_burst(rate, 0.3, 0.7), noise_burst(rate, 0, 1), twice, torch.zeros(rate)]
    found = measure_sounds(torch.stack(clips), rate)
    torch.testing.assert_close(found, torch.tensor([0.4, 1.0, 0.8, 0.0]), atol=0.021, rtol=0)


def test_level_offset_polarity_and_a_floor_of_noise_change_nothing():
    wave = noise_burst(16000, 0.3, 0.7)[None] * 0.8
    floor = 0.004 * torch.randn(1, 16000, generator=seeded())
    as_file = [wave, wave + 0.1, -wave, wave * 0.01, wave + floor]
    clips = torch.cat(as_file).mul(32767).round().to(torch.int16)
    found = measure_sounds(clips, 16000)
    torch.testing.assert_close(found, torch.full((5,), 0.4), atol=0.011, rtol=0)


def test_a_clip_shorter_than_a_frame_is_all_sound():
    torch.testing.assert_close(measure_sounds(torch.ones(2, 50), 8000), torch.full((2,), 50 / 8000))


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Return folders of the same clips: at several rates; and at 16 kHz with an offset, at -40 dB, and inverted."""
    root = tmp_path_factory.mktemp("words")
    changes = {"plain": lambda x: x, "offset": lambda x: x + 0.1, "quiet": lambda x: x / 100, "inverted": lambda x: -x}
    kinds = {str(rate): (rate, changes["plain"]) for rate in RATES} | {k: (16000, f) for k, f in changes.items()}
    for kind, (rate, change) in kinds.items():
        for name, (start, stop) in {"early": (0.1, 0.4), "late": (0.5, 0.9)}.items():
            (root / kind / name).mkdir(parents=True)
            for i in range(4):
                wave = noise_burst(rate, start + i / 100, stop)
                soundfile.write(root / kind / name / f"{i}.wav", change(wave).numpy(), rate)
    return root


def fit(folder, tmp_path, **overrides):
    config = Config(device="cpu", threads=1, labelled="2", **overrides)
    data = prepare(config, read_dataset("folder", folder), tmp_path / folder.name, quiet=True)
    return *choose(config, data.facts), data


def test_offset_level_and_polarity_change_no_choice(words, tmp_path):
    first, *others = [fit(words / kind, tmp_path) for kind in ("plain", "offset", "quiet", "inverted")]
    assert {choice.name for choice in first[1]} >= {"window", "hop", "roll", "steps"}
    for config, choices, _ in others:
        assert config == first[0]
        assert choices == first[1]


def test_the_same_sounds_have_the_same_frames_at_every_rate(words, tmp_path):
    found = [fit(words / str(rate), tmp_path, n_mels=None) for rate in RATES]
    for config, _, data in found:
        assert (config.window, config.hop, config.roll) == ("32ms", "5ms", 0.1)
        assert data.kept.shape[-1] == pytest.approx(200, abs=2)
    levels = [data.kept[:].amax(2)[..., :200] for *_, data in found]  # of the loudest band, by frame
    for level in levels[1:]:
        assert torch.corrcoef(torch.stack([levels[0].flatten(), level.flatten()]))[0, 1] > 0.95


def test_the_facts_are_of_clips_that_can_be_read_and_of_the_median_fold(words, tmp_path):
    *_, data = fit(words / "plain", tmp_path)
    train = sorted(len(data.dataset.holdout(fold)[0]) for fold in data.dataset.folds)
    assert data.facts.clips == train[len(train) // 2]
    assert (data.facts.rate, data.facts.classes, data.facts.speech) == (16000, 2, None)
    assert data.facts == dataclasses.replace(data.facts, seconds=1.0)
