"""The command ``bench``: its folder, its table and its numbers, judged from the runs' own predictions."""

import csv
import dataclasses
import json
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from sounds import ROOT

from audiomix import check
from audiomix.measures.calibration import expected_calibration_error
from recipes.benchmark import plan, record as results
from recipes.benchmark.intervals import adjust_for_rows
from recipes.benchmark.plan import PlannedRun, describe_refusals
from recipes.benchmark.rows import parse_row
from recipes.benchmark.tables import for_terminal, make_page
from recipes.cli import main
from recipes.data.shared import SharedData
from recipes.training.run_folder import lock_folder

SMALL = ["--steps", "12", "--every", "6", "--rate", "8000", "--window", "256", "--hop", "100", "--n-mels", "32",
         "--threads", "1", "--batch-labelled", "4", "--batch-unlabelled", "4", "--device", "cpu",
         "--model-options", "width=4"]  # fmt: skip
ROWS = ["supervised", "supervised:steps=18", "fixmatch:threshold=0.2+mixup"]


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def errs(folder, network):
    return [row[network] != row["class"] for row in read(folder / "predictions.csv")]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def line(tone_folder, stores):
    def make(out, *more, rows=ROWS):
        return ["bench", "folder", str(tone_folder), "--methods", *rows, *SMALL, "--store", str(stores), "--out",
                str(out), "--no-equal-compute", *more]  # fmt: skip

    return make


@pytest.fixture(scope="module")
def benched(line, tmp_path_factory):
    out = tmp_path_factory.mktemp("bench") / "b"
    assert main(line(out, "--labelled", "2", "1", "--fold", "1", "2", "--seed", "0", "1")) == 0
    return out


def test_every_row_and_number_of_labels_has_a_folder_for_each_fold_and_seed(benched):
    names = {"supervised", "supervised_steps=18", "fixmatch_threshold=0.2+mixup"}
    assert {path.name for path in benched.iterdir() if path.is_dir()} == {"1", "2"}
    for label in ("1", "2"):
        assert {path.name for path in (benched / label).iterdir()} == names
        for name in names:
            found = {path.name for path in (benched / label / name).iterdir()}
            assert found == {f"fold{fold}-seed{seed}" for fold in "12" for seed in "01"}
    config = benched / "1" / "supervised_steps=18" / "fold2-seed1" / "config.json"
    settings = json.loads(config.read_text())["settings"]
    assert (settings["config"]["steps"], settings["config"]["labelled"], settings["seed"]) == (18, "1", 1)
    mixed = json.loads((benched / "2" / "fixmatch_threshold=0.2+mixup" / "fold1-seed0" / "config.json").read_text())
    assert (mixed["settings"]["mixer"], mixed["settings"]["options"]) == ("mixup", {"threshold": 0.2})


def test_a_row_of_results_is_what_the_runs_predictions_say(benched):
    rows = read(benched / "results.csv")
    assert len(rows) == 2 * 3 * 2 * 2
    assert [row["labelled"] for row in rows] == ["1"] * 12 + ["2"] * 12  # from few to many
    assert len({row["error_last_ema"] for row in rows}) > 3
    for row in rows:
        folder = benched / row["folder"]
        for network, end in {"raw": "", "ema": "_ema"}.items():
            wrong = errs(folder, network)
            assert float(row[f"error_last{end}"]) == pytest.approx(100 * sum(wrong) / len(wrong))
            said = read(folder / "predictions.csv")
            p = torch.tensor([[float(r[f"{network}_{c}"]) for c in ("high", "low", "middle")] for r in said])
            true = torch.tensor([("high", "low", "middle").index(r["class"]) for r in said])
            assert float(row[f"ece{end}"]) == pytest.approx(expected_calibration_error(p, true), abs=1e-3)
        assert float(row["cpu_seconds"]) > 0
        assert float(row["error_best"]) <= float(row["error_last"])


