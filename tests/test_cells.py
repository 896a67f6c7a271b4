"""Cells of a grid: where they lie, how many samples they have, and gains over them."""

import numpy as np
import pytest
import torch
from sounds import seeded

from audiomix.cells import Cells, cell_index, cell_ramps, cell_samples, edges, over_time

GRIDS = [(7, 1 / 7, 100), (4, 0.3, 37), (3, 0.5, 5), (1, 1.0, 9), (9, 0.2, 4)]


@pytest.mark.parametrize(("count", "width", "size"), GRIDS)
def test_edges_and_index_say_the_same(count, width, size):
    starts = edges(count, width, size)
    assert starts[0] == 0
    assert starts[-1] == size
    assert (np.diff(starts) >= 0).all()
    index = cell_index(count, width, size).numpy()
    assert np.array_equal(index, np.searchsorted(starts, np.arange(size), side="right") - 1)
    inner = starts[1:-1]
    wanted = np.arange(1, count) * width * size
    assert (np.abs(inner - np.minimum(wanted, size)) <= 0.5 + 1e-5).all()  # the nearest whole sample


@pytest.mark.parametrize("fade", [0.0, 0.004, 0.03, 0.11])
def test_samples_of_cells_sum_gains_as_a_loop_over_samples_does(fade):
    gains, size = torch.rand(10, generator=seeded(), dtype=torch.float64), 997
    ends = np.array([997, 996, 500, 3, 0, 56])
    over = over_time(gains, 0.11, fade, size)
    samples = cell_samples(10, 0.11, fade, size, ends)
    for row, end in zip(samples, ends):
        assert float(row @ gains.numpy()) == pytest.approx(float(over[:end].sum()), abs=1e-9)
        assert row.sum() == pytest.approx(end, abs=1e-9)


def test_a_fade_is_a_straight_line_between_two_gains_around_their_edge():
    gains = over_time(torch.tensor([1.0, 0.0, 0.5]).double(), 0.4, 0.2, 20)
    assert gains[:6].tolist() == [1] * 6
    torch.testing.assert_close(gains[6:10], torch.tensor([0.875, 0.625, 0.375, 0.125]).double())
    assert gains[10:14].tolist() == [0] * 4
    torch.testing.assert_close(gains[14:18], torch.tensor([0.0625, 0.1875, 0.3125, 0.4375]).double())
    assert gains[18:].tolist() == [0.5] * 2


def test_with_the_widest_fade_gains_run_from_centre_to_centre():
    gains = torch.rand(8, generator=seeded(), dtype=torch.float64)
    over = over_time(gains, 1 / 8, 1 / 8, 800).numpy()
    centre = np.arange(8) * 100 + 50.0
    np.testing.assert_allclose(over, np.interp(np.arange(800) + 0.5, centre, gains.numpy()), atol=1e-12)


def test_ramps_stay_within_the_grid():
    left, right, ramp = cell_ramps(3, 0.4, 0.4, 1000)
    assert (left.min(), left.max()) == (0, 1)
    assert (right.min(), right.max()) == (0, 2)
    assert set((right - left).tolist()) == {0, 1}
    assert ((ramp >= 0) & (ramp <= 1)).all()


def test_spans_are_where_the_gain_is_more_than_half_of_the_largest():
    cells = Cells(torch.tensor([[0.0, 0.8, 0.0, 0.3], [0.0, 0.0, 0.0, 0.8]]), width=0.25)
    assert cells.spans(100) == [(25, 50), (75, 100)]
    assert Cells(torch.zeros(1, 4), width=0.25).spans(100) == []
    assert Cells(torch.zeros(1, 4), width=0.25, end=0.5, rest=1.0).spans(100) == [(50, 100)]
    faded = Cells(torch.tensor([[1.0, 0.0]]), width=0.5, fade=0.1)
    assert faded.spans(100) == [(0, 50)]
