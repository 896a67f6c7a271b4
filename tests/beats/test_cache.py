"""The cache gives back what was put in, for the same bytes, tracker and version only, and never stops a run."""

import json
import multiprocessing
import os
import warnings

import pytest
from sounds import noise

from audiomix.audio import io
from audiomix.beats import BeatGrid, cache
from audiomix.beats.cache import GridCache

GRID = BeatGrid([0.1, 0.6, 1.1 + 1e-9], [4, 1, 2], confidence=1 / 3, tracker="madmom", step=0.01)


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch):
    monkeypatch.setattr(cache, "_warned", set())


@pytest.fixture
def sound(tmp_path):
    return io.write(tmp_path / "a.wav", io.Clip(0.1 * noise(1, 800), 8000))


def test_what_is_stored_is_found(tmp_path, sound):
    kept = GridCache(tmp_path / "kept")
    entry = kept.path(sound, "madmom", "1")
    assert kept.load(entry, "madmom") is None
    kept.store(entry, "1", GRID)
    assert kept.load(entry, "madmom") == GRID
    assert entry.parent.name == entry.name[:2]
    assert [p.name for p in entry.parent.iterdir()] == [entry.name]


def test_key_is_content_tracker_and_version(tmp_path, sound):
    kept = GridCache(tmp_path / "kept")
    entry = kept.path(sound, "madmom", "1")
    other = tmp_path / "sub" / "b.wav"
    other.parent.mkdir()
    other.write_bytes(sound.read_bytes())
    assert kept.path(other, "madmom", "1") == entry
    assert kept.path(sound, "librosa", "1") != entry
    assert kept.path(sound, "madmom", "2") != entry
    changed = bytearray(sound.read_bytes())
    changed[-1] ^= 1
    other.write_bytes(changed)
    assert kept.path(other, "madmom", "1") != entry
    with pytest.raises(io.AudioError, match="absent.wav"):
        kept.path(tmp_path / "absent.wav", "madmom", "1")


def test_large_files_are_hashed_whole(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    body = bytes(cache._BLOCK) + b"behind the first block"
    first.write_bytes(body)
    second.write_bytes(body[:-1] + b"K")
    kept = GridCache(tmp_path)
    assert kept.path(first, "t", "v") != kept.path(second, "t", "v")


def broken(**changes):
    return json.dumps({"tracker": "madmom", "version": "1", "grid": {**GRID.to_dict(), **changes}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        broken()[:-20],
        "[]",
        "3",
        "{}",
        '{"grid": []}',
        '{"grid": null}',
        broken(times=[1.0, 0.5, 2.0]),
        broken(times="abc"),
        broken(times=3),
        broken(times=[0.1, None, 1.0]),
        broken(positions=[1]),
        broken(confidence="high"),
        broken(step=float("nan")),
        broken(tracker="librosa"),
        broken(colour="blue"),
        "\x00\xff",
    ],
)
def test_damaged_entries_count_as_absent_and_are_said_once(tmp_path, sound, text):
    kept = GridCache(tmp_path / "kept")
    entry = kept.path(sound, "madmom", "1")
    entry.parent.mkdir(parents=True)
    entry.write_bytes(text.encode("latin-1"))
    with pytest.warns(RuntimeWarning, match=f"{entry.name}.*damaged"):
        assert kept.load(entry, "madmom") is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kept.load(entry, "madmom") is None
        kept.store(entry, "1", GRID)
        assert kept.load(entry, "madmom") == GRID


def test_a_folder_that_cannot_be_written_stops_nothing_and_is_said_once(tmp_path, sound):
    (tmp_path / "kept").write_text("a file where the folder should be")
    kept = GridCache(tmp_path / "kept")
    entry = kept.path(sound, "madmom", "1")
    assert kept.load(entry, "madmom") is None
    with pytest.warns(RuntimeWarning, match="cannot be written"):
        kept.store(entry, "1", GRID)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept.store(entry, "1", GRID)


def test_an_entry_that_cannot_be_read_is_said(tmp_path, sound):
    kept = GridCache(tmp_path / "kept")
    entry = kept.path(sound, "madmom", "1")
    entry.mkdir(parents=True)
    with pytest.warns(RuntimeWarning, match="cannot be read"):
        assert kept.load(entry, "madmom") is None


def test_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("AUDIOMIX_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert GridCache().folder == tmp_path / "own" / "beats"
    monkeypatch.delenv("AUDIOMIX_CACHE")
    assert GridCache().folder == tmp_path / "xdg" / "audiomix" / "beats"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert GridCache().folder == tmp_path / ".cache" / "audiomix" / "beats"


def _write_often(folder, entry):
    warnings.simplefilter("error")
    kept = GridCache(folder)
    for _ in range(200):
        kept.store(entry, "1", GRID)
        if kept.load(entry, "madmom") != GRID:
            os._exit(1)


def test_several_processes_never_see_half_an_entry(tmp_path, sound):
    kept = GridCache(tmp_path / "kept")
    entry = kept.path(sound, "madmom", "1")
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    running = [context.Process(target=_write_often, args=(kept.folder, entry)) for _ in range(3)]
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert [process.exitcode for process in running] == [0, 0, 0]
    assert [p.name for p in entry.parent.iterdir()] == [entry.name]
