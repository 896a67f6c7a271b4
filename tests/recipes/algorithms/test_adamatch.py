import copy
import math

import pytest
import torch
from sounds import seeded
from ssl_tables import CLASSES
from tables import SURE, UNSURE, Half, assert_two_processes_are_one, losses, noise, unlabelled
from torch import nn

from recipes.algorithms.adamatch import AdaMatch
from recipes.semi_supervised.run_spec import configure

KNOWN = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2]])  # what Table says of LABELLED


def normed():
    """Return a network with batch norm and many logits."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(96, 20), nn.BatchNorm1d(20), nn.Linear(20, 40)).train()


def test_the_threshold_is_a_share_of_the_mean_confidence_on_labelled_clips():
    # 0.9 (0.8 + 0.6) / 2 = 0.63; a momentum of 1 leaves both distributions uniform and the guesses as they are
    method = AdaMatch(CLASSES, momentum=1.0)
    losses(method, unlabelled([[0.64, 0.2, 0.16], [0.62, 0.2, 0.18]]))
    assert method.logs()["threshold"].item() == pytest.approx(0.63)
    assert method.logs()["mask"] == 0.5


def test_pseudo_labels_are_aligned_to_what_is_predicted_of_labelled_clips():
    method = AdaMatch(CLASSES, momentum=0.5, threshold=0.0)
    weak = torch.tensor([[0.5, 0.45, 0.05], [0.8, 0.1, 0.1]])
    strong = [[0.2, 0.3, 0.5]] * 2
    terms = losses(method, unlabelled(weak.tolist(), strong), progress=1.0)
    expected, guessed = (0.5 / 3 + 0.5 * p.mean(0) for p in (KNOWN, weak))
    torch.testing.assert_close(method.align.expected, expected)
    torch.testing.assert_close(method.align.guessed, guessed)
    assert (weak[0] * expected / guessed).argmax() == 1  # without alignment 0
    assert terms["unlabelled"].item() == pytest.approx(-(math.log(0.3) + math.log(0.2)) / 2, abs=1e-5)


def test_with_a_window_predictions_are_those_of_the_last_batches_and_labelled_clips_a_running_mean():
    method = AdaMatch(CLASSES, momentum=0.5, window_batches=2)
    batches = [[0.9, 0.05, 0.05], [0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]
    expected = torch.full((3,), 1 / 3)
    for i, row in enumerate(batches):
        losses(method, unlabelled([row] * 2))
        expected = 0.5 * expected + 0.5 * KNOWN.mean(0)
        last = ([[1 / 3] * 3] * 2 + batches[: i + 1])[-2:]  # this batch is one of the two, and they start uniform
        torch.testing.assert_close(method.align.guessed, torch.tensor(last).mean(0))
        torch.testing.assert_close(method.align.expected, expected)
    again = AdaMatch(CLASSES, momentum=0.5, window_batches=2)
    again.load_state_dict(method.state_dict())
    for each in (method, again):
        losses(each, unlabelled([[0.3, 0.3, 0.4]] * 2))
    torch.testing.assert_close(again.align.guessed, method.align.guessed)


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.25, 0.4, 0.5, 0.8, 1.0])
def test_the_unlabelled_term_warms_up_over_the_first_half(progress):
    terms = losses(AdaMatch(CLASSES, momentum=1.0), unlabelled([SURE]), progress=progress)
    mu = 0.5 - math.cos(min(math.pi, 2 * math.pi * progress)) / 2  # the paper's equation
    assert terms["unlabelled"].item() == pytest.approx(mu * math.log(3), abs=1e-5)


def test_labelled_logits_lie_between_those_of_two_passes_each_by_a_share_of_its_own():
    labelled, batch = noise(30, 50)
    method, model = AdaMatch(CLASSES), normed()
    joint = copy.deepcopy(model)(torch.cat([labelled.x, batch.strong]))
    alone = copy.deepcopy(model)(labelled.x)
    found, on_strong = method.predict(model, labelled.x, batch.strong, seeded())
    share = ((found - alone) / (joint[:30] - alone)).flatten()
    assert torch.equal(on_strong, joint[30:])
    assert -1e-3 < share.min() < 0.01
    assert 0.99 < share.max() < 1.001
    assert abs(share.mean() - 0.5) < 4 * (1 / 12 / 1200) ** 0.5  # four standard deviations of 1200 uniform numbers
    assert len(share.mul(1e4).round().unique()) > 1000  # one for each logit, not for each clip


def test_the_pass_over_labelled_clips_alone_leaves_the_running_statistics_as_they_are():

    labelled, batch = noise(6, 8)
    one, other = normed(), normed()
    AdaMatch(CLASSES).predict(one, labelled.x, batch.strong, seeded())
    AdaMatch(CLASSES, interpolation=False).predict(other, labelled.x, batch.strong, seeded())
    assert one[2].running_mean.any()
    for mine, joint in zip(one.buffers(), other.buffers()):
        assert torch.equal(mine, joint)
    one(labelled.x)
    assert one[2].num_batches_tracked == 2


def test_both_passes_are_trained_on():
    labelled, batch = noise(6, 8)
    gradients = {}
    for interpolation in (True, False):
        model = normed()
        found, _ = AdaMatch(CLASSES, interpolation=interpolation).predict(model, labelled.x, batch.strong, seeded())
        found.square().sum().backward()
        gradients[interpolation] = model[1].weight.grad
    assert not torch.allclose(gradients[True], gradients[False], rtol=0.01)


def test_without_batch_norm_interpolation_changes_nothing():
    one, other = (losses(AdaMatch(CLASSES, interpolation=i), unlabelled([SURE, UNSURE])) for i in (True, False))
    for name, term in one.items():
        torch.testing.assert_close(term, other[name])


def test_with_a_mixer_threshold_and_alignment_follow_the_labelled_clips_as_they_are():
    method = AdaMatch(CLASSES, Half(), momentum=0.5)
    losses(method, unlabelled([SURE, UNSURE]))
    assert method.logs()["threshold"].item() == pytest.approx(0.63)
    torch.testing.assert_close(method.align.expected, 0.5 / 3 + 0.5 * KNOWN.mean(0))


def test_two_processes_are_one():
    assert 0 < assert_two_processes_are_one(AdaMatch, momentum=0.5, threshold=0.97)[2]["mask"] < 1


def test_original_has_three_unlabelled_clips_for_each_labelled_one():
    config, _ = configure("original", AdaMatch, {})
    assert config.batch_unlabelled == 3 * config.batch_labelled
