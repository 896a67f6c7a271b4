"""Laws of grids, of keys and of every tracker; with `tests/test_laws.py` they run most of `audiomix.beats`."""

import json
import pickle
import warnings

import numpy as np
import pytest
import torch
from rhythm import drifting, random_beat_this, steady
from sounds import noise

from audiomix.audio.io import Clip
from audiomix.beats import BeatGrid, key, trackers
from audiomix.beats.cache import GridCache
from audiomix.beats.click import add_clicks
from audiomix.beats.track import track_beats

RATE = 22050
GRIDS = {
    "none": BeatGrid(()),
    "one": BeatGrid([0.5]),
    "steady": BeatGrid(steady(120, 12.0, 0.25), tracker="given", step=0.01),
    "bars": BeatGrid(steady(97, 12.0), [i % 3 + 1 for i in range(20)], confidence=0.5),
    "pick-up": BeatGrid(steady(140, 9.0, 0.1), [(i + 2) % 4 + 1 for i in range(21)], metre=4, key="F# minor"),
    "drifting": BeatGrid(drifting(110, 12.0)),
}


def test_grids_come_back_from_every_form(tmp_path):
    cache = GridCache(tmp_path / "cache")
    sound = tmp_path / "sound.wav"
    sound.write_bytes(b"some bytes")
    for name, grid in GRIDS.items():
        assert pickle.loads(pickle.dumps(grid)) == grid
        assert BeatGrid.from_dict(json.loads(json.dumps(grid.to_dict()))) == grid
        assert BeatGrid.of(grid) is grid
        assert BeatGrid.of(list(grid.times)).times == grid.times
        text = BeatGrid.read(grid.write(tmp_path / f"{name}.beats"))
        assert np.abs(text.array - grid.array).max(initial=0) <= 0.5e-6
        assert (text.positions, text.metre) == (grid.positions, grid.metre)
        entry = cache.path(sound, grid.tracker, name)
        assert cache.load(entry, grid.tracker) is None
        cache.store(entry, name, grid)
        assert cache.load(entry, grid.tracker) == grid


def test_grids_are_cut_and_smoothed():
    for grid in GRIDS.values():
        assert grid.between(0.0, 100.0) == grid
        left, right = grid.between(0.0, 4.0), grid.between(4.0, 100.0)
        assert np.allclose([*left.times, *(4.0 + right.array)], grid.times, atol=1e-12)
        assert (*(left.positions or ()), *(right.positions or ())) == (grid.positions or ())
        assert grid.check_within(100.0) == grid
        if len(grid):
            with pytest.raises(ValueError, match="behind the end|within"):
                grid.check_within(0.01)
        assert np.abs(grid.smooth().array - grid.array).max(initial=0) < 0.03
        assert len(grid.smooth()) == len(grid)
        assert all((grid.positions or ())[i] == 1 for i in grid.downbeats)
    assert GRIDS["steady"].bpm == pytest.approx(120)
    shaky = GRIDS["steady"].array + 0.004 * np.sin(17 * np.arange(len(GRIDS["steady"])))
    steps = np.diff(BeatGrid(shaky, step=0.01).smooth().array)
    assert steps.std() < np.diff(shaky).std() / 2


ANNOTATIONS = [
    ("madmom", "{t:.3f}\t{p}\n", True),
    ("a float position", "{t:.3f} {p}.0\n", True),
    ("bar.beat", "{t:.3f}\t{bar}.{p}\n", True),
    ("Audacity", "{t:.6f}\t{t:.6f}\t{p}\n", True),
    ("ASAP", "{t:.6f}\t{t:.6f}\t{asap}\n", True),
    ("an end", "{t:.6f}\t{end:.6f}\tbar {p}\n", False),
    ("times only", "{t:.3f}\n", False),
    ("an end without a label", "{t:.3f} {end:.3f}\n", False),
    ("CSV", "{t:.3f},{p}\r\n", True),
    ("CSV with a space", "{t:.3f}, {p}\n", True),
    ("positions that stay", "{t:.3f} 2\n", None),
    ("two numbers", "{t:.3f} {p} 0.25\n", None),
    ("bars that do not count up", "{t:.3f} {bar}.3\n", None),
]


def test_annotations_are_read_rightly_or_refused(tmp_path):
    for start in (0, 2):  # two beats of pick-up
        for name, form, right in ANNOTATIONS:
            lines = []
            for i in range(16):
                p, bar = (i - start) % 4 + 1, (i - start) // 4 + 2
                asap = "db,4/4,0" if p == 1 else "b"
                lines.append(form.format(t=7 + i / 2, end=7.3 + i / 2, p=p, bar=bar, asap=asap))
            path = tmp_path / "x.beats"
            path.write_text("# a comment\n" + "".join(lines))
            if right is None:
                with pytest.raises(ValueError, match=r"x\.beats"):
                    BeatGrid.read(path)
                continue
            grid = BeatGrid.read(path)
            assert grid.array.tolist() == [7 + i / 2 for i in range(16)], name
            assert grid.positions == (tuple((i - start) % 4 + 1 for i in range(16)) if right else None), name