@pytest.mark.parametrize("network", ["raw", "ema"])
def test_the_table_is_recomputed_by_hand(benched, network):
    base = {}
    for row in read(benched / "table.csv"):
        folder = benched / row["labelled"] / row["text"].replace(":", "_")
        error = {}
        for fold in "12":
            for seed in "01":
                wrong = errs(folder / f"fold{fold}-seed{seed}", network)
                error[fold, seed] = 100 * sum(wrong) / len(wrong)
        assert float(row[f"{network}_error"]) == pytest.approx(statistics.fmean(error.values()))
        folds = [statistics.fmean(e for (f, _), e in error.items() if f == fold) for fold in "12"]
        seeds = [statistics.fmean(e for (_, s), e in error.items() if s == seed) for seed in "01"]
        assert float(row[f"{network}_sd_folds"]) == pytest.approx(statistics.stdev(folds))
        assert float(row[f"{network}_sd_seeds"]) == pytest.approx(statistics.stdev(seeds))
        if row["text"] == "supervised":
            base[row["labelled"]] = statistics.fmean(error.values())
            assert row[f"{network}_verdict"] == "baseline"
            continue
        gain = float(row[f"{network}_gain"])
        assert gain == pytest.approx(base[row["labelled"]] - statistics.fmean(error.values()))
        for name in ("bootstrap", "t"):
            assert float(row[f"{network}_{name}_low"]) <= gain <= float(row[f"{network}_{name}_high"])
        p = {name: float(row[f"{network}_{name}_p"]) for name in ("bootstrap", "t")}
        assert row[f"{network}_used"] == max(p, key=p.get)  # of four runs the one that claims less
        same = [r for r in read(benched / "table.csv") if r["labelled"] == row["labelled"]]
        others = [r for r in same if r["text"] != "supervised"]
        own = [max(float(r[f"{network}_bootstrap_p"]), float(r[f"{network}_t_p"])) for r in others]
        corrected = adjust_for_rows(own)[[r["text"] for r in others].index(row["text"])]
        assert float(row[f"{network}_holm_p"]) == pytest.approx(corrected)
        shown = "no gain shown" if corrected >= 0.05 else "gain" if gain > 0 else "worse"
        assert row[f"{network}_verdict"] == shown


@pytest.mark.parametrize("network", ["raw", "ema"])
def test_f1_and_balanced_accuracy_are_those_of_the_predictions(benched, network):
    from torchmetrics.functional.classification import multiclass_f1_score, multiclass_recall

    measures = {"macro_f1": multiclass_f1_score, "balanced_accuracy": multiclass_recall}
    for row in read(benched / "results.csv"):
        said = read(benched / row["folder"] / "predictions.csv")
        number = {"high": 0, "low": 1, "middle": 2}
        true, predicted = (torch.tensor([number[r[column]] for r in said]) for column in ("class", network))
        for name, measure in measures.items():
            expected = 100 * float(measure(predicted, true, 3, average="macro"))
            assert float(row[f"{name}{'' if network == 'raw' else '_ema'}"]) == pytest.approx(expected, abs=1e-3)
    for row in read(benched / "table.csv"):
        key = (row["text"], row["labelled"])
        runs = [r for r in read(benched / "results.csv") if (r["text"], r["labelled"]) == key]
        for name in measures:
            column = f"{name}{'' if network == 'raw' else '_ema'}"
            mean = statistics.fmean(float(r[column]) for r in runs)
            assert float(row[f"{network}_{name}"]) == pytest.approx(mean)


def test_markdown_and_page_show_the_table_and_what_it_rests_on(benched):
    told, page = (benched / "results.md").read_text(), (benched / "results.html").read_text()
    row = next(r for r in read(benched / "table.csv") if r["text"] == "supervised:steps=18" and r["labelled"] == "2")
    line = next(x for x in told.split("## 2 labels a class")[1].splitlines() if "supervised (steps=18)" in x)
    assert f"{float(row['raw_error']):.2f}" in line
    assert f"{float(row['raw_gain']):+.2f}" in line
    for name in ("bootstrap", "t"):
        assert f"{float(row[f'raw_{name}_low']):+.2f} to {float(row[f'raw_{name}_high']):+.2f}" in line
    for part in ("crossed bootstrap: percentiles", "Student's paired t", "10 paired runs or more", "Holm's step-down"):
        assert part in told
    fingerprint = next(iter(json.loads((benched / "bench.json").read_text())["fingerprints"].values()))
    for text in (told, page):
        for part in ("preset      small", fingerprint, f"torch {torch.__version__}", "24 finished", "device      cpu"):
            assert part in text
    assert "//" not in page.partition("How it was made")[0]  # nothing is fetched
    assert "<script src" not in page


