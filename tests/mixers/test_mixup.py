import math

import pytest
import torch
from scipy import stats
from sounds import noise, seeded

from audiomix import Clips, MixUp, Plan, mixup_power
from audiomix.audio import io
from audiomix.mixer import plan_sum
from audiomix.torchaudio import transforms


@pytest.mark.parametrize(("law", "power"), [("amplitude", 0.5), ("unit_power", 1.0), ("sqrt", 1.0)])
def test_gain_laws_at_one_half(law, power):
    """The usual mixup is 3 dB quieter at one half; the label share is w in all three."""
    wave = noise(2, 1, 200_000)
    plan = MixUp(gain_law=law).draw(*_batch(wave), generator=seeded())
    a, b = plan.gains()
    w = plan.weight
    expected = {
        "amplitude": (w, 1 - w),
        "unit_power": (w / (w**2 + (1 - w) ** 2).sqrt(), (1 - w) / (w**2 + (1 - w) ** 2).sqrt()),
        "sqrt": (w.sqrt(), (1 - w).sqrt()),
    }[law]
    torch.testing.assert_close((a, b), expected)
    half = torch.tensor([0.5, 0.5]).double()
    mixer = MixUp("0.4", gain_law=law)
    import unittest.mock as mock

    with mock.patch("audiomix.draw.beta", lambda *_, **__: half):
        mixed = mixer(wave, torch.eye(2), generator=seeded())
    assert mixed.x.square().mean().item() == pytest.approx(power, rel=0.02)
    assert mixed.target.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_the_weight_of_ragged_clips_is_the_share_of_what_is_heard():
    """What the docstring of `GainPlan.ratio` and the README say."""
    for partner, unmixed_behind, weight in [(500, False, 2 / 3), (1000, False, 1 / 2), (500, True, 3 / 4)]:
        own = Clips(noise(2, 1, 1000), torch.tensor([1000, partner]))
        one = torch.full((2,), 0.5, dtype=torch.float64)
        plan = plan_sum(own, own, torch.tensor([1, 0]), one, one, one, share_of="", unmixed_behind=unmixed_behind)
        assert plan.weight[0].item() == pytest.approx(weight)
        assert plan.weight[1].item() == 0.5


def _batch(wave):
    own = Clips(wave)
    return own, own


def test_weights_follow_beta_and_each_clip_has_its_own():
    weights = MixUp(0.4)(noise(3000, 1, 2), generator=seeded()).plans[0].weight
    assert stats.kstest(weights.numpy(), stats.beta(0.4, 0.4).cdf).pvalue > 1e-4
    assert len(weights.unique()) > 2900
    one = MixUp(0.4, per="batch")(noise(30, 1, 2), generator=seeded()).plans[0].weight
    assert len(one.unique()) == 1


def test_keep_larger_gives_the_larger_share_to_the_original():
    weights = MixUp(0.75, keep_larger=True)(noise(500, 1, 2), generator=seeded()).plans[0].weight
    assert weights.min() >= 0.5


def test_alpha_zero_mixes_nothing():
    wave = noise(4, 1, 100)
    assert torch.equal(MixUp(0)(wave).x, wave)


@pytest.mark.parametrize("log", ["db", "log10", "ln"])
def test_power_domain_is_the_log_of_the_mixed_powers(log):
    to_log = {"db": lambda p: 10 * p.log10(), "log10": torch.log10, "ln": torch.log}[log]
    power = torch.rand(2, 3, 5, generator=seeded()) + 0.01
    x = (to_log(power) - 1.5) / 4
    plan = Plan(torch.tensor([1, 0]), torch.tensor([0.3, 1.0]).double())
    got = mixup_power(x, plan, log=log, mean=1.5, std=4)
    torch.testing.assert_close(got[0], (to_log(0.09 * power[0] + 0.49 * power[1]) - 1.5) / 4)
    assert torch.equal(got[1], x[1])


def test_power_domain_is_what_mixing_real_waveforms_does(esc10):
    """DESIGN.md 2: median error 0.05 dB; w instead of w^2: 3 dB; as_is: 6.5 dB."""
    files = sorted((esc10 / "audio").glob("*.ogg"))[::25][:16]
    wave = torch.stack([io.fit_length(io.read(f, rate=16000, channels=1).samples, 80000) for f in files])
    wave = wave + 1e-4 * noise(*wave.shape)  # digital silence has no logarithm
    mel = transforms.MelSpectrogram(16000, n_fft=1024, hop_length=512, n_mels=40)

    def spec(w):
        return 10 * torch.log10(mel(w) + 1e-10)

    plan = Plan(torch.arange(16).roll(1), torch.full((16,), 0.5).double())
    truth = spec(MixUp()(wave, plan=plan).x)
    error = {d: (MixUp(domain=d)(spec(wave), plan=plan).x - truth).abs().median().item() for d in ("power", "as_is")}
    assert error["power"] < 0.3
    assert error["as_is"] > 10 * error["power"]


def test_lengths_in_the_wave_domain():
    wave = torch.ones(2, 1, 100)
    wave[1] *= 2
    lengths = torch.tensor([100, 40])
    x, _, (plan,), _ = MixUp()(wave, lengths=lengths, generator=seeded())
    w, v = (plan.gains()[0][i].item() for i in (0, 1))
    torch.testing.assert_close(x[0, 0, :40], torch.full((40,), w + 2 * (1 - w)))
    torch.testing.assert_close(x[0, 0, 40:], torch.full((60,), w))  # the original goes on at its gain
    torch.testing.assert_close(x[1, 0, :40], torch.full((40,), 2 * v + (1 - v)))
    assert (x[1, 0, 40:] == 0).all()
    assert plan.weight[0].item() == pytest.approx(w * 100 / (w * 100 + (1 - w) * 40))
    assert plan.weight[1].item() == pytest.approx(v)


@pytest.mark.parametrize("domain", ["as_is", "power"])
def test_lengths_on_spectrograms(domain):
    spec, lengths = noise(2, 1, 8, 100), torch.tensor([100, 40])
    mixer = MixUp(domain=domain)
    x, _, (plan,), _ = mixer(spec, lengths=lengths, generator=seeded())
    w = plan.gains()[0][0].item()
    behind = spec[0, ..., 40:] if domain == "as_is" else spec[0, ..., 40:] + 20 * math.log10(w)
    torch.testing.assert_close(x[0, ..., 40:], behind, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(x[..., :40], mixer(spec, plan=plan).x[..., :40])
    assert torch.equal(x[1, ..., 40:], spec[1, ..., 40:])  # zeros would be 0 dB, the loudest of all


def test_embeddings():
    e = noise(6, 32)
    x, _, (plan,), _ = MixUp()(e, generator=seeded())
    w = plan.weight[:, None].float()
    torch.testing.assert_close(x, w * e + (1 - w) * e[plan.partner])


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="gain_law must be one of .* did you mean 'unit_power'"):
        MixUp(gain_law="unit-power")
    with pytest.raises(ValueError, match="std must be"):
        MixUp(domain="power", std=0)
    with pytest.raises(ValueError, match="alpha must be"):
        MixUp(alpha=-1)
    with pytest.raises(ValueError, match="gain_law must be 'amplitude' for domain='as_is'"):
        MixUp(domain="as_is", gain_law="sqrt")
    with pytest.raises(ValueError, match="log, mean and std must be left out unless domain='power'"):
        MixUp(mean=-4.0)
