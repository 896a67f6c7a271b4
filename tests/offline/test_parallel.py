"""The one process pool: the same results from any number of workers, whatever fails, dies or is interrupted."""

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from multiprocessing import resource_tracker, util

import pytest
import torch
from sounds import ROOT

from audiomix.offline.journal import RunStopped
from audiomix.offline.parallel import Lanes, WorkerDied, in_order, run_tasks, usable_workers


class TwoParts(Exception):
    """Pickles, and cannot be unpickled: its arguments are not those of its constructor."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


class Worker:
    """What becomes of a task stands in its name; counts the tasks that it was given."""

    def __init__(self, greeting="hello"):
        self.greeting, self.asked = greeting, 0

    def __call__(self, task):
        self.asked += 1
        word, _, rest = task.partition("-")
        if word == "value":
            raise ValueError(f"{task} is wrong")
        if word == "key":
            return {}[task]
        if word == "memory":
            raise MemoryError
        if word == "parts":
            raise TwoParts("one", "two")
        if word == "local":
            raise type("Local", (OSError,), {})("a class of its own")
        if word == "lambda":
            return lambda: None
        if word == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "exit":
            os._exit(3)
        if word == "say":
            os.write(1, b"at work\n")
        if word in ("sleep", "say"):
            time.sleep(float(rest))
        if word == "large":  # more than a pipe holds
            return bytes(1 << 22)
        if word == "child":  # a daemon might not have one
            child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(0,))
            child.start()
            child.join()
            return child.exitcode
        if word == "count":
            return os.getpid(), self.asked
        if word == "threads":
            return torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
        if word == "interrupt":
            ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
            os.kill(os.getpid(), signal.SIGINT)
            return ignored, blocked
        return f"{self.greeting} {task}"


class Unreadable:
    """Raises where a worker reads it."""

    def __reduce__(self):
        return exec, ("raise ImportError('not in a worker')",)


def broken(name):
    raise FileNotFoundError(2, "no such model", name)


def run(tasks, *arguments, make=Worker, **options):
    return list(in_order(run_tasks(make, arguments, tasks, **options)))


@pytest.fixture(autouse=True)
def nobody_is_left():
    yield
    assert not multiprocessing.active_children()


GOOD = [f"ok-{i}" for i in range(20)]
BAD = ["value-1", "key-1", "memory-1", "parts-1", "local-1"]


@pytest.mark.slow
def test_what_comes_out_depends_neither_on_workers_nor_on_how_tasks_are_handed_out():
    tasks = ["sleep-0.5", *GOOD[:7], *BAD, "large-1", "child-1", *GOOD[7:]]
    one = run(tasks)
    assert [result.task for result in one] == tasks
    for options in ({}, {"chunk": 3, "ahead": 1}, {"chunk": 4, "ahead": 9, "on_death": "report", "workers": 3}):
        several = run(iter(tasks), **{"workers": 2, **options})
        assert [result[:3] for result in several] == [result[:3] for result in one]
        assert [result.task for result in several if result.error is not None] == BAD
    with closing(run_tasks(Worker, (), ["sleep-60", "ok-1"], workers=2)) as results:
        assert next(results).task == "ok-1"  # as they come


@pytest.mark.slow
def test_each_worker_has_tasks_of_its_own_and_takes_those_of_others_when_it_has_none_left():
    mine, theirs = [f"count-{i}" for i in range(2)], [f"count-{i}" for i in range(2, 12)]
    results = [*run_tasks(Worker, (), Lanes([mine, theirs]), workers=2)]
    assert sorted(result.number for result in results) == [*range(12)]
    assert sorted(result.task for result in results) == sorted([*mine, *theirs])
    worker_of = {result.task: result.value[0] for result in results}
    assert worker_of["count-0"] != worker_of["count-2"]  # the first of each
    assert run(Lanes([["ok-1"], ["ok-2"]]))[1].get() == "hello ok-2"  # in one process one after the other


@pytest.mark.slow
def test_an_error_is_what_it_was_and_of_the_task_it_was_in():
    for results in (run([*BAD, "ok-1"]), run([*BAD, "lambda-1", "ok-1"], workers=2)):
        errors = {result.task: result.error for result in results if result.error is not None}
        assert [type(errors[name]) for name in BAD[:3]] == [ValueError, KeyError, MemoryError]
        assert "one and two" in str(errors["parts-1"])
        assert "a class of its own" in str(errors["local-1"])
        assert isinstance(errors["local-1"], OSError)  # where it does not pickle: the nearest kind above it
        with pytest.raises(ValueError, match="^value-1 is wrong$"):
            results[0].get()
        assert results[-1].get() == "hello ok-1"
    assert "pickle" in str(errors["lambda-1"])
    assert "in __call__" in str(errors["value-1"].__cause__)  # where it happened in the worker


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 5])
def test_a_worker_that_dies_names_its_task_and_is_replaced(chunk):
    tasks = ["ok-1", "kill-1", "ok-2", "kill-2", "kill-3", "exit-1", *GOOD]
    results = run(tasks, workers=2, chunk=chunk, on_death="report", name=lambda task: f"<{task}>")
    assert [result.task for result in results] == tasks  # what it had not begun is done by others
    for result in results:
        how = {"kill": "signal SIGKILL: too little memory?", "exit": "exit code 3"}.get(result.task.split("-")[0])
        assert isinstance(result.error, WorkerDied) == (how is not None)
        if how is not None:
            assert result.error.how == how
            assert str(result.error) == f"a worker ended unexpectedly at <{result.task}> ({how})"


@pytest.mark.slow
def test_or_the_run_stops_and_what_was_done_is_known():
    done = []
    results = run_tasks(Worker, (), ["ok-1", "ok-2", "kill-1", *GOOD], workers=2, chunk=3)
    with pytest.raises(WorkerDied, match=r"at kill-1 \(signal SIGKILL"):
        done.extend(result.task for result in results)
    assert {"ok-1", "ok-2"} <= {*done}


@pytest.mark.slow
def test_a_function_is_made_once_a_process_and_with_one_thread():
    threads = torch.get_num_threads()
    assert [result.get()[0] for result in run(["threads-1", "threads-2"])] == [1, 1]
    assert [result.get()[0] for result in run(["threads-1", "threads-2"], threads=None)] == [threads, threads]
    assert torch.get_num_threads() == threads
    assert run(["count", "count"])[1].get() == (os.getpid(), 2)
    assert run(["count"], workers=4)[0].get() == (os.getpid(), 1)  # one task is not worth a worker
    values = [result.get() for result in run(["count"] * 9, workers=2)]
    for pid in {pid for pid, _ in values}:
        assert pid != os.getpid()
        counts = [asked for other, asked in values if other == pid]
        assert counts == [*range(1, 1 + len(counts))]


@pytest.mark.slow
def test_workers_have_their_threads_leave_ctrl_c_to_their_parent_and_change_nothing_here(monkeypatch, capfd):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    environment, handler = dict(os.environ), signal.getsignal(signal.SIGINT)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    tasks, found = ["interrupt-1", "interrupt-2", "threads-1"], []
    found.append(run(tasks, workers=2, threads=None))
    thread = threading.Thread(target=lambda: found.append(run(tasks, workers=2)))  # it may set no handlers
    thread.start()
    thread.join()
    for results, threads in zip(found, ("7", "1"), strict=True):
        first, second, (_, there) = (result.get() for result in results)
        assert (first, second, there) == ((True, False), (True, False), threads)
    assert capfd.readouterr().err == ""
    assert dict(os.environ) == environment
    assert signal.getsignal(signal.SIGINT) is handler
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask


def test_what_cannot_be_is_refused_by_name_before_any_work():
    tasks = iter(GOOD)
    for options, message in (
        ({"workers": 0}, "workers must be an integer of at least 1"),
        ({"chunk": 0}, "chunk must be"),
        ({"on_death": "go on"}, "on_death must be one of stop, report"),
    ):
        with pytest.raises(ValueError, match=message):
            run_tasks(Worker, (), tasks, **options)
    for make, arguments in ((Worker, (lambda: None,)), (lambda: None, ())):
        with pytest.raises(ValueError, match=r"make with its arguments must be one that pickles, .*got .*<lambda>"):
            run_tasks(make, arguments, tasks, workers=2)
    assert [*tasks] == GOOD


def test_no_more_workers_than_cores_unless_asked_for(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3})
    for asked, more, used in ((1, False, 1), (2, False, 2), (64, False, 2), (64, True, 64)):
        workers, notes = usable_workers(asked, more)
        assert (workers, len(notes)) == (used, used < asked)
    assert "2 workers, as many as there are cores, in place of 64" in usable_workers(64)[1][0]


@pytest.mark.slow
def test_what_cannot_start_stops_the_run(tmp_path):
    for workers in (1, 2):
        with pytest.raises(FileNotFoundError, match="no such model: 'x'"):
            run(GOOD, "x", make=broken, workers=workers)
    with pytest.raises(RunStopped, match=r"did not start \(ImportError: not in a worker\).*own must stand in a file"):
        run(GOOD, Unreadable(), workers=2)
    unguarded = "from audiomix.offline.parallel import run_tasks\n[*run_tasks(str, (), [1, 2], workers=2)]"
    (tmp_path / "script.py").write_text(unguarded)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert b"RunStopped: a worker did not start (exit code 1): in a script, call it under: if __name__" in done.stderr


@pytest.mark.slow
def test_tasks_are_taken_as_they_are_needed_and_who_stops_listening_ends_the_workers():
    begun = []

    def endless():
        for number in itertools.count():
            begun.append(number)
            yield "sleep-60" if number == 3 else f"ok-{number}"

    for ordered, options, most in ((iter, {"workers": 2}, 3 + 2 * 5), (in_order, {"workers": 3, "ahead": 6}, 3 + 6)):
        begun.clear()
        results = ordered(run_tasks(Worker, (), endless(), chunk=5, **options))
        assert {next(results).get() for _ in range(3)} <= {f"hello {task}" for task in GOOD}
        assert 3 < len(begun) <= most
        start = time.monotonic()
        results.close()
        assert time.monotonic() - start < 20


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


@pytest.mark.slow
@pytest.mark.parametrize("handler", [signal.default_int_handler], indirect=True)
def test_ctrl_c_while_a_worker_starts_ends_the_run_and_the_worker(handler, pressed):
    mask, environment = signal.pthread_sigmask(signal.SIG_BLOCK, []), dict(os.environ)
    with pytest.raises(KeyboardInterrupt):
        run(GOOD, workers=2)
    assert len(pressed) == 1
    with pytest.raises(ChildProcessError):
        os.waitpid(pressed[0], os.WNOHANG)  # it has ended, and was waited for
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
    assert dict(os.environ) == environment


@pytest.mark.slow
@pytest.mark.parametrize("handler", [signal.SIG_IGN], indirect=True)
def test_who_ignores_ctrl_c_does_so_while_a_worker_starts(handler, pressed):
    assert [result.get() for result in run(GOOD, workers=2)] == [f"hello {task}" for task in GOOD]
    assert len(pressed) == 2


SCRIPT = """
import os, signal, sys
from offline.test_parallel import Worker
from audiomix.offline.parallel import run_tasks
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is started with it ignored
    results = run_tasks(Worker, (), ["ok-1", "ok-2", "say-600", "say-600"], workers=2)
    os.write(1, f"{next(results).task} {next(results).task}\\n".encode())
    if sys.argv[1] == "wait":
        next(results)
"""


def started(script, *words):
    """Start a run in a process group of its own; return it when its two workers are at long tasks."""
    script.write_text(SCRIPT)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    process = subprocess.Popen(
        [sys.executable, str(script), *words],
        env=env, text=True, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    lines = sorted(process.stdout.readline() for _ in range(3))
    assert lines[:2] == ["at work\n", "at work\n"]
    assert sorted(lines[2].split()) == ["ok-1", "ok-2"]
    return process


def is_alive(group):
    """Say whether a process of the group is left, even after a while."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.slow
def test_ctrl_c_and_a_parent_that_is_killed_or_ends_leave_nobody_behind(tmp_path):
    script = tmp_path / "script.py"
    process = started(script, "wait")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to parent and workers
    errors = process.communicate(timeout=60)[1]  # a task takes 600 s
    assert errors.count("Traceback") == 1  # the parent's own
    assert "KeyboardInterrupt" in errors
    assert not is_alive(process.pid)
    process = started(script, "wait")
    process.kill()
    process.communicate(timeout=60)  # the workers hold its streams: they have ended
    assert not is_alive(process.pid)
    process = started(script, "end")
    assert process.communicate(timeout=60) == ("", "")
    assert (process.returncode, is_alive(process.pid)) == (0, False)
