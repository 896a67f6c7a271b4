"""Averages over views, and two networks as one."""

import pytest
import torch
from sounds import noise

from audiomix.inference.smoothing import entropy_share, smooth_adaptively
from audiomix.inference.views import entropy_threshold, predict_with_views

WEIGHT = noise(6, 4)
X = 2 * noise(40, 6, seed=2)
VIEWS = [lambda x: x + 0.5, lambda x: 0.7 * x]


def network(x):
    return x @ WEIGHT


def test_views_are_asked_for_where_the_network_is_unsure_and_only_there():
    asked = []

    def counted(x):
        asked.append(len(x))
        return network(x)

    plain = network(X).softmax(1)
    entropy = -(plain * plain.log()).sum(1)
    threshold = entropy_threshold(network(X), 0.25)
    found = predict_with_views(counted, X, VIEWS, threshold=threshold)
    assert asked == [40, 10, 10]
    assert int(found.averaged.sum()) == 10
    assert entropy[found.averaged].min() > entropy[~found.averaged].max()
    expected = torch.stack([plain, *(network(view(X)).softmax(1) for view in VIEWS)]).mean(0)
    torch.testing.assert_close(found.probabilities[found.averaged], expected[found.averaged])
    torch.testing.assert_close(found.probabilities[~found.averaged], plain[~found.averaged])


def test_the_ends_are_the_network_alone_and_all_views():
    plain = network(X).softmax(1)
    torch.testing.assert_close(predict_with_views(network, X, VIEWS, threshold=torch.inf).probabilities, plain)
    assert predict_with_views(network, X, VIEWS, threshold=-1).averaged.all()
    assert entropy_threshold(network(X), 1.0) < 0
    assert not predict_with_views(network, X, VIEWS, threshold=entropy_threshold(network(X), 0.0)).averaged.any()
    same = predict_with_views(network, X, [lambda x: x], threshold=-1).probabilities
    torch.testing.assert_close(same, plain)


@pytest.mark.parametrize(("average", "expected"), [("logits", 0.818), ("probabilities", 0.625)])
def test_the_mean_of_logits_is_not_that_of_probabilities(average, expected):
    found = predict_with_views(lambda x: x, torch.tensor([[4.0, 0.0]]), [lambda x: torch.tensor([[-1.0, 0.0]])],
                               threshold=-1, average=average)  # fmt: skip
    assert float(found.probabilities[0, 0]) == pytest.approx(expected, abs=2e-3)


def test_a_class_of_probability_0_has_no_entropy():
    """p log p without a limit is NaN at 0, and nothing is ever above it."""
    found = predict_with_views(lambda x: x, torch.tensor([[0.0, -1e9, 0.0]]), [lambda x: x], threshold=0.5)
    assert found.averaged.tolist() == [True]


def test_the_ends_of_smoothing_are_the_two_networks_and_rows_sum_to_1():
    a, b, share = noise(5, 4), noise(5, 4, seed=2), torch.tensor([0.0, 1.0, 0.3, 0.5, 1e-6])
    found = smooth_adaptively(a, b, share, scales=(2.0, 0.5))
    torch.testing.assert_close(found.exp().sum(1), torch.ones(5))
    torch.testing.assert_close(found[0], (2 * a[0]).log_softmax(0))
    torch.testing.assert_close(found[1], (0.5 * b[1]).log_softmax(0))
    torch.testing.assert_close(found[2].exp(), 0.7 * (2 * a[2]).softmax(0) + 0.3 * (0.5 * b[2]).softmax(0))


def test_its_gradient_is_finite_where_probabilities_round_to_0():
    a, share = torch.tensor([[500.0, 0.0]]).requires_grad_(), torch.tensor([1.0]).requires_grad_()
    b = torch.tensor([[500.0, 0.0]]).requires_grad_()
    smooth_adaptively(a, b, share)[0, 1].backward()
    assert all(x.grad.isfinite().all() for x in (a, b, share))


def test_the_unsure_network_gets_the_smaller_share():
    share = entropy_share(torch.tensor([[9.0, 0, 0], [1, 0, 0], [800, 0, 0]]), torch.tensor([[1.0, 0, 0]] * 3))
    assert share[0] < share[1]
    assert float(share[1]) == pytest.approx(0.5)
    assert float(share[2]) == 0


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="views must be to give .3, 4. logits"):
        predict_with_views(lambda x: x, noise(3, 4), [lambda x: x[:1]], threshold=-1)
    for found in (entropy_share, lambda a, b: smooth_adaptively(a, b, 0.5)):
        with pytest.raises(ValueError, match="accurate and robust must be logits of the same shape"):
            found(noise(3, 4), noise(1, 4))
    with pytest.raises(ValueError, match="scales must be two numbers"):
        smooth_adaptively(noise(3, 4), noise(3, 4), 0.5, scales=(1.0,))
    for logits in (noise(3, 4, 2), torch.full((3, 4), torch.nan)):
        with pytest.raises(ValueError, match="logits must be"):
            entropy_threshold(logits)
    with pytest.raises(ValueError, match="the network's output must be logits .B, K.*of frames"):
        predict_with_views(lambda x: x, noise(3, 4, 2), VIEWS, threshold=-1)


def test_a_network_that_gives_no_numbers_is_not_taken_to_be_sure():
    bad = torch.full((1, 3), torch.nan)
    assert entropy_share(bad, noise(1, 3)).isnan().all()
    ruled_out = torch.tensor([[1.0, 0.0, -torch.inf]])
    assert float(entropy_share(ruled_out, ruled_out)) == pytest.approx(0.5)
