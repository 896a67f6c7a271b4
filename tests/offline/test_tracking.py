"""Many files: one or several workers, files that fail, workers that are killed, an impatient user."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import resource_tracker, util

import numpy as np
import pytest
import soundfile
import torch
from made import write
from sounds import ROOT

from audiomix.audio.io import AudioError
from audiomix.beats import BeatGrid
from audiomix.beats.key import KEYS
from audiomix.beats.track import Tracking
from audiomix.offline.journal import RunStopped
from audiomix.offline.providers.tracking import Tracked, track_files

LOOPS = sorted(map(str, (ROOT / "assets" / "loops").glob("*.flac")))


class Fake:
    """What becomes of a file stands in its name."""

    def file(self, path):
        word, _, number = os.path.basename(path).partition("-")
        if word == "audio":
            raise AudioError(f"{path}: not readable as audio")
        if word == "value":
            raise ValueError(f"{path}: no beats file")
        if word == "crash":
            return {}[path]
        if word == "memory":
            raise MemoryError
        if word == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "exit":
            os._exit(3)
        if word == "long":
            print("at work", flush=True)
        if word in ("slow", "long"):
            time.sleep(float(number))
        if word == "threads":
            return BeatGrid([0.0], tracker=f"{torch.get_num_threads()} {os.environ.get('OMP_NUM_THREADS')}")
        return BeatGrid([0.1 * float(number or 0), 5.0], key="A minor" if word == "keyed" else None)


class Unborn(Fake):
    def __setstate__(self, state):
        raise ImportError("not in a worker")

    def __getstate__(self):
        return {"something": 1}


class Reached(Fake):
    """Ctrl-C reaches a worker as soon as code of ours runs in it, and again at a file."""

    def __setstate__(self, state):
        os.kill(os.getpid(), signal.SIGINT)

    def __getstate__(self):
        return {"something": 1}

    def file(self, path):
        os.kill(os.getpid(), signal.SIGINT)
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        return BeatGrid(
            [0.0], tracker=f"ignored {ignored}, blocked {bool(signal.pthread_sigmask(signal.SIG_BLOCK, []))}"
        )


def run(paths, tracking=None, **options):
    return list(track_files(paths, tracking or Fake(), **{"progress": False, **options}))


MIXED = ["slow-0.5", *(f"ok-{i}" for i in range(9)), "audio-1", "value-1", "crash-1", "memory-1", "ok-9"]


@pytest.fixture(scope="module")
def serial():
    return run(MIXED)


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_gives_the_same_in_the_order_of_the_paths(workers, serial):
    assert run(MIXED, workers=workers) == serial


def test_a_file_that_fails_has_a_reason_and_stops_nothing(serial):
    assert [t.path for t in serial] == MIXED
    reasons = {t.path: t.reason for t in serial if t.reason}
    assert reasons == {
        "audio-1": "not readable as audio",
        "value-1": "no beats file",
        "crash-1": "KeyError: 'crash-1'",
        "memory-1": "too little memory to find its beats (MemoryError)",
    }
    for tracked in serial:
        assert (tracked.grid is None) == bool(tracked.reason)
    assert serial[3].grid == BeatGrid([0.2, 5.0])


def test_killed_workers_are_reported_and_replaced():
    paths = ["ok-1", "kill-1", "ok-2", "kill-2", "kill-3", "exit-1", "ok-3", "ok-4"]
    found = run(paths, workers=2)
    assert [t.path for t in found] == paths
    for tracked in found:
        word = tracked.path.split("-")[0]
        said = {"kill": "signal SIGKILL: too little memory?", "exit": "exit code 3", "ok": ""}[word]
        assert said in tracked.reason
        assert (tracked.grid is None) == (word != "ok")
    assert not multiprocessing.active_children()


def test_workers_that_do_not_start_stop_the_run(capfd):
    with pytest.raises(RunStopped, match=r"did not start \(exit code 1\).*__main__"):
        run(["ok-1", "ok-2"], Unborn(), workers=2)
    assert not multiprocessing.active_children()
    assert "not in a worker" in capfd.readouterr().err


def test_who_stops_listening_ends_the_workers():
    found = track_files(["ok-1", "slow-60", "slow-60", "ok-2"], Fake(), workers=2, progress=False)
    assert next(found).grid == BeatGrid([0.1, 5.0])
    begun = time.monotonic()
    found.close()
    assert not multiprocessing.active_children()
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("workers", [1, 2])
def test_one_thread_each_and_nothing_of_it_stays(workers, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    seen = {t.grid.tracker for t in run(["threads-1", "threads-2"], workers=workers)}
    assert seen == {"1 7" if workers == 1 else "1 1"}
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ
    assert torch.get_num_threads() == threads
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.fixture
def handler(request):
    """Handle Ctrl-C as a program at a terminal does, or ignore it as one that was started in the background."""
    before = signal.signal(signal.SIGINT, request.param)
    yield request.param
    assert signal.signal(signal.SIGINT, before) is request.param


@pytest.fixture
def pressed(monkeypatch):
    """Press Ctrl-C when a worker exists but has not been told its work; each thread is a receiver. Return the pids."""
    resource_tracker.ensure_running()  # by the same function
    start, pids, done = util.spawnv_passfds, [], threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()

    def press(*args):
        pids.append(start(*args))
        for thread in (threading.main_thread(), other):
            signal.pthread_kill(thread.ident, signal.SIGINT)
        time.sleep(0.1)  # were it not held back, it would be raised here
        return pids[-1]

    monkeypatch.setattr(util, "spawnv_passfds", press)
    yield pids
    done.set()
    other.join()


@pytest.mark.parametrize("handler", [signal.default_int_handler], indirect=True)
def test_ctrl_c_while_a_worker_starts_ends_the_run_and_the_worker(handler, pressed):
    mask, environment = signal.pthread_sigmask(signal.SIG_BLOCK, []), dict(os.environ)
    with pytest.raises(KeyboardInterrupt):
        run(["ok-1", "ok-2"], workers=2)
    assert len(pressed) == 1
    with pytest.raises(ChildProcessError):
        os.waitpid(pressed[0], os.WNOHANG)  # it has ended, and was waited for
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
    assert os.environ == environment


@pytest.mark.parametrize("handler", [signal.SIG_IGN], indirect=True)
def test_who_ignores_ctrl_c_does_so_while_a_worker_starts(handler, pressed):
    assert [t.grid for t in run(["ok-1", "ok-2"], workers=2)] == [BeatGrid([0.1, 5.0]), BeatGrid([0.2, 5.0])]
    assert len(pressed) == 2


def test_workers_leave_ctrl_c_to_their_parent_from_their_first_moment_on(capfd):
    found = [[run(["ok-1", "ok-2"], Reached(), workers=2)], []]
    thread = threading.Thread(target=lambda: found[1].append(run(["ok-1", "ok-2"], Reached(), workers=2)))
    thread.start()  # which may set no handlers
    thread.join()
    for [tracked] in found:
        assert {t.grid.tracker for t in tracked} == {"ignored True, blocked False"}
    assert capfd.readouterr().err == ""


SCRIPT = """
import signal
from dataset.test_tracking import Fake
from audiomix.offline.providers.tracking import track_files
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is started with it ignored
    for found in track_files(["ok-1", "ok-2", "long-600", "long-600"], Fake(), workers=2, progress=False):
        print(found.path, flush=True)
