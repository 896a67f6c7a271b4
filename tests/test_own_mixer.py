"""The mixers of one's own in README and guide, as they stand there: they obey every law, and work on files."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
import readme
import soundfile
import torch
from laws import LAWS
from own import install
from sounds import ROOT, noise

from audiomix import Example
from audiomix.cli import main


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write the files of the README and of the guides, and import one."""
    readme.write_files(tmp_path)
    monkeypatch.chdir(tmp_path)

    def load(name):
        monkeypatch.setitem(sys.modules, name, None)
        spec = importlib.util.spec_from_file_location(name, tmp_path / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.mark.parametrize("mixer", ["late.LateMix", "fixed.FixedMix"])
def test_the_mixers_of_readme_and_guide_obey_every_law(mixer, written):
    file, _, name = mixer.partition(".")
    example = Example(getattr(written(file), name)(), compiles=False)
    for law in LAWS:
        law(example)


def test_the_guides_mixer_augments_ragged_files_of_any_rate_and_is_audited(written, tmp_path):
    written("late")
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
    assert main(["audit", "out"]) == 0


def command(folder, *words):
    """Run a command in a process of its own."""
    run = "import sys; from audiomix.cli import main; sys.exit(main())"
    path = os.pathsep.join([str(folder), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path, "COLUMNS": "300", "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", run, *words, "--quiet"], cwd=folder, env=environment,
                          capture_output=True, text=True)  # fmt: skip


@pytest.mark.slow
def test_a_new_process_reads_the_plans_of_ones_own_mixer(tmp_path):
    readme.write_files(tmp_path)
    words = str(ROOT / "assets" / "words")
    assert command(tmp_path, "augment", words, "out", "--mixer", "late.py:LateMix", "--share", "0.7").returncode == 0
    for workers in ("1", "2"):
        run = command(tmp_path, "audit", "out", "--mixer", "late.py:LateMix", "--workers", workers)
        assert run.returncode == 0, run.stdout + run.stderr
        assert "480 mixes: 0 wrong" in run.stdout
        assert "the plan is not read" not in run.stdout
    run = command(tmp_path, "audit", "out")  # a path in a manifest is not imported
    assert "480 mixes: 0 wrong" in run.stdout
    assert "480 of them: the plan is not read" in run.stdout
    assert "--mixer FOLDER/late.py:LateMix" in run.stdout
    run = command(tmp_path, "audit", "out", "--mixer", "late.py:LateMx")
    assert (run.returncode, "did you mean 'LateMix'" in run.stderr) == (2, True)


@pytest.mark.slow
def test_a_new_process_loads_the_mixers_of_installed_packages_for_their_plans(tmp_path):
    readme.write_files(tmp_path)
    point, text = "[audiomix.mixers]\nlate = late_package:LateMix\n", (tmp_path / "late.py").read_text()
    install(tmp_path, point, text, "late_package")
    for i in range(4):
        (tmp_path / "in" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "in" / "ab"[i % 2] / f"{i}.wav", 0.1 * noise(8000, seed=i).numpy(), 8000)
    assert command(tmp_path, "augment", "in", "out", "--mixer", "late").returncode == 0
    run = command(tmp_path, "audit", "out", "--workers", "2")
    assert "4 mixes: 0 wrong, 0 of them unreadable; 0 with notes" in run.stdout
    (tmp_path / "late_package.py").write_text("raise RuntimeError('broken')")
    run = command(tmp_path, "audit", "out")
    assert "the plan is not read" in run.stdout
    assert "RuntimeError: broken" in run.stdout
