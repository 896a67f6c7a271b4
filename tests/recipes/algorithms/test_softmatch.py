import math

import pytest
import torch
from ssl_tables import CLASSES
from tables import SURE, UNSURE, assert_two_processes_are_one, losses, unlabelled

from recipes.algorithms.softmatch import SoftMatch


def fixed(mean, variance, **options):
    """Return a method whose Gaussian stays where it is."""
    method = SoftMatch(CLASSES, momentum=1.0, **options)
    method.mean.fill_(mean)
    method.variance.fill_(variance)
    return method


def test_mean_and_unbiased_variance_of_the_confidence_are_followed_from_1_over_k_and_1():
    method = SoftMatch(CLASSES, momentum=0.9, alignment="none")
    losses(method, unlabelled([SURE, UNSURE]))
    # confidences 0.96 and 0.5: mean 0.73, variance (0.23^2 + 0.23^2) / (2 - 1); over 2 it would be half
    assert method.mean.item() == pytest.approx(0.9 / 3 + 0.1 * 0.73)
    assert method.variance.item() == pytest.approx(0.9 + 0.1 * 0.1058)
    assert method.logs()["threshold"].item() == pytest.approx(0.373)
    assert method.logs()["spread"].item() == pytest.approx(math.sqrt(0.91058))


def test_a_pseudo_label_weighs_less_the_further_it_lies_below_the_mean():
    for sigmas, weight in [(2, math.exp(-4 * 0.2**2 / (2 * 0.03))), (1, math.exp(-(0.2**2) / (2 * 0.03)))]:
        method = fixed(0.7, 0.03, sigmas=sigmas)
        terms = losses(method, unlabelled([SURE, UNSURE], [[1 / 2, 1 / 4, 1 / 4], [1 / 8, 1 / 2, 3 / 8]]))
        # over the whole batch, and 1 above the mean
        assert terms["unlabelled"].item() == pytest.approx((math.log(2) + weight * math.log(8)) / 2, abs=1e-5)
        assert method.logs()["mask"].item() == pytest.approx((1 + weight) / 2, abs=1e-6)


def test_logs_weigh_what_is_learnt():
    method = fixed(0.7, 0.03)
    w = math.exp(-4 * 0.2**2 / (2 * 0.03))
    losses(method, unlabelled([SURE, UNSURE, [0.1, 0.8, 0.1], UNSURE], hidden=[1, 0, 1, -1]))
    logs = method.logs()
    torch.testing.assert_close(logs["count"], torch.tensor([1 + 2 * w, 1, 0]).double(), atol=1e-6, rtol=0)
    assert logs["believed_accuracy"].item() == pytest.approx((w + 1) / (1 + w + 1), abs=1e-6)
    assert logs["guess_accuracy"].item() == pytest.approx(2 / 3)


def test_uniform_alignment_decides_the_weight_and_not_the_class():
    method = fixed(0.7, 0.03)
    method.align.guessed.copy_(torch.tensor([0.2, 0.6, 0.2]))
    q = torch.tensor([0.1, 0.46, 0.44])
    terms = losses(method, unlabelled([q.tolist()], [[1 / 2, 1 / 8, 3 / 8]]))
    aligned = q / torch.tensor([0.2, 0.6, 0.2])
    assert aligned.argmax() == 2
    below = 0.7 - (aligned / aligned.sum()).max().item()
    weight = math.exp(-4 * below**2 / (2 * 0.03))
    assert terms["unlabelled"].item() == pytest.approx(weight * math.log(8), abs=1e-5)


def test_alignment_is_to_equal_frequencies_whatever_the_labels():
    method = SoftMatch(CLASSES, momentum=0.5)
    losses(method, unlabelled([SURE]))
    torch.testing.assert_close(method.align.expected, torch.full((3,), 1 / 3))
    torch.testing.assert_close(method.align.guessed, 0.5 / 3 + 0.5 * torch.tensor(SURE))


def test_one_clip_has_no_variance_and_equal_confidences_make_no_nan():
    method = SoftMatch(CLASSES, momentum=0.0)
    losses(method, unlabelled([SURE]))
    assert method.variance == 1
    terms = losses(method, unlabelled([SURE] * 4))
    assert method.variance.item() == pytest.approx(0, abs=1e-9)
    assert all(term.isfinite() for term in terms.values())
    logs = dict(method.logs())
    assert logs.pop("outlier_mask").isnan()  # no clip is of a class that the task does not have
    assert all(log.isfinite().all() for log in logs.values())


def test_two_processes_are_one():
    # each half has a variance of its own: their mean is not that of the whole
    assert 0 < assert_two_processes_are_one(SoftMatch, momentum=0.2)[2]["mask"] < 1


def test_original_remembers_a_thousand_batches_and_short_runs_fewer():
    assert SoftMatch(CLASSES, **SoftMatch.presets["original"]).momentum == 0.999
    assert SoftMatch(CLASSES, **SoftMatch.presets["small"]).momentum < 0.99
