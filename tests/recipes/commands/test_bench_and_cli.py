import csv
import json
import os
import statistics
from pathlib import Path

import pytest

from recipes.benchmark.summary import summarise
from recipes.cli import main
from recipes.training import engine
from recipes.training.run_folder import RunResult, lock_folder

SMALL = ["--steps", "4", "--every", "2", "--rate", "8000", "--window", "256", "--hop", "100", "--n-mels", "32",
         "--threads", "1", "--labelled", "2", "--batch-labelled", "4", "--batch-unlabelled", "4"]  # fmt: skip


NO_PROC = pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no /proc")


def result(fold, seed, error):
    return RunResult("x", fold, seed, error, error, error, error, 1.0, 1.0, "")


def test_spreads_over_folds_and_seeds_are_told_apart():
    runs = [result("1", 0, 10.0), result("1", 1, 20.0), result("2", 0, 30.0), result("2", 1, 40.0)]
    s = summarise(runs, "error_last")
    assert s.mean == 25
    assert s.over_folds == pytest.approx(statistics.stdev([15, 35]))
    assert s.over_seeds == pytest.approx(statistics.stdev([20, 30]))
    one = summarise(runs[:1], "error_last")
    assert (one.mean, one.over_folds, one.over_seeds) == (10, None, None)


def test_run_leaves_a_folder_for_each_fold_and_seed_and_a_table(tone_folder, tmp_path, capsys):
    out = tmp_path / "runs" / "x"
    line = ["run", "fixmatch", "folder", str(tone_folder), "--fold", "1", "2", "--seed", "0", "3", "--out", str(out),
            "--relative-threshold", "--distribution-alignment", "--mixer", "mixup:alpha=0.3", *SMALL]  # fmt: skip
    assert main(line) == 0
    assert {p.name for p in out.iterdir() if p.name != ".lock"} == {
        "fold1-seed0", "fold2-seed0", "fold1-seed3", "fold2-seed3", "results.csv", "results.md", "run.yaml",
    }  # fmt: skip
    assert {p.name for p in (out / "fold1-seed0").iterdir()} == {
        "config.json", "split.json", "metrics.csv", "predictions.csv", "result.json", "run.yaml", engine.CHECKPOINT,
    }  # fmt: skip
    config = json.loads((out / "fold2-seed3" / "config.json").read_text())["settings"]
    assert config["options"] == {"relative_threshold": True, "distribution_alignment": True}
    assert (config["fold"], config["seed"], config["mixer"]) == ("2", 3, "mixup:alpha=0.3")
    assert config["config"]["steps"] == 4
    with open(out / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["fold"], r["seed"]) for r in rows] == [("1", "0"), ("2", "0"), ("1", "3"), ("2", "3")]
    assert {r["method"] for r in rows} == {"fixmatch (AdaMatch-like) + mixup:alpha=0.3"}
    page = (out / "results.md").read_text()
    mean = statistics.fmean(float(r["error_last"]) for r in rows)
    assert f"| **error, last step** | **{mean:.2f}** |" in page
    assert "audiomix-recipes run fixmatch folder" in page
    assert (tmp_path / "runs" / "stores").is_dir()
    said = capsys.readouterr()
    assert "AdaMatch-like" in said.out  # the table; what happens meanwhile goes to stderr
    assert "fold 1, seed 0: error" in said.err


def test_what_a_message_quotes_stays_as_it_was_written(capsys):
    assert main(["run", "fixmatch", "demo", "--preset", "demo", "--weight", "linear:0:1:"]) == 2
    assert "linear:a:b" in capsys.readouterr().err  # :a: is an emoji's name


def test_only_one_command_writes_into_a_folder(tone_folder, tmp_path, capsys):
    line = ["run", "supervised", "folder", str(tone_folder), "--out", str(tmp_path / "x"), *SMALL, "--fold", "1"]
    with lock_folder(tmp_path / "x"):
        assert main(line) == 2
    assert "a folder that no other command writes into" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x").exists()  # nothing came into it
    refused = ["run", "deep_co_training", *line[2:]]
    refused[refused.index("--batch-labelled") + 1] = "1"
    assert main(refused) == 2
    assert "batch_labelled must be at least 2" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x").exists()
    assert main(line) == 0


def test_resume_does_only_what_is_left(tone_folder, tmp_path, monkeypatch):
    line = ["run", "supervised", "folder", str(tone_folder), "--out", str(tmp_path / "x"), *SMALL, "--fold"]
    assert main([*line, "1"]) == 0
    assert main([*line, "1", "2"]) == 2  # holds results already
    trained, loop = [], engine.run
    monkeypatch.setattr(engine, "run", lambda *a, **k: trained.append(a) or loop(*a, **k))
    assert main([*line, "1", "2", "--resume"]) == 0
    assert len(trained) == 1
    with open(tmp_path / "x" / "results.csv", newline="") as file:
        assert [r["fold"] for r in csv.DictReader(file)] == ["1", "2"]


