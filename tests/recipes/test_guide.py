"""assets/docs/semi-supervised.md: every block runs, in its order, with fewer steps."""

import dataclasses
import re
import shlex
import shutil
import sys

import pytest
import soundfile
import torch
from sounds import ROOT, noise

import recipes
from recipes.cli import main
from recipes.training import config

TEXT = (ROOT / "assets" / "docs" / "semi-supervised.md").read_text()
BLOCK = re.compile(r"(?:Put this into `([^`]+)`:\n\n)?^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# what is not run: the lines of listings, W&B (tests/recipes/semi_supervised/test_row_log.py), BirdNET, and ESC-10
NOT_RUN = ("clips/dog/1.wav", "chosen: ", "import wandb", "ai_edge_litert", "path/to/ESC-50-master")


CHOSEN = re.findall(r"^chosen: .*", TEXT, re.MULTILINE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder as the guide has it: words, checkpoints and clips of one's own."""
    for name in ("no", "yes"):
        (tmp_path / "assets" / "words" / name).mkdir(parents=True)
        shutil.copy(ROOT / "assets" / "words" / name / "en-us_m8.flac", tmp_path / "assets" / "words" / name)
    shutil.copytree(ROOT / "assets" / "checkpoints", tmp_path / "assets" / "checkpoints")
    for name in ("dog", "rain", "unlabelled"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for i in range(10):
            sound = 0.1 * noise(8000, seed=len(name) * 100 + i).numpy()
            soundfile.write(tmp_path / "clips" / name / f"{i}.wav", sound, 16000)
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "small"):
        short = dataclasses.replace(config.PRESETS[name], steps=2, every=2, threads=1, batch_unlabelled=8)
        monkeypatch.setitem(config.PRESETS, name, short)
    monkeypatch.setitem(sys.modules, "audiomix.recipes", recipes)
    return tmp_path


@pytest.mark.slow
def test_blocks_run_one_after_the_other(folder, capfd):
    names, done = {}, []
    for file, language, text in BLOCK.findall(TEXT):
        if any(word in text for word in NOT_RUN):
            continue
        text = re.sub(r"steps=\d+", "steps=2, every=2, threads=1", text)
        if file:
            (folder / file).write_text(text.replace("audiomix.recipes", "recipes"))
        elif language == "python":
            exec(compile(text, "semi-supervised.md", "exec"), names)
        else:
            assert language == "console", text
            for line in text.splitlines():
                words = shlex.split(line.removeprefix("$ "))
                assert words[0] == "audiomix-recipes"
                assert main(words[1:]) == 0, (line, capfd.readouterr())
                done.append(words[1])
    assert {"run", "bench", "predict", "export", "report"} <= set(done)
    printed = " ".join(capfd.readouterr().err.split())
    assert all(" ".join(line.split()) in printed for line in CHOSEN)
    assert isinstance(names["run"].network, torch.nn.Module)
    one, again = (folder / "runs" / name / "foldtest-seed1" / "predictions.csv" for name in ("words", "again"))
    assert one.read_bytes() == again.read_bytes()
    written = {path.name for path in (folder / "runs" / "fixmatch" / "foldtest-seed0").iterdir()}
    assert {"metrics.csv", "predictions.csv", "split.json", "run.yaml"} <= written


def test_code_that_is_not_run_is_python():
    for file, _, text in BLOCK.findall(TEXT):
        if file.endswith(".py"):
            compile(text, file, "exec")


def test_options_and_commands_of_the_guide_exist(capsys):
    """Those in the text too, and in commands that are not run."""
    shown = set()
    for name in ("run", "bench", "predict", "export", "report", "verify", "list"):
        assert main([name, *["remixmatch"] * (name == "run"), "--help"]) == 0
        shown |= set(re.findall(r"--[a-z][a-z0-9-]*", capsys.readouterr().out))
    of_others = {"--help", "--no-deps", "--set", "--weight", "--threshold"}  # pip, make_speech.py, other methods
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", TEXT)) - of_others <= shown
    assert len(CHOSEN) >= 3


def test_every_method_is_in_the_table_and_every_named_thing_exists():
    from recipes import algorithms

    table = TEXT.split("## Methods")[1].split("## Presets")[0]
    assert set(re.findall(r"`(\w+)`", table.split("`audiomix-recipes list")[0])) == set(algorithms.available())
    presets = TEXT.split("## Presets")[1].split("Any field")[0]
    assert set(re.findall(r"^\| `(\w+)`", presets, re.MULTILINE)) == set(config.PRESETS)
