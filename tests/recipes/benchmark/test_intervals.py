"""Intervals against known deviations, a simulation of how often they hold the truth, and Holm's own example."""

import math
import statistics

import pytest
import torch

from audiomix.draw import generator_for
from recipes.benchmark.intervals import Interval, adjust_for_rows, crossed_bootstrap, paired_t, wider


def bootstrap(a, b, recordings, folds=None, seeds=None, seed=0, **options):
    differences = torch.tensor(a) - torch.tensor(b)
    one = [0] * len(a)
    more = {"generator": generator_for(seed, "b"), **options}
    return crossed_bootstrap(differences, list(recordings), folds or one, seeds or one, **more)


def test_a_constant_difference_has_an_interval_of_one_point():
    assert bootstrap([1] * 10, [0] * 10, range(10)) == (100, 100, 100, 2 / 10001)
    assert bootstrap([1, 0] * 5, [1, 0] * 5, range(10)) == (0, 0, 0, 1)


def test_the_interval_of_one_run_is_that_of_a_mean():
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
    found = bootstrap([1, 0, 0, 0, 0, 0], [0] * 6, ["x", "y", "y", "y", "z", "z"], draws=4000)
    assert found.mean == pytest.approx(100 / 6)
    # draws of two of three recordings: xx 100 %, xz and zx 50, xy and yx 25, others 0
    assert (found.low, found.high) == (0, 100)
    assert found.p == pytest.approx(8 / 9, abs=0.03)  # four of nine draws are at 0 or below


def test_runs_count_alike_whatever_the_clips_of_their_folds():
    """The mean is that of the runs, as the table's errors are: fold 1 has 2 clips, fold 2 has 8."""
    found = bootstrap([1, 1] + [0] * 8, [0] * 10, range(10), folds=["1"] * 2 + ["2"] * 8)
    assert found.mean == 50
    assert (found.low, found.high) == (0, 100)


def crossed(folds, seeds, clips, value):
    """Return arguments for differences that are a function of fold, seed and clip."""
    cells = [(f, s, i) for f in range(folds) for s in range(seeds) for i in range(clips)]
    differences = torch.tensor([float(value(f, s, i)) for f, s, i in cells], dtype=torch.float64)
    return differences, [(f, i) for f, _, i in cells], [f for f, _, _ in cells], [s for _, s, _ in cells]


def deviation(found):
    return (found.high - found.low) / (2 * 1.96)


@pytest.mark.parametrize("factor", ["fold", "seed", "recording"])
def test_a_factor_alone_has_the_deviation_of_its_mean(factor):
    """The unbiased deviation of n values over sqrt(n): n - 1 draws of n units have it, n draws less."""
    count = {"fold": 30, "seed": 30, "recording": 30}[factor]
    values = torch.randn(count, generator=torch.Generator().manual_seed(3), dtype=torch.float64).tolist()
    made = {
        "fold": crossed(count, 1, 2, lambda f, s, i: values[f]),
        "seed": crossed(1, count, 1, lambda f, s, i: values[s]),
        "recording": crossed(1, 1, count, lambda f, s, i: values[i]),
    }[factor]
    found = crossed_bootstrap(*made, generator=generator_for(0, "b"))
    assert deviation(found) == pytest.approx(100 * statistics.stdev(values) / math.sqrt(count), rel=0.06)


def test_a_shared_seed_is_one_draw_in_all_its_runs():
    """Twelve folds with the same difference in every seed: as wide as the seeds alone, though there are 36 runs."""
    values = [-1.0, 0.0, 1.0]
    alone = crossed_bootstrap(*crossed(1, 3, 1, lambda f, s, i: values[s]), generator=generator_for(0, "b"))
    all_folds = crossed_bootstrap(*crossed(12, 3, 4, lambda f, s, i: values[s]), generator=generator_for(0, "b"))
    assert (alone.low, alone.high) == (all_folds.low, all_folds.high) == (-100, 100)


def test_recordings_are_drawn_with_their_fold_where_there_are_five_and_else_by_themselves():
    """All that differs is the recording: within 6 folds it is averaged away, with 3 it is drawn."""
    value = lambda f, s, i: (-1) ** i  # noqa: E731
    many = crossed_bootstrap(*crossed(6, 1, 10, value), generator=generator_for(0, "b"))
    few = crossed_bootstrap(*crossed(3, 1, 10, value), generator=generator_for(0, "b"))
    assert (many.low, many.high) == (0, 0)
    assert few.high - few.low > 40
    # validation clips: the same recordings in all folds
    differences, recordings, folds, seeds = crossed(6, 1, 100, value)
    shared = crossed_bootstrap(differences, [i for _, i in recordings], folds, seeds, generator=generator_for(0, "b"))
    assert deviation(shared) == pytest.approx(10, rel=0.1)


def test_folds_need_not_have_every_seed():
    differences, recordings, folds, seeds = crossed(5, 3, 4, lambda f, s, i: 1)
    kept = [i for i, (f, s) in enumerate(zip(folds, seeds)) if f == 0 or s == 0]
    parts = [[values[i] for i in kept] for values in (recordings, folds, seeds)]
    found = crossed_bootstrap(differences[kept], *parts, generator=generator_for(0, "b"))
    assert found[:3] == (100, 100, 100)


def test_a_bootstrap_is_seeded_and_refuses_what_is_not_paired():
    a, b = [1, 0, 1, 1, 0] * 4, [0, 0, 1, 0, 0] * 4
    first, again, other = (bootstrap(a, b, range(20), seed=s, draws=300) for s in (0, 0, 1))
    assert first == again
    assert first != other
    with pytest.raises(ValueError, match="recordings must be one for each of 20 predictions, got 19"):
        bootstrap(a, b, range(19))
    assert bootstrap(a, b, ["x"] * 20) is None


