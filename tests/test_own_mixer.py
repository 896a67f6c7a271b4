"""The README's own mixer, as it stands there: it obeys every law, and works in `augment` and `audit`."""

import importlib.util
import json
import sys

import pytest
import readme
import soundfile
import torch
from laws import LAWS
from sounds import noise

from audiomix import Example
from audiomix.cli import main


@pytest.fixture
def late(tmp_path, monkeypatch):
    """The README's file late.py, and its module."""
    readme.write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "late", None)
    spec = importlib.util.spec_from_file_location("late", tmp_path / "late.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "late", module)
    spec.loader.exec_module(module)
    return module


def test_the_readmes_mixer_obeys_every_law(late):
    example = Example(late.LateMix(), compiles=False)
    for law in LAWS:
        law(example)


def test_the_readmes_mixer_augments_ragged_files_of_any_rate_and_is_audited(late, tmp_path):
    for number, (seconds, rate) in enumerate([(1.0, 8000), (0.4, 16000), (0.7, 8000), (1.3, 22050)]):
        folder = tmp_path / "in" / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{number}.wav", 0.1 * noise(round(seconds * rate), seed=number).numpy(), rate)
    command = [
        "augment",
        "in",
        "out",
        "--mixer",
        "late.py:LateMix",
        "--share",
        "0.7",
        "--copies",
        "2",
        "--stems",
        "--quiet",
    ]
    assert main(command) == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    for row in rows:
        mix, *stems = (
            soundfile.read(tmp_path / "out" / name, dtype="int16")[0] for name in [row["file_name"], *row["stems"]]
        )
        assert (mix == sum(torch.from_numpy(stem) for stem in stems).numpy()).all()
        assert len(row["sources"]) == 2
    assert main(["audit", "out", "--sources", "in"]) == 0
