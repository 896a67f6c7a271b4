"""Many files: one or several workers, files that fail, workers that are killed (see test_parallel), keys, the bar."""

import os
import signal
import time

import numpy as np
import pytest
import soundfile
from made import write
from sounds import ROOT

from audiomix.audio.io import AudioError
from audiomix.beats import BeatGrid
from audiomix.beats.key import KEYS
from audiomix.beats.track import Tracking
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
        if word == "slow":
            time.sleep(float(number))
        return BeatGrid([0.1 * float(number or 0), 5.0], key="A minor" if word == "keyed" else None)


def run(paths, tracking=None, **options):
    return list(track_files(paths, tracking or Fake(), **{"progress": False, **options}))


MIXED = ["slow-0.5", *(f"ok-{i}" for i in range(9)), "audio-1", "value-1", "crash-1", "memory-1", "ok-9"]


@pytest.fixture(scope="module")
def serial():
    return run(MIXED)


@pytest.mark.slow
def test_two_workers_give_the_same_in_the_order_of_the_paths_and_a_killed_one_is_listed(serial):
    paths = [*MIXED[:4], "kill-1", *MIXED[4:]]
    killed = Tracked("kill-1", reason="the worker ended while it was at this file (signal SIGKILL: too little memory?)")
    assert run(paths, workers=2) == [*serial[:4], killed, *serial[4:]]


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


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert f"{len(MIXED)} of {len(MIXED)} files" in capfd.readouterr().err
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
