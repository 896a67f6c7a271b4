"""Whole data sets mixed on the beat: files in, files out, judged from the files."""

import json
import pickle
import time
import tracemalloc
from collections import Counter
from functools import cache

import numpy as np
import pytest
import torch
from made import audited, rows_of, stems_and_mix, tree
from rhythm import bursts, misses, quiet, steady
from scipy.stats import chisquare
from sounds import noise

from audiomix import BeatGrid, BeatMix, CutMix, MixUp, OneOf, Plan, SNRMix
from audiomix.audio import io, level
from audiomix.audio.io import Clip
from audiomix.beats.match import BeatQuery, MatchRule
from audiomix.cli import main
from audiomix.datasets.item import Item
from audiomix.offline.providers.beats import BeatPartners, Grids, find_beats
from audiomix.offline.run import augment

RATE = 16000
# name: tempo, the pitch of its bursts, seconds, rate, channels
MUSIC = {
    "a120": (120, 1000, 8.0, 16000, 1),
    "b124": (124, 3000, 9.0, 16000, 1),
    "c62": (62, 2000, 9.0, 16000, 1),
    "d117": (117, 3000, 8.0, 32000, 2),
    "e90": (90, 1500, 8.0, 16000, 1),
}


@pytest.fixture
def music(tmp_path):
    """Five pieces with annotations, a sound without beats, one that is too short, and one that is broken."""
    root = tmp_path / "music"
    root.mkdir()
    for name, (bpm, hz, seconds, rate, channels) in MUSIC.items():
        times = steady(bpm, seconds, start=0.1)
        sound = bursts(times, seconds, rate, hz) + quiet(seconds, rate, 0.002)
        io.write(root / f"{name}.flac", Clip(sound[None].repeat(channels, 1), rate))
        BeatGrid(times, [i % 4 + 1 for i in range(len(times))]).write(root / f"{name}.beats")
    io.write(root / "hum.flac", Clip(noise(1, 4 * RATE) * 0.1, RATE))
    (root / "hum.beats").write_text("")
    io.write(root / "short.flac", Clip(noise(1, RATE // 5) * 0.1, RATE))
    (root / "short.beats").write_text("0.1\t1\n")
    (root / "broken.flac").write_bytes(b"fLaC" + bytes(200))
    rows = [{"file_name": f.name, "label": f.stem, "caption": f"A {f.stem} loop."} for f in sorted(root.glob("*.flac"))]
    (root / "metadata.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return root


def rows(out):
    return {row["file_name"]: row for row in map(json.loads, (out / "metadata.jsonl").read_text().splitlines())}


def run(music, out, mixer=None, **options):
    mixer = BeatMix(rate=RATE, tracker="file", min_bars=1) if mixer is None else mixer
    return augment(music, out, mixer, progress=False, oversubscribe=True, **options)


def test_mixes_keep_time_and_say_so(music, tmp_path):
    report = run(music, tmp_path / "out", copies=2, stems=True)
    assert report.exit_code == 1  # one file is broken
    assert [e["file"] for e in report.errors] == ["broken.flac"]
    found = rows(tmp_path / "out")
    assert len(found) == 14
    aligned = [row for row in found.values() if row["aligned"]]
    assert {row["sources"][0]["label"] for row in aligned} == {"a120", "b124", "c62", "d117"}
    for row in aligned:
        stems = [io.read(tmp_path / "out" / name) for name in row["stems"]]
        mix = io.read(tmp_path / "out" / row["file_name"])
        whole = [(clip.samples * 32768).round().int() for clip in (*stems, mix)]
        assert torch.equal(whole[0] + whole[1], whole[2])
        start, stop = np.array(json.loads(row["plan"])["overlap"]["float64"][0]) * row["seconds"]
        times = [t for t in row["beats"] if start + 0.07 < t < stop - 0.07]
        hz = MUSIC[row["sources"][1]["label"]][1]
        missed = misses(stems[1].samples[0], times, mix.rate, hz=hz)
        if row["sources"][1]["label"] == "c62":  # one beat on every second
            missed = min(missed[::2], missed[1::2], key=lambda m: np.abs(m).max())
        assert len(missed) >= 2
        assert np.abs(missed).max() < 0.005
        assert row["bpm"] == pytest.approx(MUSIC[row["sources"][0]["label"]][0], rel=1e-3)
        assert (row["metre"], row["aligned_on"]) == (4, "downbeat")
        assert row["trackers"] == ["file", "file"]
    for row in found.values():
        if not row["aligned"]:
            assert row["why"]
            assert len(row["sources"]) == 1  # skipped: the original alone
    assert any("not what was asked for" in note for note in report.notes)
    assert any("beats by file" in note for note in report.notes)


def test_beats_for_some_and_other_mixes_for_the_rest(music, tmp_path):
    """Partners come whole, as beats need them; a cut takes its piece from where the original has it."""
    mixer = OneOf([BeatMix(rate=RATE, tracker="file", min_bars=1), MixUp(), CutMix(), SNRMix()], per="clip")
    out = run(music, tmp_path / "out", mixer, copies=4, stems=True).path
    chosen = Counter()
    for row in rows_of(out):
        stems, whole = stems_and_mix(row)
        assert sum(stems).tolist() == whole.tolist()
        name = type(Plan.from_json(row["plan"]).plan_of(0)).__name__
        chosen[name] += 1
        assert ("aligned" in row) == (name == "BeatPlan")
    assert set(chosen) == {"BeatPlan", "GainPlan", "SpanPlan", "SNRPlan"}
    report = audited(out, music)
    assert not report.wrong
    assert len(report.numbers("label")) > 5


@pytest.mark.slow
def test_bytes_do_not_depend_on_workers_or_on_a_kill(music, tmp_path):
    mixer = BeatMix(rate=RATE, tracker="file", min_bars=1)
    run(music, tmp_path / "one", mixer, copies=3)
    run(music, tmp_path / "two", mixer, copies=3, workers=2)
    files = sorted(p.name for p in (tmp_path / "one").glob("*.flac"))
    assert files
    for name in [*files, "metadata.jsonl"]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    again = run(music, tmp_path / "one", mixer, copies=3)  # finished: nothing is done twice
    assert again.files == len(files)


def test_other_beats_are_taken_and_a_changed_piece_is_named_when_it_is_asked_for(music, tmp_path):
    out = tmp_path / "out"
    run(music, out)
    before = tree(out)
    BeatGrid(steady(124, 8.0, start=0.2)).write(music / "b124.beats")
    with pytest.raises(ValueError, match=r"another run .*beats\.grids .*--refresh"):
        run(music, out)
    assert tree(out) == before
    run(music, out, refresh=True)
    assert tree(out) == tree(run(music, tmp_path / "new").path) != before
    io.write(music / "b124.flac", io.read(music / "a120.flac"))
    with pytest.raises(ValueError, match=r"got 'b124\.flac', changed since"):
        run(music, out)


def test_partners_stay_within_their_split_whatever_their_tempo(music, tmp_path):
    table = [json.loads(line) for line in (music / "metadata.jsonl").read_text().splitlines()]
    for row in table:
        row["split"] = "train" if row["label"] in ("a120", "e90", "hum") else "test"
    (music / "metadata.jsonl").write_text("".join(json.dumps(r) + "\n" for r in table))
    run(music, tmp_path / "out", copies=4)
    for split in ("train", "test"):
        for row in rows(tmp_path / "out" / split).values():
            splits = {next(t["split"] for t in table if t["label"] == s["label"]) for s in row["sources"]}
            assert splits == {split}
            if split == "train":
                assert not row["aligned"]  # a120 meets nobody near it there


def test_captions_are_the_originals_or_joined(music, tmp_path):
    run(music, tmp_path / "own", BeatMix(rate=RATE, tracker="file", min_bars=1))
    assert rows(tmp_path / "own")["a120-0.flac"]["caption"] == "A a120 loop."
    run(music, tmp_path / "both", BeatMix(rate=RATE, tracker="file", min_bars=1, caption="joined"))
    row = next(r for r in rows(tmp_path / "both").values() if r["aligned"])
    first, second = (s["label"] for s in row["sources"])
    assert row["caption"] == f"A {first} loop and a {second} loop."


@pytest.mark.parametrize(
    "options", [{"keep": "overlap"}, {"keep": "anchor"}, {"mode": "crossfade", "bars": 1, "whole": True}]
)
def test_lengths_are_those_of_what_is_kept(options, music, tmp_path):
    mixer = BeatMix(rate=RATE, tracker="file", min_bars=1, stretch="varispeed", **options)
    run(music, tmp_path / "out", mixer, stems=True)
    aligned = [row for row in rows(tmp_path / "out").values() if row["aligned"]]
    assert aligned
    for row in aligned:
        plan = json.loads(row["plan"])
        kept, seconds = plan["kept"]["float64"][0], plan["seconds"]["float64"][0][0]
        mix = io.read(tmp_path / "out" / row["file_name"])
        assert mix.seconds == pytest.approx((kept[1] - kept[0]) * seconds, abs=1e-3)
        assert level.lufs(mix.samples[:, -mix.rate // 2 :], mix.rate) > -70  # no silence behind
        assert all(0 <= t <= mix.seconds for t in row["beats"])


def test_the_commands_run_from_files_alone(music, tmp_path, capsys):
    pair = [str(music / "a120.flac"), str(music / "b124.flac")]
    words = ["mix", *pair, "-o", str(tmp_path / "m.wav"), "--mixer", "beat", "--tracker", "librosa", "--min-bars", "1"]
    words += ["--min-confidence", "0"]  # bursts of 3 kHz are no music
    assert main(words) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["aligned"]
    assert shown["trackers"] == ["librosa", "librosa"]
    assert shown["aligned_on"] == "beat"
    stem = io.read(tmp_path / "m.wav").samples[0]
    start, stop = np.array(shown["plan"]["overlap"]["float64"][0]) * shown["seconds"]
    times = [t for t in steady(120, 8.0, start=0.1) if start + 0.1 < t < stop - 0.1]
    assert np.median(np.abs(misses(stem, times, RATE, hz=3000))) < 0.03  # tracked beats
    assert main(["augment", str(music), str(tmp_path / "o"), "--mixer", "beat", "--tracker", "file", "--quiet"]) == 1
    assert "not done: broken.flac" in capsys.readouterr().err
    assert main(["augment", str(music), str(tmp_path / "p"), "--mixer", "beat", "--tracker", "fil"]) == 2
    assert "did you mean 'file'" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


def test_a_dry_run_tracks_and_says_what_would_be(music, tmp_path, capsys):
    report = run(music, tmp_path / "out", dry_run=True)
    assert "beats by file" in report.text
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_broken_annotations_are_errors_and_missing_ones_are_not(music, tmp_path):
    (music / "d117.beats").write_bytes(b"\xff\xfe\x00\x81")
    (music / "e90.beats").write_text("0.5\t1\n0.4\t2\n")
    (music / "hum.beats").unlink()
    (music / "broken.beats").write_text("half past\n")  # the sound is broken too: it is listed when it is mixed
    items = [Item(str(music), f.name) for f in sorted(music.glob("*.flac"))]
    for workers in (1, 2):
        found = find_beats(items, BeatQuery("file"), workers=workers, progress=False)
        assert set(found.reasons) == {"broken.flac", "d117.flac", "e90.flac", "hum.flac"}
        assert set(found.grids) == {"a120.flac", "b124.flac", "c62.flac", "short.flac"}
        errors = found.errors()
        assert [(e["file"], e["copies"]) for e in errors] == [("d117.flac", []), ("e90.flac", [])]
        assert "d117.beats is not text in UTF-8" in errors[0]["reason"]
        assert "e90.beats, line 2 must be not before 0.5 s" in errors[1]["reason"]
        json.dumps(errors)
    auto = find_beats(items[:1], BeatQuery("file"), progress=False)
    assert auto.errors() == []


def test_a_tracker_that_fails_is_an_error(music, monkeypatch):
    from audiomix.beats import trackers

    def fail(self, samples, rate):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(trackers.get("beat_track"), "track", fail)
    items = [Item(str(music), name) for name in ("a120.flac", "broken.flac")]
    found = find_beats(items, BeatQuery("beat_track"), progress=False)
    assert [(e["file"], e["reason"]) for e in found.errors()] == [("a120.flac", "no beats: RuntimeError: out of luck")]


def test_grids_come_back_and_are_held_compactly():
    grids = {str(k): BeatGrid(np.arange(500) * 0.5 + k, [i % 4 + 1 for i in range(500)], step=0.01) for k in range(50)}
    tracemalloc.start()
    held = Grids()
    for name, grid in grids.items():
        held.add(name, grid)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used < 50 * 6000  # 20 kB each as tuples of numbers
    assert dict(held) == grids
    assert held == Grids(grids)
    assert ("0" in held, "50" in held, held.get("50"), len(held)) == (True, False, None, 50)
    assert pickle.loads(pickle.dumps(held["7"])) == grids["7"]


@cache
def large():
    """20,000 pieces of 60 to 180 bpm; grids of two beats are enough to have a tempo."""
    rng = np.random.default_rng(0)
    grids = {f"{i:06d}": BeatGrid([0.0, 60 / bpm]) for i, bpm in enumerate(rng.uniform(60, 180, 20_000))}
    return grids, rng.integers(400, size=20_000), rng.random(20_000)


@pytest.mark.parametrize("kind", ["any", "same_class", "different_class"])
@pytest.mark.parametrize("uneven", [False, True])
def test_partners_are_drawn_without_going_through_the_corpus(kind, uneven):
    """Bounds five times and more above what it takes: 0.05 ms; where 99 % are of one class, 0.6 ms at this size."""
    grids, classes, share = large()
    names = ["rare" if u < 0.01 else "usual" for u in share] if uneven else [f"c{c}" for c in classes]
    partners = BeatPartners([Item("", i, name) for i, name in zip(grids, names)], kind, (), grids, MatchRule())
    began = time.process_time()
    for i in range(0, 20_000, 200):
        partners.partners(i, copy=0, seed=0)
    assert time.process_time() - began < (1.0 if uneven else 0.1)


@pytest.mark.parametrize("kind", ["any", "same_class", "different_class"])
@pytest.mark.parametrize("size", [30, 300])
def test_each_partner_that_fits_is_equally_likely_whatever_its_classes(kind, size):
    """Several classes each: an item stands in several lists then."""
    rng = np.random.default_rng(2)
    labels = [{f"c{c}": 0.5 for c in rng.choice(6, int(rng.integers(1, 4)), replace=False)} for _ in range(size)]
    items = [Item("", f"{i:03d}", label) for i, label in enumerate(labels)]
    bpm = rng.choice([120.0, 124.0, 100.0, 62.0], size)
    grids = {item.id: BeatGrid([0.0, 60 / b]) for item, b in zip(items, bpm)}
    partners = BeatPartners(items, kind, (), grids, MatchRule())
    i = int(np.flatnonzero(bpm == 120)[0])
    fits = {"any": lambda n: True, "same_class": lambda n: n > 0, "different_class": lambda n: n == 0}[kind]
    common = [len(set(labels[i]) & set(label)) for label in labels]
    want = {j for j in range(size) if j != i and bpm[j] != 100 and fits(common[j])}
    assert want
    for count in (1, 8):
        found = Counter(partners.partners(i, copy=k, seed=0, count=count)[0] for k in range(40 * len(want)))
        assert set(found) == want
        assert chisquare([found[j] for j in want]).pvalue > 1e-4
    assert len(set(partners.partners(i, copy=0, seed=0, count=size))) == len(want)


def test_one_partner_is_enough_where_none_fits():
    """It cannot be aligned: others would be decoded for nothing. One that is known to be readable is taken first."""
    items = [Item("", f"{i:03d}") for i in range(40)]
    grids = {item.id: BeatGrid([0.0, 60 / 120]) for item in items[::8]} | {"001": BeatGrid([0.0, 60 / 85])}
    partners = BeatPartners(items, "any", (), grids, MatchRule())
    for i in (1, 2, 3):
        found = {tuple(partners.partners(i, copy=copy, seed=0)) for copy in range(30)}
        assert {len(one) for one in found} == {1}
        assert sum(items[one[0]].id in grids for one in found) >= len(found) / 3
    assert len(partners.partners(8, copy=0, seed=0)) == 4


def test_a_broken_annotation_is_listed_and_stops_nothing(music, tmp_path):
    (music / "e90.beats").write_bytes(b"\xff\xfe\x00beats")
    report = run(music, tmp_path / "out")
    reasons = {e["file"]: e["reason"] for e in report.errors}
    assert "e90.beats" in reasons["e90.flac"]
    assert report.exit_code == 1
    assert "e90-0.flac" in rows(tmp_path / "out")  # left unmixed: its sound can be read
