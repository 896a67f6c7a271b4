"""AdaMixUp: the interval of ratios, which terms reach which weights, and the discriminator at chance."""

import math

import pytest
import torch
from sounds import seeded

from recipes import models
from recipes.training.mixing.adamixup import AdaMixUp, _blur, ratio_interval

CLASSES, SIZE = 3, 8


@pytest.fixture
def batch():
    return torch.randn(SIZE, 1, 32, 41, generator=seeded(1)), torch.arange(SIZE) % CLASSES, torch.arange(SIZE)


def made(network, **options):
    mixing = AdaMixUp(width=4, **options)
    mixing.setup(network, CLASSES, SIZE, 0)
    return mixing


def build():
    return models.build("resnet_small", CLASSES, seed=0, width=2)


def test_the_interval_of_ratios_lies_in_zero_and_one():
    first, width = ratio_interval(20 * torch.randn(1000, 3, generator=seeded(0)))
    assert bool((first >= 0).all())
    assert bool((width >= 0).all())
    assert float((first + width).max()) <= 1 + 1e-6
    known = torch.tensor([[math.log(1.0), math.log(2.0), math.log(5.0)]])  # 1 : 2 : 5
    torch.testing.assert_close(torch.cat(ratio_interval(known)), torch.tensor([1 / 8, 2 / 8]))


def test_at_zero_logits_ratios_are_even_in_the_mean():
    first, width = ratio_interval(torch.zeros(1, 3))
    assert float(first + width / 2) == pytest.approx(0.5)


def test_mixes_and_their_labels_have_the_same_ratio(batch):
    # clip i is 1 in cell i and 0 elsewhere, so that shares can be read off what the network sees
    x = torch.zeros(SIZE, 1, SIZE, 2)
    x[torch.arange(SIZE), 0, torch.arange(SIZE), 0] = 1.0
    seen = []

    class Reading(torch.nn.Module):
        head = torch.nn.Linear(SIZE, SIZE)

        def features(self, given):
            seen.append(given)
            return given[:, 0, :, 0]

    network = Reading()
    torch.nn.init.zeros_(network.head.bias)
    with torch.no_grad():
        network.head.weight.copy_(torch.eye(SIZE))
    mixing = AdaMixUp(width=4)
    mixing.setup(network, SIZE, SIZE, 0)
    target = torch.arange(SIZE)  # a class each: the label's shares are those of the sound
    found = mixing.losses(network, x, target, target, progress=0.5, generator=seeded(3))
    mixed, half = seen[0][: SIZE // 2, 0, :, 0], SIZE // 2
    torch.testing.assert_close(mixed.sum(1), torch.ones(half))
    assert bool((mixed[:, half:] == 0).all())  # partners are of the first half alone
    logits = torch.cat([mixed, torch.eye(SIZE)[:half]])
    labels = torch.cat([mixed, torch.eye(SIZE)[:half]])
    expected = -(labels * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(found["labelled"], expected)


def test_the_discriminator_at_chance_costs_log_two(batch):
    network = build()
    mixing = made(network)
    torch.nn.init.zeros_(mixing.discriminator.weight)
    torch.nn.init.zeros_(mixing.discriminator.bias)
    found = mixing.losses(network, *batch, progress=0.0, generator=seeded(0))
    assert float(found["intrusion"]) == pytest.approx(math.log(2), abs=1e-5)


def test_the_discriminator_calls_mixes_negative_and_all_clips_positive(batch):
    network = build()
    mixing = made(network, intrusion=1.0)
    torch.nn.init.zeros_(mixing.discriminator.weight)
    with torch.no_grad():
        mixing.discriminator.bias.copy_(torch.tensor([0.0, 4.0]))  # says clip, always
    found = mixing.losses(network, *batch, progress=0.0, generator=seeded(0))
    right, wrong = math.log1p(math.exp(-4)), math.log1p(math.exp(4))
    assert float(found["intrusion"]) == pytest.approx((SIZE * right + SIZE // 2 * wrong) / (SIZE * 1.5), rel=1e-5)


def reached(loss, *modules):
    """Return, for each module, whether a loss has a gradient in it that is not 0."""
    found = []
    for module in modules:
        parameters = [p for p in module.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        found.append(any(g is not None and bool(g.abs().max() > 1e-9) for g in gradients))
    return found


def test_which_weights_each_term_reaches(batch):
    network = build()
    mixing = made(network)
    found = mixing.losses(network, *batch, progress=0.0, generator=seeded(0))
    parts = (network, mixing.policy, mixing.discriminator)
    assert reached(found["labelled"], *parts) == [True, True, False]
    assert reached(found["intrusion"], *parts) == [True, True, True]


def test_the_gradient_reaches_the_policy_through_the_label_too(batch):
    class Blind(torch.nn.Module):
        """Features that do not depend on the clip: the sound's way is cut."""

        head = torch.nn.Linear(2, CLASSES)

        def features(self, given):
            return torch.ones(len(given), 2)

    network = Blind()
    mixing = AdaMixUp(width=4)
    mixing.setup(network, CLASSES, SIZE, 0)
    found = mixing.losses(network, *batch, progress=0.0, generator=seeded(0))
    assert reached(found["labelled"], mixing.policy) == [True]


def test_noise_is_drawn_for_each_cell_and_cut_at_two_deviations():
    ones = torch.ones(4, 1, 64, 64)
    n = 2 * _blur(ones, torch.zeros_like(ones), seeded(0))
    assert float(n.abs().max()) <= 2.0 + 1e-5
    assert n.unique().numel() > 0.9 * n.numel()
    assert float(n.var()) == pytest.approx(0.774, abs=0.03)  # of a normal cut at 2: 1 - 4 phi(2) / (2 Phi(2) - 1)


@pytest.mark.parametrize("size", [5, 4])
def test_batches_of_odd_size_are_taken(batch, size):
    network = build()
    found = made(network).losses(network, *(part[:size] for part in batch), progress=0.0, generator=seeded(0))
    assert all(bool(torch.isfinite(term)) for term in found.values())


def test_a_batch_that_is_too_small_is_refused(batch):
    network = build()
    with pytest.raises(ValueError, match="batch_labelled must be 4 or more"):
        made(network).losses(network, *(part[:3] for part in batch), progress=0.0, generator=seeded(0))
