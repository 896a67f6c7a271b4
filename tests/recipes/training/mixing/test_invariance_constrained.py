"""Invariance-constrained augmentation: the law of the chain, and the dual variable."""

import pytest
import torch
import torch.nn.functional as F
from sounds import seeded

from recipes import models
from recipes.training.mixing.invariance_constrained import InvarianceConstrained, run_chain

CLASSES, SIZE = 3, 6


@pytest.fixture
def batch():
    return torch.randn(SIZE, 1, 32, 41, generator=seeded(1)), torch.arange(SIZE) % CLASSES, torch.arange(SIZE)


def build():
    return models.build("resnet_small", CLASSES, seed=0, width=2)


def test_two_draws_have_the_law_of_the_reference():
    # four views with losses 1, 2, 5 and 0.5, each proposed alike: worked out over the 16 pairs of draws
    losses, size = torch.tensor([1.0, 2.0, 5.0, 0.5]), 40000
    drawn = torch.randint(4, (2, size), generator=seeded(0))
    end = run_chain(losses[drawn], generator=seeded(1))
    found = torch.bincount(drawn.gather(0, end[None])[0], minlength=4) / size
    expected = torch.zeros(4)
    for a in range(4):
        for b in range(4):
            p = min(1.0, float(losses[b] / losses[a]))
            expected[b] += p / 16
            expected[a] += (1 - p) / 16
    torch.testing.assert_close(expected, torch.tensor([0.200, 0.291, 0.394, 0.116]), atol=6e-4, rtol=0)
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0)


def test_a_long_chain_goes_to_the_law_in_proportion_to_the_loss():
    losses, size = torch.tensor([1.0, 2.0, 5.0, 0.5]), 20000
    drawn = torch.randint(4, (40, size), generator=seeded(0))
    end = run_chain(losses[drawn], generator=seeded(1))
    found = torch.bincount(drawn.gather(0, end[None])[0], minlength=4) / size
    torch.testing.assert_close(found, losses / losses.sum(), atol=0.015, rtol=0)


def test_a_larger_loss_is_always_accepted_and_none_at_all_never():
    rising = torch.arange(1.0, 6)[:, None].expand(5, 100)
    assert bool((run_chain(rising, generator=seeded(0)) == 4).all())
    falling = torch.tensor([[1.0], [0.0], [0.0]]).expand(3, 100)
    assert bool((run_chain(falling, generator=seeded(0)) == 0).all())


def test_the_dual_variable_grows_while_the_constraint_is_violated_and_never_below_zero():
    mixing = InvarianceConstrained(epsilon=0.5, eta=0.1)
    path = []
    for cost in (1.5, 1.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0):
        mixing._excess = torch.tensor(cost - 0.5)
        mixing.after_step(None)
        path.append(round(float(mixing.gamma), 4))
    assert path == [0.1, 0.2, 0.2, 0.15, 0.1, 0.05, 0.0, 0.0, 0.15]


def test_the_objective_is_the_weighted_mean_and_gamma_moves_by_the_loss_of_the_views(batch):
    x, target, index = batch
    seen = []

    class Recording(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = build()

        def forward(self, given):
            seen.append(self.inner(given))
            return seen[-1]

    network, mixing = Recording(), InvarianceConstrained(epsilon=0.25, eta=0.1, draws=1)
    mixing.gamma.fill_(3.0)
    found = mixing.losses(network, x, target, index, progress=0.5, generator=seeded(0))
    clean, view = (F.cross_entropy(z, target) for z in seen[0].detach().chunk(2))
    torch.testing.assert_close(found["labelled"].detach(), clean / 4)
    torch.testing.assert_close(found["views"].detach(), 3 * view / 4)
    mixing.after_step(network)
    assert float(mixing.gamma) == pytest.approx(3 + 0.1 * (float(view) - 0.25), rel=1e-5)
    assert found["views"].requires_grad
    assert float(mixing.logs()["gamma"]) == 3.0  # that of the step


def test_views_are_changes_and_the_clean_clips_come_first(batch):
    network, seen = build(), []
    network.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    mixing = InvarianceConstrained(draws=3)
    mixing.fit(-30.0, 15.0)
    mixing.losses(network, *batch, progress=0.5, generator=seeded(0))
    clean, *views = seen[0].chunk(4)
    assert torch.equal(clean, batch[0])
    assert all(not torch.equal(view, batch[0]) for view in views)
    assert not torch.equal(views[0], views[1])


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="draws must be"):
        InvarianceConstrained(draws=0)
    with pytest.raises(ValueError, match="views must be one of"):
        InvarianceConstrained(views="mixup")