def test_resume_with_other_folds_and_seeds_reports_the_earlier_runs_too(tone_folder, tmp_path, capsys):
    out = tmp_path / "x"
    line = ["run", "supervised", "folder", str(tone_folder), "--out", str(out), *SMALL]
    assert main([*line, "--fold", "2", "--seed", "5"]) == 0
    assert main([*line, "--fold", "1", "1", "--seed", "0", "0", "--resume"]) == 0
    with open(out / "results.csv", newline="") as file:
        assert [(r["fold"], r["seed"]) for r in csv.DictReader(file)] == [("1", "0"), ("2", "5")]
    assert "2 folds, 2 seeds, 2 runs; " in (out / "results.md").read_text()
    before = (out / "results.csv").read_bytes()
    capsys.readouterr()
    assert main([*line, "--fold", "3", "--resume", "--lr", "0.01"]) == 2
    assert "config.lr 0.01 instead of 0.002: choose another --out" in " ".join(capsys.readouterr().err.split())
    assert (out / "results.csv").read_bytes() == before
    assert not (out / "fold3-seed0").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--fold", "9"],
        ["--labelled", "50"],
        ["--labelled", "0%"],
        ["--model", "resnet"],
        ["--strong-view", "strong"],
        ["--seconds", "0.01"],
        ["--seed", "1" * 42],
        ["--threshold", "95"],
        ["--mixer", "mixup:std=3"],
    ],
)
def test_a_refused_argument_is_told_before_anything_is_decoded(wrong, tone_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("recipes.data.loader.open_store", lambda *a, **k: pytest.fail("decoded"))
    line = ["run", "fixmatch", "folder", str(tone_folder), *SMALL, "--out", str(tmp_path / "x")]
    if wrong[0] in line:
        at = line.index(wrong[0])
        del line[at : at + 2]
    assert main([*line, *wrong]) == 2
    assert " must be " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["run", "supervised"], ["bench"]])
