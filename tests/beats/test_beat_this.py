"""Beat This!: with random weights and with given predictions, for its own weights are not here."""

import pickle
import shutil
import warnings

import numpy as np
import pytest
import torch
from rhythm import random_beat_this
from sounds import ROOT, noise

from audiomix.beats import trackers
from audiomix.beats.track import Tracking, choose_tracker
from audiomix.beats.trackers import beat_this as module

LOOP = ROOT / "assets" / "loops" / "rock_120.flac"
FPS = 50


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network with random weights."""
    return random_beat_this(tmp_path_factory.mktemp("weights"))


def given(beats, downbeats, seconds=12.0):
    """Return a model whose predictions are high at these times."""
    curves = torch.full((2, round(seconds * FPS)), -5.0)
    for curve, times in zip(curves, (beats, downbeats)):
        for time, height in times.items():
            curve[round(time * FPS)] = height

    class Model:
        def frames(self, sound, rate):
            assert rate == 22050
            return curves[0], curves[1]

        def peaks(self, beat, downbeat):
            found = [np.flatnonzero((curve > 0).numpy()) / FPS for curve in (beat, downbeat)]
            return found[0], found[1]

    return Model()


def tracked(monkeypatch, beats, downbeats):
    tracker = trackers.get("beat_this")()
    monkeypatch.setattr(tracker, "_model", given(beats, downbeats))
    return tracker.track(noise(12 * 22050), 22050)


def test_bars_follow_from_its_downbeats_whatever_the_metre(monkeypatch):
    beats = {0.5 * i: 3.0 for i in range(1, 24)}
    downbeats = {0.5 * i: 3.0 for i in (3, 8, 13, 18)}  # 5/4, with two beats of pick-up
    grid = tracked(monkeypatch, beats, downbeats)
    assert np.allclose(grid.times, list(beats))
    assert grid.metre == 5
    assert grid.downbeats.tolist() == [2, 7, 12, 17]
    assert grid.positions[:3] == (4, 5, 1)
    assert not tracked(monkeypatch, beats, {}).phase_known


def test_of_two_beats_that_are_one_the_more_probable_stays(monkeypatch):
    beats = {1.0: 3.0, 1.5: 1.0, 1.58: 2.0, 2.0: 3.0, 2.08: 1.0, 2.5: 3.0}
    grid = tracked(monkeypatch, beats, {1.5: 2.0, 2.5: 2.0})
    assert np.allclose(grid.times, [1.0, 1.58, 2.0, 2.5])
    assert grid.downbeats.tolist() == [1, 3]
    assert not tracked(monkeypatch, beats, {1.5: 2.0}).phase_known  # no bar is whole: its metre stays open
    assert len(tracked(monkeypatch, {}, {})) == 0


def test_random_weights_give_a_grid(weights):
    tracker = trackers.get("beat_this")(checkpoint=str(weights))
    sound = 0.3 * noise(2, 5 * 22050)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own
        grid = tracker.track(sound, 22050)
    assert len(grid) > 5
    assert np.diff(grid.times).min() >= 0.1 - 1e-9
    assert grid.step == 0.02
    again = pickle.loads(pickle.dumps(tracker)).track(0.01 * sound + 0.2, 22050)
    assert again.times == grid.times
    assert len(tracker.track(torch.zeros(1, 22050), 22050)) == 0
    assert len(tracker.track(noise(1, 100), 22050)) == 0


def test_the_version_is_the_hash_of_the_weights(weights, tmp_path):
    make = trackers.get("beat_this")
    same = shutil.copy(weights, tmp_path / "same.ckpt")
    other = tmp_path / "other.ckpt"
    other.write_bytes(weights.read_bytes() + b"x")
    hashes = [make(checkpoint=str(path)).version.split("weights ")[1] for path in (weights, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    with pytest.raises(ValueError, match="checkpoint must be a file of weights, or a name such as final0"):
        make(checkpoint=str(tmp_path / "none.ckpt"))


def test_auto_takes_it_where_its_weights_are_and_downloads_none(weights, monkeypatch, tmp_path):
    sound = shutil.copy(LOOP, tmp_path / "bare.flac")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv("AUDIOMIX_BEAT_THIS", raising=False)
    assert choose_tracker(path=sound).name != "beat_this"
    monkeypatch.setenv("AUDIOMIX_BEAT_THIS", str(weights))
    assert choose_tracker(path=sound).name == "beat_this"
    assert choose_tracker(path=LOOP).name == "file"
    monkeypatch.delenv("AUDIOMIX_BEAT_THIS")
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    shutil.copy(weights, tmp_path / "hub" / "checkpoints" / "beat_this-small0.ckpt")
    assert choose_tracker(path=sound).name != "beat_this"
    tracking = Tracking("beat_this:checkpoint=small0", cache=False)
    assert tracking.describe()["version"].endswith(module._digest(weights, 0, 0))
    assert tracking.file(sound).tracker == "beat_this"


def test_without_the_package_the_command_is_told(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install beat-this"):
        choose_tracker("beat_this")
