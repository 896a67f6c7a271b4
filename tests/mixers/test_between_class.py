import numpy as np
import pytest
import torch
from sounds import noise, seeded

from audiomix import BetweenClass, between_class_gains
from audiomix.audio import level


def published(x1, x2, fs, r):
    """Equation 2 of the paper, in numpy, from the formulas of the notes; 16 and 44.1 kHz only."""
    n_fft = {16000: 2048, 44100: 4096}[fs]
    f2 = np.maximum(np.fft.rfftfreq(n_fft, 1 / fs) ** 2, 1)
    a = 2 * np.log10(12194) + 2 * np.log10(f2) - np.log10(f2 + 12194**2) - np.log10(f2 + 20.6**2)
    a = np.maximum(2 + 20 * (a - 0.5 * np.log10(f2 + 107.7**2) - 0.5 * np.log10(f2 + 737.9**2)), -80)

    def gain(x):
        n = np.arange(n_fft)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * n / n_fft)
        frames = [x[i : i + n_fft] for i in range(0, len(x) - n_fft + 1, n_fft // 2)]
        return max(10 * np.log10((np.abs(np.fft.rfft(window * s)) ** 2 * 10 ** (a / 10)).sum()) for s in frames)

    t = 1 / (1 + 10 ** ((gain(x1) - gain(x2)) / 20) * (1 - r) / r)
    return np.array([t, 1 - t]) / np.sqrt(t**2 + (1 - t) ** 2)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_gains_are_the_papers(rate):
    wave = noise(2, 1, rate) * torch.tensor([1.0, 0.07])[:, None, None]
    (plan,) = BetweenClass(rate, pairing="any")(wave, generator=seeded()).plans
    for i in (0, 1):
        own, partner = wave[i, 0].double().numpy(), wave[1 - i, 0].double().numpy()
        expected = published(own, partner, rate, plan.weight[i].item())
        got = torch.stack(plan.gains())[:, i].numpy()
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_the_sounds_are_heard_in_the_ratio_of_the_label():
    wave = noise(2, 1, 32000) * torch.tensor([1.0, 0.03])[:, None, None]
    (plan,) = BetweenClass(16000, pairing="any")(wave, generator=seeded(3)).plans
    a, b = plan.gains()
    heard = level.from_db(level.a_weighted_level(wave, 16000))
    own, partner = a * heard, b * heard[plan.partner]
    torch.testing.assert_close(own / (own + partner), plan.weight)


def test_unit_power_for_sounds_of_equal_power():
    wave = noise(16, 1, 50_000)
    x = BetweenClass(16000, pairing="any")(wave, generator=seeded()).x
    torch.testing.assert_close(level.rms(x), torch.ones(16).double(), atol=0.03, rtol=0)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
def test_a_silent_sound_counts_as_equally_loud(ratio):
    r = torch.tensor([ratio]).double()
    silent, loud = torch.tensor([-torch.inf]).double(), torch.tensor([30.0]).double()
    even = between_class_gains(r, loud, loud)
    for pair in [(silent, loud), (loud, silent), (silent, silent)]:
        torch.testing.assert_close(between_class_gains(r, *pair), even)
    assert even[0].isfinite()


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 32000, 48000, 192000])
def test_every_rate_and_clips_shorter_than_a_window(rate):
    x = BetweenClass(rate, pairing="any")(noise(4, 1, rate // 50), generator=seeded()).x
    assert x.isfinite().all()


def test_classes_differ_and_are_needed():
    labels = torch.tensor([0, 0, 0, 1])
    (plan,) = BetweenClass(16000, num_classes=2)(noise(4, 1, 3000), labels, generator=seeded()).plans
    assert (labels[plan.partner] != labels).all()
    with pytest.raises(ValueError, match="target must be given for pairing 'different_class'"):
        BetweenClass(16000)(noise(4, 1, 3000))
    with pytest.raises(ValueError, match="did you mean 16000"):
        BetweenClass(16)


def test_a_longer_partner_counts_as_far_as_it_is_heard():
    """What lies behind the original's end is not in the mix: loud there, its part in front would be inaudible."""
    wave, other = noise(3, 1, 8000), noise(2, 1, 16000, seed=1)
    other[0, :, 8000:] *= 100
    other[1, :, :8000] = 0
    mixer = BetweenClass(16000, pairing="any")
    mixed = mixer(wave, other=other, generator=seeded())
    (plan,) = mixed.plans
    short = mixer(wave, other=other[..., :8000], generator=seeded()).plans[0]
    torch.testing.assert_close(plan.gain_db, short.gain_db)
    assert set(plan.partner.tolist()) == {0, 1}
    for i, j in enumerate(plan.partner.tolist()):
        assert plan.why[i] == ("silent partner" if j else "")
        assert torch.equal(mixed.x[i], wave[i]) == bool(j)

    batch, lengths = noise(3, 1, 8000), torch.tensor([3000, 8000, 8000])
    batch[1:, :, :3000] *= 0.01
    (plan,) = mixer(batch, lengths=lengths, generator=seeded()).plans
    a, b = (gain[0] for gain in plan.gains())
    heard = level.from_db(level.a_weighted_level(batch[[0, int(plan.partner[0])], :, :3000], 16000))
    ratio = plan.weight if plan.ratio is None else plan.ratio
    torch.testing.assert_close(a * heard[0] / (a * heard[0] + b * heard[1]), ratio[0])
