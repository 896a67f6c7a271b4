"""A worker stays small, and does not import what it does not need."""

import json
import os
import subprocess
import sys

import pytest
from made import write

pytestmark = pytest.mark.slow

# The peak of a process is VmHWM: ru_maxrss would be that of the process it was forked from, here the test run itself.
SCRIPT = """
import json, multiprocessing, os, re, sys, threading, time
import torch

def peak(pid):
    return int(re.search(r"VmHWM:\\s*(\\d+)", open(f"/proc/{pid}/status").read())[1]) / 1024

torch_alone = peak(os.getpid())

from audiomix import MixUp
from audiomix.offline.run import augment

peaks = {}

def look():
    for pid in [os.getpid(), *(child.pid for child in multiprocessing.active_children())]:
        try:
            peaks[pid] = peak(pid)
        except (OSError, TypeError):
            continue  # it has just ended

def watch():
    while True:
        look()
        time.sleep(0.02)

threading.Thread(target=watch, daemon=True).start()
options = {"workers": int(sys.argv[3]), "oversubscribe": True, "progress": False}
report = augment(sys.argv[1], sys.argv[2], MixUp(1.0), length=5.0, **options)
look()
said = {"files": report.files, "errors": report.errors, "peaks": list(peaks.values()), "torch_alone": torch_alone}
print(json.dumps({**said, "modules": sorted(sys.modules)}))
"""


STEMS = """
import re, sys
from audiomix import MixUp
from audiomix.offline.run import augment

def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) * 1024

augment(sys.argv[1], sys.argv[3], MixUp(1.0), stems=True, progress=False)
before = peak()
augment(sys.argv[2], sys.argv[4], MixUp(1.0), stems=True, progress=False)
print(peak() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="peaks are read from /proc")
def test_stems_hold_a_long_clip_only_a_few_times(tmp_path):
    size = 120 * 44100 * 2  # samples of a long file: more than malloc keeps when they are freed
    for i in range(2):
        write(tmp_path / "short" / "a" / f"{i}.wav", seed=i)
        write(tmp_path / "long" / "a" / f"{i}.wav", seed=i, seconds=120, rate=44100, channels=2)
    folders = [tmp_path / name for name in ("short", "long", "out", "out2")]
    done = subprocess.run([sys.executable, "-c", STEMS, *folders], capture_output=True, text=True, check=True)
    # original, partner, mix, two stems, and what the codec needs: 7.3 to 8.3 times, by what malloc has kept
    assert int(done.stdout) < 10 * 4 * size


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="peaks are read from /proc")
def test_a_worker_stays_below_500_mb_without_librosa(tmp_path):
    for i in range(24):  # 24 x 2.6 MB decoded, and the long one: more than the cache keeps
        write(tmp_path / "in" / "ab"[i % 2] / f"{i}.wav", seed=i, seconds=15, rate=44100)
    write(tmp_path / "in" / "a" / "long.wav", seed=99, seconds=120, rate=44100)  # decoded whole: 21 MB
    for workers in "12":
        command = [sys.executable, "-c", SCRIPT, tmp_path / "in", tmp_path / workers, workers]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        said = json.loads(done.stdout)
        assert (said["files"], said["errors"]) == (25, [])
        assert len(said["peaks"]) == (1 if workers == "1" else 3)
        # 500 MB beside a CPU build of torch, which takes 220 alone; a CUDA build takes 500 alone
        assert max(said["peaks"]) < max(500, said["torch_alone"] + 280), said
        assert not {"librosa", "torchaudio", "matplotlib", "pyarrow", "numba"} & set(said["modules"])
