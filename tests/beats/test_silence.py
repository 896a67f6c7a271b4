"""Where a sound is silent, and that nobody finds beats there."""

import os

import numpy as np
import pytest
import torch
from sounds import ROOT, noise

from audiomix.audio import io
from audiomix.beats import BeatGrid, trackers
from audiomix.beats.silence import drop_silent, find_silences
from audiomix.beats.track import Tracking

RATE = 8000
LOOP = ROOT / "assets" / "loops" / "house_128.flac"


def pieces(*parts):
    """Noise at a level for some seconds, one after another: (level, seconds)."""
    return torch.cat([level * noise(round(seconds * RATE)) for level, seconds in parts])


@pytest.mark.parametrize("level", [1.0, 1e-3])
@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_silence_does_not_depend_on_level_and_offset(level, offset):
    sound = level * pieces((0, 0.5), (0.3, 1.0), (1e-5, 2.0), (0.3, 0.5), (0, 0.25)) + offset
    if offset and level < 1:  # what is left of the sound beside the offset is coarse
        sound = sound.double() + 0.0
    found = find_silences(sound, RATE)
    assert found == [(0.0, 0.5), (1.5, 3.5), (4.0, 4.25)]
    assert find_silences(torch.stack([sound, -sound]), RATE) == found


def test_beats_before_behind_and_in_long_pauses_go_and_others_stay():
    sound = pieces((0, 2.0), (0.3, 4.0), (0, 0.9), (0.3, 4.1), (0, 3.0), (0.3, 4.0), (0, 2.0))
    times = np.arange(0, 20, 0.5)
    positions = [i % 4 + 1 for i in range(len(times))]
    grid = drop_silent(BeatGrid(times, positions), sound, RATE)
    left = [t for t in times if 2.0 <= t <= 11.0 or 14.0 <= t <= 18.0]  # a pause of less than two beats keeps its beats
    assert list(grid.times) == left
    assert grid.positions == tuple(positions[round(2 * t)] for t in left)
    assert len(drop_silent(BeatGrid(times), torch.zeros(20 * RATE), RATE)) == 0
    bars = [*range(1, 5), *range(1, 5), *range(1, 9), *range(1, 5)] + [*range(1, 5)] * 5  # one of eight beats
    assert drop_silent(BeatGrid(times, bars), pieces((0, 6.1), (0.3, 13.9)), RATE).positions[0] == 6
    whole = BeatGrid(times)
    assert drop_silent(whole, noise(20 * RATE), RATE) is whole
    assert drop_silent(BeatGrid([]), sound, RATE).times == ()


@pytest.mark.parametrize("name", ["librosa", "beat_track", "madmom"])
def test_no_tracker_finds_beats_in_eight_seconds_of_silence(name):
    if reason := trackers.get(name).missing():
        assert not os.environ.get("AUDIOMIX_REQUIRE_MADMOM"), reason
        pytest.skip(reason)
    clip = io.read(LOOP)
    music = clip.samples.repeat(1, 2)
    length = music.shape[-1] / clip.rate
    quiet = 1e-5 * noise(1, 8 * clip.rate)
    sound = torch.cat([quiet, music, quiet, music, quiet], 1)
    grid = Tracking(name, cache=False).samples(sound, clip.rate)
    inside = [t for t in grid.times if 7.9 <= t <= 8.1 + length or 15.9 + length <= t <= 16.1 + 2 * length]
    assert len(inside) == len(grid)
    assert len(grid) > 2 * 0.6 * length * 128 / 60
    assert max(np.diff(grid.times)) > 7  # the pause is a gap, not a slow beat
