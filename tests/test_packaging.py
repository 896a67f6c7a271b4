"""The wheel carries both packages, py.typed and the bundled sounds, and works away from the checkout."""

import os
import subprocess
import sys
import zipfile

import pytest
from sounds import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("audiomix-*.whl")
    return path


def test_every_module_and_every_bundled_sound_is_in_the_wheel(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    for folder, home in [("audiomix", "audiomix"), ("recipes", "audiomix/recipes"), ("assets", "audiomix/assets")]:
        tracked = subprocess.run(
            ["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for name in tracked.splitlines():
            kept = name.endswith((".py", ".typed", ".flac", ".beats", ".jsonl"))
            if kept and not name.startswith("assets/results"):
                assert home + name.removeprefix(folder) in inside
    assert not [name for name in inside if "__pycache__" in name or name.startswith("tests/")]


def test_the_installed_wheel_works(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = (
        "import audiomix, audiomix.recipes.cli as r, audiomix.cli as c, sys\n"
        "from audiomix.datasets.demo import assets\n"
        f"assert audiomix.__file__.startswith({str(site)!r}), audiomix.__file__\n"
        f"assert str(assets()).startswith({str(site)!r})\n"
        "wav = assets() / 'sounds' / 'rain.flac'\n"
        "sys.exit(c.main(['mix', str(wav), str(wav), '-o', 'x.flac']) or r.main(['list']))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.flac").stat().st_size > 1000