def music(bpm, first, seconds=6.0):
    """A kick on every beat, a hat between two of them, quiet noise below; and the beats."""
    beats = np.arange(first, seconds - 0.2, 60 / bpm)
    wave, time = 0.003 * noise(round(seconds * RATE)), torch.arange(RATE // 5) / RATE
    kick = 0.8 * torch.sin(2 * np.pi * 60 * time) * torch.exp(-25 * time) + 0.3 * noise(RATE // 5) * torch.exp(
        -200 * time
    )
    hat = 0.1 * noise(RATE // 5, seed=2) * torch.exp(-120 * time)
    for at, sound in [*((b, kick) for b in beats), *((b + 30 / bpm, hat) for b in beats[:-1])]:
        start = round(at * RATE)
        wave[start : start + len(sound)] += sound[: len(wave) - start]
    return wave, beats


def usable():
    return [trackers.get(name)() for name in ("librosa", "beat_track", "madmom") if not trackers.get(name).missing()]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """Beat This! with random weights, which finds something everywhere."""
    if trackers.get("beat_this").missing():
        return []
    return [trackers.get("beat_this")(checkpoint=str(random_beat_this(tmp_path_factory.mktemp("weights"))))]


def found(tracker, wave):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if tracker.name == "beat_this" else "error")  # the package's own
        return tracker.track(wave, RATE)


def test_every_tracker_finds_a_beat_again_at_any_tempo_and_wherever_it_begins():
    for tracker in usable():
        for bpm, first in ((80, 0.4), (100, 0.13), (126, 0.3), (150, 0.02)):
            wave, beats = music(bpm, first)
            grid = found(tracker, wave)
            apart = np.abs(grid.array[:, None] - beats).min(1)
            folded = min((grid.bpm * k for k in (0.5, 1, 2)), key=lambda one: abs(np.log(one / bpm)))
            assert folded == pytest.approx(bpm, rel=0.03), (tracker.name, bpm)
            # librosa's own may count the hats: the middle between two beats
            middle = np.abs(grid.array[:, None] - (beats + 30 / bpm)).min(1)
            assert np.median(np.minimum(apart, middle)) < 0.025, (tracker.name, bpm)
            assert tracker.name == grid.tracker


def test_what_trackers_and_keys_find_does_not_hang_on_level_offset_polarity_or_channels(untrained):
    wave, _ = music(110, 0.35)
    time = torch.arange(4 * RATE) / RATE
    chord = sum(torch.sin(2 * np.pi * hz * time) for hz in (261.6, 329.6, 392.0, 523.3)) / 10
    ways = {
        "-20 dB": lambda x: x * 1e-1,
        "-60 dB": lambda x: x * 1e-3,
        "a constant added": lambda x: x + 0.3,
        "inverted": lambda x: -x,
        "stereo": lambda x: torch.stack([x, x]),
        "channels that cancel": lambda x: torch.stack([x, -x]),
        "one channel silent": lambda x: torch.stack([x, torch.zeros_like(x)]),
        "double precision": lambda x: x.double(),
    }
    for tracker in (*usable(), *untrained):
        plain = found(tracker, wave)
        assert len(plain) > 5
        for name, way in ways.items():
            grid = found(tracker, way(wave))
            assert len(grid) == len(plain), (tracker.name, name)
            assert np.abs(grid.array - plain.array).max() < 0.011, (tracker.name, name)
            assert grid.positions == plain.positions, (tracker.name, name)
        for silence in (torch.zeros(3 * RATE), torch.full((3 * RATE,), 0.3), torch.full((2, 3 * RATE), 1e-9)):
            assert len(found(tracker, silence)) == 0, tracker.name
        if tracker in untrained:
            continue
        late = found(tracker, torch.cat([torch.zeros(2 * RATE), wave]))
        near = np.abs(late.array[:, None] - 2 - plain.array).min(1)
        assert np.mean(near < 0.03) > 0.8, tracker.name
    assert key.estimate(chord, RATE)[0] == "C major"
    for name, way in ways.items():
        assert key.estimate(way(chord), RATE)[0] == "C major", name
    assert key.estimate(torch.full((4 * RATE,), 0.3), RATE) == (None, 0.0)


def test_clicks_are_found_where_they_were_laid():
    grid = GRIDS["bars"]
    clip = add_clicks(Clip(torch.zeros(1, 13 * RATE), RATE), grid)
    again = track_beats(clip.samples, RATE, tracker="librosa")
    assert np.abs(again.array[:, None] - grid.array).min(1).max() < 0.02


def test_keys_go_round_the_circle():
    notes = ["C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"]
    names = [key.parse(f"{note} {mode}") for note in notes for mode in ("major", "minor")]
    assert len(set(names)) == 24
    for a in names:
        assert key.parse(a) == a
        assert (key.distance(a, a), key.transpose(a, 12), key.transpose(key.transpose(a, 5), -5)) == (0, a, a)
        for b in names:
            assert key.distance(a, b) == key.distance(b, a) <= 6
            assert key.are_compatible(a, b) == key.are_compatible(b, a)
            assert key.are_compatible(a, key.transpose(b, key.shift_to(a, b)))
            assert key.distance(key.transpose(a, 3), key.transpose(b, 3)) == key.distance(a, b)
