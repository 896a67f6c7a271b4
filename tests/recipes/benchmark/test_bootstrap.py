"""The paired bootstrap against known deviations of a mean."""

import math
import statistics

import pytest
import torch

from audiomix.draw import generator_for
from recipes.benchmark.bootstrap import paired_bootstrap


def bootstrap(a, b, groups, seed=0, **options):
    return paired_bootstrap(torch.tensor(a), torch.tensor(b), groups, generator=generator_for(seed, "b"), **options)


def test_a_constant_difference_has_an_interval_of_one_point():
    assert tuple(bootstrap([1] * 10, [0] * 10, range(10))) == (100, 100, 100)
    assert tuple(bootstrap([1, 0] * 5, [1, 0] * 5, range(10))) == (0, 0, 0)


def test_the_interval_is_that_of_a_mean():
    """400 clips of as many recordings, 20 % of which A alone gets wrong: sd of the mean = sqrt(p q / n) = 2 points."""
    found = bootstrap([1] * 80 + [0] * 320, [0] * 400, range(400))
    assert found.mean == pytest.approx(20)
    assert found.low == pytest.approx(20 - 1.96 * 2, abs=0.4)
    assert found.high == pytest.approx(20 + 1.96 * 2, abs=0.4)


def test_clips_of_one_recording_are_drawn_together():
    """The same errors in 40 recordings of 10 clips that are right or wrong as one: sqrt(10) times as wide."""
    a = [1] * 80 + [0] * 320
    found = bootstrap(a, [0] * 400, [i // 10 for i in range(400)])
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * 2 * math.sqrt(10), rel=0.1)
    assert found.mean == pytest.approx(20)


def test_pairing_removes_what_both_find_hard():
    hard = [1, 0] * 200
    paired = bootstrap(hard, [h and i % 20 != 0 for i, h in enumerate(hard)], range(400))
    assert paired.mean == pytest.approx(5)
    assert paired.low > 2.5  # unpaired, with a deviation of 3.5 points for each, it would reach below 0


def test_recordings_of_other_sizes_are_weighed_by_their_clips():
    found = bootstrap([1, 0, 0, 0], [0, 0, 0, 0], ["x", "y", "y", "y"], draws=4000)
    assert found.mean == 25
    # draws of two recordings: xx 100 %, xy 25 %, yy 0 %
    assert (found.low, found.high) == (0, 100)
    assert statistics.mean([found.low, found.high]) == 50


def test_a_bootstrap_is_seeded_and_refuses_what_is_not_paired():
    a, b = [1, 0, 1, 1, 0] * 4, [0, 0, 1, 0, 0] * 4
    first, again, other = (bootstrap(a, b, range(20), seed=s, draws=300) for s in (0, 0, 1))
    assert first == again
    assert first != other
    with pytest.raises(ValueError, match="errors_b must be of 20 items"):
        bootstrap(a, b[:-1], range(20))
    with pytest.raises(ValueError, match="groups must be one for each of 20 predictions, got 19"):
        bootstrap(a, b, range(19))
    with pytest.raises(ValueError, match="groups must be at least two recordings, got one"):
        bootstrap(a, b, ["x"] * 20)
