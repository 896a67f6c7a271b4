"""A cut or emptied file of a run or a store is named, said to be damaged, and it is told what to do."""

import dataclasses
import json
import shutil

import pytest
import torch

from audiomix.audio import io
from recipes.benchmark.figures import RunGroup, count_labelled_clips
from recipes.cli import main
from recipes.data.protocol import read_dataset
from recipes.data.store import open_store
from recipes.training import run_folder as runfolder
from recipes.training.run_folder import read_json

SMALL = ["--steps", "4", "--every", "2", "--rate", "8000", "--window", "256", "--hop", "100", "--n-mels", "32",
         "--roll", "1", "--strong-view", "full", "--threads", "1", "--labelled", "2", "--batch-labelled", "4",
         "--device", "cpu", "--model-options", "width=2"]  # fmt: skip
AGAIN = "it is damaged, or was edited by hand: remove the run's folder, or train again with another --out"


@pytest.fixture(scope="module")
def ran(tone_folder, tmp_path_factory):
    """Return a folder of one finished run with its store, and the command that made it."""
    out = tmp_path_factory.mktemp("damaged")
    line = ["run", "supervised", "folder", str(tone_folder), "--fold", "1", *SMALL, "--store", str(out / "stores")]
    assert main([*line, "--out", str(out / "x")]) == 0
    return out / "x", line


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path):
    path.write_bytes(b"")


def without(*names):
    def change(path):
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k not in names}))

    return change


