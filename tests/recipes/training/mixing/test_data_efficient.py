"""Data-efficient augmentation: the greedy choice against all choices, weights, and what is augmented."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from sounds import seeded

from recipes import models
from recipes.training.mixing.data_efficient import DataEfficient, choose_coreset, greedy_choice, share_out

CLASSES = 3


def value(similarity, chosen):
    """Return the facility location function of a set, written out."""
    return sum(max(float(similarity[i, j]) for j in chosen) for i in range(len(similarity)))


@pytest.mark.parametrize("seed", range(5))
def test_the_greedy_choice_is_near_the_best_of_all_and_its_gains_never_rise(seed):
    points = torch.randn(8, 2, generator=seeded(seed), dtype=torch.float64)
    between = torch.cdist(points, points)
    similarity = between.max() - between
    order, gains = greedy_choice(similarity, 3)
    best = max(value(similarity, chosen) for chosen in itertools.combinations(range(8), 3))
    found = value(similarity, order.tolist())
    assert found == pytest.approx(float(gains.sum()))
    assert found >= (1 - 1 / math.e) * best
    assert bool((gains.diff() <= 1e-12).all())
    # each step takes the member that raises the function most
    for step in range(3):
        before = order[:step].tolist()
        tried = [value(similarity, [*before, j]) if j not in before else -1.0 for j in range(8)]
        assert tried[int(order[step])] == pytest.approx(max(tried))


def test_of_equals_the_first_is_chosen():
    order, _ = greedy_choice(torch.ones(4, 4), 4)
    assert order.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("size", [1, 31, 150])
def test_gains_that_are_not_computed_anew_change_nothing(size):
    points = torch.randint(0, 12, (size, 2), generator=seeded(size)).double()  # many are equal
    between = (points[:, None] - points[None]).abs().sum(2)  # whole numbers: sums are exact
    similarity = between.max() - between
    order, gains = greedy_choice(similarity, size)
    covered, left = torch.zeros(size, dtype=torch.float64), list(range(size))
    for best, gain in zip(order.tolist(), gains.tolist()):
        tried = [float((similarity[i] - covered).clamp(min=0).sum()) for i in left]
        assert (best, gain) == (left[tried.index(max(tried))], max(tried))
        left.remove(best)
        covered = torch.maximum(covered, similarity[best])


def test_weights_are_the_numbers_of_clips_represented_scaled_to_mean_one():
    # class 0: four clips at 0 and one at 10; class 1: two at 0, two at 1, one at 1.2
    proxies = torch.tensor([[0.0], [0.0], [10.0], [0.0], [0.0], [0.0], [1.0], [0.0], [1.0], [1.2]])
    labels = torch.tensor([0] * 5 + [1] * 5)
    found = choose_coreset(proxies, labels, 0.4)
    assert len(found.places) == 4
    assert found.places[:2].tolist() == [0, 2]
    raw = (
        torch.tensor([4.0, 1.0, 3.0, 2.0])
        if float(proxies[found.places[2]]) >= 1
        else torch.tensor([4.0, 1.0, 2.0, 3.0])
    )
    torch.testing.assert_close(found.weight, raw / raw.mean())
    assert float(found.weight.sum()) == pytest.approx(len(found.places))


def test_as_many_clips_are_taken_of_each_class_however_uneven_they_are():
    labels = torch.tensor([0] * 2 + [1] * 20 + [2] * 20)
    found = choose_coreset(torch.randn(42, 3, generator=seeded(0)), labels, 0.3)
    counts = torch.bincount(labels[found.places])
    assert counts.tolist() == [2, 7, 6]  # ceil(0.3 * 42 / 3) = 5 of each; what class 0 lacks comes from the others
    assert len(found.places.unique()) == 15
    assert share_out(6, torch.tensor([1, 1, 1])).tolist() == [1, 1, 1]


def test_a_large_class_is_compared_in_part_alone():
    labels = torch.zeros(50, dtype=torch.int64)
    proxies = torch.randn(50, 2, generator=seeded(0))
    found = choose_coreset(proxies, labels, 0.2, most=12, generator=seeded(1))
    assert len(found.places) == 10
    again = choose_coreset(proxies, labels, 0.2, most=12, generator=seeded(1))
    assert torch.equal(found.places, again.places)
    assert not torch.equal(found.places.sort().values, choose_coreset(proxies, labels, 0.2).places.sort().values)


def made(network, clips, labels, **options):
    mixing = DataEfficient(**options)
    mixing.fit(-30.0, 15.0)
    mixing.setup(network, CLASSES, len(clips), 0)
    mixing.take_clips(lambda places: (clips[places], labels[places]), labels)
    return mixing


def test_the_choice_follows_the_gradients_of_the_network_and_is_made_anew_every_few_passes():
    clips, labels = torch.randn(12, 1, 32, 41, generator=seeded(0)), torch.arange(12) % CLASSES
    network = models.build("resnet_small", CLASSES, seed=0, width=2)
    mixing = made(network, clips, labels, share=0.5, refresh=2)
    passes = []
    choose = mixing._choose
    mixing._choose = lambda model: (passes.append(int(mixing.steps)), choose(model))
    for step in range(9):
        rows = torch.arange(4) + 4 * (step % 3)
        mixing.losses(network, clips[rows], labels[rows], rows, progress=0.1, generator=seeded(step))
        assert network.training
        mixing.after_step(network)
    assert passes == [0, 6]  # two passes of three batches
    assert mixing.cost_period(4) == 6
    assert int(mixing.chosen.sum()) == 6
    network.eval()
    with torch.no_grad():
        proxies = network(clips).softmax(1) - F.one_hot(labels, CLASSES)
    network.train()
    mixing._choose(network)
    expected = choose_coreset(proxies, labels, 0.5)
    assert sorted(expected.places.tolist()) == mixing.chosen.nonzero()[:, 0].tolist()
    torch.testing.assert_close(mixing.weight[expected.places], expected.weight)
    assert float(mixing.weight[mixing.chosen].mean()) == pytest.approx(1)
    assert bool((mixing.weight[~mixing.chosen] == 1).all())


@pytest.mark.parametrize("only", [False, True])
def test_chosen_clips_are_augmented_and_weighted_the_others_stay_as_they_are(only):
    clips, labels = torch.randn(6, 1, 32, 41, generator=seeded(0)), torch.arange(6) % CLASSES
    network, seen = models.build("resnet_small", CLASSES, seed=0, width=2), []
    mixing = made(network, clips, labels, only=only, views="rand_augment")
    mixing.steps.fill_(1)  # no new choice
    mixing.chosen[:2] = True
    mixing.weight[:2] = torch.tensor([0.5, 1.5])
    network.register_forward_hook(lambda _, given, out: seen.append((given[0], out.detach())))
    found = mixing.losses(network, clips, labels, torch.arange(6), progress=0.1, generator=seeded(0))
    x, logits = seen[0]
    assert torch.equal(x[2:], clips[2:])
    assert not torch.equal(x[0], clips[0])
    each = F.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(found["chosen"].detach(), (0.5 * each[0] + 1.5 * each[1]) / 6)
    torch.testing.assert_close(found["labelled"].detach(), torch.tensor(0.0) if only else each[2:].sum() / 6)


def test_an_error_in_the_choice_is_an_error():
    clips, labels = torch.randn(6, 1, 32, 41, generator=seeded(0)), torch.arange(6) % CLASSES
    network = models.build("resnet_small", CLASSES, seed=0, width=2)
    mixing = made(network, clips, labels)

    def broken(places):
        raise OSError("gone")

    mixing.take_clips(broken, labels)
    with pytest.raises(OSError, match="gone"):
        mixing.losses(network, clips, labels, torch.arange(6), progress=0.1, generator=seeded(0))


def test_a_share_of_nothing_is_refused():
    with pytest.raises(ValueError, match="share must be above 0"):
        DataEfficient(share=0)
