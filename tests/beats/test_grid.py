"""Beat grids: what they refuse, tempo, files, and taking a tracker's time steps back out."""

import numpy as np
import pytest
from rhythm import drifting, steady

from audiomix.beats import BeatGrid


@pytest.mark.parametrize(
    ("times", "more", "message"),
    [
        ([0, 22050, 44100], {}, r"times must be in seconds, got 22050 from beat to beat: did you pass samples\?"),
        ([1.0, 0.5], {}, r"times must be ascending, got 1 before 0.5"),
        ([0.5, 0.5, 1.0], {}, r"ascending.*each beat once\?"),
        ([-0.1, 0.5], {}, r"times must be 0 or later"),
        ([0.0, float("nan")], {}, r"times must be finite"),
        ([[0.0, 1.0], [0.5, 2.0]], {}, r"one-dimensional.*times\[:, 0\]\?"),
        ([0.0, 0.01, 0.02], {}, r"at least 0.1 s apart.*beats, not onsets"),
        ([0.0, 0.5], {"positions": [1]}, r"positions must be 2, one for each beat, got 1"),
        ([0.0, 0.5], {"positions": [0, 1]}, r"positions must be an integer of at least 1, got 0"),
        ([0.0, 0.5], {"confidence": 90}, r"did you mean 0.9\?"),
        ([0.0, 0.5], {"key": "H major"}, r"key"),
    ],
)
def test_what_is_no_grid_is_refused(times, more, message):
    with pytest.raises((ValueError, TypeError), match=message):
        BeatGrid(times, **more)


def test_samples_are_noticed_even_in_a_sound_that_is_long():
    grid = BeatGrid([0.0, 2.0, 4.0, 800.0])
    with pytest.raises(ValueError, match=r"beats must be in seconds within the 10.00 s .*did you pass samples\?"):
        grid.check_within(10.0)
    with pytest.raises(ValueError, match=r"of another sound\?"):
        BeatGrid([0.0, 9.0, 11.0]).check_within(10.0)
    assert BeatGrid([0.0, 9.0, 10.05]).check_within(10.0).times == (0.0, 9.0)


@pytest.mark.parametrize("times", [[], [1.0]])
def test_none_or_one_beat_is_a_grid_without_a_tempo(times):
    grid = BeatGrid(times, [1] * len(times))
    assert grid.bpm is None
    assert grid.smooth() == grid


def test_tempo_survives_a_missing_and_a_doubled_beat():
    times = steady(128, 20)
    assert BeatGrid(times).bpm == pytest.approx(128)
    lost = [t for i, t in enumerate(times) if i not in (7, 20)]
    assert BeatGrid(lost).bpm == pytest.approx(128)


@pytest.mark.parametrize("separator", ["\t", " ", "   "])
def test_beats_files_come_back(separator, tmp_path):
    grid = BeatGrid([0.1, 0.6, 1.1, 1.6, 2.1], [3, 4, 1, 2, 3])
    path = grid.write(tmp_path / "a.beats")
    assert path.read_text().splitlines()[2] == "1.100000\t1"
    again = BeatGrid.read(path)
    assert again.times == pytest.approx(grid.times)
    assert (again.positions, again.metre, again.tracker) == (grid.positions, 4, "file")
    path.write_text("# made by hand\n\n" + path.read_text().replace("\t", separator))
    assert BeatGrid.read(path).positions == grid.positions
    BeatGrid([0.5, 1.0]).write(path)
    assert not BeatGrid.read(path).phase_known
    path.write_text("0.5\t1\nhalf past\t2\n")
    with pytest.raises(ValueError, match=r"a.beats, line 2 must be a time in seconds.*half past"):
        BeatGrid.read(path)
    path.write_text("1.0\n0.5\n")
    with pytest.raises(ValueError, match=r"a.beats, line 2 must be .* times must be ascending, got 0.5 s"):
        BeatGrid.read(path)


