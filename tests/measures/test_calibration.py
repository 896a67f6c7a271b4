"""Calibration, against what is counted by hand."""

import math

import pytest
import torch
from sounds import noise
from torch.nn import functional as F

from audiomix.measures.calibration import (
    adaptive_calibration_error,
    brier_score,
    classwise_calibration_error,
    expected_calibration_error,
    negative_log_likelihood,
    reliability,
)
from audiomix.measures.temperature import fit_temperature


def test_calibration_of_a_network_that_is_as_sure_as_it_is_right_is_0():
    # 10 clips at 0.7 of which 7 are right, 10 at 0.9 of which 9 are
    p = torch.tensor([[0.7, 0.3]] * 10 + [[0.9, 0.1]] * 10)
    labels = torch.tensor([0] * 7 + [1] * 3 + [0] * 9 + [1])
    assert expected_calibration_error(p, labels) == pytest.approx(0, abs=1e-5)


def test_calibration_weighs_bins_by_their_clips():
    # bin of 0.7: 2 clips, none right: gap 0.7; bin of 0.9: 8 clips, all right: gap 0.1
    p = torch.tensor([[0.7, 0.3]] * 2 + [[0.9, 0.1]] * 8)
    labels = torch.tensor([1] * 2 + [0] * 8)
    assert expected_calibration_error(p, labels) == pytest.approx(100 * (0.2 * 0.7 + 0.8 * 0.1), abs=1e-4)
    # in one bin, gaps of opposite sign meet: |0.8 - 0.86|
    assert expected_calibration_error(p, labels, bins=1) == pytest.approx(6, abs=1e-4)


def test_a_confidence_on_an_edge_belongs_below_it():
    # (0, 0.5] and (0.5, 1]: 0.5 and 0.6 lie in different bins, or the gaps would cancel
    p = torch.tensor([[0.5, 0.5], [0.6, 0.4]])
    assert expected_calibration_error(p, torch.tensor([0, 1]), bins=2) == pytest.approx(100 * (0.5 + 0.6) / 2, abs=1e-4)


def test_logits_are_no_probabilities():
    with pytest.raises(ValueError, match="probabilities must be in .0, 1., got -1..3: logits"):
        expected_calibration_error(torch.tensor([[3.0, -1.0]]), torch.tensor([0]))

def test_bins_of_as_many_clips_hold_as_many():
    p = noise(103, 5).softmax(1)
    labels = noise(103, 5, seed=2).argmax(1)
    found = reliability(p, labels, bins=10, adaptive=True)
    assert found.clips.sum() == 103
    assert set(found.clips.tolist()) == {10, 11}
    assert found.confidence.tolist() == sorted(found.confidence.tolist())
    gap = ((found.accuracy - found.confidence).abs() * found.clips).sum() / 103
    assert adaptive_calibration_error(p, labels, bins=10) == pytest.approx(100 * float(gap))
    # in one bin the two kinds of bins are one
    assert adaptive_calibration_error(p, labels, bins=1) == pytest.approx(expected_calibration_error(p, labels, bins=1))


def test_an_empty_bin_counts_nothing():
    found = reliability(torch.tensor([[1.0, 0.0], [0.6, 0.4]], dtype=torch.float64), torch.tensor([0, 1]), bins=10)
    assert found.clips.tolist() == [0] * 5 + [1] + [0] * 3 + [1]
    assert found.accuracy.isnan().sum() == 8
    assert found.error == pytest.approx(30)


def test_classes_are_counted_each_on_their_own():
    # class 0 is foretold with 0.5 and there in 3 of 4, class 1 with 0.5 and there in 1 of 4
    p, labels = torch.tensor([[0.5, 0.5]] * 4), torch.tensor([0, 0, 0, 1])
    assert classwise_calibration_error(p, labels) == pytest.approx(25)
    several = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0]])
    assert classwise_calibration_error(p, several) == pytest.approx(0)
    assert classwise_calibration_error(torch.tensor([[0.9, 0.9]] * 4), several) == pytest.approx(40)


def test_scores_by_hand():
    p, labels = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]), torch.tensor([0, 1])
    expected = (0.3**2 + 0.2**2 + 0.1**2 + 0.1**2 + 0.9**2 + 0.8**2) / 2
    assert brier_score(p, labels) == pytest.approx(expected)
    assert negative_log_likelihood(p.log(), labels) == pytest.approx(-(math.log(0.7) + math.log(0.1)) / 2, rel=1e-6)
    # of a probability that is 0 in float32
    assert negative_log_likelihood(torch.tensor([[0.0, 500.0]]), torch.tensor([0])) == pytest.approx(500)


@pytest.mark.parametrize("truth", [0.3, 1.0, 2.5, 7.0])
def test_the_temperature_that_labels_were_drawn_with_is_found(truth):
    logits = 3 * noise(20_000, 6)
    labels = (logits / truth).softmax(1).multinomial(1, generator=torch.Generator().manual_seed(3))[:, 0]
    assert fit_temperature(logits, labels) == pytest.approx(truth, rel=0.05)
    # in other units it is another by as much
    assert fit_temperature(10 * logits, labels) == pytest.approx(10 * fit_temperature(logits, labels), rel=1e-3)


def test_a_temperature_lowers_the_likelihood_loss_and_keeps_the_class():
    logits, labels = 9 * noise(400, 4), noise(400, 4, seed=2).argmax(1)
    scaled = logits / fit_temperature(logits, labels)
    assert negative_log_likelihood(scaled, labels) < negative_log_likelihood(logits, labels) / 2
    assert torch.equal(scaled.argmax(1), logits.argmax(1))
    p = F.one_hot(labels, 4).float()
    assert fit_temperature(p, labels) == pytest.approx(0.01)  # right of all: the surer the better
    assert fit_temperature(-p, labels) == pytest.approx(100)  # wrong of all


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 2]), r"labels must be in 0\.\.1, got 0\.\.2"),
        (torch.tensor([0.0, 1.0]), "labels must be class ids"),
        (torch.tensor([0]), "probabilities"),
    ],
)
def test_wrong_labels_are_refused(labels, message):
    with pytest.raises((ValueError, TypeError), match=message):
        expected_calibration_error(torch.tensor([[0.5, 0.5]] * 2), labels)


def test_labels_of_several_classes_say_yes_or_no():
    with pytest.raises(ValueError, match="labels must be 0 or 1 of each class, got 7..7"):
        classwise_calibration_error(torch.full((5, 3), 0.5), torch.full((5, 3), 7))


BY_PROBABILITIES = [adaptive_calibration_error, brier_score, classwise_calibration_error, expected_calibration_error]


@pytest.mark.parametrize("measure", [*BY_PROBABILITIES, negative_log_likelihood, fit_temperature])
def test_what_is_no_prediction_or_no_label_is_refused(measure):
    good, labels = torch.full((4, 2), 0.5), torch.tensor([0, 1, 1, 0])
    measure(good, labels)
    for wrong in (good.tolist(), good[:0], good * torch.nan, good[:, :, None], good[:2]):
        with pytest.raises((ValueError, TypeError), match="must"):
            measure(wrong, labels)
    for wrong in ([0, 1, 1, 0], labels + 7, labels.double(), labels[0], labels - 1):
        with pytest.raises((ValueError, TypeError), match="must"):
            measure(good, wrong)


def test_temperatures_stay_within_their_range():
    logits = 5 * noise(40, 3)
    predicted = logits.argmax(1)
    assert fit_temperature(logits, predicted) == pytest.approx(0.01)
    assert fit_temperature(logits, (predicted + 1) % 3) == 100  # wrong of all
