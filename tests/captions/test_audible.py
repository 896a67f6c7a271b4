"""A source is heard where it dominates mel bands, not where its broadband level is high."""

import math

import pytest
import torch
from sounds import noise

from audiomix.captions.audible import MIN_SHARE, audible_share


def band(low, high, rate=16000, seconds=1.0, seed=1):
    """Noise between two frequencies in Hz, of rms 0.1."""
    spectrum = torch.fft.rfft(noise(1, round(seconds * rate), seed=seed))
    frequency = torch.linspace(0, rate / 2, spectrum.shape[-1])
    spectrum[:, (frequency < low) | (frequency > high)] = 0
    wave = torch.fft.irfft(spectrum)
    return 0.1 * wave / wave.square().mean().sqrt()


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 192000])
def test_alone_all_is_heard(rate):
    assert audible_share(0.01 * noise(1, 1, rate), rate).tolist() == [1]


def test_a_soft_source_in_bands_of_its_own_is_heard_and_a_louder_one_in_the_same_bands_is_not():
    loud, elsewhere, within = band(100, 2000), band(3000, 6000, seed=2), band(200, 1800, seed=3)
    assert audible_share(torch.stack([loud, 0.03 * elsewhere]), 16000)[1] > 0.95
    assert audible_share(torch.stack([loud, 0.1 * within]), 16000)[1] < MIN_SHARE


def test_the_share_is_of_active_frames():
    a, b = torch.zeros(1, 32000), band(0, 8000, seconds=2)
    a[:, 8192:16384] = band(0, 8000, seed=4)[:, :8192]
    masked = 0.01 * a  # 40 dB under noise in the same bands
    assert audible_share(torch.stack([masked, b]), 16000)[0] < 0.02
    half = b * (torch.arange(32000) >= 12288)  # now the second half of what a does is covered
    assert audible_share(torch.stack([masked, half]), 16000)[0] == pytest.approx(0.5, abs=0.03)


def test_the_floor_is_60_db_under_the_loudest_band():
    loud, soft = torch.zeros(1, 48000), torch.zeros(1, 48000)
    loud[:, :16000], soft[:, 32000:] = band(0, 8000), band(0, 8000, seed=2)
    for gain_db, heard in ((-45, True), (-75, False)):
        share = audible_share(torch.stack([loud, soft * 10 ** (gain_db / 20)]), 16000)
        assert bool(share[1] > 0.9) is heard
        assert share[0] > 0.99


def test_silence_and_copies_are_not_heard():
    a = band(0, 8000)
    assert audible_share(torch.stack([a, torch.zeros_like(a)]), 16000).tolist() == [1, 0]
    assert audible_share(torch.zeros(2, 1, 1000), 16000).tolist() == [0, 0]
    assert audible_share(torch.stack([a, a]), 16000).tolist() == [0, 0]


def test_three_sources_are_held_against_the_sum_of_the_others():
    a = band(0, 8000)
    others = band(0, 8000, seed=2), band(0, 8000, seed=3)
    gain = math.sqrt(1.5)  # above each of the others and below their sum
    alone = audible_share(torch.stack([gain * a, others[0]]), 16000, min_bands=40)[0]
    beside = audible_share(torch.stack([gain * a, *others]), 16000, min_bands=40)[0]
    assert alone > beside + 0.2


def test_channels_and_short_clips():
    a, b = band(100, 2000), band(3000, 6000, seed=2)
    stereo = torch.stack([a.repeat(2, 1), 0.05 * b.repeat(2, 1)])
    torch.testing.assert_close(audible_share(stereo, 16000), audible_share(stereo[:, :1], 16000))
    assert audible_share(noise(1, 2, 5), 16000).tolist() == [1]
    assert torch.equal(audible_share(stereo.double(), 16000), audible_share(stereo.double(), 16000))


def test_long_sounds_are_measured_in_blocks_as_in_one(monkeypatch):
    tracks = torch.stack([band(0, 4000), 0.3 * band(2000, 8000, seed=2)])
    whole = audible_share(tracks, 16000)
    monkeypatch.setattr("audiomix.captions.audible._BLOCK", 7)
    assert torch.equal(audible_share(tracks, 16000), whole)


WRONG = [
    (torch.zeros(2, 100), 16000, 3, "tracks must be a batch"),
    (torch.zeros(2, 1, 1, 100), 16000, 3, r"tracks must be of shape \(S, C, T\)"),
    (torch.zeros(2, 1, 100, dtype=torch.int16), 16000, 3, "16 bit samples"),
    (torch.zeros(2, 1, 100), 44.1, 3, "did you mean 44100"),
    (torch.zeros(2, 1, 100), 16000, 65, "min_bands must be an integer from 1 to 64"),
    (torch.zeros(2, 1, 100), 16000, 0, "min_bands"),
]


def test_wrong_arguments():
    for tracks, rate, bands, message in WRONG:
        with pytest.raises((TypeError, ValueError), match=message):
            audible_share(tracks, rate, min_bands=bands)
