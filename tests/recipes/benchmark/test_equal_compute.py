"""What a step costs, counted by hand; the row of equal compute in a benchmark."""

import csv
import dataclasses
import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from recipes import algorithms
from recipes.benchmark.equal_compute import (
    EqualCompute,
    OperationCounter,
    Operations,
    Resolved,
    count_operations,
    count_step,
    find_costliest,
    has_equal_steps,
    with_steps,
)
from recipes.benchmark.plan import plan_runs
from recipes.benchmark.rows import parse_row
from recipes.cli import main

SMALL = ["--steps", "4", "--every", "2", "--rate", "8000", "--window", "256", "--hop", "100", "--n-mels", "32",
         "--threads", "1", "--batch-labelled", "4", "--batch-unlabelled", "4", "--device", "cpu",
         "--model-options", "width=2", "--labelled", "1", "--fold", "1"]  # fmt: skip
NETWORK = """
from torch import nn
class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.AvgPool2d((32, 41)), nn.Flatten(), nn.Linear(1, 8, bias=False), nn.ReLU(),
                         nn.Linear(8, num_classes, bias=False))
"""


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def row_of(toy_config):
    """Return a function that makes a row with the toy configuration."""

    def make(text, **changes):
        row = parse_row(text, "small")
        return dataclasses.replace(row, config=dataclasses.replace(toy_config, **changes))

    return make


def test_a_step_costs_what_its_matrix_products_cost(row_of, toy_data, tmp_path):
    """Two layers, (1, 8) and (8, 3). Forwards 2 (8 + 24) a clip; backwards as much for the weights, and for the input
    of the second alone.
    """
    (tmp_path / "net.py").write_text(NETWORK)
    clip = 2 * (8 + 24) + 2 * (8 + 24) + 2 * 24
    row = row_of("supervised", model=f"{tmp_path / 'net.py'}:Net")
    assert count_step(Resolved(row, row.config), toy_data.dataset, 1) == 4 * clip
    mixed = row_of("supervised+mixup", model=f"{tmp_path / 'net.py'}:Net")
    assert count_step(Resolved(mixed, mixed.config), toy_data.dataset, 1) == 4 * clip
    # fixmatch: 4 labelled clips and 8 strong views are learnt from, 8 weak views are predicted
    row = row_of("fixmatch", model=f"{tmp_path / 'net.py'}:Net")
    predicted = 2 * (8 + 24)
    # the statistics of the pseudo-labels are a product too
    expected = pytest.approx(12 * clip + 8 * predicted, rel=0.02)
    assert count_step(Resolved(row, row.config), toy_data.dataset, 42) == expected
    # mixmatch: two weak views of each
    row = row_of("mixmatch", model=f"{tmp_path / 'net.py'}:Net")
    expected = pytest.approx((4 + 16) * clip + 16 * predicted, rel=0.02)
    assert count_step(Resolved(row, row.config), toy_data.dataset, 42) == expected


@pytest.mark.parametrize("name", algorithms.available())
def test_a_step_of_every_method_can_be_counted(name, row_of, toy_data):
    row = row_of(name, model_options=("width=2",))
    supervised = row_of("supervised", model_options=("width=2",))
    cost = count_step(Resolved(row, row.config), toy_data.dataset, 42)
    least = count_step(Resolved(supervised, row.config), toy_data.dataset, 42)
    assert cost > least if algorithms.get(name).needs_unlabelled else cost == least


def test_a_step_on_embeddings_is_counted_too(row_of, toy_data):
    """A linear head on 32 features: each clip costs 2 * 32 * 3 forwards and as much for the weights."""
    row = parse_row("supervised", "small", overrides={"embedding": "mine.npz"})
    config = dataclasses.replace(row.config, rate=8000, batch_labelled=4)
    found = count_step(Resolved(row, config, 32), toy_data.dataset, 1)
    assert found == pytest.approx(4 * 2 * 2 * 32 * 3, rel=0.6)  # batch norm lets the input ask for a gradient
    assert count_step(Resolved(row, config, 64), toy_data.dataset, 1) == 2 * found


def test_all_rounds_of_a_run_are_counted(row_of, toy_data, tmp_path):
    """A student learns from 4 labelled clips and 8 strong views in each round behind the first."""
    (tmp_path / "net.py").write_text(NETWORK)
    model, clip = f"{tmp_path / 'net.py'}:Net", 2 * (8 + 24) + 2 * (8 + 24) + 2 * 24
    one, three = row_of("fixmatch", model=model), row_of("fixmatch", model=model, head=("graph",), rounds=3)
    first, all_rounds = (count_step(Resolved(row, row.config), toy_data.dataset, 42) for row in (one, three))
    assert all_rounds == pytest.approx(first + 2 * 12 * clip, rel=0.02)


