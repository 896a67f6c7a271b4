"""Average accuracy and forgetting, with numbers written out."""

import math

import pytest
import torch

from audiomix.measures.forgetting import average_accuracy, forgetting

NAN = math.nan
ACCURACY = torch.tensor([[90.0, NAN, NAN], [95.0, 80.0, NAN], [50.0, 70.0, 60.0]])


def test_known_answers():
    assert average_accuracy(ACCURACY) == pytest.approx(60)
    # from the best of 90 and 95 to 50, and from 80 to 70; the last task cannot be forgotten
    assert forgetting(ACCURACY) == pytest.approx((45 + 10) / 2)


def test_what_comes_later_counts_nowhere():
    """Of a later task the accuracy before it is chance or, with luck, more: no best of it."""
    filled = torch.where(ACCURACY.isnan(), 100.0, ACCURACY)
    assert forgetting(filled) == forgetting(ACCURACY)
    assert average_accuracy(filled) == average_accuracy(ACCURACY)


def test_a_task_that_has_become_better_counts_below_0_and_one_task_is_not_forgotten():
    assert forgetting(torch.tensor([[50.0, 0.0], [70.0, 80.0]])) == -20
    assert math.isnan(forgetting(torch.tensor([[50.0]])))
    assert average_accuracy(torch.tensor([[50.0]])) == 50


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"accuracy must be of shape \(T, T\)"):
        forgetting(torch.ones(2, 3))
    with pytest.raises(ValueError, match="on and below the diagonal must be finite"):
        average_accuracy(ACCURACY.T.contiguous())
