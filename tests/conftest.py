"""Signals whose answer is known, where the real ones are, and small data sets."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import HealthCheck, settings
from sounds import DATA, ROOT

# a busy machine is no fault of the code
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")
if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: a thread each, and for what they start
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.pop("COLUMNS", None)  # readline, which the process imports, claims 80
# a shell without job control starts what runs in the background with Ctrl-C ignored, and here it is tried
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Build the wheel, in one of pytest-xdist's processes for all: it is built in the checkout's own folder."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    folder = shared / "wheel"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    with FileLock(shared / "wheel.lock"):
        if not folder.exists():
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    (path,) = folder.glob("audiomix-*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """Make a function that runs commands of an environment with the wheel in it; what it depends on is this one's."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=False)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    # behind it on the path, so that the wheel is found first; .pth files in it are not read: no editable install
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    env = {**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "AUDIOMIX_CACHE": str(folder / "cache")}

    def run(command, *arguments, cwd=folder, status=0):
        command = [folder / "venv" / "bin" / command, *arguments]
        done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    run.python = folder / "venv" / "bin" / "python"
    run("python", "-m", "pip", "install", "--no-deps", "--ignore-installed", "--no-index", wheel)
    home = run("python", "-c", "import audiomix; print(audiomix.__file__)")
    assert Path(home).is_relative_to(folder), home
    return run


@pytest.fixture
def esc10():
    if not (DATA / "esc10").exists():
        pytest.skip(f"no ESC-10 at {DATA} (set AUDIOMIX_DATA)")
    return DATA / "esc10"


@pytest.fixture
def speech():
    if not (DATA / "speech_commands").exists():
        pytest.skip(f"no Speech Commands at {DATA} (set AUDIOMIX_DATA)")
    return DATA / "speech_commands"


@pytest.fixture
def spelled():
    """Clip i is 1 in channel i and 0 elsewhere: it spells its own one-hot label."""
    return torch.eye(8).unsqueeze(-1).repeat(1, 1, 100)


@pytest.fixture
def classes(tmp_path):
    """Three class folders with six files each."""
    from made import write

    root = tmp_path / "source"
    for i in range(18):
        write(root / "abc"[i % 3] / f"{i:02d}.wav", seed=i)
    return root


@pytest.fixture
def folds(tmp_path):
    """A manifest with splits, folds, groups, licences and captions: 48 files."""
    from made import write

    root = tmp_path / "folds"
    with open(write(root / "x.wav").with_name("list.jsonl"), "w") as table:
        for i in range(48):
            write(root / "wavs" / f"{i}.wav", seed=100 + i, seconds=0.2)
            row = {"path": f"wavs/{i}.wav", "label": "abcd"[i % 4]}
            row |= {"split": ["train", "test"][i % 2], "fold": i // 2 % 3}
            row |= {"group": f"g{i // 4}", "licence": ["CC0", "CC-BY"][i % 2], "attribution": f"author {i}"}
            table.write(json.dumps(row | {"caption": f"sound number {i}"}) + "\n")
    return root / "list.jsonl"


def pytest_collection_modifyitems(items):
    """Refuse names of tests that hold an address: two processes would collect different tests."""
    for item in items:
        assert " at 0x" not in item.nodeid, item.nodeid