def test_the_headline_and_the_baseline_can_be_others(benched):
    book = results.BenchmarkRecord(benched)
    shown = results.build_table(book, "supervised:steps=18", "ema")
    line = next(line for line in shown.lines if line.text == "supervised")
    back = next(i for i in results.build_table(book).lines if i.text == "supervised:steps=18" and i.label == line.label)
    assert line.gain["ema"].used.mean == pytest.approx(-back.gain["ema"].used.mean)
    assert shown.baseline == "supervised (steps=18)"
    with pytest.raises(ValueError, match="did you mean 'supervised'"):
        results.build_table(book, "supervise")


def test_the_headline_is_remembered_as_the_baseline_is(line, benched, tmp_path):
    out = tmp_path / "b"
    shutil.copytree(benched, out)
    assert results.build_table(results.BenchmarkRecord(out)).headline == "raw"
    again = line(out, "--labelled", "2", "--fold", "1", "--resume", rows=["supervised"])
    for extra, kept in ([], "raw"), (["--headline", "ema"], "ema"), ([], "ema"), (["--headline", "raw"], "raw"):
        assert main([*again, *extra]) == 0
        assert results.build_table(results.BenchmarkRecord(out)).headline == kept
        told = {"raw": "as trained", "ema": "EMA"}[kept]
        assert f"| method | error, {told} |" in (out / "results.md").read_text()


def test_a_run_that_fails_is_listed_and_does_not_stop_the_others(line, tmp_path, monkeypatch, capsys):
    real = plan.train

    def train(config, data, method, **arguments):
        if method == "fixmatch" and arguments["seed"] == 1:
            raise FloatingPointError("loss_labelled is nan at step 3")
        return real(config, data, method, **arguments)

    monkeypatch.setattr(plan, "train", train)
    asked = ["--fold", "1", "--labelled", "2", "100%", "--seed", "0", "1"]
    assert main(line(tmp_path / "b", *asked, rows=["supervised", "fixmatch"])) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "not done: fixmatch, 2, fold 1, seed 1: loss_labelled is nan at step 3" in said
    assert said.count("not done: fixmatch, 100%: labelled must be less than all clips") == 1
    assert said.count("labelled must be less than all clips") == 2  # before and after, not run by run
    assert said.index("cannot be done: fixmatch, 100%: labelled must be") < said.index("[1/")
    done = [(r["text"], r["labelled"], r["seed"]) for r in read(tmp_path / "b" / "results.csv")]
    assert done == [("supervised", "2", "0"), ("supervised", "2", "1"), ("fixmatch", "2", "0"),
                    ("supervised", "100%", "0"), ("supervised", "100%", "1")]  # fmt: skip
    told = (tmp_path / "b" / "results.md").read_text()
    assert "## Runs that could not be done: 3" in told
    assert "Rows have different runs" in told
    assert "fixmatch, 100%, fold 1, seed 1: labelled must be less than all clips" in told  # a record: run by run


def test_amounts_of_labels_that_there_are_not_are_told_before_any_training(line, tmp_path, monkeypatch, capsys):
    stop = lambda *_, **__: check.fail("the test", "here", "before decoding")  # noqa: E731
    monkeypatch.setattr("recipes.data.shared.open_store", stop)
    assert main(line(tmp_path / "b", "--labelled", "1", "1000", "--seed", "0", "1", rows=ROWS[:2])) == 2
    told = capsys.readouterr().err.splitlines()
    assert [text.partition(" labelled must be")[0] for text in told[:-1]] == [
        "cannot be done: supervised, 1000:", "cannot be done: supervised (steps=18), 1000:",
    ]  # fmt: skip
    assert all("at most 16, the clips of class" in text for text in told[:-1])
    assert "before decoding" in told[-1]


def test_what_is_refused_of_some_folds_only_says_of_how_many_runs():
    row = parse_row("supervised", "small")
    tasks = [PlannedRun(row, row.config, fold, 0, Path(fold)) for fold in "1234"]
    assert describe_refusals(tasks[2:], [(task, "why") for task in tasks[:2]]) == [
        "supervised, 10%, 2 of 4 runs, the first fold 1, seed 0: why"
    ]
    assert describe_refusals([], [(task, "why") for task in tasks]) == ["supervised, 10%: why"]
    assert describe_refusals([], [(task, f"why {task.fold}") for task in tasks]) == [
        "supervised, 10%, 4 of 4 runs, the first fold 1, seed 0: why 1"
    ]


