"""URLs as sources and as output: the bytes of a local run, nothing half-written, refusals before any work."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from dataclasses import replace

import pytest
import soundfile
from made import mix, rows_of, tree, write

from audiomix import cli
from audiomix.audio import io
from audiomix.audio.io import AudioError
from audiomix.audio.remote import copies
from audiomix.audio.remote.urls import hide
from audiomix.datasets import source
from audiomix.datasets.item_table import ItemTable
from audiomix.datasets.source import read_compact, read_source
from audiomix.offline.journal import RunStopped
from audiomix.offline.remote import store
from audiomix.offline.replay.verify import verify_output

fsspec = pytest.importorskip("fsspec")
from fsspec.implementations.memory import MemoryFileSystem  # noqa: E402


class Watched(MemoryFileSystem):
    """Memory in which each put is looked at, and some operations fail; it is shared with `MemoryFileSystem`."""

    protocol = "watched"
    cachable = False
    refused = ()  # operations that are not permitted
    fail_at = 0  # the put that breaks off halfway
    puts = 0
    names = halves = ()  # of all files that were put, and that broke off

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("watched://", "memory://"))

    def put_file(self, local, remote, **options):
        if "put" in Watched.refused:
            raise PermissionError("AccessDenied: key AKIA at https://ann:secret@host/?token=secret")
        Watched.puts += 1
        Watched.names += (remote,)
        if Watched.puts == Watched.fail_at:
            with open(local, "rb") as file:
                data = file.read()
            self.pipe_file(remote, data[: len(data) // 2])
            Watched.halves += (remote,)
            raise ConnectionResetError("the connection was lost")
        super().put_file(local, remote, **options)

    def info(self, path, **options):
        if "list" in Watched.refused:
            raise PermissionError("AccessDenied")
        return super().info(path, **options)

    def get_file(self, remote, local, **options):
        if "get" in Watched.refused:
            raise PermissionError("AccessDenied")
        super().get_file(remote, local, **options)
        if "whole" in Watched.refused:
            os.truncate(local, os.path.getsize(local) - 1)
        if "same" in Watched.refused:
            self.pipe_file(remote, self.cat_file(remote))


fsspec.register_implementation("watched", Watched, clobber=True)


@pytest.fixture(autouse=True)
def clean(tmp_path, monkeypatch):
    """An empty memory and an empty cache; states are asked for each time."""
    monkeypatch.setenv("AUDIOMIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(copies, "_FRESH_S", 1e-9)
    monkeypatch.setattr(copies, "_arrived", [float("inf")])
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    Watched.refused, Watched.fail_at, Watched.puts, Watched.names, Watched.halves = (), 0, 0, (), ()
    return fsspec.filesystem("memory")


def upload(root, place):
    memory = fsspec.filesystem("memory")
    for path in root.rglob("*"):
        if path.is_file():
            memory.pipe_file(f"{place}/{path.relative_to(root)}", path.read_bytes())


def download(place, folder):
    """A remote folder, hidden files too, as one of this machine."""
    memory = fsspec.filesystem("memory")
    for path in memory.find(place):
        here = folder / path.removeprefix(f"{place}/")
        here.parent.mkdir(parents=True, exist_ok=True)
        here.write_bytes(memory.cat_file(path))
    return folder


def same_run(one, other, roots):
    """Two runs are equal but for the folder that the sources are in."""
    first, second = tree(one), tree(other)
    assert first.keys() == second.keys()
    for name, data in first.items():
        assert data.replace(roots[0].encode(), roots[1].encode()) == second[name], name


def test_a_run_from_url_to_url_is_a_local_run(classes, tmp_path, clean):
    mix(classes, tmp_path / "local", copies=2, stems=True)
    upload(classes, "/bucket/clips")
    report = mix("memory://bucket/clips", "memory://bucket/out/", copies=2, stems=True)
    assert (report.path, report.files, report.exit_code) == ("memory://bucket/out", 36, 0)
    out = download("/bucket/out", tmp_path / "remote")
    same_run(tmp_path / "local", out, (str(classes), "memory://bucket/clips"))
    assert sorted(os.listdir(out / ".audiomix")) == ["index.jsonl", "journal.jsonl"]
    assert verify_output("memory://bucket/out", progress=False) == verify_output(tmp_path / "local", progress=False)
    whole = clean.cat_file("/bucket/out/b/01-1.flac")
    clean.pipe_file("/bucket/out/b/01-1.flac", whole[:-1] + bytes([whole[-1] ^ 1]))
    clean.rm_file("/bucket/out/a/00-0.stem1.flac")
    clean.pipe_file("/bucket/out/a/more.flac", whole)
    faults = {fault.file for fault in verify_output("memory://bucket/out", progress=False).faults}
    assert faults == {"b/01-1.flac", "a/00-0.flac", "a/more.flac"}


def test_the_commands_take_urls(classes, tmp_path, capsys):
    upload(classes, "/bucket/clips")
    assert cli.main(["augment", "memory://bucket/clips", "memory://bucket/out", "--quiet"]) == 0
    assert "18 files, 0.00 h of sound, in memory://bucket/out" in capsys.readouterr().out
    assert cli.main(["verify", "memory://bucket/out"]) == 0
    assert cli.main(["augment", f"file://{classes}", f"file://{tmp_path}/my%20out", "--quiet"]) == 0
    assert len(rows_of(tmp_path / "my out")) == 18
    assert cli.main(["augment", "memory://bucket/none", str(tmp_path / "out"), "--quiet"]) == 2
    assert "there is no such file, folder or bucket" in " ".join(capsys.readouterr().err.split())


def test_partners_and_the_output_may_lie_elsewhere(classes, tmp_path):
    noise = tmp_path / "noise"
    write(noise / "n" / "hum.wav", seed=90, seconds=2.0)
    mix(classes, tmp_path / "local", partners=noise, partner_label="hum")
    upload(noise, "/bucket/noise")
    mix(classes, tmp_path / "out", partners="memory://bucket/noise", partner_label="hum")
    same_run(tmp_path / "local", tmp_path / "out", (str(noise), "memory://bucket/noise"))


def test_manifests_there_and_here(classes, tmp_path, clean, monkeypatch):
    names = [str(path.relative_to(classes)) for path in sorted(classes.rglob("*.wav"))]
    mix(classes, tmp_path / "local")
    whole = tree(tmp_path / "local")
    upload(classes, "/bucket/set/clips")
    table = "file,label\n" + "".join(f"clips/{name},{name[0]}\n" for name in names)
    clean.pipe_file("/bucket/set/list.csv", table.encode())
    items, _ = read_source("memory://bucket/set/list.csv", notes=(notes := []))
    assert [(item.root, item.id) for item in items] == [("memory://bucket/set", f"clips/{name}") for name in names]
    assert notes == []
    assert {item.path for item in items} <= {f"memory:/{path}" for path in clean.find("/bucket")}

    monkeypatch.setattr(source, "_LISTED", 5)  # rows from which on a manifest is held as columns
    columns, _ = read_compact("memory://bucket/set/list.csv")
    assert isinstance(columns, ItemTable)
    assert [*columns] == items

    here = tmp_path / "here.csv"
    here.write_text(table.replace("clips/", ""))
    items, _ = read_source(here, audio_root="memory://bucket/set/clips")
    assert [(item.root, item.id) for item in items] == [("memory://bucket/set/clips", name) for name in names]
    mix(here, tmp_path / "out", audio_root="memory://bucket/set/clips")
    assert {name: data for name, data in tree(tmp_path / "out").items() if name.endswith("flac")} == {
        name: data for name, data in whole.items() if name.endswith("flac")
    }

    here.write_text(table.replace("clips/", "memory://bucket/set/clips/"))
    mix(here, tmp_path / "urls")
    row = next(row for row in rows_of(tmp_path / "urls") if row["path"].name == "00-0.flac")
    assert row["path"] == tmp_path / "urls" / "bucket" / "set" / "clips" / "a" / "00-0.flac"
    assert row["sources"][0]["id"] == "memory://bucket/set/clips/a/00.wav"
    table = table.replace("clips/", f"{classes}/").replace(f"{classes}/b/01", "memory://bucket/set/clips/b/gone")
    here.write_text(table)
    report = mix(here, tmp_path / "gone")
    assert [(error["file"], error["reason"]) for error in report.errors] == [
        ("memory://bucket/set/clips/b/gone.wav",
         "there is no such file, folder or bucket (line 8 of the manifest)"),
    ]  # fmt: skip


def test_layouts_are_recognised_as_here(classes, tmp_path, clean):
    table = tmp_path / "audiofolder"
    for k, name in enumerate(("train/x.wav", "train/y.wav", "test/x.wav")):
        write(table / name, seed=k)
    (table / "train" / "metadata.jsonl").write_text('{"file_name": "x.wav", "label": "p"}\n')
    (table / "test" / "metadata.jsonl").write_text('{"file_name": "x.wav", "label": "q"}\n')
    shards = tmp_path / "shards"
    shards.mkdir()
    with tarfile.open(shards / "train-0.tar", "w") as tar:
        (tmp_path / "one.cls").write_text("p")
        tar.add(write(tmp_path / "one.wav", seed=9), "one.wav")
        tar.add(tmp_path / "one.cls", "one.cls")
    for root in (table, shards, classes):
        upload(root, f"/bucket/{root.name}")
        url = f"memory://bucket/{root.name}"
        here, there = read_source(root), read_source(url, notes=(notes := []))
        assert [replace(item, root="") for item in here[0]] == [replace(item, root="") for item in there[0]]
        assert here[1] == there[1]
        assert {item.root for item in there[0]} == {url} or root == shards
        assert all(io.info(item.path).frames == 8000 for item in there[0])
        assert notes == (["1 audio files that no row lists are left out, e.g. 'train/y.wav'"] if root == table else
                         notes)  # fmt: skip
    assert f"the shards of {url.rpartition('/')[0]}/shards, such as" in str(read_notes("memory://bucket/shards"))
    clean.pipe_file("/bucket/bad/a/../../../x.wav", b"")
    MemoryFileSystem.store["/bucket/bad/a/../../x.wav"] = MemoryFileSystem.store.popitem()[1]
    with pytest.raises(ValueError, match=r"names that stay within its folder, got 'a/\.\./\.\./x\.wav'"):
        read_source("memory://bucket/bad")


def read_notes(url):
    read_source(url, notes=(notes := []))
    return notes


def test_nothing_half_written_and_the_run_goes_on_to_the_same_bytes(classes, tmp_path, clean, monkeypatch):
    mix(classes, tmp_path / "local", stems=True)
    upload(classes, "/bucket/clips")
    whole = {f"/bucket/out/{name}": data for name, data in tree(tmp_path / "local").items()}
    monkeypatch.setattr(store, "INTERVAL_S", 0.0)
    done = set()
    # in the first stem, in a mix, in a part of the journal, in the card, in the table, in the whole journal
    for Watched.fail_at in (3, 40, 13, 27, 4, 5, 0):
        before, Watched.puts = set(done), 0
        if Watched.fail_at:
            with pytest.raises(RunStopped, match="watched://bucket/out/.* the same command goes on"):
                mix("watched://bucket/clips", "watched://bucket/out", stems=True)
        else:
            mix("watched://bucket/clips", "watched://bucket/out", stems=True)
        for path in clean.find("/bucket/out"):
            assert ".tmp-" not in path
            if path.endswith(".flac"):  # half-written was a temporary name alone, and it is gone
                assert clean.cat_file(path) == whole[path]
        journal = b"".join(clean.cat_file(path) for path in clean.find("/bucket/out/.audiomix"))
        done = {json.loads(line)["row"]["file_name"] for line in journal.splitlines() if b'"row"' in line}
        assert all(f"/bucket/out/{name}" in clean.store for name in done)
        assert before <= done
    same_run(tmp_path / "local", download("/bucket/out", tmp_path / "out"), (str(classes), "watched://bucket/clips"))
    halves = [os.path.basename(name)[:-9] for name in Watched.halves]
    assert halves[:2] == [".tmp-00-0.stem0.flac", ".tmp-10-0.flac"]
    assert [name.partition("-")[2] for name in halves[3:]] == ["README.md", "metadata.jsonl", "journal.jsonl"]
    assert len(done) == 18
    sounds = [name for name in Watched.names if "flac" in name]
    assert len(sounds) < 2 * 3 * 18  # what the journal tells of was not made again


def test_sources_that_change_are_refused_or_made_anew(classes, tmp_path, clean):
    upload(classes, "/bucket/clips")
    mix("memory://bucket/clips", "memory://bucket/out")
    write(classes / "a" / "03.wav", seed=50)  # as many bytes
    upload(classes / "a", "/bucket/clips/a")  # new times for all of a; one file has other bytes
    with pytest.raises(ValueError, match=r"'a/03\.wav', changed since \d mixes in 'memory://bucket/out' were made"):
        mix("memory://bucket/clips", "memory://bucket/out")
    clean.rm_file("/bucket/out/c/02-0.flac")
    mix("memory://bucket/clips", "memory://bucket/out", refresh=True)
    mix(classes, tmp_path / "local")
    same_run(tmp_path / "local", download("/bucket/out", tmp_path / "out"), (str(classes), "memory://bucket/clips"))
    clean.rm_file("/bucket/clips/c/02.wav")
    (classes / "c" / "02.wav").unlink()
    with pytest.raises(ValueError, match="out must be .*got 'memory://bucket/out' with another run"):
        mix("memory://bucket/clips", "memory://bucket/out")
    mix("memory://bucket/clips", "memory://bucket/out", refresh=True)
    mix(classes, tmp_path / "fewer")
    same_run(tmp_path / "fewer", download("/bucket/out", tmp_path / "now"), (str(classes), "memory://bucket/clips"))


def test_what_is_not_permitted_or_not_there_is_said_before_any_work(classes, tmp_path, monkeypatch):
    upload(classes, "/bucket/clips")
    monkeypatch.setattr(io, "read", None)  # no sound is read
    url, out = "watched://bucket/clips", tmp_path / "out"
    cases = [
        (("list",), url, out, r"source must be a URL that can be read, got 'watched://bucket/clips' \(no permission"),
        (("put",), url, "watched://bucket/out", "out must be a URL that can be listed and written to, got 'watched"),
        (("list",), classes, "watched://bucket/out", "out must be a URL that can be listed and written to, got 'watch"),
        ((), "memory://bucket/none", out, "source must be .*there is no such file, folder or bucket"),
        ((), "nosuch://bucket/clips", out, "source must be a URL that can be opened here, got .*not known: nosuch"),
        ((), classes, "nosuch://bucket/out", "out must be a URL that can be opened here, got .*not known: nosuch"),
        ((), "memory://", out, "source must be the URL of a folder or a file, got 'memory://'"),
        ((), url, f"{url}/mixed", "out must be a folder outside of source"),
        ((), url, "memory://bucket", "out must be a new or empty folder, .*got 'memory://bucket' with 1 entries"),
        ((), url, "memory://bucket/clips/a/00.wav", "out must be a URL .*a file of that name is there"),
        ((), io.Path("memory://bucket/clips"), out, "a URL is given as a text, not as a Path"),
    ]
    for Watched.refused, read, place, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            mix(read, place)
        assert "secret" not in str(caught.value)
        assert not out.exists()
    with pytest.raises(ValueError, match="workers must be 1 with memory://bucket/clips, got 2: other processes"):
        mix("memory://bucket/clips", out, workers=2)
    with pytest.raises(ValueError, match="engine must be local with memory://bucket/clips, got 'ray': other machines"):
        mix("memory://bucket/clips", out, engine="ray")
    Watched.refused = ("get", "list")
    here = tmp_path / "here.csv"
    here.write_text(f"path,label\n{classes}/a/00.wav,a\n{url}/b/01.wav,b\n")
    with pytest.raises(ValueError, match=r"files that can be read, got 'watched://.*\(no permission.*line 3 of"):
        mix(here, out)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ValueError, match=r"opened by fsspec: pip install 'audiomix\[remote\]'"):
        mix("s3://bucket/clips", out)
    assert not out.exists()


def test_two_runs_of_a_machine_do_not_write_to_one_place(classes, tmp_path, monkeypatch):
    upload(classes, "/bucket/clips")
    real, stopped = store.Store.push, []

    def push(self, folder):
        real(self, folder)
        if not stopped:
            stopped.append(None)  # for the run within
            with pytest.raises(RunStopped, match="memory://bucket/out: another process is at work in this folder"):
                mix("memory://bucket/clips", "memory://bucket/out")
            stopped.append(True)

    monkeypatch.setattr(store.Store, "push", push)
    assert mix("memory://bucket/clips", "memory://bucket/out").files == 18
    assert stopped == [None, True]


def test_a_package_that_a_protocol_needs_is_named(tmp_path):
    fsspec.register_implementation("lacking", "no_such_package.FileSystem", clobber=True, errtxt="Install no_such")
    with pytest.raises(ValueError, match="source must be a URL that can be opened here, .*no_such"):
        read_source("lacking://bucket/clips")


def test_secrets_are_refused_and_never_repeated(classes, tmp_path):
    here = tmp_path / "here.csv"
    for url in (
        "sftp://ann:secret@host/clips", "s3://KEY:secret@bucket/clips", "https://secret@host/1.wav",
        "https://host/1.wav?token=secret", "watched://bucket/clips?token=secret",
    ):  # fmt: skip
        here.write_text(f"path,label\n{url}/1.wav,a\n")
        for read, out, place in ((url, "out", "source"), (here, "out", "a path in here.csv"), (classes, url, "out")):
            with pytest.raises(ValueError, match=rf"{place} must be a URL without a (password|query), got '") as caught:
                mix(read, out)
            assert "secret" not in str(caught.value)
    assert hide("GET https://ann:secret@host/x?a=secret failed") == "GET https://...@host/x?... failed"


def test_copies_are_bounded_and_follow_their_files(classes, tmp_path, clean, monkeypatch):
    upload(classes, "/bucket/clips")
    folder = tmp_path / "cache" / "remote" / "copies"
    first, second = io.read("memory://bucket/clips/a/00.wav"), io.read("memory://bucket/clips/a/03.wav")
    assert (first.samples == io.read(classes / "a" / "00.wav").samples).all()
    clean.pipe_file("/bucket/clips/a/00.wav", clean.cat_file("/bucket/clips/a/03.wav"))
    assert (io.read("memory://bucket/clips/a/00.wav").samples == second.samples).all()
    monkeypatch.setenv("AUDIOMIX_REMOTE_GB", "5e-5")  # three files of 16 kB
    monkeypatch.setattr(copies, "_IN_USE_S", 0.0)
    for path in sorted(clean.find("/bucket/clips"))[:8]:
        io.read(f"memory:/{path}")
        assert sum(one.stat().st_size for one in folder.rglob("*.wav")) <= 50_000
    assert len([*folder.rglob("*.wav")]) == 3
    monkeypatch.setattr(copies, "_IN_USE_S", 60.0)  # what was just used stays
    for path in sorted(clean.find("/bucket/clips"))[8:14]:
        io.read(f"memory:/{path}")
    assert len([*folder.rglob("*.wav")]) == 9
    for Watched.refused, reason in ((("whole",), "cut off: 16043 bytes of 16044 came"), (("same",), "it was changed")):
        with pytest.raises(AudioError, match=f"^watched://bucket/clips/c/02.wav: {reason}"):
            io.read("watched://bucket/clips/c/02.wav")
    upload(tmp_path / "cache", "/bucket/more")
    clean.pipe_file("/bucket/more/list.csv", bytes(60_000))
    with pytest.raises(ValueError, match="source must be one whose tables fit into the cache .*such as 'list.csv'"):
        read_source("memory://bucket/more")
    monkeypatch.setenv("AUDIOMIX_REMOTE_GB", "none")
    with pytest.raises(ValueError, match="AUDIOMIX_REMOTE_GB must be a number of gigabytes above 0, got 'none'"):
        io.read("memory://bucket/clips/a/00.wav")


def test_what_cannot_be_read_is_an_error_of_that_file(classes, tmp_path, clean, capsys):
    upload(classes, "/bucket/clips")
    clean.pipe_file("/bucket/clips/a/00.wav", clean.cat_file("/bucket/clips/a/00.wav")[:2000])
    clean.pipe_file("/bucket/clips/b/01.wav", b"")
    report = mix("memory://bucket/clips", "memory://bucket/out")
    assert clean.cat_file("/bucket/out/errors.jsonl").count(b"\n") == 2
    reasons = {error["file"]: error["reason"] for error in report.errors}
    assert reasons.keys() == {"a/00.wav", "b/01.wav"}
    assert reasons["a/00.wav"].startswith("truncated: ")
    assert reasons["b/01.wav"] == "empty file (0 bytes)"
    upload(classes, "/bucket/clips")
    assert mix("memory://bucket/clips", "memory://bucket/out", refresh=True).files == 18
    assert not clean.exists("/bucket/out/errors.jsonl")
    with pytest.raises(AudioError, match=r"^memory://bucket/clips/a: is a folder, not a file$"):
        io.read("memory://bucket/clips/a")
    assert cli.main(["augment", "memory://bucket/clips", str(tmp_path / "beats"), "--mixer", "beat"]) == 2
    assert "a folder of this machine, for a mixer that knows beats" in " ".join(capsys.readouterr().err.split())


SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
RUN = """
import os, sys
from audiomix import MixUp
from audiomix.offline.run import augment
from audiomix.offline.remote import store
def deadly(self, folder, left=[15]):
    push(self, folder)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), 9)
