"""Gains of runs over runs: pairs of the same fold and seed, whole recordings, which interval is used, the verdict."""

import numpy as np
import pytest

from recipes.benchmark.gains import Gain, RunPredictions, adjust_gains, compare_runs
from recipes.benchmark.intervals import Interval
from recipes.training.run_folder import RunResult

CLIPS = 20  # of each fold
EVERY = set(range(CLIPS))


class Runs:
    """Runs in which the network mistakes some clips, and its average none."""

    def __init__(self):
        self.predictions = {}

    def add(self, name, fold, seed, wrong, measured_on="test", first=None):
        run = RunResult(name, fold, seed, 0, 0, 0, 0, 1.0, 1.0, f"{name}-{fold}-{seed}", measured_on=measured_on)
        clips = np.arange(CLIPS) + CLIPS * (int(fold) - 1 if first is None else first)
        true = np.zeros(CLIPS, np.int64)
        mistaken = np.array([i in wrong for i in range(CLIPS)], np.int64)
        self.predictions[run.folder, name] = RunPredictions(clips, true, mistaken, true)
        return run

    def gain(self, base, other, network="raw", group=lambda i: i):
        groups = [group(i) for i in range(8 * CLIPS)]
        return compare_runs(base, other, self.predictions, groups, network)


def test_gains_are_of_pairs_of_the_same_fold_and_seed():
    runs = Runs()
    always = [runs.add("base", fold, seed, EVERY) for fold in "12" for seed in (0, 1)]
    never = [runs.add("never", fold, 0, set()) for fold in "12"]
    cases = [(always, never, "raw", 100), (never, always, "raw", -100), (always, never, "ema", 0)]
    for base, other, network, mean in cases:
        found = runs.gain(base, other, network)
        assert found.runs == 2
        assert found.bootstrap[:3] == found.t[:3] == (mean, mean, mean)
    assert runs.gain(always[:2], never[1:]) is None  # fold 1 and fold 2 have no run in common


def test_recordings_stay_whole_in_a_single_run():
    runs = Runs()
    always, half = [runs.add("base", "1", 0, EVERY)], [runs.add("half", "1", 0, set(range(10)))]
    alone = runs.gain(always, half)
    assert alone.t is None
    assert alone.used.mean == 50
    assert 20 < alone.used.low < 45
    assert 55 < alone.used.high < 80
    three = runs.gain(always, half, group=lambda i: "abc"[(i >= 10) + (i >= 15)])  # two of three are drawn
    assert three.used[1:3] == (0, 100)
    assert runs.gain(always, half, group=lambda i: "one") is None


def test_the_mean_is_that_of_the_runs_errors_in_both_intervals():
    runs = Runs()
    base = [runs.add("base", fold, seed, EVERY) for fold in "123" for seed in (0, 1)]
    other = [runs.add("other", fold, seed, set(range(int(fold) + 3 * seed))) for fold in "123" for seed in (0, 1)]
    found = runs.gain(base, other)
    expected = 100 - 100 * sum(int(f) + 3 * s for f in "123" for s in (0, 1)) / 6 / CLIPS
    assert found.bootstrap.mean == pytest.approx(expected)
    assert found.t.mean == pytest.approx(expected)


def test_runs_that_are_measured_on_other_clips_are_not_compared():
    runs = Runs()
    base, other = [runs.add("base", "1", 0, EVERY)], [runs.add("other", "1", 0, EVERY, first=3)]
    with pytest.raises(ValueError, match="clips that other-1-0 is measured on must be those of base-1-0, got others"):
        runs.gain(base, other)
    with pytest.raises(ValueError, match="must be those of"):
        runs.gain(base, [runs.add("valid", "1", 0, EVERY, measured_on="validation")])


NARROW, WIDE = Interval(5.0, 3.0, 7.0, 0.001), Interval(5.0, -1.0, 11.0, 0.2)


def test_ten_runs_have_the_bootstrap_and_fewer_the_interval_that_claims_less():
    assert (Gain(10, NARROW, WIDE).used, Gain(10, NARROW, WIDE).name) == (NARROW, "bootstrap")
    assert (Gain(9, NARROW, WIDE).used, Gain(9, NARROW, WIDE).name) == (WIDE, "t")
    assert (Gain(9, WIDE, NARROW).used, Gain(9, WIDE, NARROW).name) == (WIDE, "bootstrap")
    assert (Gain(1, NARROW, None).used, Gain(1, NARROW, None).name) == (NARROW, "bootstrap")
    assert (Gain(12, None, NARROW).used, Gain(12, None, NARROW).name) == (NARROW, "t")


def test_the_verdict_follows_the_corrected_p_value():
    def with_p(p, sign=1):
        return Gain(15, Interval(5.0 * sign, 1.0, 9.0, p), None)

    alone = adjust_gains({"a": with_p(0.03)})
    assert alone["a"].verdict == "gain"  # its interval excludes 0
    found = adjust_gains({"a": with_p(0.03), "base": None, "b": with_p(0.04), "c": with_p(0.001, -1)})
    assert {name: None if gain is None else round(gain.p, 4) for name, gain in found.items()} == {
        "a": 0.06, "base": None, "b": 0.06, "c": 0.003,
    }  # fmt: skip
    assert [found[name].verdict for name in "abc"] == ["no gain shown", "no gain shown", "worse"]
    assert with_p(0.001).verdict == ""  # not before it is corrected
