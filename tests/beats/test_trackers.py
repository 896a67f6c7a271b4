"""Each tracker finds beats whose times are known, in time with them, and stands anything that can be called a sound."""

import ast
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sounds import ROOT, noise

from audiomix.audio import io
from audiomix.beats import BeatGrid, trackers
from audiomix.beats.sound import bar_pointer
from audiomix.beats.trackers import _madmom_shim, madmom as madmom_file
from audiomix.beats.trackers._base import mono

LOOPS = ROOT / "assets" / "loops"
FINDERS = ["librosa", "beat_track", "madmom"]


@pytest.fixture
def tracker(request):
    cls = trackers.get(request.param)
    reason = cls.missing()
    if reason:
        assert not os.environ.get("AUDIOMIX_REQUIRE_MADMOM"), reason
        pytest.skip(f"{reason} (AUDIOMIX_REQUIRE_MADMOM=1 makes this a failure)")
    return MADE.setdefault(request.param, cls())


MADE = {}  # madmom's models are loaded once
every = pytest.mark.parametrize("tracker", FINDERS, indirect=True)
builtin = pytest.mark.parametrize("tracker", ["librosa"], indirect=True)
madmom = pytest.mark.parametrize("tracker", ["madmom"], indirect=True)


def drum_loop(name, seconds=6.0):
    """A bundled loop played over and over, its beats and its downbeats."""
    clip = io.read(LOOPS / f"{name}.flac")
    grid = BeatGrid.read(LOOPS / f"{name}.beats")
    times = int(np.ceil(seconds / clip.seconds))
    beats = np.concatenate([grid.array + i * clip.seconds for i in range(times)])
    return clip.samples.repeat(1, times), clip.rate, beats, beats[:: grid.metre]