@pytest.mark.slow
def test_an_interrupted_benchmark_goes_on_and_finished_runs_are_kept(line, benched, tmp_path, monkeypatch, capsys):
    real, trained, most = plan.train, [], [2]

    def train(*arguments, out, **more):
        if len(trained) == most[0]:
            raise KeyboardInterrupt
        trained.append(out)
        return real(*arguments, out=out, **more)

    monkeypatch.setattr(plan, "train", train)
    asked = line(tmp_path / "b", "--labelled", "2", "--fold", "1", "2", "--seed", "0", rows=ROWS[:2])
    assert main(asked) == 130
    assert "the same command with --resume goes on" in capsys.readouterr().err
    assert "## Unfinished runs: 2" in (tmp_path / "b" / "results.md").read_text()
    assert main(asked) == 2
    assert "go on with --resume" in capsys.readouterr().err
    first, trained[:], most[0] = list(trained), [], 9
    assert main([*asked, "--resume"]) == 0
    assert len(trained) == 2
    assert not {*first} & {*trained}
    # a row that is not named again is still in the table; runs are those of a benchmark that was never stopped
    assert main([*line(tmp_path / "b", "--labelled", "2", "--fold", "1", rows=ROWS[2:]), "--resume"]) == 0
    assert {row["text"] for row in read(tmp_path / "b" / "table.csv")} == set(ROWS)
    for path in (tmp_path / "b").glob("2/*/*/predictions.csv"):
        assert path.read_bytes() == (benched / path.relative_to(tmp_path / "b")).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_two_jobs_killed_and_gone_on_with_come_to_the_same_bits_as_one(line, benched, tmp_path):
    asked = line(tmp_path / "b", "--labelled", "1", "2", "--fold", "1", "2", "--jobs", "2", rows=ROWS[2:])
    process = subprocess.Popen([sys.executable, "-m", "recipes", *asked], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            if process.poll() is not None or any((tmp_path / "b").glob("*/*/*/result.json")):
                break
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    time.sleep(1)  # its workers end by themselves
    finished = set((tmp_path / "b").glob("*/*/*/result.json"))
    assert finished
    before = {path: path.stat().st_mtime_ns for path in finished}
    assert main([*asked, "--resume"]) == 0
    assert all(path.stat().st_mtime_ns == before[path] for path in finished)
    found = list((tmp_path / "b").glob("*/*/*/predictions.csv"))
    assert len(found) == 4
    for path in found:
        assert path.read_bytes() == (benched / path.relative_to(tmp_path / "b")).read_bytes()


def test_what_a_data_set_wants_comes_before_the_preset_and_after_the_command_line(toy_data, monkeypatch):
    monkeypatch.setattr("recipes.commands.bench.read_dataset", lambda name, root: toy_data.source)
    wanted = {"folder": {"small": {"hop": 80, "roll": 0.1}}}
    monkeypatch.setattr("recipes.training.dataset_settings._SETTINGS", wanted)
    asked = []
    planned = lambda dataset, rows, *_, **__: asked.extend(rows) or ([], [])  # noqa: E731
    monkeypatch.setattr("recipes.commands.bench.plan_runs", planned)
    monkeypatch.setattr("recipes.commands.bench.decode_stores", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(["bench", "folder", "--methods", "supervised", "supervised:roll=0.5", "--hop", "99"]) == 130
    one, two = (row.config for row in asked)
    assert (one.hop, one.roll, two.hop, two.roll) == (99, 0.1, 99, 0.5)


def test_rows_that_share_spectrograms_have_views_of_their_own(toy_config, toy_data):
    shared = SharedData(toy_data.source, toy_data.stores)
    still = shared.get(dataclasses.replace(toy_config, roll=0.0))
    rolled = shared.get(dataclasses.replace(toy_config, roll=1.0, strong_view="mid"))
    assert rolled.kept is still.kept
    assert (still.views.roll, rolled.views.roll) == (0, 1)
    assert shared.get(dataclasses.replace(toy_config, n_mels=40)).kept.shape[-2] == 40


def test_runs_of_other_settings_are_never_reported_beside_these(line, benched, tmp_path, capsys):
    out = tmp_path / "b"
    shutil.copytree(benched, out)
    before = (out / "results.csv").read_bytes()
    assert main([*line(out, "--labelled", "2", "--fold", "1", rows=["supervised"]), "--lr", "0.01", "--resume"]) == 2
    assert "config.lr 0.01 instead of 0.002: choose another --out" in " ".join(capsys.readouterr().err.split())
    assert (out / "results.csv").read_bytes() == before


def test_only_one_command_writes_into_a_folder(line, tmp_path, capsys):
    with lock_folder(tmp_path / "b"):
        assert main(line(tmp_path / "b", "--labelled", "2", "--fold", "1")) == 2
    assert "a folder that no other command writes into" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--methods", "fixmach"], "did you mean 'fixmatch'"),
        (["--methods", "fixmatch:treshold=1"], "did you mean 'threshold'"),
        (["--fold", "9"], "fold must be one of"),
        (["--labelled", "50"], "the runs must be some that can be done"),
        (["--labelled", "10 %%"], "labelled must be a share"),
        (["--jobs", "0"], "jobs must be an integer of at least 1"),
        (["--headline", "both"], "headline must be one of raw, ema"),
        (["--baseline", "mixmatch"], "baseline must be one of supervised"),
        (["--strong-view", "strong"], "strong_view must be one of"),
        (["--seconds", "0.01"], "seconds must be at least"),
        (["--mixer", "mixop"], "did you mean 'mixup'"),
    ],
)
def test_a_wrong_command_line_is_refused_before_decoding(wrong, message, line, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("recipes.data.shared.open_store", lambda *a, **k: pytest.fail("decoded"))
    asked = line(tmp_path / "b", "--labelled", "2", "--fold", "1", rows=["supervised", "fixmatch"])
    if wrong[0] in asked:
        at = asked.index(wrong[0])
        end = next(i for i in range(at + 1, len(asked)) if asked[i].startswith("--") or i == len(asked) - 1)
        del asked[at : end + (end == len(asked) - 1)]
    assert main([*asked, *wrong]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_rows_of_other_seeds_are_told_and_how_many_runs_are_paired(line, tmp_path):
    out, asked = tmp_path / "b", ["--fold", "1", "--labelled", "2"]
    assert main(line(out, *asked, "--seed", "0", "1", rows=["supervised"])) == 0
    assert "Rows have different runs" not in (out / "results.md").read_text()
    assert main([*line(out, *asked, "--seed", "1", "2", rows=["supervised:steps=6"]), "--resume"]) == 0
    told = (out / "results.md").read_text()  # as many runs, but not the same
    assert "Rows have different runs" in told
    assert "| 2 (1 paired) |" in told
    one, two = read(out / "table.csv")
    assert (one["runs"], one["paired"], two["runs"], two["paired"]) == ("2", "2", "2", "1")
    pair = [out / "2" / name / "fold1-seed1" for name in ("supervised", "supervised_steps=6")]
    wrong = [sum(errs(folder, "raw")) / 12 for folder in pair]
    assert float(two["raw_gain"]) == pytest.approx(100 * (wrong[0] - wrong[1]))


@pytest.mark.slow
def test_the_baseline_of_a_command_stays_that_of_its_folder(line, tmp_path):
    out, asked = tmp_path / "b", ["--fold", "1", "--labelled", "2"]
    assert main(line(out, *asked, "--baseline", "supervised:steps=6", rows=["supervised", "supervised:steps=6"])) == 0
    assert main([*line(out, *asked, rows=["supervised"]), "--resume"]) == 0
    assert "gain over supervised (steps=6)" in (out / "results.md").read_text()
    assert main(["report", str(out)]) == 0
    assert "gain over supervised (steps=6)" in (out / "report.html").read_text()
    book = results.BenchmarkRecord(out)
    assert results.build_table(book, "supervised").baseline == "supervised"
    del book.content["baseline"]  # of an earlier version
    assert results.build_table(book).baseline == "supervised"


def test_a_title_with_brackets_is_shown_as_it_is(line, tmp_path, capsys):
    out = tmp_path / "b"
    assert main(line(out, "--fold", "1", "--labelled", "2", rows=["supervised"])) == 0
    book = results.BenchmarkRecord(out)
    book.content["rows"]["supervised"]["title"] = "x [/red] <b>|"
    shown = results.build_table(book)
    cells = list(for_terminal(shown).columns[1].cells)
    assert cells[0] == "x [/red] <b>|"
    page = make_page(shown)
    assert '<td class="best">x [/red] &lt;b&gt;|</td>' in page.html()
    assert "x [/red] <b>\\|**" in page.markdown()