def test_madmom_and_mir_eval_read_what_is_written(tmp_path):
    import mir_eval

    path = BeatGrid([0.25, 0.75, 1.25], [1, 2, 3]).write(tmp_path / "a.beats")
    np.testing.assert_allclose(mir_eval.io.load_labeled_events(str(path), delimiter=r"\s+")[0], [0.25, 0.75, 1.25])


def test_a_grid_survives_json():
    import json

    grid = BeatGrid([0.1, 0.6], [2, 1], 3, 0.5, "madmom", 0.01, "Am")
    assert BeatGrid.from_dict(json.loads(json.dumps(grid.to_dict()))) == grid
    assert grid.key == "A minor"
    with pytest.raises(ValueError, match="values must be those of"):
        BeatGrid.from_dict({"times": [0.1], "tempo": 3})


@pytest.mark.parametrize("bpm", [70, 128, 180])
@pytest.mark.parametrize("depth", [0.0, 0.02, 0.04])
def test_smoothing_takes_a_trackers_steps_out_and_leaves_drift_in(bpm, depth):
    true = np.array(drifting(bpm, 30, depth))
    seen = np.round(true / 0.01) * 0.01
    jitter = np.abs(np.diff(seen) / np.diff(true) - 1)  # of the rate, were a sound warped along the steps
    smoothed = BeatGrid(seen, step=0.01).smooth()
    rate = np.abs(np.diff(smoothed.array) / np.diff(true) - 1)
    assert jitter.max() > 0.008
    assert rate.max() < 0.006
    assert rate[2:-2].max() < 0.3 * jitter.max()
    assert np.std(smoothed.array - true) < 0.85 * np.std(seen - true)
    assert smoothed.smooth() == smoothed
    assert BeatGrid(seen).smooth().times == tuple(seen)  # annotations stay


def test_a_grid_pickles_compactly():
    import pickle

    grids = [
        BeatGrid(np.arange(500) / 3, [i % 4 + 1 for i in range(500)], 4, 0.5, "madmom", 0.01, "Am"),
        BeatGrid([]), BeatGrid([0.1 + 0.2]), BeatGrid([0.5, 1.0], [299, 300]),
    ]  # fmt: skip
    for grid in grids:
        again = pickle.loads(pickle.dumps(grid))
        assert again == grid
        assert hash(again) == hash(grid)
        assert [type(v) for v in vars(again).values()] == [type(v) for v in vars(grid).values()]
    assert len(pickle.dumps(grids[0])) < 500 * 9 + 300


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "a.beats").write_bytes(b"0.5\n\xff\xfe\x00\x81")
    with pytest.raises(ValueError, match=r"a\.beats is not text in UTF-8 \(byte 4\)") as caught:
        BeatGrid.read(tmp_path / "a.beats")
    assert not isinstance(caught.value, UnicodeDecodeError)


def test_beats_a_tenth_apart_are_accepted_whatever_their_rounding(tmp_path):
    times = [0.05 + 0.1 * i for i in range(200)]
    assert min(np.diff(times)) < 0.1
    path = BeatGrid(times).write(tmp_path / "a.beats")
    assert len(BeatGrid.read(path)) == len(BeatGrid(times).smooth()) == 200
    BeatGrid([0.05, 0.15])
    with pytest.raises(ValueError, match="at least 0.1 s apart"):
        BeatGrid([0.05, 0.1499])


def test_a_cut_counts_from_its_start():
    grid = BeatGrid([0.5, 1.0, 1.5, 2.0], [1, 2, 3, 4]).between(0.9, 1.6)
    assert grid.times == pytest.approx((0.1, 0.6))
    assert grid.positions == (2, 3)


def test_beats_with_downbeats_beside_them_are_refused_by_name():
    with pytest.raises(ValueError, match="times must be one-dimensional, in seconds, got several sequences: beats and"):
        BeatGrid.of(([0.0, 0.5, 1.0], [0.0]))
