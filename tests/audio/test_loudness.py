"""Loudness of a batch against pyloudnorm, clip by clip: it filters each clip alone, sample by sample, in float64."""

import math
from pathlib import Path

import pyloudnorm
import pytest
import torch
from sounds import noise, seeded

from audiomix import SNRMix
from audiomix.audio import io, level, loudness

SOUNDS = sorted((Path(__file__).parents[2] / "assets" / "sounds").glob("*.flac"))
NEAR = 1e-3  # dB


def reference(clip, rate):
    """Loudness of one clip (C, T) by pyloudnorm; of a clip shorter than a block with a block as long as the clip."""
    meter = pyloudnorm.Meter(rate, block_size=min(0.4, clip.shape[-1] / rate))
    return meter.integrated_loudness(clip.double().T.numpy())


def of_batch(x, rate, lengths=None):
    return loudness.gate(loudness.block_energies(x, rate, lengths)).tolist()


def test_real_sounds_of_any_length_in_one_batch():
    clips = [io.read(file) for file in SOUNDS]
    rate = clips[0].rate
    ends = [round(rate * s) for s in (5.0, 0.05, 0.2, 0.41, 0.46, 1.234, 3.0, 0.4)][: len(clips)]
    sounds = [io.fit_length(clip.samples[:1].repeat(2, 1), end) for clip, end in zip(clips, ends)]
    for sound in sounds:
        sound[1] = sound[1].roll(50) * 0.5  # stereo that is no mono
    batch = torch.stack([io.fit_length(sound, max(ends)) for sound in sounds])
    for row, end in zip(batch, ends):
        row[:, end:] = math.nan  # padding is not looked at
    got = of_batch(batch, rate, torch.tensor(ends))
    for value, sound in zip(got, sounds):
        assert value == pytest.approx(reference(sound, rate), abs=NEAR)


def test_esc10_as_pyloudnorm_has_it(esc10):
    for file in sorted((esc10 / "audio").glob("*.ogg"))[3::40]:
        clip = io.read(file)
        assert level.lufs(clip.samples, clip.rate) == pytest.approx(reference(clip.samples, clip.rate), abs=NEAR)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("beneath", ["nothing", "a constant", "a tone of 5 Hz", "a click"])
def test_float32_loses_nothing_beneath_what_the_filter_takes_away(rate, beneath):
    """In the coordinates of the two biquads the states were so large that 0.2 dB were lost beneath the tone."""
    size = rate * 3 + 7
    x = noise(1, 2, size) * 0.05 * torch.rand(size // 7 + 1, generator=seeded()).repeat_interleave(7)[:size]
    if beneath == "a constant":
        x = x * 0.02 + 0.5
    if beneath == "a tone of 5 Hz":
        x = x * 0.01 + 0.5 * torch.sin(torch.arange(size) * 2 * math.pi * 5 / rate)
    if beneath == "a click":
        x[..., size // 3] = 1
    assert of_batch(x, rate)[0] == pytest.approx(reference(x[0], rate), abs=NEAR)
    assert of_batch(x.double(), rate)[0] == pytest.approx(reference(x[0], rate), abs=NEAR)


def test_at_another_gain_only_the_gates_move():
    """Of a clip whose second half is 25 dB softer, the soft half falls below -70 LUFS as it is turned down."""
    x = noise(2, 1, 32000) * 0.05
    x[..., 16000:] *= 10 ** (-9 / 20)
    energies, ratio = loudness.block_energies(x, 16000), []
    for gain in (1.0, 0.1, 0.01, 0.003, 1e-5):
        scaled = loudness.gate(energies, torch.full((2,), gain, dtype=torch.float64))
        for value, clip in zip(scaled.tolist(), x):
            expected = reference(clip * gain, 16000)
            assert value == pytest.approx(expected, abs=NEAR) or value == expected == -math.inf
        ratio.append(float(scaled[0]) - 20 * math.log10(gain))
    assert max(ratio[:4]) - min(ratio[:4]) > 1  # a level that is only scaled would be wrong
    assert ratio[4] == -math.inf


def test_snr_mix_filters_each_sound_once(monkeypatch):
    """The gain is corrected from the energies of blocks; filtering again for each correction took 5 passes a batch."""
    counted, filters = [], loudness.block_energies
    monkeypatch.setattr(level, "block_energies", lambda x, *rest: counted.append(len(x)) or filters(x, *rest))
    SNRMix(level="lufs", rate=8000)(noise(6, 1, 8000), generator=seeded())
    assert sum(counted) == 6
    counted.clear()
    SNRMix(level="lufs", rate=8000)(noise(6, 1, 8000), other=noise(3, 1, 20000, seed=3), generator=seeded())
    assert sum(counted) == 12


def test_silence_and_what_has_no_loudness():
    assert of_batch(torch.zeros(2, 1, 9000), 16000) == [-math.inf, -math.inf]
    assert of_batch(noise(2, 1, 9000), 16000, torch.tensor([9000, 0]))[1] == -math.inf
    assert of_batch(noise(1, 1, 9000) * 1e-6, 16000) == [-math.inf]
    with pytest.raises(ValueError, match="x must be of at most 5 channels for loudness, got 6"):
        loudness.block_energies(noise(1, 6, 9000), 16000)
    with pytest.raises(ValueError, match="rate must be above 3000 Hz for loudness, got 2000"):
        SNRMix(level="lufs", rate=2000)
    surround = noise(1, 5, 16000) * 0.1
    assert of_batch(surround, 16000)[0] == pytest.approx(reference(surround[0], 16000), abs=NEAR)
