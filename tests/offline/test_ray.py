"""``--engine ray``: the bytes of a local run from a cluster, also where one of its nodes is killed halfway."""

import json
import os
import pickle
import random
import re
import signal
import socket
import sys
import tempfile
from contextlib import closing
from types import ModuleType, SimpleNamespace

import pytest
from made import mix, tree
from sounds import ROOT

from audiomix.offline.engines import cluster as pool, node as on_node
from audiomix.offline.engines.cluster import RayEngine
from audiomix.offline.engines.connect import connect_ray
from audiomix.offline.engines.engine import open_engine
from audiomix.offline.engines.node import NodeCheck, check_for
from audiomix.offline.journal import Journal, RunStopped
from audiomix.offline.parallel import Lanes, TaskQueue, WorkerDied, in_order, run_tasks
from audiomix.offline.remote import staging
from audiomix.offline.remote.store import Store

NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}
START, TRIES = 120, 4  # seconds that nodes may take to join on a machine that does other work, and attempts


class Greeter:
    """What becomes of a task stands in its name."""

    def __init__(self, greeting="hello"):
        self.greeting, self.asked = greeting, 0
        if greeting == "broken":
            raise FileNotFoundError(2, "no such model", "x")

    def __call__(self, task):
        self.asked += 1
        word, _, rest = task.partition("-")
        if word == "value":
            raise ValueError(f"{task} is wrong")
        if word == "memory":
            raise MemoryError
        if word == "lambda":
            return lambda: None
        if word == "large":
            return bytes(1 << 20)  # too large to be sent back with the answer itself
        if word == "count":
            return os.getpid(), self.asked
        if word == "once" and not os.path.exists(rest):
            with open(rest, "w"):
                os.kill(os.getpid(), signal.SIGKILL)
        return f"{self.greeting} {task}"


class Lost(Exception):
    """What the stand-in raises where a worker is dead."""


class Ray:
    """Stands in for the module: actors in this process that answer in any order, and die where they are told to.

    `deaths` are those at a task, by its name, or of all that begin (``start``).
    """

    exceptions = SimpleNamespace(RayError=Lost)

    def __init__(self, seed=0, **deaths):
        self.random, self.deaths = random.Random(seed), deaths
        self.alive, self.made, self.begun, self.most = [], [], [], 0

    def is_initialized(self):
        return True

    def cluster_resources(self):
        return {"CPU": 3.0}

    def remote(self, kind):
        def make(*arguments):
            self.made.append(Actor(self, kind(*pickle.loads(pickle.dumps(arguments)))))
            self.alive.append(self.made[-1])
            return self.made[-1]

        return SimpleNamespace(options=lambda **options: SimpleNamespace(remote=make))

    def wait(self, references, num_returns, timeout):
        assert references
        assert (num_returns, timeout) == (1, 30)
        self.most = max(self.most, sum(len(actor.calls) for actor in self.alive))
        return [self.random.choice(references)], []

    def get(self, reference):
        return reference()

    def kill(self, actor, no_restart):
        if actor in self.alive:
            self.alive.remove(actor)

    def dies(self, name):
        self.deaths[name] = self.deaths.get(name, 0) - 1
        return self.deaths[name] >= 0


def named(packed):
    task = pickle.loads(packed)
    return task if isinstance(task, str) else task.name


class Actor:
    def __init__(self, ray, member):
        self.ray, self.member, self.calls, self.done = ray, member, [], []
        self.start = SimpleNamespace(remote=lambda: self.reference("start", member.start))
        self.work = SimpleNamespace(remote=lambda packed: self.reference(named(packed), member.work, packed))

    def reference(self, name, method, *arguments):
        def answer():
            assert self.calls.pop(0) is answer  # in their order
            if self.ray.dies(name) and self in self.ray.alive:
                self.ray.alive.remove(self)
            if self not in self.ray.alive:
                raise Lost(f"the actor died\nat {name}")
            self.ray.begun.append(name)
            self.done.append(name)
            return method(*arguments)

        self.calls.append(answer)
        return answer


@pytest.fixture
def pauses(monkeypatch):
    """Return the seconds that were waited after a worker that did not start: none is waited here."""
    waited = []
    monkeypatch.setattr(pool.time, "sleep", waited.append)
    return waited


def begin(ray, tasks, *arguments, **options):
    return RayEngine(ray).run_tasks(Greeter, arguments, tasks, **options)


GOOD = [f"ok{i}" for i in range(40)]


