"""Clicks are found again in the sound: where they are, how loud, and how high."""

import math

import numpy as np
import pytest
import torch
from sounds import noise

from audiomix.audio.io import Clip
from audiomix.beats import BeatGrid
from audiomix.beats.click import add_clicks

GRID = BeatGrid([0.0, 0.30001, 0.70003, 1.0, 1.4321, 1.9], [3, 4, 1, 2, 3, 4])


def difference(clip, grid, **options):
    """What was added, in float64."""
    return add_clicks(clip, grid, **options).samples.double() - clip.samples.double()


def onsets(track):
    """Samples at which sound begins after 20 ms of silence."""
    sounding = torch.nonzero(track.abs() > 1e-3)[:, 0].tolist()
    return [n for n, before in zip(sounding, [-10000, *sounding]) if n - before > 200]


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("channels", [1, 2])
def test_each_click_begins_at_its_beat(rate, channels):
    clip = Clip(0.05 * noise(channels, 2 * rate), rate)
    added = difference(clip, GRID)
    for channel in added:
        assert onsets(channel) == [round(t * rate) for t in GRID.times]
        for t in GRID.times:
            assert float(channel[round(t * rate)]) == pytest.approx(10 ** (-6 / 20), abs=1e-5)


@pytest.mark.parametrize("rate", [2000, 8000, 44100])
def test_downbeats_are_an_octave_higher(rate):
    added = difference(Clip(torch.zeros(1, 2 * rate), rate), GRID)[0]
    pitches = []
    for t in GRID.times:
        spectrum = np.abs(np.fft.rfft(added[round(t * rate) :][: round(0.03 * rate)].numpy(), 16 * rate))
        pitches.append(float(spectrum.argmax()) / 16)
    downbeat = pitches.pop(2)
    low = 1000 * min(1, rate / 5000)
    assert pitches == pytest.approx([low] * 5, rel=0.02)
    assert downbeat == pytest.approx(2 * low, rel=0.02)


def test_without_a_bar_phase_all_clicks_are_alike():
    added = difference(Clip(torch.zeros(1, 16000), 8000), BeatGrid([0.25, 0.5, 1.0]))[0]
    first, *others = (added[n : n + 240] for n in (2000, 4000, 8000))
    assert float(first.abs().max()) > 0.4
    for other in others:
        assert torch.equal(first, other)


@pytest.mark.parametrize("level_db", [-40.0, -12.0, 0.0])
def test_level_is_the_peak_of_the_clicks(level_db):
    added = difference(Clip(torch.zeros(1, 16000), 8000), BeatGrid([0.5]), level_db=level_db)
    assert 20 * math.log10(float(added.abs().max())) == pytest.approx(level_db, abs=1e-4)


def test_one_gain_keeps_a_loud_sound_from_clipping():
    clip = Clip(torch.ones(2, 16000) * torch.tensor([[0.9], [0.3]]), 8000)
    heard = add_clicks(clip, BeatGrid([0.5]), level_db=-6).samples.double()
    gain = 1 / (0.9 + 10 ** (-6 / 20))
    assert float(heard.abs().max()) == pytest.approx(1, abs=1e-6)
    assert float(heard.abs().max()) <= 1
    torch.testing.assert_close(heard[:, 0], gain * clip.samples[:, 0].double(), atol=1e-6, rtol=0)


def test_the_callers_sound_is_kept_and_no_beats_change_nothing():
    samples = 0.1 * noise(2, 8000)
    kept = samples.clone()
    same = add_clicks(Clip(samples, 8000), BeatGrid([]))
    assert torch.equal(same.samples, kept)
    same.samples.zero_()
    add_clicks(Clip(samples, 8000), BeatGrid([0.1]))
    assert torch.equal(samples, kept)


def test_a_beat_at_the_end_makes_no_click_and_one_near_it_is_cut():
    clip = Clip(torch.zeros(1, 8000), 8000)
    assert not add_clicks(clip, BeatGrid([1.0])).samples.any()
    assert not add_clicks(clip, BeatGrid([1.05])).samples.any()  # a tracker's rounding
    assert add_clicks(clip, BeatGrid([0.99])).samples[0, 7920:].abs().max() > 0.4


@pytest.mark.parametrize(
    ("grid", "options", "error", "said"),
    [
        (BeatGrid([0.5]), {"level_db": 1}, ValueError, "level_db must be a number in [-60, 0]"),
        (BeatGrid([0.5]), {"level_db": "loud"}, TypeError, "level_db"),
        (BeatGrid([0.5, 1.5]), {}, ValueError, "within the 1.00 s of the sound"),
    ],
)
def test_wrong_arguments_are_named(grid, options, error, said):
    with pytest.raises(error) as caught:
        add_clicks(Clip(torch.zeros(1, 8000), 8000), grid, **options)
    assert said in str(caught.value)


def test_whole_number_samples_are_refused():
    with pytest.raises(TypeError, match="floating point"):
        add_clicks(Clip(torch.zeros(1, 8000, dtype=torch.int32), 8000), BeatGrid([0.5]))