def clicks(bpm, rate=22050, seconds=8.0, first=0.3):
    beats = np.arange(first, seconds - 0.1, 60 / bpm)
    wave = torch.zeros(round(seconds * rate))
    burst = noise(rate // 50) * torch.linspace(1, 0, rate // 50) ** 2
    for beat in beats:
        start = round(beat * rate)
        wave[start : start + len(burst)] += 0.5 * burst
    return wave, rate, beats


def folded(bpm, wanted):
    return min((bpm * k for k in (0.5, 1, 2)), key=lambda one: abs(np.log(one / wanted)))


def away(found, beats):
    """Distance of each found beat to the nearest true one or, at double tempo, to the middle between two; seconds."""
    both = np.sort(np.r_[beats, (beats[1:] + beats[:-1]) / 2])
    return np.array([one - both[np.argmin(np.abs(both - one))] for one in found])


@pytest.mark.parametrize(
    ("tracker", "name"),
    [
        *((t, n) for t in ("librosa", "madmom") for n in ("hiphop_90", "rock_120", "house_128", "breakbeat_150")),
        # librosa's own finds another tempo (112 and 115 bpm) in the two others
        *(("beat_track", n) for n in ("rock_120", "house_128")),
    ],
    indirect=["tracker"],
)
def test_loops_are_found_in_time(tracker, name):
    samples, rate, beats, _ = drum_loop(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grid = tracker.track(samples, rate)
    bpm = 60 / (beats[1] - beats[0])
    assert folded(grid.bpm, bpm) == pytest.approx(bpm, rel=0.02)
    apart = away(grid.array, beats)
    assert np.mean(np.abs(apart) < 0.03) > 0.9
    assert abs(np.median(apart)) < 0.02  # no lag: librosa's own would be 0.04
    assert len(grid) > 0.45 * len(beats)
    assert grid.tracker == tracker.name
    assert 0.005 < grid.step < 0.02


@builtin
@pytest.mark.parametrize("bpm", range(70, 181, 10))
def test_clicks_of_any_tempo(tracker, bpm):
    wave, rate, beats = clicks(bpm)
    grid = tracker.track(wave, rate)
    assert folded(grid.bpm, bpm) == pytest.approx(bpm, rel=0.02)
    assert np.abs(away(grid.array, beats)).max() < 0.02


@builtin
def test_times_are_finer_than_frames(tracker):
    """Clicks at places that no frame knows: a multiple of 10 ms would be off by 2.5 ms on average."""
    wave, rate, beats = clicks(113, seconds=20.0)
    apart = away(tracker.track(wave, rate).array, beats)
    assert np.abs(apart - np.median(apart)).mean() < 0.0015


@builtin
def test_a_beat_at_the_very_beginning_is_found(tracker):
    samples, rate, _, _ = drum_loop("house_128")
    assert tracker.track(samples, rate).times[0] < 0.02


@builtin
def test_no_beats_in_the_silence_around_music(tracker):
    samples, rate, beats, _ = drum_loop("rock_120")
    quiet = torch.zeros(1, 3 * rate)
    grid = tracker.track(torch.cat([quiet, samples, quiet], 1), rate)
    assert 2.9 < grid.times[0] < 3.6
    assert grid.times[-1] < 3.0 + len(samples[0]) / rate
    assert np.mean(np.abs(away(grid.array - 3, beats)) < 0.03) > 0.9


@builtin
def test_a_tempo_that_changes_is_followed(tracker):
    wave, rate, _ = clicks(100)
    other, _, _ = clicks(108)
    intervals = np.diff(tracker.track(torch.cat([wave, other]), rate).array)
    assert np.median(intervals[:10]) == pytest.approx(0.6, abs=0.006)
    assert np.median(intervals[-10:]) == pytest.approx(60 / 108, abs=0.006)


def test_bar_pointer_equals_exhaustive_search():
    """The score of the returned beats is the best of all sequences of beats, found by plain recursion."""
    rng = np.random.default_rng(3)
    for _ in range(5):
        curve, bias = rng.normal(-0.3, 1.5, 40), rng.normal(0, 0.05, 4)
        got = bar_pointer.decode(curve, 8, 11, bias, 9.0)

        def follow(frame, interval, curve=curve, bias=bias):
            """Best (score, frames) of a beat here and all that come."""
            after, value = frame + interval, curve[frame]
            if after >= 40:
                return value + bias[interval - 8] * (40 - frame), [frame]
            ways = [(follow(after, j), j) for j in range(8, 12) if abs(j / interval - 1) <= 0.12]
            score, rest = max((tail[0] - 9.0 * abs(j / interval - 1), tail[1]) for tail, j in ways)
            return value + bias[interval - 8] * interval + score, [frame, *rest]

        firsts = [(follow(t, j), t, j) for j in range(8, 12) for t in range(j)]
        want = max((way[0] + bias[j - 8] * t, way[1]) for way, t, j in firsts)
        assert got.tolist() == want[1]


ODD = {
    "silence": (torch.zeros(2, 44100), 44100),
    "noise": (0.1 * noise(1, 32000), 16000),
    "short": (0.1 * noise(1, 8820), 44100),
    "one sample": (torch.ones(1), 8000),
    "offset": (torch.ones(1, 16000), 8000),
    "huge": (1e4 * noise(1, 22050), 22050),
    "tiny": (1e-12 * noise(1, 22050), 22050),
}


@every
@pytest.mark.parametrize("what", ODD)
def test_any_sound_gives_a_grid_and_no_warning(tracker, what):
    samples, rate = ODD[what]
    before = samples.clone()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grid = tracker.track(samples, rate)
    assert torch.equal(samples, before)
    assert len(grid) <= 4 * samples.shape[-1] / rate + 1
    if what in ("silence", "one sample"):
        assert len(grid) == 0
        assert grid.confidence is None


@every
def test_speech_is_no_error(tracker, speech):
    clip = io.read(sorted((speech / "right").glob("*.wav"))[0])
    assert len(tracker.track(clip.samples, clip.rate)) <= 4


@every
@pytest.mark.parametrize("rate", [8000, 192000])
def test_rates_and_channels(tracker, rate):
    samples, own, beats, _ = drum_loop("house_128", 5.0)
    clip = io.resample(io.Clip(samples, own), rate)
    stereo = torch.cat([clip.samples, 0.5 * clip.samples])
    grid = tracker.track(stereo, rate)
    assert np.mean(np.abs(away(grid.array, beats)) < 0.03) > 0.9
    assert grid == tracker.track(stereo, rate)
    assert tracker.track(0.75 * clip.samples[0], rate).times == pytest.approx(grid.times, abs=1e-3)


@madmom
def test_madmom_finds_bars(tracker):
    for name in ("rock_120", "house_128"):
        samples, rate, _, downbeats = drum_loop(name)
        grid = tracker.track(samples, rate)
        assert grid.metre == 4
        assert np.abs(away(grid.array[grid.downbeats], downbeats)).max() < 0.03
        assert len(grid.downbeats) >= len(downbeats) - 1


def beat_curves(metre, bpm, strong, weak, seconds=12.0):
    """Probabilities of beats and of downbeats, (N, 2), as madmom's networks give them: of downbeats, how probable."""
    curves = np.full((round(seconds * 100), 2), 0.01)
    for i, time in enumerate(np.arange(0.5, seconds, 60 / bpm)):
        down = strong if i % metre == 0 else weak
        curves[round(time * 100)] = 0.9 - down, down
    return curves


@madmom
@pytest.mark.parametrize(
    ("metre", "strong", "weak", "options", "expected"),
    [
        (3, 0.6, 0.02, {}, 3),
        (4, 0.6, 0.02, {}, 4),
        (5, 0.7, 0.05, {}, 5),
        (7, 0.6, 0.05, {}, 7),
        (4, 0.15, 0.03, {}, 4),  # weak, but in a usual metre
        (7, 0.15, 0.03, {}, None),  # weak in another one
        (4, 0.2, 0.15, {}, None),  # hardly more probable than the others
        (5, 0.7, 0.05, {"beats_per_bar": (3, 4)}, None),  # never forced into what is looked for
        (5, 0.2, 0.15, {"beats_per_bar": (5,)}, 5),  # known
    ],
)
def test_madmom_tells_bars_of_any_metre_where_they_are_clear(tracker, metre, strong, weak, options, expected):
    one = type(tracker)(**options)
    curves = beat_curves(metre, 150, strong, weak)
    one._processors = (lambda signal: curves, one._make_processors()[1])
    grid = one.track(noise(1, 12 * 44100), 44100)
    assert grid.bpm == pytest.approx(150, rel=0.01)
    assert (grid.metre, grid.phase_known) == (expected, expected is not None)
    if expected:
        assert np.abs(away(grid.array[grid.downbeats], np.arange(0.5, 12, metre * 0.4))).max() < 0.02


@madmom
@pytest.mark.slow
def test_madmom_infer_finds_the_same_beats(tracker, monkeypatch, tmp_path):
    infer = pytest.importorskip("madmom_infer", reason="madmom-infer is not installed")
    import madmom

    folder = tmp_path / "madmom_infer" / "models" / "downbeats"
    folder.mkdir(parents=True)
    (folder / "2016").symlink_to(Path(madmom.__file__).parent / "models" / "downbeats" / "2016")
    samples, rate, _, _ = drum_loop("hiphop_90")
    wanted = tracker.track(samples, rate)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(madmom_file, "_reason", lambda: "it could not be built")
    grid = type(tracker)().track(samples, rate)
    assert infer.__version__ in type(tracker)().version
    assert (grid.times, grid.positions) == (wanted.times, wanted.positions)


@madmom
def test_madmom_beat_network_has_no_bars(tracker):
    samples, rate, beats, _ = drum_loop("rock_120")
    grid = type(tracker)(network="beat").track(samples, rate)
    assert not grid.phase_known
    end = samples.shape[-1] / rate  # where the loop would begin again, on a beat
    assert np.abs(away(grid.array, np.append(beats, end))).max() < 0.03


@madmom
def test_madmom_leaves_no_stand_in_and_no_half_import(tracker):
    code = (
        "import sys, audiomix.beats.trackers.madmom as m; assert 'madmom' not in sys.modules; assert not m._reason()\n"
        "assert sys.modules['madmom'].__file__ != m.__file__\n"
        "try: import pkg_resources; assert pkg_resources.__file__\n"
        "except ImportError: pass\n"
        "sys.modules['madmom.features'] = None\n"
        "[sys.modules.pop(n) for n in list(sys.modules) if n.startswith('madmom.features.')]\n"
        "m._reason.cache_clear(); print(m._reason()); print([n for n in sys.modules if n.split('.')[0] == 'madmom'])"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert "madmom cannot be imported (ModuleNotFoundError" in run.stdout
    assert run.stdout.endswith("[]\n")


def test_shim_rows_pair_unlike_lengths():
    got = np.asarray(list(_madmom_shim.map_pairs(lambda n: (np.arange(n), float(n)), [2, 5, 3])))
    assert int(np.argmax(got[:, 1])) == 1


@pytest.mark.parametrize("name", trackers.available())
def test_laws_of_every_tracker(name):
    cls = trackers.get(name)
    made = cls()
    assert cls.name == name
    assert made.version == cls().version
    for option, value in made.options().items():
        assert f"{option}={value!r}" in made.version
    assert pickle.loads(pickle.dumps(made)).version == made.version
    assert all(package in made.version for package in cls.packages)


@pytest.mark.parametrize("name", trackers.available())
def test_a_tracker_file_imports_nothing_heavy(name):
    tree = ast.parse((Path(trackers.__file__).parent / f"{name}.py").read_text())
    top = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    modules = [a.name for n in top if isinstance(n, ast.Import) for a in n.names]
    modules += [n.module for n in top if isinstance(n, ast.ImportFrom) and not n.level]
    assert not {m.split(".")[0] for m in modules} & {"librosa", "madmom", "scipy", "numba"}


def test_names():
    assert trackers.available() == ["beat_this", "beat_track", "file", "librosa", "madmom"]
    assert [cls.name for cls in trackers.by_rank()] == ["file", "beat_this", "librosa"]
    assert [cls.name for cls in trackers.by_rank(downbeats=True)] == ["file", "beat_this", "madmom", "librosa"]
    with pytest.raises(ValueError, match="did you mean 'librosa'"):
        trackers.get("libroza")


def test_options_are_part_of_the_version():
    cls = trackers.get("librosa")
    assert cls(max_bpm=180).version != cls().version


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("librosa", {"min_bpm": 0.9}, "min_bpm"),
        ("librosa", {"min_bpm": 100, "max_bpm": 120}, "max_bpm.*an octave"),
        ("madmom", {"network": "downbeats"}, "did you mean 'downbeat'"),
        ("madmom", {"beats_per_bar": ()}, "one metre or several"),
        ("beat_track", {"start_bpm": 1}, "start_bpm"),
    ],
)
def test_wrong_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        trackers.get(name)(**options)


def test_samples_are_checked():
    for samples, error, message in (
        (torch.zeros(1, 1, 8), ValueError, r"x\[i\]"),
        (torch.zeros(8, 2), ValueError, "samples.T"),
        (torch.zeros(1, 0), ValueError, "not empty"),
        (torch.zeros(1, 8, dtype=torch.int16), TypeError, "32768"),
        (np.zeros((1, 8)), TypeError, "torch.as_tensor"),
        (torch.full((1, 8), float("nan")), ValueError, "NaN"),
    ):
        with pytest.raises(error, match=message):
            mono(samples, 16000, 44100)
    with pytest.raises(ValueError, match="44100"):
        mono(torch.zeros(1, 8), 44.1, 44100)
