"""The wheel carries both packages, py.typed, the stubs and the bundled sounds, and works away from the checkout."""

import os
import re
import subprocess
import sys
import zipfile

import pytest
import soundfile
from own import OWN, POINTS
from sounds import ROOT, noise


def test_every_module_every_stub_and_every_bundled_sound_is_in_the_wheel(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    for folder, home in [("audiomix", "audiomix"), ("recipes", "audiomix/recipes"), ("assets", "audiomix/assets")]:
        tracked = subprocess.run(
            ["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for name in tracked.splitlines():
            kept = name.endswith((".py", ".pyi", ".typed", ".flac", ".beats", ".jsonl")) or "/templates/" in name
            if kept and not name.startswith("assets/results"):
                assert home + name.removeprefix(folder) in inside
    assert not [name for name in inside if "__pycache__" in name or name.startswith("tests/")]


def test_the_wheel_works_where_it_lies(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = (
        "import audiomix, audiomix.recipes.cli as r, audiomix.cli as c, sys\n"
        "from audiomix.datasets.demo import assets\n"
        f"assert audiomix.__file__.startswith({str(site)!r}), audiomix.__file__\n"
        f"assert str(assets()).startswith({str(site)!r})\n"
        "wav = assets() / 'sounds' / 'rain.flac'\n"
        "code = c.main(['mix', str(wav), str(wav), '-o', 'x.flac']) or c.main(['show', 'x.flac'])\n"
        "sys.exit(code or r.main(['list']))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.flac").stat().st_size > 1000
    assert "<audio" in (tmp_path / "x-show.html").read_text()


PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "own_things"
version = "0.1"
[tool.setuptools]
py-modules = ["own_things"]
"""
# the five things of own.py, each used from the command line
COMMANDS = """
audiomix augment in out --quiet --mixer {roll} --shift 0.25
audiomix beats in/dog/0.wav --tracker {taps}
audiomix-recipes run {halved} {clips} in --model {net} --factor 0.25 --steps 2 --every 1 --rate 8000 --window 256
    --hop 100 --n-mels 32 --threads 1 --labelled 2 --batch-labelled 4 --device cpu --fold 0 --out run
audiomix-recipes predict run/fold0-seed0 in/dog -o labels.csv
"""


@pytest.mark.slow
@pytest.mark.parametrize("by", ["file", "entry point"])
def test_things_of_ones_own_are_used_by_the_installed_commands(by, installed, tmp_path):
    text = OWN.replace("from recipes.", "from audiomix.recipes.")
    entries = dict(line.split(" = own_things:") for line in POINTS.splitlines() if " = " in line)
    if by == "file":
        (tmp_path / "mine.py").write_text(text)
        names = {name: f"mine.py:{member}" for name, member in entries.items()}
    else:
        package = tmp_path / "package"
        package.mkdir()
        (package / "own_things.py").write_text(text)
        points = re.sub(r"\[(.*)\]", r'[project.entry-points."\1"]', re.sub(r"= (.*)", r'= "\1"', POINTS))
        (package / "pyproject.toml").write_text(PROJECT + points)
        installed("python", "-m", "pip", "install", "--no-deps", "--no-build-isolation", package)
        names = {name: name for name in entries}
    for name in ("dog", "rain"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i in range(8):
            soundfile.write(tmp_path / "in" / name / f"{i}.wav", 0.2 * noise(4000, seed=i).numpy(), 8000)
    for line in COMMANDS.replace("\n    ", " ").strip().splitlines():
        words = line.format(**names).split()
        if by == "file" and "predict" in words:  # the run names a file's code
            installed(*words, cwd=tmp_path, status=2)
            words.append("--trust")
        installed(*words, cwd=tmp_path)
    assert len(list((tmp_path / "out").rglob("*.flac"))) == 16
    assert len((tmp_path / "labels.csv").read_text().splitlines()) == 9
