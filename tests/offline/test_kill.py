"""``kill -9`` at any moment: nothing half-written under a final name, and the run goes on to the same bytes."""

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import soundfile
from made import mix, rows_of, tree, write

pytestmark = pytest.mark.slow

ENGINE = """
import sys
from audiomix import MixUp
from audiomix.offline.run import augment
options = {"workers": int(sys.argv[3]), "format": sys.argv[4], "oversubscribe": True, "progress": False}
augment(sys.argv[1], sys.argv[2], MixUp(1.0), copies=3, **options)
"""
# Die at a chosen moment: in the n-th write of samples, before the n-th rename, after it, within a journal line.
MOMENTS = {
    "while a file is written": "import soundfile; hit(soundfile.SoundFile, 'write', 9, before=False)",
    "before a rename": "import os; hit(os, 'replace', 12, before=True)",
    "after a rename": "import os; hit(os, 'replace', 25, before=False)",
    "within a journal line": """
from audiomix.offline.journal import Journal
def torn(self, index, size, row):
    if index == 10:
        self._file.seek(0, 2); self._file.write(b'{"index": 10, "byt'); self._file.flush(); os.kill(os.getpid(), 9)
    add(self, index, size, row)
add, Journal.add = Journal.add, torn
""",
    "before metadata.jsonl is whole": "import json; hit(json, 'dumps', 80, before=True)",
}
HIT = """
import os
def hit(owner, name, count, before):
    real, left = getattr(owner, name), [count]
    def deadly(*args, **more):
        left[0] -= 1
        if before and left[0] == 0: os.kill(os.getpid(), 9)
        result = real(*args, **more)
        if left[0] == 0: os.kill(os.getpid(), 9)
        return result
    setattr(owner, name, deadly)
"""


def check_and_resume(source, out, kind, whole):
    made = list(out.rglob(f"*.{kind}"))
    for path in made:  # what has its final name is whole
        data, _ = soundfile.read(path)
        assert len(data) == soundfile.info(path).frames == 8000
        assert path.read_bytes() == whole[str(path.relative_to(out))]
    assert not (out / "metadata.jsonl").exists()
    mix(source, out, copies=3, format=kind)
    assert tree(out) == whole
    before = {path: path.stat().st_mtime_ns for path in out.rglob(f"*.{kind}")}
    mix(source, out, copies=3, format=kind)  # nothing is left to do
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob(f"*.{kind}")}
    return len(made)


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_a_chosen_moment(classes, tmp_path, moment):
    mix(classes, tmp_path / "whole", copies=3)
    out = tmp_path / "out"
    script = HIT + MOMENTS[moment] + ENGINE
    done = subprocess.run([sys.executable, "-c", script, classes, out, "1", "flac"], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    check_and_resume(classes, out, "flac", tree(tmp_path / "whole"))


@pytest.mark.parametrize("kind", ["flac", "wav"])
def test_killed_from_outside_with_two_workers(classes, tmp_path, kind):
    mix(classes, tmp_path / "whole", copies=3, format=kind)
    out = tmp_path / "out"
    journal = out / ".audiomix" / "journal.jsonl"
    run = subprocess.Popen([sys.executable, "-c", ENGINE, classes, out, "2", kind])
    while run.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") > 1):
        time.sleep(0.001)
    workers = children(run.pid)
    run.kill()
    run.wait()
    assert len(workers) >= 2
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers))  # they end with their parent
    assert check_and_resume(classes, out, kind, tree(tmp_path / "whole")) > 0


def started(context, source, out, **options):
    process = context.Process(target=mix, args=(source, out), kwargs=options)
    process.start()
    return process


def test_killed_at_random_moments(classes, tmp_path):
    """As many moments as a minute allows, or AUDIOMIX_KILLS of them. Sources may change between two starts."""
    context = multiprocessing.get_context("forkserver")  # processes that have imported all: they start in no time
    context.set_forkserver_preload(["made"])
    begun, kills, wanted = time.monotonic(), 0, int(os.environ.get("AUDIOMIX_KILLS", 0))
    out, draw = tmp_path / "out", random.Random(0)
    options, whole = {"copies": 3, "stems": True}, {}
    while kills < wanted if wanted else time.monotonic() - begun < 60:
        workers = 2 if draw.random() < 0.1 else 1
        changed, seed = classes / "a" / "03.wav", draw.randrange(100)
        write(changed, seed=seed)
        start = time.monotonic()
        started(context, classes, tmp_path / "whole", **options).join()
        duration = (time.monotonic() - start) * (1 if workers == 1 else 6)
        before, whole = whole, tree(tmp_path / "whole")
        shutil.rmtree(tmp_path / "whole")
        while True:
            process = started(context, classes, out, workers=workers, refresh=True, **options)
            process.join(draw.uniform(0, duration))
            workers_left = children(process.pid) if process.is_alive() else []
            process.kill()
            process.join()
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL
            kills += 1
            wait_for(lambda pids=workers_left: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
            if (out / "metadata.jsonl").exists():  # all that it tells of is there: of old sources, or of new ones
                mixes = {row["file_name"]: row["path"].read_bytes() for row in rows_of(out)}.items()
                assert mixes <= before.items() or mixes <= whole.items()
        assert tree(out) == whole
    print(f"killed at {kills} moments")


def wait_for(condition, seconds=20):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def children(parent):
    """Processes whose parent is this one (Linux)."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if int(file.read().rpartition(")")[2].split()[1]) == parent:
                    found.append(int(pid))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