def coverage(folds, seeds, sd, trials=150, clips=40, draws=400):
    """Return how often each interval holds the true difference, 0, where `sd` has the effects' deviations."""
    generator = torch.Generator().manual_seed(7)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    _, recordings, fold_of, seed_of = crossed(folds, seeds, clips, lambda f, s, i: 0)
    held = {"recordings": 0, "crossed": 0, "t": 0, "wider": 0}
    for _ in range(trials):
        d = sd.get("fold", 0) * normal(folds, 1, 1) + sd.get("seed", 0) * normal(1, seeds, 1)
        d = d + sd.get("run", 0) * normal(folds, seeds, 1) + sd.get("recording", 0) * normal(folds, 1, clips)
        d = d + 0.4 * normal(folds, seeds, clips)
        none, more = [0] * d.numel(), {"draws": draws, "generator": generator}
        # what the tables had before: recordings alone, all runs of a clip as one
        found = {"recordings": crossed_bootstrap(d.flatten(), recordings, none, none, **more)}
        found["crossed"] = crossed_bootstrap(d.flatten(), recordings, fold_of, seed_of, **more)
        found["t"] = paired_t((100 * d.mean(-1)).flatten().tolist())
        found["wider"] = wider(found["crossed"], found["t"])
        for name, interval in found.items():
            held[name] += interval.low <= 0 <= interval.high
    return {name: count / trials for name, count in held.items()}


def test_where_seeds_differ_much_an_interval_over_recordings_alone_claims_too_much():
    found = coverage(5, 3, {"seed": 0.05, "recording": 0.2})
    assert found["recordings"] < 0.8
    assert found["t"] < 0.85  # takes the runs of one seed for independent
    assert found["crossed"] > 0.88  # three seeds say little of others


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folds", "seeds", "sd"),
    [
        (5, 3, {"recording": 0.3}),
        (5, 3, {"run": 0.05, "recording": 0.2}),
        (5, 3, {"fold": 0.03, "recording": 0.2}),
        (5, 3, {"seed": 0.02, "fold": 0.02, "run": 0.03, "recording": 0.2}),
        (5, 5, {"seed": 0.04, "recording": 0.2}),
        (10, 3, {"seed": 0.03, "recording": 0.2}),
        (1, 10, {"seed": 0.03, "recording": 0.2}),
        (2, 5, {"fold": 0.02, "seed": 0.02, "recording": 0.2}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else str(value),
)
def test_the_crossed_interval_holds_the_truth_about_as_often_as_it_says(folds, seeds, sd):
    assert coverage(folds, seeds, sd, trials=200)["crossed"] >= 0.92


@pytest.mark.slow
def test_two_seeds_that_differ_much_are_the_worst_case_that_the_docstring_tells():
    assert 0.87 <= coverage(5, 2, {"seed": 0.05, "recording": 0.2}, trials=400)["crossed"] <= 0.94
    assert coverage(5, 3, {"seed": 0.05, "recording": 0.2}, trials=400)["crossed"] >= 0.92


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folds", "seeds", "sd"),
    [
        (5, 1, {"fold": 0.04, "recording": 0.2}),
        (5, 1, {"run": 0.04}),
        (1, 3, {"seed": 0.03, "recording": 0.2}),
        (2, 2, {"seed": 0.02, "recording": 0.2}),
        (3, 2, {"run": 0.03, "recording": 0.2}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else str(value),
)
def test_of_few_runs_the_wider_interval_holds_the_truth(folds, seeds, sd):
    assert coverage(folds, seeds, sd, trials=200)["wider"] >= 0.92


def test_the_t_interval_is_students():
    # five differences of mean 2 and deviation sqrt(2.5): t(0.975, 4) = 2.776445
    found = paired_t([0.0, 1.0, 2.0, 3.0, 4.0])
    assert found.mean == 2
    reach = 2.776445 * math.sqrt(2.5 / 5)
    assert (found.low, found.high) == pytest.approx((2 - reach, 2 + reach), rel=1e-5)
    # with 4 degrees of freedom 1 - p is sin(a) (1 + cos(a)^2 / 2) of tan(a) = t / 2, here sqrt(2)
    assert found.p == pytest.approx(1 - math.sqrt(2 / 3) * 7 / 6)
    assert paired_t([3.0]) is None
    assert paired_t([3.0, 3.0]) == (3, 3, 3, 0)
    assert paired_t([0.0, 0.0]) == (0, 0, 0, 1)


def test_the_wider_of_two_intervals_is_the_one_that_claims_less():
    narrow, wide = Interval(5, 3, 7, 0.001), Interval(5, -1, 11, 0.09)
    assert wider(narrow, wide) == wider(wide, narrow) == wide
    assert wider(None, narrow) == wider(narrow, None) == narrow
    assert wider(None, None) is None
    # runs that agree by chance have no width in the t test
    assert wider(Interval(5, 5, 5, 0.0), narrow) == narrow


def test_holms_correction_by_hand():
    # 4 * 0.005, 3 * 0.01, 2 * 0.03, and 0.04, which is not below that of the value before
    assert adjust_for_rows([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    # 5 * 0.001, 4 * 0.01, 3 * 0.02, and at most 1
    assert adjust_for_rows([0.9, 0.5, 0.02, 0.01, 0.001]) == pytest.approx([1, 1, 0.06, 0.04, 0.005])
    assert adjust_for_rows([0.04]) == [0.04]
    assert adjust_for_rows([]) == []
