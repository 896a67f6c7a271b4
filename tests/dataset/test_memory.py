"""A worker stays small, and does not import what it does not need."""

import json
import subprocess
import sys

from dataset.made import write

SCRIPT = """
import json, resource, sys
from audiomix import MixUp
from audiomix.dataset import engines
from audiomix.dataset.augment import augment
report = augment(sys.argv[1], sys.argv[2], MixUp(1.0), length=5.0, workers=int(sys.argv[3]), progress=False)
used = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps({"files": report.files, "errors": report.errors, "mb": used / 1024, "modules": sorted(sys.modules)}))
"""


def test_a_worker_stays_below_500_mb_without_librosa(tmp_path):
    for i in range(24):  # 24 x 2.6 MB decoded, and the long one: more than the cache keeps
        write(tmp_path / "in" / "ab"[i % 2] / f"{i}.wav", seed=i, seconds=15, rate=44100)
    write(tmp_path / "in" / "a" / "long.wav", seed=99, seconds=120, rate=44100)  # decoded whole: 21 MB
    for workers in "12":
        command = [sys.executable, "-c", SCRIPT, tmp_path / "in", tmp_path / workers, workers]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        said = json.loads(done.stdout)
        assert (said["files"], said["errors"]) == (25, [])
        assert said["mb"] < 500
        assert not {"librosa", "torchaudio", "matplotlib", "pyarrow", "numba"} & set(said["modules"])
