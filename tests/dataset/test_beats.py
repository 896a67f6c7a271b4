"""Whole data sets mixed on the beat: files in, files out, judged from the files."""

import json

import numpy as np
import pytest
import torch
from rhythm import bursts, misses, quiet, steady
from sounds import noise

from audiomix import BeatGrid, BeatMix, io, level
from audiomix.cli import main
from audiomix.dataset.augment import augment
from audiomix.io import Clip

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
    return augment(music, out, mixer, progress=False, **options)


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
    assert any("not aligned" in note for note in report.notes)
    assert any("beats by file" in note for note in report.notes)


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


def test_other_beats_are_another_run(music, tmp_path):
    run(music, tmp_path / "out")
    grid = BeatGrid.read(music / "a120.beats")
    BeatGrid([t + 0.01 for t in grid.times], grid.positions).write(music / "a120.beats")
    with pytest.raises(ValueError, match="another run"):
        run(music, tmp_path / "out")


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
