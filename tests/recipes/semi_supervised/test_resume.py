"""Every method goes on to the same bits after it was stopped; one after a kill that nothing can catch."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from runs import Stop, assert_same_run, stop_at
from sounds import ROOT

from recipes import algorithms
from recipes.semi_supervised.train import train
from recipes.training import engine, run_folder as runfolder
from recipes.training.metrics_log import Clock


@pytest.mark.parametrize("method", algorithms.available())
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(method, toy_config, toy_data, tmp_path):
    config = dataclasses.replace(toy_config, model_options=("width=2",), steps=5)
    kind = algorithms.get(method)
    given = algorithms.options(kind)
    switches = {name: True for name, p in given.items() if p.default is False}
    # ReMixMatch's memory is a share, CoMatch's a number of clips
    more = {"networks": 2, "memory": 0.5}
    switches |= {k: v for k, v in more.items() if k in given and isinstance(given[k].default, type(v))}
    arguments = {"options": switches, "mixer": "mixup" if kind.uses_mixer else None, "quiet": True}
    train(config, toy_data, method, out=tmp_path / "whole", **arguments)
    with pytest.raises(Stop):
        train(config, toy_data, method, out=tmp_path / "parts", on_row=stop_at(3), **arguments)
    train(config, toy_data, method, out=tmp_path / "parts", resume=True, **arguments)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_times_go_on_where_they_stopped(toy_config, toy_data, tmp_path, monkeypatch):
    told = iter([{"seconds": 10.0, "cpu_seconds": 7.0}])
    with monkeypatch.context() as patch:
        patch.setattr(Clock, "seconds", lambda self: next(told))
        with pytest.raises(Stop):
            train(toy_config, toy_data, "supervised", out=tmp_path / "x", quiet=True, on_row=stop_at(3))
    before = time.process_time()
    result = train(toy_config, toy_data, "supervised", out=tmp_path / "x", quiet=True, resume=True)
    assert 7.0 < result.cpu_seconds <= 7.001 + time.process_time() - before
    assert 10.0 < result.seconds < 10.0 + result.cpu_seconds + 60


def test_processor_time_is_that_of_all_processes():
    asked = []
    fabric = SimpleNamespace(
        device=torch.device("cpu"), world_size=2, all_reduce=lambda x, reduce_op: asked.append(reduce_op) or x + 100
    )
    told = Clock(fabric, 1, {"seconds": 1.0, "cpu_seconds": 20.0}).seconds()
    assert asked == ["sum"]
    assert 120 <= told["cpu_seconds"] < 121
    assert 1 <= told["seconds"] < 2


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_to_the_same_bits(tone_folder, tmp_path):
    line = [sys.executable, "-m", "recipes", "run", "fixmatch", "folder", str(tone_folder), "--fold", "1", "--steps",
            "40", "--every", "2", "--rate", "8000", "--window", "256", "--hop", "100", "--n-mels", "32", "--threads",
            "1", "--labelled", "2", "--batch-labelled", "4", "--batch-unlabelled", "4", "--device", "cpu",
            "--model-options", "width=2", "--store", str(tmp_path / "stores")]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    start = {"env": environment, "cwd": tmp_path, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    run = tmp_path / "parts" / "fold1-seed0"
    process = subprocess.Popen([*line, "--out", str(tmp_path / "parts")], **start)
    while not (run / "metrics.csv").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (run / "result.json").exists(), "it was killed too late to show anything"
    from recipes.cli import main

    assert main([*line[3:], "--out", str(tmp_path / "parts"), "--resume"]) == 0
    assert main([*line[3:], "--out", str(tmp_path / "whole")]) == 0
    assert_same_run(tmp_path / "whole" / "fold1-seed0", run)


@pytest.mark.parametrize("every", [3, 6])
def test_a_kill_between_the_last_checkpoint_and_its_row_loses_no_row(
    every, toy_config, toy_data, tmp_path, monkeypatch
):
    config, real = dataclasses.replace(toy_config, every=every), runfolder.write_metrics

    def killed(folder, history):
        if history[-1]["step"] == 6:
            raise Stop
        real(folder, history)

    whole = train(config, toy_data, "supervised", out=tmp_path / "whole", quiet=True)
    monkeypatch.setattr(runfolder, "write_metrics", killed)
    with pytest.raises(Stop):
        train(config, toy_data, "supervised", out=tmp_path / "parts", quiet=True)
    monkeypatch.undo()
    result = train(config, toy_data, "supervised", out=tmp_path / "parts", quiet=True, resume=True)
    assert [row["step"] for row in result.history] == [row["step"] for row in whole.history]
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.fixture
def stopped(toy_config, toy_data, tmp_path):
    with pytest.raises(Stop):
        train(toy_config, toy_data, "fixmatch", out=tmp_path / "x", quiet=True, on_row=stop_at(3))
    return tmp_path / "x"


def test_a_checkpoint_of_another_method_is_refused(stopped, toy_config, toy_data, tmp_path):
    with pytest.raises(Stop):
        train(toy_config, toy_data, "supervised", out=tmp_path / "y", quiet=True, on_row=stop_at(3))
    (tmp_path / "y" / engine.CHECKPOINT).replace(stopped / engine.CHECKPOINT)
    with pytest.raises(ValueError, match=r"the checkpoint .* must be of method fixmatch, got supervised"):
        train(toy_config, toy_data, "fixmatch", out=stopped, quiet=True, resume=True)


def test_a_checkpoint_of_another_split_is_refused(stopped, toy_config, toy_data):
    split = json.loads((stopped / "split.json").read_text())
    split["labelled"][0], split["unlabelled"][0] = split["unlabelled"][0], split["labelled"][0]
    (stopped / "split.json").write_text(json.dumps(split))
    with pytest.raises(ValueError, match=r"the checkpoint .* must be of split [0-9a-f]{16}, got [0-9a-f]{16}"):
        train(toy_config, toy_data, "fixmatch", out=stopped, quiet=True, resume=True)


def test_another_network_under_the_same_name_is_refused(toy_config, toy_data, tmp_path):
    path = tmp_path / "mine.py"
    text = "from torch import nn\n\ndef net(k):\n    return nn.Sequential(nn.Flatten(), nn.Linear(32 * 41, {}), {})\n"
    path.write_text(text.format("k", "nn.Identity()"))
    config = dataclasses.replace(toy_config, model=f"{path}:net")
    with pytest.raises(Stop):
        train(config, toy_data, "fixmatch", out=tmp_path / "x", quiet=True, on_row=stop_at(3))
    path.write_text(text.format("5", "nn.Linear(5, k)"))
    with pytest.raises(ValueError, match=r"model_file '[0-9a-f]+' instead of '[0-9a-f]+'"):
        train(config, toy_data, "fixmatch", out=tmp_path / "x", quiet=True, resume=True)