@pytest.mark.parametrize("seed", range(5))
def test_every_task_is_done_once_whoever_dies(seed, pauses):
    ray = Ray(seed, ok3=1, ok17=2, start=2)
    results = [*in_order(begin(ray, iter(GOOD), workers=3, chunk=4, ahead=10))]
    assert [(r.number, r.task, r.get()) for r in results] == [(i, t, f"hello {t}") for i, t in enumerate(GOOD)]
    assert sorted(ray.begun) == sorted(GOOD + ["start"] * ray.begun.count("start"))
    assert not ray.alive
    assert 4 < ray.most <= 3 * 4


def test_tasks_are_taken_as_they_are_needed_and_who_stops_listening_ends_the_workers():
    ray, taken = Ray(), []
    endless = (taken.append(i) or f"ok{i}" for i in range(10**5))
    with closing(begin(ray, endless, workers=3, chunk=4)) as results:
        assert [next(results).get()[:8] for _ in range(9)] == ["hello ok"] * 9
        assert len(taken) <= 10 + 3 * 4
        assert len(ray.alive) == 3
    assert not ray.alive


def test_each_worker_does_its_own_tasks_first():
    ray = Ray()
    results = [*begin(ray, Lanes([[f"{name}{i}" for i in range(8)] for name in "abc"]), workers=3, chunk=2)]
    assert sorted(r.number for r in results) == [*range(24)]
    assert sorted(r.task for r in results) == sorted(f"{name}{i}" for i in range(8) for name in "abc")
    assert len(ray.made) == 3
    for actor, name in zip(ray.made, "abc", strict=True):
        mine = [task for task in actor.done if task[0] == name]
        assert actor.done[: 1 + len(mine)] == ["start", *mine]
        assert mine == sorted(mine)
        assert len(mine) > 3


def test_a_task_at_which_three_workers_die_is_what_they_die_of():
    ray = Ray(ok3=3)
    with pytest.raises(WorkerDied, match=r"unexpectedly at ok3 \(3 workers of the Ray .*: the actor died\)"):
        [*begin(ray, GOOD, workers=2)]
    assert not ray.alive
    results = [*in_order(begin(Ray(ok3=99), GOOD, workers=2, chunk=3, on_death="report", ahead=9))]
    assert [r.task for r in results] == GOOD
    assert [r.task for r in results if isinstance(r.error, WorkerDied)] == ["ok3"]


def test_errors_are_those_of_local_workers():
    tasks = ["value-1", "ok", "memory-1", "lambda-1"]
    here, there = [*run_tasks(Greeter, (), tasks)], [*begin(Ray(), tasks)]
    assert [(r.value, repr(r.error)) for r in here[:3]] == [(r.value, repr(r.error)) for r in there[:3]]
    assert "ValueError: value-1 is wrong" in str(there[0].error.__cause__)  # the traceback
    assert there[3].error is not None  # it does not pickle


def test_workers_that_do_not_start_stop_the_run(tmp_path, pauses):
    with pytest.raises(FileNotFoundError, match="no such model"):
        [*begin(Ray(), GOOD, "broken")]
    with pytest.raises(RunStopped, match=r"5 workers .* did not start \(the actor died\): is audiomix installed on"):
        [*begin(Ray(start=99), GOOD, workers=2)]
    assert len(pauses) == 4
    engine = RayEngine(Ray())
    engine.require([tmp_path, tmp_path / "gone", "nosuch://bucket"])
    with pytest.raises(RunStopped, match=r"node \S+ does not see \S+gone: sources, OUT .* under the same path"):
        [*engine.run_tasks(Greeter, (), GOOD)]
    with pytest.raises(ValueError, match=r"make with its arguments must be one that pickles"):
        begin(Ray(), GOOD, lambda: None)


def test_the_run_says_that_it_waits_for_a_cpu(monkeypatch, capsys):
    ray, found = Ray(), []
    wait = ray.wait
    monkeypatch.setattr(ray, "wait", lambda *a, **o: wait(*a, **o) if len(found) > 1 else (found.append(0) or [], []))
    assert len([*begin(ray, GOOD, workers=2)]) == 40
    assert capsys.readouterr().err.count("no worker has begun on the Ray cluster yet: are its CPUs in use?") == 1


def test_no_more_workers_than_the_cluster_has_cpus_unless_asked_for():
    engine = RayEngine(Ray())
    for asked, more, used in ((1, False, 1), (3, False, 3), (64, False, 3), (64, True, 64)):
        workers, notes = engine.usable_workers(asked, more)
        assert (workers, len(notes)) == (used, used < asked)
    with pytest.raises(ValueError, match="workers must be"):
        engine.usable_workers(0)


