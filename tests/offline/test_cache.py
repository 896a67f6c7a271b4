"""Files that are long enough to be read in pieces: what comes out depends on the file, never on what was read before.

The large files here are really large: a worker knows nothing of what a test patches.
"""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from made import mix, rows_of, tree, write

from audiomix.offline import cache as sources

# Large files are read whole as originals and in pieces as partners of short ones: the order decides what is cached.
LARGE = {"length": "original", "copies": 2}


@pytest.fixture
def large(tmp_path):
    """Two files of 4.2 MB (66 s of 64 bit samples) between six short ones."""
    for i in range(2):
        path = write(tmp_path / "in" / "a" / f"large{i}.wav", seed=i, seconds=66, rate=8000, subtype="DOUBLE")
        assert path.stat().st_size > sources._LARGE_FILE
    for i in range(6):
        write(tmp_path / "in" / "ab"[i % 2] / f"short{i}.wav", seed=10 + i, seconds=0.5, rate=8000)
    return tmp_path / "in"


@pytest.fixture(params=[None, 11025], ids=["own rate", "resampled"])
def rate(request):
    return request.param


@pytest.mark.slow
def test_bytes_of_large_files_do_not_depend_on_workers_or_order(large, rate, tmp_path):
    one = mix(large, tmp_path / "one", rate=rate, **LARGE)
    assert one.exit_code == 0
    met = [s for row in rows_of(one.path) if row["seconds"] < 1 for s in row["sources"][1:] if "large" in s["id"]]
    assert any(source["offset_s"] > 1 for source in met)  # pieces were taken
    two = mix(large, tmp_path / "two", rate=rate, workers=2, **LARGE)
    assert tree(one.path) == tree(two.path)
    for row in rows_of(two.path)[::3]:  # another order, another cache: as after a kill
        row["path"].unlink()
    mix(large, two.path, rate=rate, **LARGE)
    assert tree(one.path) == tree(two.path)


ENGINE = """
import json, os, sys
from audiomix import MixUp
from audiomix.offline.run import augment
real, left = os.replace, [6]
def deadly(*args):
    left[0] -= 1
    if left[0] == 0: os.kill(os.getpid(), 9)
    return real(*args)
os.replace = deadly
augment(sys.argv[1], sys.argv[2], MixUp(1.0), progress=False, **json.loads(sys.argv[3]))
"""


@pytest.mark.slow
def test_bytes_of_large_files_are_the_same_after_a_kill(large, rate, tmp_path):
    options = {"rate": rate, **LARGE}
    command = [sys.executable, "-c", ENGINE, large, tmp_path / "killed", json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert 0 < len(list((tmp_path / "killed").rglob("*.flac"))) < 16
    mix(large, tmp_path / "killed", **options)
    mix(large, tmp_path / "whole", **options)
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")


@pytest.mark.parametrize("kind", ["flac", "ogg", "mp3"])
def test_a_piece_is_the_same_whether_the_whole_was_read_or_not(tmp_path, monkeypatch, kind, rate):
    subtype = {"flac": "PCM_16", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}[kind]
    path = str(write(tmp_path / f"x.{kind}", seconds=8, subtype=subtype))
    for name in ("_LARGE_FILE", "_SMALL_FILE"):
        monkeypatch.setattr(sources, name, os.path.getsize(path))
    fresh, warm = sources.Sources(rate), sources.Sources(rate)
    warm.read(path)
    for position in (0.0, 0.3, 0.9):
        (a, start), (b, other) = (source.piece(path, 1.0, position) for source in (fresh, warm))
        assert start == other
        assert torch.equal(a.samples, b.samples)
    assert start > 5
