"""How likely tracked beats are right: one scale for all trackers, from the sound; what is less sure stays unmixed."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from rhythm import RATE, piece, steady
from sounds import DATA, ROOT, noise, seeded

from audiomix import BeatGrid, BeatMix
from audiomix.audio import io
from audiomix.beats import confidence, trackers
from audiomix.beats.align import Lattice, can_glide
from audiomix.beats.confidence import MIN_CONFIDENCE, estimate_confidence, hold_to_sound
from audiomix.beats.match import BeatIndex, Match, MatchFeatures, MatchRule, compatible, match_or_reason
from audiomix.beats.track import Tracking
from audiomix.commands.beats import beats as beats_command
from audiomix.datasets.item import Item
from audiomix.offline import run
from audiomix.offline.providers.known import read_known_grid

LOOPS = ROOT / "assets" / "loops"
SOUNDS = ROOT / "assets" / "sounds"


@pytest.fixture(scope="module")
def loop():
    """A bundled loop, twice, with its beats: samples (1, T), rate, grid."""
    clip, grid = io.read(LOOPS / "rock_120.flac"), BeatGrid.read(LOOPS / "rock_120.beats")
    times = [t + k * clip.seconds for k in range(2) for t in grid.times]
    return clip.samples.repeat(1, 2), clip.rate, BeatGrid(times)


def stretched(grid, ratio):
    """Beats of another tempo over the same time."""
    return BeatGrid(np.arange(grid.times[0], grid.times[-1], ratio * 60 / grid.bpm).tolist())


def test_right_beats_are_surer_than_wrong_ones_and_octaves_count_as_right(loop):
    samples, rate, grid = loop
    right = estimate_confidence(grid, samples, rate)
    assert right > 0.8
    halves = np.sort(np.r_[grid.array, grid.array[:-1] + np.diff(grid.array) / 2])
    for same in (BeatGrid(grid.times[::2]), BeatGrid(halves), BeatGrid(halves[1::2])):
        assert estimate_confidence(same, samples, rate) > MIN_CONFIDENCE
    for ratio in (3 / 4, 4 / 3, 0.9, 1.13):
        assert estimate_confidence(stretched(grid, ratio), samples, rate) < min(MIN_CONFIDENCE, right - 0.3), ratio
    quarter = BeatGrid((grid.array + 15 / grid.bpm).tolist())
    assert estimate_confidence(quarter, samples, rate) < MIN_CONFIDENCE


def test_it_does_not_depend_on_level_offset_polarity_channels_or_rate(loop):
    samples, rate, grid = loop
    plain = estimate_confidence(grid, samples, rate)
    ways = {
        "-60 dB": samples * 1e-3,
        "a constant added": samples + 0.3,
        "inverted": -samples,
        "channels that cancel": torch.cat([samples, -samples]),
        "one axis": samples[0],
        "another rate": io.resample(io.Clip(samples, rate), 44_100).samples,
    }
    for name, wave in ways.items():
        own = 44_100 if name == "another rate" else rate
        assert estimate_confidence(grid, wave, own) == pytest.approx(plain, abs=0.05), name


def test_no_beats_and_few_beats(loop):
    samples, rate, grid = loop
    assert estimate_confidence(BeatGrid(()), samples, rate) is None
    assert estimate_confidence(grid.between(0, 1.1), samples, rate) == 0
    assert estimate_confidence(grid, torch.zeros_like(samples), rate) < 0.1  # a given grid of a silent sound


def test_of_a_long_piece_excerpts_are_looked_at(loop, monkeypatch):
    samples, rate, _ = loop
    seen = []

    def measure(beats, bands, others):
        seen.append((beats, bands.shape[1] * confidence.STEP))
        return np.zeros(4)

    monkeypatch.setattr(confidence, "measure_evidence", measure)
    long = samples.repeat(1, int(200 * rate / samples.shape[1]))
    grid = BeatGrid(steady(120, 150.0, 20.0))
    estimate_confidence(grid, long, rate)
    assert [round(seconds) for _, seconds in seen] == [20, 20, 20]
    for beats, _ in seen:
        assert np.allclose(np.diff(beats), 0.5)
        assert 39 <= len(beats) <= 41
    estimate_confidence(BeatGrid(steady(120, 40.0)), long, rate)  # all of its beats lie in the first minute
    assert len(seen) == 4
    assert seen[-1][1] == pytest.approx(40.5, abs=0.1)  # two beats behind the last one


@pytest.mark.parametrize("name", ["librosa", "beat_track"])
def test_music_is_kept_and_what_has_no_beat_is_refused(name):
    tracking = Tracking(name, cache=False)
    for path in (LOOPS / "house_128.flac", LOOPS / "rock_120.flac"):
        clip = io.read(path)
        assert tracking.samples(clip.samples.repeat(1, 2), clip.rate).confidence >= MIN_CONFIDENCE, path
    for sound in ("rain", "sea_waves", "clock"):
        clip = io.read(SOUNDS / f"{sound}.flac")
        assert (tracking.samples(clip.samples, clip.rate).confidence or 0) < MIN_CONFIDENCE, sound
    assert tracking.samples(0.1 * noise(1, 8 * 16000), 16000).confidence < MIN_CONFIDENCE


@pytest.mark.slow
def test_rain_sea_crying_and_clocks_are_refused():
    """Nine in ten of each class; tests/bench/confidence.py counts all trackers."""
    meta = DATA / "esc10" / "meta" / "esc50.csv"
    if not meta.exists():
        pytest.skip(f"no {meta}")
    tracking, refused = Tracking("librosa", cache=False), {}
    for row in csv.DictReader(meta.open()):
        if row["category"] in ("rain", "sea_waves", "crying_baby", "clock_tick"):
            clip = io.read((meta.parent.parent / "audio" / row["filename"]).with_suffix(".ogg"))
            sure = tracking.samples(clip.samples, clip.rate).confidence or 0.0
            refused.setdefault(row["category"], []).append(sure < MIN_CONFIDENCE)
    assert {kind: len(found) for kind, found in refused.items()} == dict.fromkeys(refused, 40)
    assert all(np.mean(found) >= 0.9 for found in refused.values()), {k: np.mean(v) for k, v in refused.items()}


def test_every_tracker_is_on_one_scale_whatever_it_says_itself(loop, tmp_path):
    samples, rate, grid = loop
    own = tmp_path / "mine.py"
    own.write_text(
        "from audiomix.beats import BeatGrid\nfrom audiomix.beats.trackers import Tracker\n"
        "class Sure(Tracker):\n    def track(self, samples, rate):\n"
        f"        return BeatGrid({list(stretched(grid, 0.9).times)!r}, confidence=0.99)\n"
    )
    found = Tracking(f"{own}:Sure", cache=False).samples(samples, rate)
    assert found.confidence == estimate_confidence(stretched(grid, 0.9), samples, rate) < MIN_CONFIDENCE
    io.write(tmp_path / "x.flac", io.Clip(samples, rate))
    assert Tracking(f"{own}:Sure", cache=False).file(tmp_path / "x.flac").confidence == pytest.approx(
        found.confidence, abs=0.02
    )
    for name in ("librosa", "beat_track"):
        assert trackers.get(name)().track(samples, rate).confidence is None


def test_what_a_person_gives_is_sure(tmp_path):
    assert BeatGrid([0.0, 0.5]).confidence == 1.0
    assert BeatGrid.of([0.0, 0.5]).confidence == 1.0
    path = BeatGrid([0.0, 0.5], confidence=0.2).write(tmp_path / "x.beats")
    assert BeatGrid.read(path).confidence == 1.0
    io.write(tmp_path / "x.flac", io.Clip(0.1 * noise(1, 16000), 16000))
    assert Tracking("file").file(tmp_path / "x.flac").confidence == 1.0
    item = Item("x", str(tmp_path / "x.flac"))
    for known in ({"beats": "[0.0, 0.5]"}, {"beats": str(path)}, {"bpm": "120"}):
        assert read_known_grid(replace(item, **known)).confidence == 1.0


def test_less_sure_beats_fit_nothing_and_the_reason_says_so():
    rule = MatchRule(min_confidence=0.7)
    sure, unsure, unknown = (BeatGrid(steady(120, 8.0), confidence=c) for c in (0.7, 0.69, None))
    assert not isinstance(match_or_reason(sure, sure, rule), str)
    assert not isinstance(match_or_reason(unknown, sure, rule), str)
    for pair, side in (((unsure, sure), "original"), ((sure, unsure), "partner")):
        reason = f"the beats of the {side} are not sure: a confidence of 0.69, at least 0.7 is asked for"
        assert match_or_reason(*pair, rule) == reason
        assert not isinstance(match_or_reason(*pair, MatchRule(min_confidence=0)), str)
    features = MatchFeatures.of([sure, unsure, unknown], 0.7)
    assert compatible(features, features, rule).tolist() == [[True, False, True], [False] * 3, [True, False, True]]
    assert [BeatIndex(features, rule).candidates(i).tolist() for i in range(3)] == [[2], [], [0]]
    for wrong in (-0.1, 1.5):
        with pytest.raises(ValueError, match="min_confidence"):
            BeatMix(rate=RATE, min_confidence=wrong)


def test_a_clip_whose_beats_are_not_sure_is_left_unmixed():
    pieces = [piece(bpm, hz=hz) for bpm, hz in ((120, 3000.0), (124, 2000.0), (118, 1500.0))]
    x = torch.stack([p[0] for p in pieces])
    grids = [replace(p[1], confidence=c) for p, c in zip(pieces, (0.9, MIN_CONFIDENCE - 0.01, 0.9))]
    out = BeatMix(rate=RATE)(x, beats=grids, generator=seeded(0))
    plan = out.plans[0]
    assert plan.aligned.tolist() == [True, False, True]
    assert torch.equal(out.x[1], x[1])
    assert "the beats of the original are not sure" in plan.why[1]
    assert plan.partner.tolist() == [2, 1, 0]
    assert plan.describe(0)["confidence"] == [0.9, 0.9]
    plain = BeatMix(rate=RATE, policy="plain", level="recorded")(x, beats=grids, generator=seeded(0)).plans[0]
    assert "not sure" in plain.why[1]
    assert BeatMix(rate=RATE, min_confidence=0)(x, beats=grids, generator=seeded(0)).plans[0].aligned.all()
    lists = [list(p[1].times) for p in pieces]
    assert BeatMix(rate=RATE, min_confidence=1)(x, beats=lists, generator=seeded(0)).plans[0].aligned.all()


def test_spans_without_beats_are_not_mixed():
    """Music, 6 s of quiet, music: nothing of the partner sounds in the quiet."""
    times = [t for t in steady(120, 24.0) if t < 9 or t > 15]
    a, b = (piece(120, 24.0, hz=hz, times=times) for hz in (3000.0, 2000.0))
    whole = piece(120, 24.0, hz=2000.0)
    for partner in (b, whole):
        mixer = BeatMix(rate=RATE, level="recorded")
        for seed in range(6):
            x, grids = a[0][None], {"beats": [a[1]], "other_beats": [partner[1]]}
            plan = mixer(x, other=partner[0][None], **grids, generator=seeded(seed)).plans[0]
            silent = torch.zeros_like(x)
            stem = mixer(silent, other=partner[0][None], **grids, plan=plan).x[0, 0]
            quiet = stem[round(9.3 * RATE) : round(14.7 * RATE)]
            assert plan.aligned.all()
            assert float(quiet.abs().max()) == 0.0, seed


def test_nothing_goes_on_across_a_pause_that_both_have():
    grid = BeatGrid([t for t in steady(120, 24.0) if t < 9 or t > 15])
    last = sum(t < 9 for t in grid.times) - 1  # before the pause
    lattice = Lattice(grid, grid, Match(1.0, 1.0, "beat"))
    begin, stop = lattice.runs(0, 0.08)
    assert set(stop[: last + 1]) == {last}
    assert set(begin[last + 1 :]) == {last + 1}
    assert set(stop[last + 1 :]) == {len(grid) - 1}
    fits = can_glide(lattice, 0, np.arange(len(grid)), 4, 0.08)
    across, behind = range(last - 3, last + 1), range(len(grid) - 4, len(grid))
    assert np.flatnonzero(~fits).tolist() == [*across, *behind]


def test_the_command_does_not_save_what_is_not_sure(tmp_path, capsys):
    io.write(tmp_path / "rain.wav", io.Clip(0.1 * noise(1, 6 * 16000), 16000))
    clip = io.read(LOOPS / "rock_120.flac")
    io.write(tmp_path / "rock.wav", io.Clip(clip.samples.repeat(1, 2), clip.rate))
    assert beats_command(tmp_path, save=True, tracker="librosa", cache=False, quiet=True, json=True) == 0
    told = capsys.readouterr()
    found = {line["file"]: line for line in map(json.loads, told.out.splitlines())}
    assert found[str(tmp_path / "rain.wav")]["confidence"] < MIN_CONFIDENCE
    assert f"not sure: {tmp_path / 'rain.wav'}: a confidence of" in told.err
    assert sorted(path.name for path in tmp_path.glob("*.beats")) == ["rock.beats"]
    beats_command(tmp_path, save=True, tracker="librosa", cache=False, quiet=True, force=True, min_confidence=0)
    assert "not sure" not in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.glob("*.beats")) == ["rain.beats", "rock.beats"]


def test_augment_leaves_them_unmixed_and_the_manifest_has_the_confidence(tmp_path):
    source = tmp_path / "in"
    for label in ("rock_120", "house_128", "rain"):
        (source / label).mkdir(parents=True)
        if label == "rain":
            io.write(source / label / "x.wav", io.Clip(0.1 * noise(1, 6 * 24000), 24000))
        else:
            clip = io.read(LOOPS / f"{label}.flac")
            io.write(source / label / "x.wav", io.Clip(clip.samples.repeat(1, 2), clip.rate))
    mixer = BeatMix(rate=24000, tracker="librosa", level="recorded", stretch="varispeed")
    run.augment(source, tmp_path / "out", mixer, progress=False)
    rows = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    by_label = {row["sources"][0]["label"]: row for row in rows}
    assert by_label["rock_120"]["aligned"]
    assert by_label["house_128"]["aligned"]
    assert all(MIN_CONFIDENCE <= c <= 1 for c in by_label["rock_120"]["confidence"])
    assert not by_label["rain"]["aligned"]
    assert "not sure" in by_label["rain"]["why"]
    assert by_label["rain"]["confidence"][0] < MIN_CONFIDENCE


def test_hold_to_sound_drops_silence_first(loop):
    samples, rate, _ = loop
    quiet = torch.zeros(1, 8 * rate)
    found = hold_to_sound(BeatGrid(steady(120, 15.9)), torch.cat([samples, quiet], 1), rate)
    assert found.times[-1] <= samples.shape[1] / rate  # a beat on the edge belongs to the music
    assert found.confidence > MIN_CONFIDENCE