"""


def started(script):
    """Start a run in a process group of its own; return it when its two workers are at long files."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, str(script)]
    process = subprocess.Popen(
        command, env=env, text=True, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    said = sorted(process.stdout.readline() for _ in range(4))
    assert said == ["at work\n", "at work\n", "ok-1\n", "ok-2\n"]
    return process


def alive(group):
    """Say whether a process of the group is left, even after a while."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


def test_ctrl_c_ends_all_at_once(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    busy = started(tmp_path / "script.py")
    os.killpg(busy.pid, signal.SIGINT)  # as a terminal does: to parent and workers
    said = busy.communicate(timeout=300)[1]  # a worker's song takes 600 s
    assert said.count("Traceback") == 1  # the parent's own
    assert "KeyboardInterrupt" in said
    assert not alive(busy.pid)


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT.replace("long-600", "long-4"))
    process = started(tmp_path / "script.py")
    process.kill()
    process.communicate(timeout=120)  # the workers hold its streams: they have ended
    assert not alive(process.pid)


def test_keys_are_estimated_where_there_is_none(tmp_path):
    t = np.arange(22050) / 22050
    chords = [(0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7)]
    wave = np.concatenate([sum(np.sin(2 * np.pi * 440 * 2 ** (n / 12) * t) for n in chord) for chord in chords])
    path = str(tmp_path / "a.wav")
    soundfile.write(path, 0.2 * wave, 22050)
    noise = str(write(tmp_path / "noise.wav", seconds=3))
    for workers in (1, 2):
        found = run([path, noise], keys=True, workers=workers)
        assert [t.grid.key for t in found] == ["A major", None]
        assert [t.seconds for t in found] == [4.0, 3.0]
    assert "A major" in KEYS
    assert run([path])[0].grid.key is None
    assert run(["keyed-1"], keys=True)[0] == Tracked("keyed-1", BeatGrid([0.1, 5.0], key="A minor"))
    assert "no such file" in run(["missing-1"], keys=True)[0].reason


@pytest.mark.parametrize("tracker", ["file", "librosa"])
def test_the_real_trackers(tracker, tmp_path):
    broken = tmp_path / "broken.flac"
    broken.write_bytes(b"fLaC and no more")
    paths = [*LOOPS[:2], str(broken), *LOOPS[2:]]
    tracking = Tracking(tracker, tmp_path / "cache")
    found = run(paths, tracking)
    assert [t.path for t in found if t.reason] == [str(broken)]
    assert all(t.grid.tracker == tracker and len(t.grid) > 4 for t in found if t.grid)
    assert run(paths, Tracking(tracker, False), workers=2) == found  # to the bit: one thread each
    assert run(paths, tracking) == found  # from the cache


def test_the_bar_counts_all_files(capfd):
    run(MIXED, progress=True)
    assert f"{len(MIXED)}/{len(MIXED)} files" in capfd.readouterr().err
    run(MIXED)
    assert capfd.readouterr() == ("", "")


def test_no_files_are_no_work():
    assert run([], workers=4) == []


@pytest.mark.parametrize(
    ("paths", "tracking", "options", "error", "said"),
    [
        ("a.wav", Fake(), {}, TypeError, r"did you mean \[path\]"),
        (["a.wav"], "librosa", {}, TypeError, r"tracking must be .* got 'librosa': did you mean Tracking"),
        (["a.wav"], Fake(), {"workers": 0}, ValueError, "workers must be an integer of at least 1"),
        (["a.wav", "b.wav"], type("Local", (Fake,), {})(), {"workers": 2}, ValueError, "tracking must be .* pickles"),
    ],
)
def test_wrong_arguments_are_named_at_the_call(paths, tracking, options, error, said):
    with pytest.raises(error, match=said):
        track_files(paths, tracking, **options)
