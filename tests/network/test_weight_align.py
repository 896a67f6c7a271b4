"""Rows of new classes, as long as those of old ones."""

import pytest
import torch
from sounds import noise

from audiomix.network import align_weights

WEIGHT = torch.cat([noise(4, 7), 3 * noise(2, 7, seed=2), noise(3, 7, seed=3)])  # old, new, to come


def test_mean_lengths_are_equal_and_the_rest_is_untouched():
    before = WEIGHT.clone()
    found, factor = align_weights(WEIGHT, 4, 2)
    sizes = found.norm(dim=1)
    assert float(sizes[4:6].mean()) == pytest.approx(float(sizes[:4].mean()), rel=5e-7)
    assert torch.equal(found[:4], WEIGHT[:4])
    assert torch.equal(found[6:], WEIGHT[6:])
    torch.testing.assert_close(found[4:6], factor * WEIGHT[4:6])
    assert torch.equal(WEIGHT, before)


def test_the_means_are_of_lengths_and_not_of_squares():
    weight = torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 2.0], [8.0, 0.0]])
    found, factor = align_weights(weight, 2)
    assert factor == pytest.approx(3 / 5)  # (5 + 1) / 2 over (2 + 8) / 2
    assert found[2:].tolist() == [[0.0, pytest.approx(1.2)], [pytest.approx(4.8), 0.0]]


def test_a_second_time_nothing_changes():
    """PyCIL calls it at the end of the training and again after the task."""
    once, _ = align_weights(WEIGHT, 4, 2)
    twice, factor = align_weights(once, 4, 2)
    assert factor == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(twice, once, rtol=1e-6, atol=0)


def test_half_precision_is_kept():
    found, _ = align_weights(WEIGHT.half(), 4, 2)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), align_weights(WEIGHT, 4, 2)[0], rtol=2e-3, atol=2e-3)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="old must be so that one or more of the 9 rows are new, got 9 old and 0 new"):
        align_weights(WEIGHT, 9)
    with pytest.raises(ValueError, match="got 8 old and 2 new"):
        align_weights(WEIGHT, 8, 2)
    with pytest.raises(ValueError, match=r"weight must be of shape \(K, D\)"):
        align_weights(WEIGHT[0], 1)
    with pytest.raises(ValueError, match="rows other than 0, got new rows of 0 alone"):
        align_weights(torch.tensor([[1.0], [0.0]]), 1)
    with pytest.raises(ValueError, match="weight must be finite"):
        align_weights(torch.tensor([[1.0], [torch.nan]]), 1)
