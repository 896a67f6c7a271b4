import math

import pytest
import torch
from scipy import stats
from sounds import seeded

from audiomix import draw


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1, 5])
def test_beta_follows_its_distribution(alpha):
    sample = draw.beta(alpha, 5000, generator=seeded())
    assert sample.dtype == torch.float64
    assert stats.kstest(sample.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-4


@pytest.mark.parametrize("alpha", [0.001, 0.02, 0.09])
def test_beta_of_a_small_alpha_does_not_underflow(alpha):
    """Half of the numbers from Gamma(0.001, 1) are 0 in float64: a ratio of two would be 0 / 0, or 1 / 2."""
    size = 20_000
    sample = draw.beta(alpha, size, generator=seeded())
    assert ((sample >= 0) & (sample <= 1)).all()
    for edge in (1e-300, 1e-100, 1e-10, 0.01, 0.3, 0.5, 0.9):
        p = stats.beta(alpha, alpha).cdf(edge)
        assert abs(int((sample <= edge).sum()) - size * p) < 4 * math.sqrt(size * p * (1 - p))


@pytest.mark.parametrize("shape", [0.02, 0.4, 3])
def test_log_gamma_is_the_logarithm_of_a_gamma(shape):
    sample = draw.log_gamma(shape, 4000, generator=seeded())
    assert stats.kstest(sample.numpy(), stats.loggamma(shape).cdf).pvalue > 1e-4


def test_beta_of_zero_mixes_nothing():
    assert draw.beta(0, 3, generator=seeded()).tolist() == [1, 1, 1]


@pytest.mark.parametrize("size", [2, 3, 4, 9])
def test_a_derangement_has_no_fixed_point_and_is_a_permutation(size):
    for seed in range(50):
        partner = draw.derangement(size, generator=seeded(seed))
        assert (partner != torch.arange(size)).all()
        assert sorted(partner.tolist()) == list(range(size))


def test_a_derangement_of_one_is_itself():
    assert draw.derangement(1).tolist() == [0]


def test_bernoulli_is_exact_at_the_ends_and_right_at_a_half():
    assert not draw.bernoulli(0, 10_000, generator=seeded()).any()
    assert draw.bernoulli(1, 10_000, generator=seeded()).all()
    count = int(draw.bernoulli(0.5, 10_000, generator=seeded()).sum())
    assert abs(count - 5000) < 4 * math.sqrt(2500)


def test_integers_cover_their_range_evenly():
    sample = draw.integers(torch.full((9000,), 3), generator=seeded())
    assert stats.chisquare(torch.bincount(sample, minlength=3).numpy()).pvalue > 1e-4
    assert draw.integers(torch.tensor([0, 1])).tolist() == [0, 0]


def test_categorical_keeps_probabilities_and_never_draws_a_zero():
    sample = draw.categorical(torch.tensor([0.0, 0.2, 0.8, 0.0]), 10_000, generator=seeded())
    counts = torch.bincount(sample, minlength=4)
    assert counts[0] == counts[3] == 0
    assert stats.chisquare(counts[1:3].numpy(), [2000, 8000]).pvalue > 1e-4


def test_generator_for_depends_on_every_id_and_on_their_borders():
    first = {
        ids: draw.uniform(0, 1, 1, generator=draw.generator_for(*ids)).item()
        for ids in [
            (0, "a", 1),
            (1, "a", 1),
            (0, "a", 2),
            (0, "b", 1),
            (0, "a1"),
            (0, "a", "1", ""),
            (0, "ab", "c"),
            (0, "a", "bc"),
        ]
    }
    assert len(set(first.values())) == len(first)


def test_nothing_touches_the_global_generator():
    before = torch.get_rng_state()
    draw.beta(0.4, 8, generator=seeded())
    draw.derangement(8, generator=seeded())
    draw.generator_for(0, "x")
    assert torch.equal(torch.get_rng_state(), before)
