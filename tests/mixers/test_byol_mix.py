"""BYOLMix: log((1 - a) exp(x) + a exp(z)) with a below 0.4, of the memory's clips; the label stays."""

import pytest
import torch
from scipy import stats
from sounds import noise, seeded

from audiomix import BYOLMix, MemoryBank, Plan


@pytest.mark.parametrize("log", ["ln", "log10", "db"])
def test_it_is_the_papers_equation_in_every_scale_and_normalisation(log):
    scale = {"ln": 1.0, "log10": 1 / torch.tensor(10.0).log().item(), "db": 10 / torch.tensor(10.0).log().item()}[log]
    power, past = noise(6, 1, 24, 37).exp().double(), noise(9, 1, 24, 37, seed=2).exp().double()

    def spectrogram(of):
        return (scale * of.log() + 4) / 4.5

    mixer = BYOLMix(log=log, mean=-4.0, std=4.5)
    mixed = mixer(spectrogram(power), other=spectrogram(past), generator=seeded())
    plan = Plan.from_json(mixed.plans[0].to_json())
    amplitude = plan.gains()[1]
    share = (amplitude**2).view(-1, 1, 1, 1)  # of power, not of amplitude
    torch.testing.assert_close(mixed.x, spectrogram((1 - share) * power + share * past[plan.partner]))
    torch.testing.assert_close(plan.gains()[0] ** 2 + amplitude**2, torch.ones(6).double())


def test_shares_of_power_are_uniform_below_the_limit_and_labels_stay():
    spec = torch.zeros(4000, 1, 4, 5)
    mixed = BYOLMix(num_classes=7)(spec, torch.arange(4000) % 7, generator=seeded())
    plan = mixed.plans[0]
    share = plan.gains()[1] ** 2
    assert stats.kstest(share.numpy(), stats.uniform(0, 0.4).cdf).pvalue > 1e-4
    assert (plan.weight == 1).all()
    assert plan.mixed.all()
    assert torch.equal(mixed.target, torch.eye(7)[torch.arange(4000) % 7])
    with pytest.raises(ValueError, match=r"alpha must be a number in \[0, 0.5\], got 0.6"):
        BYOLMix(0.6)


def test_frame_labels_stay_too_and_partners_need_none():
    spec, frames = noise(4, 1, 8, 40), noise(4, 3, 10).abs().clamp(max=1)
    mixed = BYOLMix(num_classes=3)(spec, frames, other=noise(5, 1, 8, 40), generator=seeded())
    assert torch.equal(mixed.target, frames)
    assert not torch.equal(mixed.x, spec)


def test_behind_a_shorter_partner_the_original_goes_on():
    spec, other = noise(8, 1, 8, 40), noise(2, 1, 8, 60, seed=4)
    theirs = torch.tensor([15, 60])
    mixed = BYOLMix()(spec, other=other, other_lengths=theirs, lengths=torch.full((8,), 30), generator=seeded())
    plan = mixed.plans[0]
    for i in (plan.partner == 0).nonzero().flatten().tolist():
        level = 20 * torch.log10(plan.gains()[0][i]).float()
        torch.testing.assert_close(mixed.x[i, ..., 15:30], spec[i, ..., 15:30] + level)
        assert torch.equal(mixed.x[i, ..., 30:], spec[i, ..., 30:])


def test_the_bank_is_first_in_first_out():
    bank = MemoryBank(5)
    assert len(bank) == 0
    assert bank.sample(3) is None
    for batch in torch.arange(8.0).view(4, 2, 1).unbind():
        bank.push(batch[..., None])
    found = bank.sample(600, generator=seeded())
    assert found.shape == (600, 1, 1)
    assert len(bank) == 5
    counts = torch.bincount(found.flatten().long(), minlength=8)
    assert counts.tolist()[:3] == [0, 0, 0]  # the oldest are gone
    assert ((counts[3:] - 120) ** 2 / 120).sum() < 23.5  # chi square, 4 degrees of freedom: 99.99 %
    bank.push(torch.full((12, 1, 1), 9.0))  # more than it holds
    assert (bank.sample(20) == 9).all()


def test_a_bank_is_stored_and_resumed_and_follows_no_gradient():
    bank, twin = MemoryBank(4), MemoryBank(4)
    bank.push(noise(3, 1, 8, 20).requires_grad_())
    twin.load_state_dict(bank.state_dict())
    for one in (bank, twin):
        one.push(noise(3, 1, 8, 20, seed=5))
    assert torch.equal(bank.sample(9, generator=seeded()), twin.sample(9, generator=seeded()))
    assert not bank.sample(2).requires_grad
    with pytest.raises(ValueError, match=r"x must be of shape \(B, 1, 8, 20\), as those that are stored"):
        bank.push(noise(3, 1, 8, 21))
    with pytest.raises(ValueError, match="state must be of a bank of 3 clips, got 4"):
        MemoryBank(3).load_state_dict(bank.state_dict())


def test_views_of_pre_training_are_mixed_with_the_past():
    """The loop of BYOL-A: the first batch meets its own clips, later ones the past; originals are stored."""
    bank, mixer = MemoryBank(8), BYOLMix(log="ln")
    for step in range(4):
        spec = torch.full((4, 1, 8, 20), float(step))
        view = mixer(spec, other=bank.sample(len(spec), generator=seeded()), generator=seeded()).x
        assert (view <= step + 1e-5).all()
        assert bool((view < step - 1e-3).any()) == (step > 0)
        bank.push(spec)
    assert set(bank.sample(100, generator=seeded()).unique().tolist()) == {2.0, 3.0}
