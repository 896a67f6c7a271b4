"""The benchmarks of tests/bench run: on small batches, without looking at the clock."""

import sys

import pytest
import torch
from sounds import ROOT


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
