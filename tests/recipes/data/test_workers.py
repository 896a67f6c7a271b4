"""Runs side by side: what fails is told, what dies is replaced, and nobody is left behind."""

import os
import signal
import subprocess
import sys
import time

import pytest
from sounds import ROOT

from recipes.data.workers import Failed, side_by_side


class Tripled:
    """Made once a process: tells how often it was asked."""

    def __init__(self, add):
        self.add, self.asked = add, 0

    def __call__(self, x):
        self.asked += 1
        if x == 13:
            raise ValueError("13 brings bad luck")
        if x == 14:
            os._exit(7)
        return 3 * x + self.add, self.asked, os.getpid()


def broken(add):
    raise ValueError(f"nothing can be made with {add}")


def test_one_job_is_this_process_and_keeps_what_it_holds():
    done = dict(side_by_side(Tripled, (1,), [1, 13, 2], 1))
    assert done[1] == (4, 1, os.getpid())
    assert done[2] == (7, 3, os.getpid())
    assert isinstance(done[13], Failed)
    assert done[13] == "13 brings bad luck"


def test_two_jobs_are_two_other_processes_and_a_dead_one_is_replaced():
    done = dict(side_by_side(Tripled, (1,), [1, 2, 13, 14, 3, 4, 5], 2))
    assert {x: done[x][0] for x in (1, 2, 3, 4, 5)} == {x: 3 * x + 1 for x in (1, 2, 3, 4, 5)}
    assert done[13] == "13 brings bad luck"
    assert isinstance(done[14], Failed)
    assert "ended with code 7" in done[14]
    pids = {done[x][2] for x in (1, 2, 3, 4, 5)}
    assert os.getpid() not in pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_what_cannot_be_made_is_told_for_every_task():
    done = dict(side_by_side(broken, ("x",), [1, 2, 3], 2))
    assert done == dict.fromkeys([1, 2, 3], "nothing can be made with x")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize(
    "work",
    ["list(side_by_side(Slow, (), [1, 2], 2))", "with mapper(2) as mapped: list(mapped(Slow(), [1] * 16 + [2] * 16))"],
)
def test_workers_end_with_a_parent_that_is_killed(tmp_path, work):
    (tmp_path / "work.py").write_text(
        "import os, time, sys, pathlib\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from recipes.data.workers import mapper, side_by_side\n"
        "class Slow:\n"
        "    def __call__(self, x):\n"
        "        pathlib.Path(f'{x}.pid').write_text(str(os.getpid()))\n"
        "        time.sleep(600)\n"
        "if __name__ == '__main__':\n"
        f"    {work}\n"
    )
    parent = subprocess.Popen([sys.executable, "work.py"], cwd=tmp_path)
    try:
        pids = []
        for _ in range(600):
            texts = [path.read_text() for path in tmp_path.glob("*.pid")]
            if len(texts) == 2 and all(texts):
                pids = [int(text) for text in texts]
                break
            time.sleep(0.05)
        assert len(pids) == 2
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    for _ in range(200):
        if not any(alive(pid) for pid in pids):
            return
        time.sleep(0.05)
    pytest.fail("a worker outlives its parent")


def alive(pid):
    """Return whether a process runs; one that nobody has waited for is dead."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