def said(capsys):
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("config.json", half, f"JSON with settings, got something else ({{}}): {AGAIN}"),
        ("config.json", emptied, f"JSON with settings, got something else (Expecting value{{}}): {AGAIN}"),
        ("config.json", without("settings"), f"JSON with settings, got one without settings: {AGAIN}"),
        ("config.json", lambda p: p.write_text('{"settings": 7}'), f"settings by name, got settings 7: {AGAIN}"),
        ("split.json", half, f"JSON with labelled, unlabelled, test, got something else ({{}}): {AGAIN}"),
        ("split.json", without("test"), f"labelled, unlabelled, test, got one without test: {AGAIN}"),
        (
            "split.json",
            lambda p: p.write_text('{"labelled": 7, "unlabelled": [], "test": []}'),
            f"got labelled 7: {AGAIN}",
        ),
        ("result.json", half, f"a JSON object, got something else ({{}}): {AGAIN}"),
        ("result.json", lambda p: p.write_text("[]"), f"a JSON object, got another: {AGAIN}"),
        ("metrics.csv", half, f"whole, got one whose last line is cut: {AGAIN}"),
        ("metrics.csv", emptied, "whole, got one whose last line is cut"),
        ("metrics.csv", lambda p: p.write_text("step,error\n2,50\n4\n"), "a cell a column, got something else"),
        ("metrics.csv", lambda p: p.write_text("step,error\n2,50\n4,x\n"), "convert string to float: 'x')"),
        ("metrics.csv", lambda p: p.write_text("step,error\n"), f"rows of numbers, got none: {AGAIN}"),
        ("metrics.csv", lambda p: p.unlink(), f"there, beside result.json, got no such file: {AGAIN}"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(ran, tmp_path, capsys, name, damage, message):
    done, line = ran
    shutil.copytree(done, out := tmp_path / "x")
    if name == "split.json":  # read only by a run that goes on
        (out / "fold1-seed0" / "result.json").unlink()
    damage(path := out / "fold1-seed0" / name)
    assert main([*line, "--out", str(out), "--resume"]) == 2
    told = said(capsys)
    assert told.startswith(f"audiomix-recipes: {path} must be ")
    for part in message.split("{}"):
        assert part in told


def test_report_names_a_damaged_file_too(ran, tmp_path, capsys):
    out, _ = ran
    for name in ("config.json", "split.json"):
        shutil.rmtree(tmp_path / "x", ignore_errors=True)
        shutil.copytree(out, tmp_path / "x")
        half(tmp_path / "x" / "fold1-seed0" / name)
        if name == "config.json":
            assert main(["report", str(tmp_path / "x")]) == 2
            assert f"{name} must be JSON with settings, facts" in said(capsys)
        else:
            group = RunGroup("x", "2", [runfolder.read_run(tmp_path / "x" / "fold1-seed0")], ("a", "b"), 0)
            with pytest.raises(ValueError, match=r"split\.json must be JSON with labelled"):
                count_labelled_clips(group)


def test_a_result_of_an_earlier_version_says_so(ran, tmp_path, capsys):
    done, line = ran
    shutil.copytree(done, out := tmp_path / "x")
    path = out / "fold1-seed0" / "result.json"
    whole = path.read_text()
    without("cpu_seconds", "fold")(path)
    wanted = f"{path} must be the result of a run, got one without fold, cpu_seconds: an earlier version made it, or"
    assert main([*line, "--out", str(out), "--resume"]) == 2
    assert wanted in said(capsys)
    assert main(["report", str(out)]) == 2
    assert wanted in said(capsys)
    path.write_text(json.dumps(json.loads(whole) | {"colour": 1}))
    with pytest.raises(
        ValueError, match=r"a run of this version, got one with colour: another version made it: remove"
    ):
        runfolder.read_run(path.parent)
    path.write_text(whole)
    without("measures", "measured_on", "test")(path)  # earlier versions had none, and their runs are still shown
    assert runfolder.read_run(path.parent).measures == {}


def test_what_is_written_is_read_back(ran):
    done, _ = ran
    result = runfolder.read_run(done / "fold1-seed0")
    assert [row["step"] for row in result.history] == [2, 4]
    saved = read_json(done / "fold1-seed0" / "result.json")
    assert saved == {k: v for k, v in dataclasses.asdict(result).items() if k not in ("folder", "history")}


def store(root, folder):
    return open_store(read_dataset("folder", root), folder, rate=8000, seconds=0.5, quiet=True)


def shorter(path):
    path.write_bytes(path.read_bytes()[:-100])


def other_clips(path):
    index = json.loads(path.read_text())
    path.write_text(json.dumps(index | {"ids": index["ids"][::-1]}))


def fewer(name):
    def change(path):
        index = json.loads(path.read_text())
        path.write_text(json.dumps(index | {name: index[name][:-1]}))

    return change


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("samples.npy", shorter, r"int16 samples of shape \(60, 4000\), got something else \(mmap length"),
        ("samples.npy", emptied, "got something else"),
        ("samples.npy", lambda p: p.write_bytes(b"x" * 500), "got something else"),
        ("samples.npy", lambda p: p.unlink(), "got something else .*No such file"),
        ("index.json", half, "JSON with rate, ids, lengths, errors, digest, got something else"),
        ("index.json", lambda p: p.unlink(), "there, beside the samples, got no such file"),
        ("index.json", without("lengths"), "got one without lengths"),
        ("index.json", other_clips, "the names and lengths of 60 clips, got others"),
        ("index.json", fewer("lengths"), "the names and lengths of 60 clips, got others"),
        ("index.json", fewer("hashes"), "the hashes of 60 files, got 59"),
    ],
)
def test_a_damaged_store_is_named_and_built_again_once_removed(tone_folder, tmp_path, name, damage, message):
    path = store(tone_folder, tmp_path).path
    whole = [(path / part).read_bytes() for part in ("samples.npy", "index.json")]
    damage(path / name)
    way = f"it is damaged, or was edited by hand: remove the folder {path}: it is built again"
    with pytest.raises(ValueError, match=rf"^{path / name} must be .*{message}.*{way}$"):
        store(tone_folder, tmp_path)
    shutil.rmtree(path)
    store(tone_folder, tmp_path)
    assert [(path / part).read_bytes() for part in ("samples.npy", "index.json")] == whole


def test_samples_of_another_shape_or_kind_are_not_read(tone_folder, tmp_path):
    import numpy as np

    path = store(tone_folder, tmp_path).path
    for samples, told in (
        (np.zeros((59, 4000), np.int16), r"int16 of shape \(59, 4000\)"),
        (np.zeros((60, 4000), np.float32), r"float32 of shape"),
    ):
        np.save(path / "samples.npy", samples)
        with pytest.raises(ValueError, match=told):
            store(tone_folder, tmp_path)


def test_a_store_of_an_earlier_version_without_hashes_is_read_as_it_was(tmp_path, write_wav, monkeypatch):
    for i in range(6):
        write_wav(tmp_path / "data" / "ab"[i % 2] / f"{i}.wav", frequency=300 + i)
    (tmp_path / "data" / "a" / "1broken.wav").write_bytes(b"RIFF")
    built = store(tmp_path / "data", tmp_path / "stores")
    without("hashes")(built.path / "index.json")
    monkeypatch.setattr(io, "read", lambda *a, **k: pytest.fail("decoded again"))
    opened = store(tmp_path / "data", tmp_path / "stores")
    assert opened.hashes == built.hashes
    assert len(set(opened.hashes)) == len(opened.dataset) == 6
    assert torch.equal(opened.samples, built.samples)
    assert (opened.digest, opened.path) == (built.digest, built.path)
