import math

import pytest
import torch
from sounds import noise

from audiomix import LogMel
from audiomix.audio.features import LOG_SCALES, from_log, to_log


@pytest.mark.parametrize("log", LOG_SCALES)
def test_power_and_back(log):
    power = noise(3, 4, 5).exp()
    torch.testing.assert_close(from_log(to_log(power, log, mean=-3, std=7), log, mean=-3, std=7), power)


def test_a_tone_lies_in_its_band_at_its_level():
    wave = 0.5 * torch.sin(2 * math.pi * 1000 * torch.arange(16000) / 16000)
    quiet = LogMel(16000)(torch.stack([wave, wave / 10])[:, None])
    assert quiet.shape == (2, 1, 64, 63)
    middle = quiet[:, 0, :, 30]
    mel = 2595 * math.log10(1 + 1000 / 700) / (2595 * math.log10(1 + 8000 / 700))
    assert abs(int(middle[0].argmax()) - mel * 65) <= 1.5
    torch.testing.assert_close(middle[0].max() - middle[1].max(), torch.tensor(20.0), atol=1e-3, rtol=0)


def test_silence_lies_on_the_floor_and_int16_is_taken():
    assert (LogMel(16000, floor_db=-80)(torch.zeros(1, 16000)) == -80).all()
    wave = (noise(1, 16000) * 3000).to(torch.int16)
    torch.testing.assert_close(LogMel(16000)(wave), LogMel(16000)(wave.float() / 32768))


def test_many_clips_are_as_each_alone():
    wave = noise(130, 2000)
    torch.testing.assert_close(LogMel(16000, n_fft=256)(wave)[129], LogMel(16000, n_fft=256)(wave[129:])[0])


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="did you mean 16000"):
        LogMel(16)
    with pytest.raises(ValueError, match="log must be one of"):
        LogMel(16000, log="dB")
    with pytest.raises(TypeError, match="wave must be floating point or int16"):
        LogMel(16000)(torch.zeros(1, 100, dtype=torch.int64))
