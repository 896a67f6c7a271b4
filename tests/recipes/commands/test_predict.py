"""The command ``predict`` and the loading of trained runs: a run says of files what it said of its held-out clips."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from recipes.cli import main
from recipes.semi_supervised.inference import load_model
from recipes.semi_supervised.train import train
from recipes.training import checkpoint
from recipes.training.engine import CHECKPOINT

RATE = 8000
CASES = {
    "supervised": {},
    "mean_teacher": {},
    "flexmatch": {},
    "deep_co_training": {"report": "mean"},
    "remixmatch": {"networks": 2, "memory": 0.5},
    "simmatch": {},
}


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def runs(toy_config, toy_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    for method, options in CASES.items():
        train(toy_config, toy_data, method, out=out / method, options=options, quiet=True)
    return out


@pytest.mark.parametrize("method", CASES)
@pytest.mark.parametrize("network", ["raw", "ema"])
def test_files_are_labelled_as_the_run_labelled_its_held_out_clips(method, network, runs, tone_folder, tmp_path):
    said = {row["id"]: row for row in read(runs / method / "predictions.csv")}
    files = [str(tone_folder / name) for name in said]
    out = tmp_path / "p.csv"
    assert main(["predict", str(runs / method), *files, "-o", str(out), "--network", network, "--top", "3"]) == 0
    rows = read(out)
    assert [row["path"] for row in rows] == files
    for row, own in zip(rows, said.values()):
        assert row["class"] == own[network]
        for n in ("", "_2", "_3"):
            p = float(own[f"{network}_{row[f'class{n}']}"])
            assert float(row[f"probability{n}"]) == pytest.approx(p, abs=2e-5)
        assert float(row["probability"]) >= float(row["probability_2"]) >= float(row["probability_3"])


def test_nothing_but_the_runs_folder_is_needed(runs, tone_folder, tmp_path):
    shutil.copytree(runs / "supervised", tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "metrics.csv").unlink()
    config = tmp_path / "elsewhere" / "config.json"
    told = json.loads(config.read_text())
    told["settings"]["config"] |= {"weights": "/gone.safetensors", "device": "cuda", "compile": True}
    told["facts"]["root"] = "/gone"
    config.write_text(json.dumps(told))
    clips = torch.stack([load_model(runs / "supervised").read(p) for p in sorted((tone_folder / "low").iterdir())])
    a, b = (load_model(folder).probabilities(clips) for folder in (runs / "supervised", tmp_path / "elsewhere"))
    assert torch.equal(a, b)


def test_a_folder_is_gone_through_and_bad_files_are_listed(runs, tmp_path, write_wav, capsys):
    sounds = tmp_path / "sounds"
    write_wav(sounds / "a" / "stereo.wav", channels=2, rate=44100, subtype="PCM_24", seconds=2)
    write_wav(sounds / "short.wav", rate=16000, seconds=0.05)
    (sounds / "broken.wav").write_bytes(b"RIFF")
    soundfile.write(sounds / "open.flac", np.random.default_rng(0).uniform(-0.1, 0.1, 9000), 16000)
    data = bytearray((sounds / "open.flac").read_bytes()[:9000])
    data[21:26] = bytes([data[21] | 15]) + b"\xff" * 4  # 2^36 samples, in a file that was cut
    (sounds / "open.flac").write_bytes(data)
    (sounds / "notes.txt").write_text("no sound")
    out = tmp_path / "deep" / "p.csv"
    assert main(["predict", str(runs / "supervised"), str(sounds), str(tmp_path / "gone.wav"), "-o", str(out)]) == 1
    assert [row["path"] for row in read(out)] == [str(sounds / "short.wav"), str(sounds / "a" / "stereo.wav")]
    said = " ".join(capsys.readouterr().err.split())
    assert f"not labelled: {sounds / 'broken.wav'}: " in said
    assert f"not labelled: {sounds / 'open.flac'}: truncated or damaged" in said
    assert f"not labelled: {sounds / 'broken.wav'}: {sounds}" not in said  # named once
    assert f"{tmp_path / 'gone.wav'}: there is no such file" in said


def test_files_of_which_none_is_sound_leave_no_table(runs, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("no sound")
    out = tmp_path / "p.csv"
    out.write_text("an earlier one")
    assert main(["predict", str(runs / "supervised"), str(tmp_path / "notes.txt"), "-o", str(out)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "files must be sounds that can be read, got 1 that cannot" in said
    assert out.read_text() == "an earlier one"


def test_windows_are_pieces_of_their_own(runs, tone_folder, tmp_path):
    pieces = [soundfile.read(tone_folder / name / "0.wav")[0] for name in ("high", "low", "middle")]
    long = tmp_path / "long.wav"
    soundfile.write(long, np.concatenate([*pieces, pieces[0][:1000]]), RATE)
    seconds = load_model(runs / "supervised").seconds
    line = ["predict", str(runs / "supervised"), str(long), "-o", str(tmp_path / "p.csv")]
    assert main([*line, "--window", "0.5"]) == 0
    rows = read(tmp_path / "p.csv")
    assert [(row["start"], row["end"]) for row in rows] == [("0", "0.5"), ("0.5", "1"), ("1", "1.5"), ("1.5", "1.625")]
    files = [str(tone_folder / name / "0.wav") for name in ("high", "low", "middle")]
    assert main(["predict", str(runs / "supervised"), *files, "-o", str(tmp_path / "q.csv")]) == 0
    for row, alone in zip(rows, read(tmp_path / "q.csv")):
        assert row["class"] == alone["class"]
        assert float(row["probability"]) == pytest.approx(float(alone["probability"]), abs=2e-5)
    assert main([*line, "--window", str(2 * seconds)]) == 2


def test_a_checkpoint_of_another_method_or_network_is_refused(runs, tmp_path):
    shutil.copytree(runs / "supervised", tmp_path / "x")
    shutil.copy(runs / "flexmatch" / CHECKPOINT, tmp_path / "x" / CHECKPOINT)
    with pytest.raises(ValueError, match="must be of supervised, got one of flexmatch"):
        load_model(tmp_path / "x")
    tensors, numbers = checkpoint.load(runs / "supervised" / CHECKPOINT)
    checkpoint.store(tmp_path / "x" / CHECKPOINT, {k: v for k, v in tensors.items() if "head" not in k}, numbers)
    with pytest.raises(ValueError, match=r"not of this run: .*head"):
        load_model(tmp_path / "x")


def test_what_is_no_run_is_told_with_what_it_is(runs, tmp_path, capsys):
    for wrong, message in {
        tmp_path / "gone": "there is no such folder",
        tmp_path: "run and bench make a folder for each fold and seed",
        runs: f"runs are below it: {runs / 'deep_co_training'}?",
    }.items():
        assert main(["predict", str(wrong), "x.wav"]) == 2
        assert message in " ".join(capsys.readouterr().err.split()).replace("- ", "-")
    shutil.copytree(runs / "supervised", tmp_path / "early")
    (tmp_path / "early" / CHECKPOINT).unlink()
    with pytest.raises(ValueError, match="stopped before its first checkpoint"):
        load_model(tmp_path / "early")
    old = tmp_path / "early" / "config.json"
    told = json.loads(old.read_text())
    del told["facts"]["mean"]
    old.write_text(json.dumps(told))
    with pytest.raises(ValueError, match="an earlier version made it: train again"):
        load_model(tmp_path / "early")


def test_a_damaged_run_is_told_with_the_file(runs, tmp_path):
    for i, (name, content, message) in enumerate([
        ("config.json", '{"settings": ', r"must be JSON with settings, got something else \(Expecting value"),
        ("config.json", '{"settings": {}}', "config.json must be a run's, with its settings, got one without config"),
        ("config.json", "[]", "config.json must be JSON with settings, got another"),
        ("split.json", "xx", "split.json must be JSON with labelled, unlabelled, got something else"),
    ]):  # fmt: skip
        shutil.copytree(runs / "supervised", tmp_path / str(i))
        (tmp_path / str(i) / name).write_text(content)
        with pytest.raises(ValueError, match=message):
            load_model(tmp_path / str(i))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--top", "4"], "top must be at most 3"),
        (["--network", "teacher"], "network must be one of headline, raw, ema"),
        (["--window", "0"], "window must be a number in"),
    ],
)
def test_wrong_options_are_refused(more, message, runs, tone_folder, tmp_path, capsys):
    out = tmp_path / "p.csv"
    assert main(["predict", str(runs / "supervised"), str(tone_folder), "-o", str(out), *more]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
    assert main(["predict", str(runs / "supervised"), str(tmp_path), "-o", str(out)]) == 2
    assert "a folder without sounds" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("command", ["predict", "export"])
def test_a_place_that_cannot_be_written_is_told_before_any_work(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("recipes.commands.predict.load_model", lambda *_: pytest.fail("work was done"))
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "locked")
    (tmp_path / "folder.ts").mkdir()
    (tmp_path / "locked").mkdir()
    (tmp_path / "file").write_text("")
    for out, message in {
        tmp_path / "folder.ts": "folder.ts: that is a folder",
        tmp_path / "file" / "deep" / "m.ts": "file is a file",
        tmp_path / "locked" / "deep" / "m.ts": "locked may not",
    }.items():
        assert main([command, str(tmp_path), *["x.wav"] * (command == "predict"), "-o", str(out)]) == 2
        told = "".join(capsys.readouterr().err.split())
        assert "outmustbe" in told
        assert message.replace(" ", "") in told
    assert not (tmp_path / "locked" / "deep").exists()
