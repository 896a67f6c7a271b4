"""Levels do not depend on what they should not: polarity, the batch, the padding, the number of channels."""

import math

import pytest
import torch
from sounds import noise, seeded

from audiomix.audio import level

RATE = 16000
MEASURES = {
    "rms": lambda x, ends=None: level.level(x, "rms", ends),
    "active": lambda x, ends=None: level.level(x, "active", ends),
    "lufs": lambda x, ends=None: level.level(x, "lufs", ends, rate=RATE),
    "a_weighted": lambda x, ends=None: level.from_db(level.a_weighted_level(x, RATE, ends)),
}


@pytest.fixture(params=list(MEASURES))
def measure(request):
    return MEASURES[request.param]


def close(a, b, rtol=1e-5):
    """Sums of float32 differ by a few parts in a million with their order."""
    torch.testing.assert_close(a, b, rtol=rtol, atol=0)


def clips(channels=1):
    """Noise in bursts, of different levels."""
    x = noise(4, channels, 20000) * torch.tensor([0.5, 0.1, 0.3, 0.02])[:, None, None]
    x[1, :, 5000:12000] = 0
    x[2, :, 3000:] *= 0.01
    return x


def test_levels_scale_with_the_sound_and_know_no_polarity(measure):
    x = clips()
    close(measure(-x), measure(x))
    close(measure(x * 0.5), measure(x) * 0.5)
    loud = noise(2, 1, 20000)  # 60 dB below it the noise is above the gate of the loudness
    close(measure(loud * 1e-3) * 1000, measure(loud))


def test_channels_that_cancel_are_as_loud_as_those_that_do_not(measure):
    x = clips()
    stereo, cancel = torch.cat([x, x], 1), torch.cat([x, -x], 1)
    close(measure(cancel), measure(stereo))
    assert bool((measure(cancel) > 0).all())
    same = math.sqrt(2) if measure is MEASURES["lufs"] else 1.0  # BS.1770 adds channels, the others average them
    close(measure(stereo), measure(x) * same)


def test_a_constant_is_heard_by_no_weighted_level():
    x = clips()
    for name in ("lufs", "a_weighted"):
        close(MEASURES[name](x + 0.2), MEASURES[name](x), rtol=2e-2)
    expected = (MEASURES["rms"](x) ** 2 + 0.2**2 + 0.4 * x.double().mean((1, 2))).sqrt()
    close(MEASURES["rms"](x + 0.2), expected)


@pytest.mark.parametrize("behind", [0.0, 100.0, math.nan])
def test_a_clip_in_a_batch_is_as_loud_as_alone(measure, behind):
    """The last frame ends with the clip: divided by a whole window it was too soft, and others passed for active."""
    x, ends = clips(2), torch.tensor([20000, 12345, 5000, 700])
    x[3, :, 512:700] = x[0, :, :188] * 3
    alone = torch.cat([measure(clip[None, :, :end]) for clip, end in zip(x, ends.tolist())])
    for clip, end in zip(x, ends.tolist()):
        clip[:, end:] = behind
    close(measure(x, ends), alone)


def test_levels_are_numbers_of_their_own(measure):
    x = clips().requires_grad_()
    assert not measure(x).requires_grad
    for dtype, near in ((torch.float16, 2e-3), (torch.bfloat16, 1e-2), (torch.float64, 1e-5)):
        found = measure(x.detach().to(dtype))
        assert found.dtype == torch.float64
        close(found, measure(x.detach()), near)
    before = x.detach().clone()
    measure(x)
    assert torch.equal(x.detach(), before)
    sides = torch.stack([clips()[:, 0], clips()[:, 0]], -1)  # (B, T, 2): not contiguous as (B, 2, T)
    close(measure(sides.transpose(1, 2)), measure(sides.transpose(1, 2).contiguous()))


def test_active_level_is_that_of_the_frames_within_30_db():
    """Frames of 512 samples at 0, -29 and -31 dB: two of three count."""
    x = torch.ones(1, 1, 3 * 512)
    x[..., 512:1024] = 10 ** (-29 / 20)
    x[..., 1024:] = 10 ** (-31 / 20)
    expected = math.sqrt((1 + 10**-2.9) / 2)
    assert level.level(x, "active").item() == pytest.approx(expected, rel=1e-6)
    assert level.active(x)[0].tolist() == [True] * 1024 + [False] * 512
    torch.testing.assert_close(level.rms(x, level.active(x)), level.level(x, "active"))
    x[..., 512:] = 10 ** (-25 / 20)
    for ends in (None, torch.tensor([563])):  # the last 51 samples are a frame of their own, 25 dB below the first
        clip = x[..., :563] if ends is None else x
        expected = math.sqrt((512 + 51 * 10**-2.5) / 563)
        assert level.level(clip, "active", ends).item() == pytest.approx(expected, rel=1e-6)
        assert level.active(clip, ends).sum() == 563


def test_gains_reach_the_level_or_come_nearest():
    sound = noise(3, 1, 16000) * torch.tensor([0.1, 1e-3, 0.1])[:, None, None]
    sound[1, :, 8000:] *= 0.3
    measured = level.measure(sound, "lufs", rate=RATE)
    goal = torch.tensor([0.01, 4e-4, 1e-4], dtype=torch.float64)  # the last lies below the gate
    gain, reached = level.correct_gain(goal / level.amplitude(measured, "lufs"), goal, measured, "lufs")
    got = MEASURES["lufs"](sound * gain[:, None, None].float())
    torch.testing.assert_close(got, reached, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(reached[:2], goal[:2], rtol=1e-4, atol=0)
    assert reached[2] == 0


def test_peak():
    x = torch.rand(3, 2, 100, generator=seeded()) * 2 - 1
    assert level.peak(x).tolist() == pytest.approx(x.abs().amax((1, 2)).tolist())
