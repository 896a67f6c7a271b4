import os
import subprocess
import sys
import time

import pytest
from sounds import ROOT

TRACK = """
import sys, time, torch
from audiomix.beats import trackers
tracker, sound = trackers.get(sys.argv[2])(), torch.randn(1, 66150, generator=torch.manual_seed(0))
while time.time() < float(sys.argv[1]):
    pass
print(len(tracker.track(sound, 22050).times))
"""


@pytest.mark.slow
@pytest.mark.parametrize("tracker", ["beat_track", "librosa"])
def test_processes_that_compile_at_the_same_time_leave_a_cache_that_works(tracker, tmp_path):
    """Without the lock the second process, and all later ones, end with a segmentation fault (numba issue 10128).

    Some functions are compiled where librosa's modules are imported, others where they are first called.
    """
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    start = str(time.time() + 10)  # seconds: by then both have imported torch
    line = [sys.executable, "-c", TRACK, start, tracker]
    pair = [subprocess.Popen(line, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = [process.communicate()[0] for process in pair] + [subprocess.check_output(line, env=env, text=True)]
    assert [process.returncode for process in pair] == [0, 0]
    assert found[0] == found[1] == found[2] != ""