store.INTERVAL_S, push, store.Store.push = 0.0, store.Store.push, deadly
augment(sys.argv[1], sys.argv[2], MixUp(1.0), copies=2, progress=False)
"""


@pytest.fixture
def s3(monkeypatch):
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        port = server.stdout.readline().strip()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        for name, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("DEFAULT_REGION", "us-east-1")):
            monkeypatch.setenv(f"AWS_{name}", value)
        files = fsspec.filesystem("s3", skip_instance_cache=True)
        files.mkdir("bucket")
        yield files
    finally:
        server.stdin.close()
        server.wait()


@pytest.mark.slow
def test_a_run_on_s3_is_killed_halfway_and_ends_elsewhere(classes, tmp_path, monkeypatch, s3):
    mix(classes, tmp_path / "local", copies=2)
    for path in classes.rglob("*.wav"):
        s3.put_file(str(path), f"bucket/clips/{path.relative_to(classes)}")
    command = [sys.executable, "-c", RUN, "s3://bucket/clips", "s3://bucket/out"]
    killed = subprocess.run(command, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    s3.invalidate_cache()
    whole = tree(tmp_path / "local")
    made = {path.removeprefix("bucket/out/"): s3.cat_file(path) for path in s3.find("bucket/out")}
    sounds = {name: data for name, data in made.items() if name.endswith(".flac")}
    assert len(sounds) == 15  # one worker: each is in the journal before the next is begun
    assert all(data == whole[name] for name, data in sounds.items())
    assert "metadata.jsonl" not in made
    assert any("journal-" in name for name in made)
    shutil.rmtree(tmp_path / "cache")  # another machine
    known = {json.loads(line)["row"]["file_name"] for data in made.values() for line in data.splitlines()
             if b'"row"' in line}  # fmt: skip
    assert len(known) == 15
    times = {name: s3.info(f"bucket/out/{name}")["LastModified"] for name in known}
    assert mix("s3://bucket/clips", "s3://bucket/out", copies=2, workers=2).files == 36
    s3.invalidate_cache()
    assert times == {name: s3.info(f"bucket/out/{name}")["LastModified"] for name in known}
    s3.get("bucket/out/", str(tmp_path / "remote"), recursive=True)
    same_run(tmp_path / "local", tmp_path / "remote", (str(classes), "s3://bucket/clips"))
    assert verify_output("s3://bucket/out", progress=False).wrong == 0
    with pytest.raises(ValueError, match="out must be a URL that can be listed and written to.*no such file"):
        mix("s3://bucket/clips", "s3://none/out")
    with pytest.raises(ValueError, match="source must be a URL that can be read.*there is no such file, folder or buc"):
        mix("s3://none/clips", tmp_path / "out")
    assert soundfile.info(tmp_path / "remote" / "a" / "00-0.flac").frames == 8000
    deny = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"  # from here on the key may do nothing
    octets = {"Content-Type": "application/octet-stream"}
    urllib.request.urlopen(urllib.request.Request(deny, b"0", octets, method="POST")).close()
    for read, out in (("s3://bucket/clips", tmp_path / "out"), (classes, "s3://bucket/more")):
        with pytest.raises(ValueError, match=r"must be a URL that can be .*\(no permission \(Forbidden\)\)"):
            mix(read, out)
    assert not (tmp_path / "out").exists()
