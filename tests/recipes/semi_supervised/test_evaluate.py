"""Error and confusion, by hand."""

import json

import pytest
import torch

from recipes.semi_supervised.evaluate import (
    balanced_accuracy,
    class_errors,
    confusion_matrix,
    error_rate,
    macro_f1,
    summarise_predictions,
)


def test_errors_and_confusion_by_hand():
    predicted, labels = torch.tensor([0, 1, 1, 2, 2, 2]), torch.tensor([0, 0, 1, 2, 1, 2])
    assert error_rate(predicted, labels) == pytest.approx(100 / 3)
    matrix = confusion_matrix(predicted, labels, 4)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 2, 0], [0, 0, 0, 0]]
    assert class_errors(matrix) == [50.0, 50.0, 0.0, None]


def test_the_summary_is_for_json():
    p = torch.tensor([[0.8, 0.2], [0.4, 0.6]])
    found = summarise_predictions(p.argmax(-1), torch.tensor([0, 0]), 2)
    assert found["confusion"] == [[1, 1], [0, 0]]
    assert found["class_errors"] == [50.0, None]
    assert found["balanced_accuracy"] == 50
    assert found["macro_f1"] == pytest.approx(200 / 3)
    assert json.loads(json.dumps(found)) == found


def test_f1_and_balanced_accuracy_are_those_of_torchmetrics_where_every_class_has_clips():
    from torchmetrics.functional.classification import multiclass_f1_score, multiclass_recall

    generator = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.arange(7), torch.randint(7, (60,), generator=generator)])
    predicted = torch.where(torch.rand(67, generator=generator) < 0.6, labels, labels.flip(0))
    matrix = confusion_matrix(predicted, labels, 7)
    for ours, theirs in ((macro_f1, multiclass_f1_score), (balanced_accuracy, multiclass_recall)):
        assert ours(matrix) == pytest.approx(100 * float(theirs(predicted, labels, 7, average="macro")), abs=1e-4)
        assert 30 < ours(matrix) < 95


def test_a_class_without_clips_is_in_no_mean():
    # of 4 clips of a, 3 are right and one is taken for c, of which there are none; 2 of b are right
    matrix = torch.tensor([[3, 0, 1, 0], [0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert balanced_accuracy(matrix) == pytest.approx(100 * (3 / 4 + 1) / 2)
    assert macro_f1(matrix) == pytest.approx(100 * (6 / 7 + 1) / 2)


def test_more_clips_of_a_class_do_not_move_the_balanced_accuracy_and_move_the_error():
    few, many = torch.tensor([[1, 1], [0, 2]]), torch.tensor([[1, 1], [0, 20]])
    assert balanced_accuracy(few) == balanced_accuracy(many) == 75
    assert macro_f1(few) == pytest.approx(100 * (2 / 3 + 4 / 5) / 2)