@pytest.mark.parametrize(
    ("option", "place", "expected", "slip"),
    [
        ("out", "file", "a folder", "file is a file"),
        ("out", "file/deep/er", "a folder", "file is a file"),
        ("store", "file", "a folder", "file is a file"),
        pytest.param("store", "/proc/x", "a folder that", "/proc", marks=NO_PROC),
        pytest.param("out", "/proc/x/y", "a folder that", "/proc", marks=NO_PROC),
    ],
)
def test_a_place_that_cannot_be_written_to_is_named_before_any_work(
    command, option, place, expected, slip, tone_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("recipes.data.loader.open_store", lambda *a, **k: pytest.fail("decoded"))
    monkeypatch.setattr("recipes.data.shared.open_store", lambda *a, **k: pytest.fail("decoded"))
    (tmp_path / "file").write_text("mine")
    line = [*command, "folder", str(tone_folder), *SMALL, "--out", str(tmp_path / "x")]
    assert main([*line[: -2 * (option == "out") or None], f"--{option}", str(tmp_path / place)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{option} must be {expected}" in said
    assert slip in said
    assert "[Errno" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_files_that_cannot_be_read_are_listed_and_the_exit_code_says_so(tmp_path, write_wav, capsys):
    for name in "ab":
        for i in range(10):
            write_wav(tmp_path / "data" / name / f"{i}.wav", frequency=(300 if name == "a" else 2000) + i)
    (tmp_path / "data" / "a" / "broken.wav").write_bytes(b"RIFF")
    (tmp_path / "more").mkdir()
    write_wav(tmp_path / "more" / "1.wav", frequency=900)
    os.mkfifo(tmp_path / "data" / "a" / "pipe.wav")
    os.mkfifo(tmp_path / "more" / "other.wav")
    assert main(["run", "supervised", "folder", str(tmp_path / "data"), "--fold", "1", "--out", str(tmp_path / "x"),
                 *SMALL, "--unlabelled", str(tmp_path / "more")]) == 1  # fmt: skip
    listed = list(json.loads((tmp_path / "x" / "errors.json").read_text()))
    assert listed == ["a/pipe.wav", "other.wav", "a/broken.wav"]
    told = capsys.readouterr().err  # before training, which may take hours, and after it
    assert told.index("3 files cannot be read and are left out, the first: ") < told.index("fold 1, seed 0: error")
    assert "a/pipe.wav: is a named pipe" in told.partition("fold 1, seed 0: error")[0]
    assert main(["bench", "folder", str(tmp_path / "data"), "--methods", "supervised", "--fold", "1", "--out",
                 str(tmp_path / "y"), *SMALL]) == 1  # fmt: skip
    assert "2 files cannot be read" in capsys.readouterr().err.partition("fold 1, seed 0: error")[0]


def test_a_class_of_which_nothing_can_be_read_is_named(tmp_path, write_wav, capsys):
    for i in range(10):
        write_wav(tmp_path / "data" / "a" / f"{i}.wav", frequency=440 + i)
        write_wav(tmp_path / "data" / "b" / f"{i}.wav", frequency=2000 + i)
        (tmp_path / "data" / "c" / f"{i}.wav").parent.mkdir(exist_ok=True)
        (tmp_path / "data" / "c" / f"{i}.wav").write_bytes(b"RIFF")
    line = ["run", "supervised", "folder", str(tmp_path / "data"), "--out", str(tmp_path / "x"), *SMALL]
    assert main(line) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "the training clips of fold 1 must be some of every class, got none of c: too few of its clips, or" in said
    assert not (tmp_path / "x").exists()


def test_an_interrupted_command_says_how_to_go_on(tone_folder, tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "run", stop)
    assert main(["run", "supervised", "folder", str(tone_folder), "--out", str(tmp_path / "x"), *SMALL]) == 130
    assert "--resume goes on" in capsys.readouterr().err
    monkeypatch.setattr("recipes.commands.demo.demo", stop)
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 130
    said = capsys.readouterr().err
    assert "the same command goes on" in said
    assert "--resume" not in said


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["run", "fixmach", "folder"], "did you mean 'fixmatch'"),
        (["run", "fixmatch", "foldr"], "did you mean 'folder'"),
        (["run", "fixmatch", "esc10"], "root must be the folder of ESC-50"),
        (["run", "fixmatch", "folder", "{tones}", "--fold", "9"], "fold must be one of 1, 2, 3, 4, 5, got '9'"),
        (["run", "fixmatch", "folder", "{tones}", "--mixer", "mixop"], "did you mean 'mixup'"),
        (["run", "fixmatch", "folder", "{tones}", "--preset", "tiny"], "preset must be one of"),
        (["run", "fixmatch", "folder", "{tones}", "--labelled", "50"], "at most 16, the clips of class high"),
        (["run", "supervised", "folder", "--threshold", "0.9"], "--threshold"),
        (["run", "fixmatch", "folder", "--bogus"], "--bogus"),
        (["run", "supervised", "folder", "x", "--seed", "0", "1.5"], "--seed: a whole number is expected, got 1.5"),
        (["run", "supervised", "folder", "x", "--steps", "2.5"], "--steps: a whole number is expected, got 2.5"),
        (["run", "mixmatch", "folder", "x", "--views=2.5"], "--views: a whole number is expected, got 2.5"),
        (["bench", "folder", "x", "--seed", "1.5"], "--seed: a whole number is expected, got 1.5"),
        (["bench", "folder", "x", "--jobs", "1.5"], "--jobs: a whole number is expected, got 1.5"),
        (["bench", "folder", "x", "--every", "1.5"], "--every: a whole number is expected, got 1.5"),
        (["demo", "out", "1.5"], "SEED: a whole number is expected, got 1.5"),
        (["run"], "--method"),
        (["rum"], 'Did you mean "run"?'),
        (["--help", "rum"], 'Did you mean "run"?'),
        (["report", "run", "--bogus"], "--bogus"),
    ],
)
def test_a_wrong_command_line_is_answered_clearly(line, message, tone_folder, tmp_path, capsys):
    words, line = line, [word.format(tones=tone_folder) for word in line]
    options = SMALL if "--labelled" not in line else SMALL[:12]
    arguments = [*line, "--out", str(tmp_path / "x"), *options] if "{tones}" in words else line
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert message in said.err + said.out
    assert "Traceback" not in said.err


def test_help_lists_the_options_of_the_chosen_method(capsys):
    assert main(["run", "fixmatch", "--help"]) == 0
    said = capsys.readouterr().out
    assert "Options of fixmatch" in said
    for option in ("--threshold", "--relative-threshold", "--mixer", "--labelled", "--device"):
        assert option in said
    assert main(["run", "supervised", "--help"]) == 0
    assert "--relative-threshold" not in capsys.readouterr().out


def test_list_shows_what_there_is(capsys):
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    for name in ("supervised", "fixmatch", "esc10", "folder", "demo", "resnet_small", "wide_resnet", "mixup", "study"):
        assert name in said