def test_a_node_works_in_the_same_folder_with_the_same_versions(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    check = pickle.loads(pickle.dumps(check_for(["in", "/"])))
    monkeypatch.chdir("/")
    check()
    assert os.getcwd() == str(tmp_path)
    assert check_for(["/", "s3://in"]) == NodeCheck("", ("/",), check.versions, ("s3://in",))
    with pytest.raises(RunStopped, match=r"cannot enter /not/there \(no such file or directory\): sources, OUT"):
        NodeCheck("/not/there", ("in",), check.versions)()
    monkeypatch.setattr(on_node, "versions", lambda: {"torch": "1.0"})
    with pytest.raises(RunStopped, match=r"node \S+ has .*torch 1\.0 in place of \d.*: samples depend on it"):
        check()


def test_a_node_opens_urls_itself(monkeypatch):
    check = pickle.loads(pickle.dumps(check_for(["/", "s3://in/1.wav"])))
    monkeypatch.setattr(on_node, "state", lambda url: answers.pop(0)(url))
    answers = [lambda url: (1, 1)]
    check()
    for kind in (FileNotFoundError, IsADirectoryError, PermissionError):  # there was an answer; none

        def fail(url, kind=kind):
            raise kind(1, "no permission", url)

        answers = [fail]
        if kind is not PermissionError:
            check()
            continue
        expected = r"node \S+ cannot open s3://in/1\.wav \(no permission\): every node needs fsspec"
        with pytest.raises(RunStopped, match=expected):
            check()
    assert answers == []


def test_a_run_to_a_url_leaves_nothing_on_a_node(classes, tmp_path, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    ray, asked = Ray(), []
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", ray.exceptions)
    monkeypatch.setenv("AUDIOMIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(staging, "_OWN", "nothing")  # the stand-in's workers share this memory
    monkeypatch.setattr(on_node, "state", asked.append)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    put, places = Store.put, []
    monkeypatch.setattr(Store, "put", lambda self, local, name: places.append(local) or put(self, local, name))
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    for path in classes.rglob("*.wav"):
        memory.pipe_file(f"/bucket/clips/{path.relative_to(classes)}", path.read_bytes())
    mix(classes, tmp_path / "here")
    report = mix("memory://bucket/clips", "memory://bucket/out", engine="ray")
    assert (report.files, report.errors) == (18, ())
    assert set(asked) == {"memory://bucket/out", "memory://bucket/clips/a/00.wav"}
    for name, data in tree(tmp_path / "here").items():
        if name.endswith("flac"):
            assert memory.cat_file(f"/bucket/out/{name}") == data
    sounds = [place for place in places if place.suffix == ".flac"]
    assert len({place.relative_to(tmp_path / "tmp").parts[0] for place in sounds}) == 18  # each has its own folder
    assert not [*(tmp_path / "tmp").iterdir()]


def test_a_queue_that_is_exhausted_stays_so():
    queue = TaskQueue("abcd", ahead=2)
    assert [*queue.take(0, 3)] == [(0, "a"), (1, "b")]
    assert [*queue.take(0, 3, [0])] == []  # what is too far ahead of task 0
    assert not queue.exhausted
    assert [*queue.take(0, 2, [2])] == [(2, "c"), (3, "d")]
    assert [*queue.take(0, 1, [3])] == []
    assert queue.exhausted
    queue.returned.append((1, "b"))
    assert [*queue.take(0, 3, [3])] == [(1, "b")]
    assert [*queue.take(0, 3, [1])] == []
    assert queue.exhausted


def test_whoever_dies_the_bytes_are_those_of_a_local_run(classes, tmp_path, monkeypatch, pauses):
    mix(classes, tmp_path / "here", copies=2)
    ray = Ray(start=1, **{"a/00-1": 1, "b/04-0": 2})
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", ray.exceptions)
    monkeypatch.setattr(ray, "kill", lambda *a, **o: (tmp_path / "there" / ".tmp-1").write_bytes(b"half"))
    report = mix(classes, tmp_path / "there", copies=2, engine="ray", workers=3, oversubscribe=True)
    assert report.files == 36
    assert (ray.deaths["a/00-1"], ray.deaths["b/04-0"], ray.deaths["start"]) < (0, 0, 0)
    assert tree(tmp_path / "there") == tree(tmp_path / "here")


def test_workers_send_files_of_an_output_behind_a_url_themselves(classes, tmp_path, monkeypatch, pauses):
    fsspec = pytest.importorskip("fsspec")
    from fsspec.implementations.memory import MemoryFileSystem

    class Shared(MemoryFileSystem):
        """What all machines of a cluster would see."""

        store, pseudo_dirs = {}, [""]

        @classmethod
        def _strip_protocol(cls, path):
            return super()._strip_protocol(path.replace("shared://", "memory://"))

    fsspec.register_implementation("shared", Shared, clobber=True)
    mix(classes, tmp_path / "here", copies=2)
    ray = Ray(start=1, **{"a/00-1": 1})
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", ray.exceptions)
    monkeypatch.setenv("AUDIOMIX_CACHE", str(tmp_path / "cache"))
    report = mix(classes, "shared://bucket/out", copies=2, engine="ray", workers=3, oversubscribe=True)
    assert report.files == 36
    there = {path.removeprefix("/bucket/out/"): file.getvalue() for path, file in Shared.store.items()}
    assert {name: data for name, data in there.items() if name[0] != "."} == tree(tmp_path / "here")


def test_without_ray_or_a_cluster_it_is_said_before_any_work(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    expected = r"engine \(--engine\) must be local, or ray where .* installed, .*: pip install 'audiomix\[cluster\]'"
    with pytest.raises(ValueError, match=expected):
        mix(tmp_path / "none", tmp_path / "out", engine="ray")
    with pytest.raises(ValueError, match="engine .*one of local, ray, got 'dask'"):
        mix(tmp_path / "none", tmp_path / "out", engine="dask")
    with pytest.raises(ValueError, match=r"ray_address \(--ray-address\) must be left out for this engine"):
        mix(tmp_path / "none", tmp_path / "out", ray_address="head:6379")
    ray, tried = ModuleType("ray"), []
    ray.is_initialized = lambda: False

    def init(address, **options):
        tried.append(address)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Ray sets one
        raise ConnectionError("Could not find any\nrunning Ray instance.")

    ray.init = init
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", ModuleType("ray.exceptions"))
    before = signal.signal(signal.SIGTERM, handler := lambda *_: None)
    with pytest.raises(ValueError, match=r"ray_address \(--ray-address\) .* on this machine none is found \(Could"):
        mix(tmp_path / "none", tmp_path / "out", engine="ray")
    with socket.socket() as other:  # a port that nobody listens at
        other.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ValueError, match=re.escape(f"got '{nobody}', where nobody answers")):
            mix(tmp_path / "none", tmp_path / "out", engine="ray", ray_address=nobody)
        monkeypatch.setenv("RAY_ADDRESS", nobody)
        with pytest.raises(ValueError, match="^RAY_ADDRESS must be HOST:PORT of the head of a Ray cluster that is"):
            mix(tmp_path / "none", tmp_path / "out", engine="ray")
    with pytest.raises(ValueError, match="must be HOST:PORT of the head .*, or auto, got 'local'"):
        mix(tmp_path / "none", tmp_path / "out", engine="ray", ray_address="local")
    assert tried == ["auto"]  # never without an address: that would start a cluster
    assert signal.signal(signal.SIGTERM, before) is handler
    assert not (tmp_path / "out").exists()


def start_cluster():
    """Return a cluster of a head without CPUs and two nodes with one each; None where a node took too long to start."""
    from ray.cluster_utils import Cluster

    # a node that is dead refuses connections at once; one that is slow has 10 s to answer
    patience = {"health_check_period_ms": 500, "health_check_timeout_ms": 10000, "health_check_failure_threshold": 4}
    head = {**NODE, "num_cpus": 0, "include_dashboard": False, "_system_config": patience}
    made = Cluster()
    try:
        for node in (head, NODE, NODE):
            made.add_node(wait=False, **node)
        made.wait_for_nodes(timeout=START)
    except Exception as error:  # Ray raises a bare Exception where a node needs more than 30 s
        print(f"the cluster did not start: {error}")
        made.shutdown()
        return None
    return made


@pytest.fixture(scope="module")
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # workers import this tree
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = next(filter(None, (start_cluster() for _ in range(TRIES))), None)
        assert made is not None, f"no cluster started in {TRIES} attempts"
        try:
            patch.setenv("RAY_ADDRESS", made.address)
            yield made
        finally:
            made.shutdown()


@pytest.mark.slow
def test_a_real_cluster_does_tasks_as_local_workers_do(cluster, tmp_path):
    import ray

    tasks = ["ok-1", "value-1", "memory-1", "large-1", f"once-{tmp_path / 'died'}", *[f"ok-{i}" for i in range(2, 20)]]
    with open_engine("ray") as engine:
        assert engine.usable_workers(9)[0] == 2
        options = {"workers": 2, "chunk": 3, "ahead": 8}
        there = [*in_order(engine.run_tasks(Greeter, (), iter([*tasks, *["count-1"] * 9]), **options))]
        assert engine.deaths == 1  # and what it was at was done by another one
    assert not ray.is_initialized()
    here = [*in_order(run_tasks(Greeter, (), tasks))]
    done, counts = there[: len(tasks)], [result.get() for result in there[len(tasks) :]]
    assert [(r.number, r.task, r.value, repr(r.error)) for r in here] == [
        (r.number, r.task, r.value, repr(r.error)) for r in done
    ]
    assert len(counts) == 9  # by workers that stay, and count on
    for pid in {pid for pid, _ in counts}:
        asked = [count for other, count in counts if other == pid]
        assert pid != os.getpid()
        assert asked == [*range(asked[0], asked[0] + len(asked))]


def entries(out):
    """The lines of a journal in the order of the run, without the times of files."""
    lines = [json.loads(line) for line in (out / ".audiomix" / "journal.jsonl").read_text().splitlines()]
    found = sorted(lines[1:], key=lambda line: line["index"])
    for line in found:
        for kind in ("files", "sources", "failed"):
            line[kind] = {name: [state[0], state[2]] for name, state in line[kind].items()}
    return lines[:1] + found


@pytest.fixture
def source(folds, tmp_path, monkeypatch):
    """A data set with a file that cannot be read, given by a relative path."""
    (folds.parent / "wavs" / "7.wav").write_bytes(b"RIFF")
    monkeypatch.chdir(tmp_path)
    return folds.relative_to(tmp_path)


OPTIONS = {"copies": 3, "stems": True}
RAY = {"engine": "ray", "workers": 2}


@pytest.mark.slow
def test_a_run_begun_with_one_engine_goes_on_with_the_other(cluster, source, tmp_path, monkeypatch, capfd):
    import ray

    whole = mix(source, "whole", **OPTIONS)
    assert (whole.files, len(whole.errors)) == (141, 1)
    add = Journal.add
    for number, (first, then) in enumerate([(RAY, {}), ({}, RAY)]):
        left = [50]

        def press(journal, *arguments, left=left):
            add(journal, *arguments)
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt

        out = tmp_path / f"out{number}"
        monkeypatch.setattr(Journal, "add", press)
        with pytest.raises(KeyboardInterrupt):
            mix(source, out.name, **OPTIONS, **first)
        assert not ray.is_initialized()
        monkeypatch.setattr(Journal, "add", add)
        assert len(entries(out)) == 51
        assert mix(source, out.name, **OPTIONS, **then).files == 141
        assert tree(out) == tree(tmp_path / "whole")
        assert entries(out) == entries(tmp_path / "whole")
    said, told = capfd.readouterr()  # Ray is quiet; on a busy machine workers take long to begin
    assert {said, *told.splitlines()} <= {"", "note: " + pool.WAITING}


@pytest.mark.slow
def test_a_node_that_is_killed_halfway_changes_no_byte(cluster, source, tmp_path, monkeypatch):
    mix(source, "whole", **OPTIONS)
    feed, receive, handle_death = pool._Pool.feed, pool._Pool.receive, pool._Pool.handle_death
    both, results, deaths = [], [], []

    def feed_both(self):
        """Give tasks only when both workers have begun, so that both are at work when one is killed."""
        if both or not self.workers or all(worker.start is None for worker in self.workers):
            both.extend(self.workers)
            feed(self)

    def kill_a_node(self, worker):
        results.append(receive(self, worker))
        if len(results) == 60:
            (tmp_path / "killed" / ".tmp-x.flac-1-2").write_bytes(b"half")  # as a worker that is killed leaves it
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
            cluster.wait_for_nodes(timeout=START)  # its worker may go on until the cluster knows that it is dead
        return results[-1]

    monkeypatch.setattr(pool._Pool, "feed", feed_both)
    monkeypatch.setattr(pool._Pool, "receive", kill_a_node)
    monkeypatch.setattr(
        pool._Pool,
        "handle_death",
        lambda self, worker, death: deaths.append(worker.start is None) or handle_death(self, worker, death),
    )
    with connect_ray(cluster.address):
        report = mix(source, "killed", **OPTIONS, **RAY)
    assert report.files == 141
    assert len({worker.lane for worker in both}) == 2
    assert sum(deaths) == 1  # at work; others died before they began: the cluster did not know yet
    assert len(cluster.worker_nodes) == 1
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")
    assert entries(tmp_path / "killed") == entries(tmp_path / "whole")