def test_operations_are_those_of_torchs_counter():
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, stride=2), torch.nn.Flatten(), torch.nn.Linear(36, 3))
    found = []
    for counter in (FlopCounterMode(display=False), OperationCounter()):
        with counter:
            network(torch.zeros(2, 1, 8, 8)).sum().backward()
        found.append(counter.get_total_flops() if isinstance(counter, FlopCounterMode) else counter.total)
    assert found[0] == found[1] > 0


def test_counting_is_the_same_every_time_and_draws_nothing_global(row_of, toy_data):
    row, state = row_of("remixmatch", model_options=("width=2",)), torch.get_rng_state()
    first, again = (count_step(Resolved(row, row.config), toy_data.dataset, 42) for _ in range(2))
    assert first == again > 0
    assert torch.equal(state, torch.get_rng_state())
    twice = dataclasses.replace(row.config, batch_labelled=8, batch_unlabelled=16)
    assert count_step(Resolved(row, twice), toy_data.dataset, 42) == 2 * first


def test_of_the_runs_of_a_row_the_longest_counts(row_of, toy_data, tmp_path):
    row = row_of("fixmatch", steps=None, epochs=3, model_options=("width=2",))
    runs, _ = plan_runs(toy_data.dataset, [row], ["1", "8"], ["1", "2"], [0], tmp_path)
    found = count_operations(runs, toy_data.dataset)["fixmatch"]
    few, many = row.config.count_steps(3, 45), row.config.count_steps(24, 24)  # 48 clips train
    assert found.steps == few > many
    assert found.run == found.steps * found.step


def test_the_costliest_semi_supervised_row_counts_and_stays_until_one_costs_more():
    rows = [parse_row(text, "small") for text in ("supervised", "fixmatch", "mixmatch")]
    costs = {"supervised": Operations(1, 10**6), "fixmatch": Operations(10, 40), "mixmatch": Operations(30, 40)}
    found = find_costliest(rows, costs)
    assert (found.title, found.mixer, found.run) == ("mixmatch + mixup", "mixup", 1200)
    assert found.text() == "supervised:steps=equal+mixup"
    recorded = dataclasses.asdict(found)
    assert find_costliest(rows[:2], costs, recorded) == found
    more = find_costliest(rows[:2], costs | {"fixmatch": Operations(10, 4000)}, recorded)
    assert (more.title, more.mixer) == ("fixmatch", None)
    assert more.text() == "supervised:steps=equal+mixup"  # fixmatch does not mix
    assert find_costliest(rows[:1], costs) is None


def test_steps_cost_as_much_and_have_a_cap_that_is_told():
    equal = EqualCompute("mixmatch + mixup", "mixup", 400, 400 * 100)
    assert equal.count_steps(10) == 4000
    assert equal.count_steps(13) == 3077
    assert equal.count_steps(10**9) == 1
    assert equal.count_steps(1) == 8000
    assert "times as many" not in equal.note("supervised", 4000, 10)
    assert "20% of it: 20 times as many steps are the most" in equal.note("supervised", 8000, 1)
    few = EqualCompute("fixmatch", None, 4, 100)
    assert few.count_steps(40) == 2  # 80 of 100: there is no half step
    assert "times as many" not in few.note("supervised", 2, 40)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("supervised:steps=equal", "supervised:steps=7"),
        ("supervised:steps=equal+mixup:alpha=0.3", "supervised:steps=7+mixup:alpha=0.3"),
        ("supervised:lr=0.1,steps=equal,networks=2", "supervised:lr=0.1,steps=7,networks=2"),
        ("supervised: steps = equal +mixup", "supervised: steps = 7 +mixup"),
    ],
)
def test_the_text_of_a_row_gets_its_steps(text, steps):
    assert has_equal_steps(text)
    assert with_steps(text, 7) == steps
    assert not has_equal_steps(steps)
    assert parse_row(steps, "small").config.steps == 7


@pytest.mark.parametrize("text", ["supervised", "supervised:steps=400", "supervised:steps=equals", "mine.py:steps"])
def test_other_rows_have_no_equal_steps(text):
    assert not has_equal_steps(text)


