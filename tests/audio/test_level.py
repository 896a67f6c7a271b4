import math

import pyloudnorm
import pytest
import torch
from sounds import noise, seeded

from audiomix.audio import io, level


def tone(hz, rate=16000, seconds=1.0, amplitude=1.0):
    return amplitude * torch.sin(2 * math.pi * hz * torch.arange(round(rate * seconds)) / rate)


def test_rms_of_a_sine_is_its_amplitude_over_root_two():
    x = torch.stack([tone(440), 0.1 * tone(440)])[:, None]
    torch.testing.assert_close(level.rms(x), torch.tensor([1, 0.1]).double() / math.sqrt(2), atol=1e-4, rtol=0)
    stereo = torch.cat([x, x], 1)
    torch.testing.assert_close(level.rms(stereo), level.rms(x))


def test_rms_counts_only_what_the_mask_says():
    x = torch.cat([torch.ones(1, 1, 50), 9 * torch.ones(1, 1, 50)], -1)
    assert level.rms(x, level.valid(torch.tensor([50]), 100)).item() == pytest.approx(1, abs=1e-7)
    assert level.rms(x, torch.zeros(1, 100, dtype=torch.bool)).item() == 0


def test_the_active_part_is_where_it_sounds():
    x = torch.zeros(1, 1, 16000)
    x[..., 5000:9000] = noise(1, 1, 4000)
    on = level.active(x)[0].nonzero().flatten()
    assert abs(int(on.min()) - 5000) <= 512
    assert abs(int(on.max()) - 9000) <= 512
    louder = level.level(x, "active") / level.level(x, "rms")
    assert 20 * math.log10(louder) == pytest.approx(6.0, abs=1.0)  # a quarter of the clip sounds
    assert not level.active(torch.zeros(1, 1, 100)).any()


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_lufs_of_a_long_clip_is_pyloudnorms(rate):
    x = tone(1000, rate, 3)[None]
    assert level.lufs(x, rate) == pytest.approx(pyloudnorm.Meter(rate).integrated_loudness(x[0].numpy().astype("f8")))


def test_lufs_of_a_short_clip_is_that_of_the_long_one():
    """pyloudnorm raises below 0.4 s, and padding with zeros reads 3 dB low at 0.2 s."""
    long, short = level.lufs(tone(1000, seconds=2)[None], 16000), level.lufs(tone(1000, seconds=0.2)[None], 16000)
    assert short == pytest.approx(long, abs=0.3)
    assert level.lufs(torch.zeros(1, 16000), 16000) == -math.inf
    assert level.lufs(torch.zeros(1, 0), 16000) == -math.inf


def test_a_weighting_known_values():
    """IEC 61672, table 3: 31.5 Hz -39.4, 125 Hz -16.1, 1 kHz 0, 4 kHz 1.0, 16 kHz -6.6 dB."""
    got = level.a_weighting(torch.tensor([31.5, 125.0, 1000.0, 4000.0, 16000.0]))
    torch.testing.assert_close(got, torch.tensor([-39.4, -16.1, 0.0, 1.0, -6.6]), atol=0.15, rtol=0)
    assert level.a_weighting(torch.tensor([0.0])).item() == -80


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_a_weighted_levels_differ_as_the_sounds_do(rate):
    x = torch.stack([tone(1000, rate), 0.1 * tone(1000, rate), tone(125, rate)])[:, None]
    g = level.a_weighted_level(x, rate)
    assert (g[0] - g[1]).item() == pytest.approx(20, abs=0.1)
    assert (g[0] - g[2]).item() == pytest.approx(16.1, abs=0.3)


def test_a_weighted_level_of_short_and_silent_clips():
    assert level.a_weighted_level(noise(1, 1, 100), 16000).isfinite().all()  # shorter than a window
    assert level.a_weighted_level(torch.zeros(1, 1, 4000), 16000).item() == -math.inf
    x = torch.cat([noise(1, 1, 4000), 100 * noise(1, 1, 4000)], -1)
    torch.testing.assert_close(
        level.a_weighted_level(x, 16000, torch.tensor([4000])), level.a_weighted_level(x[..., :4000], 16000)
    )


def test_silence_has_no_gain():
    sound, silence = torch.ones(1).double(), torch.zeros(1).double()
    for a, b in [(sound, silence), (silence, sound), (silence, silence)]:
        assert level.snr_gain(a, b, torch.tensor([10.0])).tolist() == [1.0]


def test_one_limiter_gain_for_all():
    x = noise(1, 100, seed=2)
    stems = [3 * x, -0.2 * x]
    gain = level.limiter_gain(*stems)
    assert max((gain * s).abs().max() for s in stems) == pytest.approx(1)
    assert level.limiter_gain(0.1 * torch.ones(1, 5)) == 1
    assert level.limiter_gain(torch.zeros(1, 5)) == 1


def test_active_and_whole_levels_differ_on_real_clips(esc10):
    """What the docstrings say: by more than 10 dB on some ESC-10 clips."""
    files = sorted((esc10 / "audio").glob("*.ogg"))
    gaps = []
    for file in files:
        x = io.read(file).samples[None]
        whole, part = level.level(x, "rms"), level.level(x, "active")
        gaps.append(20 * math.log10(float(part / whole)))
    assert min(gaps) >= -1e-4  # sums of float32
    assert max(gaps) > 10


def test_levels_are_per_clip():
    x = torch.rand(3, 1, 1000, generator=seeded())
    for kind in ("rms", "active"):
        each = torch.cat([level.level(x[i : i + 1], kind) for i in range(3)])
        torch.testing.assert_close(level.level(x, kind), each)
