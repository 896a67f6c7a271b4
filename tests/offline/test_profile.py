"""Which share of a run's time each stage takes is said where it is asked for, and changes nothing else."""

import pytest
from made import mix, tree

from audiomix import stopwatch
from audiomix.stopwatch import Stopwatch


def test_time_of_an_inner_stage_is_not_the_outer_ones(monkeypatch):
    clock = iter([0.0, 1.0, 3.0, 7.0, 7.5])
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(clock))
    watch = Stopwatch()
    with watch.stage("outer"), watch.stage("inner"):
        pass
    assert watch.seconds == {"outer": 1.0 + 4.0, "inner": 2.0}
    watch.add({"inner": 3.0})
    assert watch.describe() == "of 10.0 s in all processes: outer 50.0%, inner 50.0%"
    assert watch.take() == {"outer": 5.0, "inner": 5.0}
    assert watch.seconds == {}
    with Stopwatch(running=False).stage("outer"):
        assert next(clock) == 7.5


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_says_where_its_time_went(classes, tmp_path, workers):
    mix(classes, tmp_path / "plain")
    report = mix(classes, tmp_path / "out", profile=True, workers=workers)
    assert tree(tmp_path / "out") == tree(tmp_path / "plain")
    (note,) = [note for note in report.notes if note.startswith("of ") and "in all processes" in note]
    for stage in ("decode", "mix", "encode and write", "fingerprints", "draw partners", "journal"):
        assert stage in note
