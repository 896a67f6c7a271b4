"""The benchmarks of tests/bench run: on small batches, without looking at the clock."""

import sys

import numpy as np
import pytest
import torch
from sounds import ROOT, noise


@pytest.fixture
def bench(monkeypatch):
    """Import a benchmark as if its folder were the working directory, and forget it afterwards."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "bench"))
    for name in ("measure", "mixers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import measure
    import mixers

    yield mixers, measure
    for name in ("measure", "mixers"):
        sys.modules.pop(name)


def test_every_mode_is_called_with_and_without_out(bench):
    mixers, _ = bench
    timed = set()
    for shape in ((4, 1, 256), (4, 1, 12, 50)):
        functions, x = mixers.candidates(shape, "", with_peers=False)
        assert x.shape == shape
        for function in functions.values():
            function()
        timed |= {name.removesuffix(" out=") for name in functions}
    timed |= mixers.own_shapes("").keys()
    assert {repr(example.mixer) for example in mixers.all_examples()} <= timed


@pytest.mark.slow
def test_times_are_told_with_and_without_kept_pages(bench, capsys):
    mixers, _ = bench
    mixers.main(["--runs", "1", "--only", r"^MixUp\(\)$", "--size", "8 x 256", "--no-peers"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    (row,) = [row for row in rows if row[:1] == ["MixUp()"]]
    assert len(row) == 6
    assert all(float(value) >= 0 for value in row[1:])


def test_a_copy_is_one_copy(bench):
    _, measure = bench
    x = torch.zeros(1000)
    found = measure.compare({"twice": lambda: (x.clone(), x.clone())}, x, 2, least=0)
    assert found[None].ratios == (1.0, 1.0, 1.0)
    assert found["twice"].floors > 0


@pytest.fixture
def beat(monkeypatch):
    """The benchmark of beats, and what it imports under a short name."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "bench"))
    for name in ("beat", "trackers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import beat

    yield beat
    for name in ("beat", "trackers"):
        sys.modules.pop(name)


@pytest.mark.parametrize(("late", "near", "down"), [(0, 1, 1), (0.03, 1, 1), (0.1, 0, 0), (0.25, 1, 0)])
def test_a_pair_is_in_time_by_its_sound(beat, late, near, down):
    rate, times = 16000, [0.25 + 0.5 * i for i in range(18)]
    one = beat.Piece("one", 0.01 * noise(10 * rate), times, rate)
    other = beat.Piece("other", 0.01 * noise(10 * rate), times, rate)
    partner = other.marked.roll(round(late * rate))
    found = beat.outcome(one, other, partner, other.times + late)
    assert (found.near, found.downbeat) == (near, down)
    assert found.distance == pytest.approx(min(late, 0.25 - late), abs=0.002)
    few = [beat.Outcome(("a", "b"), 1.0), beat.Outcome(("c", "d"), 0.5), beat.Outcome(("a", "c"))]
    assert beat.share_in_time(few, np.ones(3)) == pytest.approx(1 / 3)
    assert list(beat.interval(few, beat.share_in_time)) == [0, 1]


def test_pieces_that_one_stretch_keeps_together_are_in_time_when_scripted(beat):
    pieces = [beat.Piece.of_drums("house", bpm, seed) for bpm, seed in ((112, 3), (120, 4))]
    assert [fit[0].name for fit in beat.fitting(pieces)] == ["house 112", "house 120"]
    assert np.isfinite(beat.scripted(*pieces).near)
    known = beat.mixed(*pieces, "known", beat.ANCHORS[0], 0)
    assert (known.near, known.downbeat) == (1.0, 1.0)
