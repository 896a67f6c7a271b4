"""The Python API does what the command line does, and reads its folder."""

import subprocess
import sys

import pytest
import torch
from runs import assert_same_run

import recipes
from recipes import api, bench, train
from recipes.api import read_trained_run
from recipes.cli import main

SMALL = {
    "labelled": 2, "rate": 8000, "window": "256", "hop": 100, "n_mels": 32, "threads": 1, "batch_labelled": 4,
    "batch_unlabelled": 8, "steps": 4, "every": 2, "device": "cpu",
}  # fmt: skip
WORDS = [word for key, value in SMALL.items() for word in (f"--{key.replace('_', '-')}", str(value))]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def waves():
    """Return two classes of tones in noise, in memory: 20 clips, two of which have no class."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(4000) / 8000
    labels = [("low", "high")[i % 2] for i in range(18)] + [None, None]
    found = [
        0.4 * torch.sin(2 * torch.pi * (300 if i % 2 == 0 else 2000) * time)
        + 0.02 * torch.randn(4000, generator=generator)
        for i in range(20)
    ]
    return torch.stack(found), labels, 8000


@pytest.mark.slow
def test_a_run_is_that_of_the_command_line(tone_folder, tmp_path):
    seen = []
    run = train("fixmatch", "folder", tone_folder, threshold=0.5, fold=2, seed=3, on_row=seen.append, **SMALL)
    line = ["run", "fixmatch", "folder", str(tone_folder), "--threshold", "0.5", "--fold", "2", "--seed", "3", *WORDS]
    assert main([*line, "--out", "cli"]) == 0
    assert_same_run(run.folder, tmp_path / "cli" / "fold2-seed3")
    assert [row["step"] for row in seen] == [2, 4]
    assert run.error == run.result.history[-1]["error"]
    wrong = sum(p.predicted != p.label for p in run.predictions)
    assert run.error == pytest.approx(100 * wrong / len(run.predictions))
    before = (run.folder / "result.json").stat().st_mtime_ns
    again = train("fixmatch", "folder", tone_folder, threshold=0.5, fold=2, seed=3, **SMALL)
    assert (again.folder, again.error) == (run.folder, run.error)
    assert (run.folder / "result.json").stat().st_mtime_ns == before
    assert train("fixmatch", "folder", tone_folder, threshold=0.6, fold=2, seed=3, **SMALL).folder != run.folder
    assert read_trained_run(run.folder).error == run.error


@pytest.mark.slow
def test_sounds_in_memory_are_trained_on_and_predicted(waves, tmp_path):
    run = train("supervised", waves, **{**SMALL, "steps": 60, "every": 60})
    assert run.result.fold == "1"
    assert {p.label for p in run.predictions} == {"low", "high"}
    found = run.predict(waves[0][:4], rate=8000)
    assert [p.predicted for p in found] == waves[1][:4]
    assert all(sum(p.probabilities.values()) == pytest.approx(1) for p in found)
    (files,) = tmp_path.glob("runs/waves-*")
    of_file = run.predict(files / "000000.wav")[0]
    assert of_file.probabilities == pytest.approx(found[0].probabilities, abs=1e-5)
    assert run.network(torch.zeros(2, 1, 32, 41)).shape == (2, 2)
    assert run.predict(waves[0][0], rate=8000)[0].probabilities == pytest.approx(of_file.probabilities, abs=1e-5)
    twice = torch.nn.functional.interpolate(waves[0][None, :1], scale_factor=2, mode="linear")[0, 0]
    assert run.predict(twice, rate=16000)[0].predicted == "low"


@pytest.mark.slow
def test_a_bench_returns_rows_with_intervals(tone_folder):
    settings = {key: value for key, value in SMALL.items() if key != "labelled"}
    table = bench(
        "folder", tone_folder, methods=["supervised", "fixmatch:threshold=0.5|0.9"], labelled=2, fold=[1, 2], **settings
    )
    lines = {line.title: line for line in table.lines}
    assert {"supervised", "fixmatch (threshold=0.5)", "fixmatch (threshold=0.9)"} < set(lines)
    assert any("equal compute" in title for title in lines)
    assert all(len(line.runs) == 2 for line in table.lines)
    for title in ("supervised", "fixmatch (threshold=0.5)"):
        assert lines[title].baseline or lines[title].gain["raw"] is not None
    assert (table.record.out / "bench.yaml").is_file()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train("fixmach", "demo"), "did you mean 'fixmatch'?"),
        (lambda: train("fixmatch", "demo", treshold=0.5), "did you mean 'threshold'?"),
        (lambda: train("supervised", "demo", stepz=5), "did you mean 'steps'?"),
        (lambda: bench("demo", lr_decay=1), "the option must be one of"),
        (lambda: train("supervised", (torch.zeros(2, 8), [0, 1])), "the rate of the waves in Hz comes third"),
        (lambda: train("supervised", (torch.zeros(2, 8), [0], 8000)), "labels must be one for each of the 2 waves"),
        (lambda: train("supervised", (torch.zeros(2, 2, 8), [0, 1], 8000)), "stereo? wave.mean(0)"),
        (lambda: read_trained_run("nowhere"), "that of a finished run"),
        (lambda: train("supervised", "demo", fold="all"), "fold must be one fold, or first, got all: bench trains"),
        (lambda: train("supervised", "demo", resume=True), "the option must be one of"),
        (lambda: train("supervised", "demo", config={"steps": 3}), "the option must be one of"),
        (lambda: bench("demo", resume=False), "the option must be one of"),
        (lambda: bench("demo", recompute="folder"), "the option must be one of"),
        (lambda: train("supervised", ([], [], 8000)), "waves must be one at least"),
        (lambda: train("supervised", (torch.zeros(2, 8), ["a", float("nan")], 8000)), "None where it is not known"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match="must be") as error:
        call()
    assert message in str(error.value)


@pytest.mark.parametrize("value", [1, "high", ["high"]])
def test_one_value_stands_for_a_list_of_one(tone_folder, value):
    _, config, more = api._sort_options("fixmatch", {"head": "refit", "outlier_classes": value, "window": "8ms"})
    assert config == {"head": ("refit",), "window": "8ms"}
    assert more == {"outlier_classes": ("1",) if value == 1 else ("high",)}


@pytest.mark.slow
def test_the_first_fold_and_the_order_of_options(tone_folder):
    first = train("fixmatch", "folder", tone_folder, fold="first", threshold=0.5, mix_labels=True, **SMALL)
    assert first.result.fold == "1"
    again = train("fixmatch", "folder", tone_folder, fold="first", **SMALL, mix_labels=True, threshold=0.5)
    assert again.folder == first.folder


def test_names_are_imported_when_they_are_used():
    assert {"train", "bench", "TrainedRun", "Prediction"} <= set(dir(recipes))
    code = "import sys, recipes; assert 'torch' not in sys.modules; assert callable(recipes.train)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=recipes.__path__[0] + "/..")
