"""Error, confusion and calibration, by hand."""

import pytest
import torch

from recipes.semi_supervised.evaluate import (
    class_errors,
    confusion_matrix,
    error_rate,
    expected_calibration_error,
    summarise_predictions,
)


def test_errors_and_confusion_by_hand():
    predicted, labels = torch.tensor([0, 1, 1, 2, 2, 2]), torch.tensor([0, 0, 1, 2, 1, 2])
    assert error_rate(predicted, labels) == pytest.approx(100 / 3)
    matrix = confusion_matrix(predicted, labels, 4)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 2, 0], [0, 0, 0, 0]]
    assert class_errors(matrix) == [50.0, 50.0, 0.0, None]


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
    with pytest.raises(ValueError, match="probabilities must be rows that add up to 1, got others: logits"):
        expected_calibration_error(torch.tensor([[3.0, -1.0]]), torch.tensor([0]))


def test_the_summary_is_for_json():
    p = torch.tensor([[0.8, 0.2], [0.4, 0.6]])
    found = summarise_predictions(p, p.argmax(-1), torch.tensor([0, 0]))
    assert found["confusion"] == [[1, 1], [0, 0]]
    assert found["class_errors"] == [50.0, None]
    assert isinstance(found["ece"], float)