def test_a_benchmark_has_a_row_of_equal_compute_and_it_is_the_baseline(tone_folder, tmp_path, capsys):
    out = tmp_path / "b"
    line = ["bench", "folder", str(tone_folder), *SMALL, "--out", str(out)]
    assert main([*line, "--methods", "supervised", "mixmatch", "fixmatch"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "has the compute of mixmatch + mixup, the costliest semi-supervised row" in told
    rows = {row["text"]: row for row in read(out / "table.csv")}
    (text,) = set(rows) - {"supervised", "mixmatch", "fixmatch"}
    compute = {name: float(row["compute"]) for name, row in rows.items()}
    assert compute[text] == pytest.approx(compute["mixmatch"], rel=0.05)
    assert compute["supervised"] < compute["fixmatch"] < compute["mixmatch"]
    assert rows[text]["raw_verdict"] == "baseline"
    assert rows["supervised"]["raw_gain"] != ""
    steps = int(text.removeprefix("supervised:steps=").removesuffix("+mixup"))
    config = json.loads((out / "1" / f"supervised_steps={steps}+mixup" / "fold1-seed0" / "config.json").read_text())
    assert (config["settings"]["config"]["steps"], config["settings"]["mixer"]) == (steps, "mixup")
    page = (out / "results.md").read_text()
    assert f"supervised (equal compute: steps={steps}) + mixup has the compute of mixmatch + mixup" in page
    assert f"gain over supervised (equal compute: steps={steps}) + mixup" in page
    # a cheaper row does not move it, and neither does a name for it
    assert main([*line, "--methods", "fixmatch:threshold=0.5", "--resume"]) == 0
    assert [row["text"] for row in read(out / "table.csv") if row["text"].startswith("supervised:")] == [text]
    # a costlier one has a row of its own, which the others are compared with
    assert main([*line, "--methods", "mixmatch:views=3", "--resume"]) == 0
    found = [row["text"] for row in read(out / "table.csv") if row["text"].startswith("supervised:")]
    assert len(found) == 2
    assert {row["text"]: row["raw_verdict"] for row in read(out / "table.csv")}[found[1]] == "baseline"
    assert "has the compute of mixmatch (views=3) + mixup" in (out / "results.md").read_text()


def test_the_row_can_be_named_and_left_out(tone_folder, tmp_path, capsys):
    line = ["bench", "folder", str(tone_folder), *SMALL]
    named = ["--methods", "fixmatch", "supervised:steps=equal", "--baseline", "supervised:steps=equal"]
    assert main([*line, *named, "--out", str(tmp_path / "a")]) == 0
    texts = [row["text"] for row in read(tmp_path / "a" / "table.csv")]
    assert len(texts) == 2
    assert texts[0].startswith("supervised:steps=")  # unmixed, as it was named
    assert "+" not in texts[0]
    assert main([*line, "--methods", "fixmatch", "--no-equal-compute", "--out", str(tmp_path / "b")]) == 0
    assert [row["text"] for row in read(tmp_path / "b" / "table.csv")] == ["fixmatch"]
    assert main([*line, "--methods", "supervised", "--out", str(tmp_path / "c")]) == 0
    assert [row["text"] for row in read(tmp_path / "c" / "table.csv")] == ["supervised"]
    capsys.readouterr()
    for wrong, message in {
        "supervised:steps=equal": "methods must be with a semi-supervised row beside supervised:steps=equal",
        "supervised:stepz=3,steps=equal": "did you mean 'steps'",
    }.items():
        assert main([*line, "--methods", wrong, "--out", str(tmp_path / "d")]) == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_the_row_that_is_added_learns_from_labels_alone(tone_folder, tmp_path):
    line = ["bench", "folder", str(tone_folder), *SMALL, "--rounds", "2", "--head", "graph", "--out", str(tmp_path)]
    assert main([*line, "--methods", "fixmatch"]) == 0
    assert len(list(tmp_path.glob("1/fixmatch/*/round1"))) == 1
    assert len(list(tmp_path.glob("1/supervised_*/*/result.json"))) == 1
    assert not list(tmp_path.glob("1/supervised_*/*/round1"))


def test_all_rows_are_measured_on_the_same_clips(tone_folder, tmp_path, capsys):
    line = ["bench", "folder", str(tone_folder), *SMALL, "--out", str(tmp_path / "b")]
    assert main([*line, "--methods", "supervised", "supervised:validation=20%"]) == 2
    assert "all rows are measured on the same clips: --validation" in " ".join(capsys.readouterr().err.split())
    assert main([*line, "--methods", "supervised", "--validation", "20%"]) == 0
    for more in ([], ["--validation", "20%", "--test"], ["--validation", "30%"]):
        assert main([*line, "--methods", "supervised:lr=0.1", *more, "--resume"]) == 2
        assert "the clips to measure on must be validation (20%), as in" in " ".join(capsys.readouterr().err.split())
