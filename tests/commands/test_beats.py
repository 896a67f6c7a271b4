"""``audiomix beats``: what is printed and written, what is refused, and files that are no sound among many."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
from made import write
from sounds import ROOT

from audiomix import cli
from audiomix.audio import io
from audiomix.beats import BeatGrid, trackers
from audiomix.commands import beats as beats_command

LOOPS = ROOT / "assets" / "loops"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIOMIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "250")
    return tmp_path / "cache"


@pytest.fixture
def loops(tmp_path):
    """The bundled loops in two folders, with their annotations."""
    root = tmp_path / "loops"
    for path in LOOPS.glob("*_*.*"):
        target = root / ("fast" if "150" in path.name else "") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return root


@pytest.fixture
def bare(loops):
    """The same without annotations."""
    for path in loops.rglob("*.beats"):
        path.unlink()
    return loops


@pytest.fixture
def odd(tmp_path):
    """Silence, a 0.2 s clip, two broken files and a loop."""
    root = tmp_path / "odd"
    write(root / "short.wav", seconds=0.2)
    soundfile.write(root / "silence.wav", np.zeros(32000), 16000)
    (root / "broken.flac").write_bytes(b"fLaC and no more")
    (root / "empty.wav").touch()
    shutil.copy(LOOPS / "rock_120.flac", root)
    return root


class Fake:
    """Finds the same beats everywhere, in the name of another tracker."""

    def __init__(self, tracker="madmom", **options):
        self.grid = BeatGrid([0.1, 0.6], tracker=tracker, **options)

    def file(self, path):
        return self.grid


def beats(*words):
    return cli.main(["beats", *map(str, words)])


def rows(text):
    """The table's cells, by file."""
    cells = ([c.strip() for c in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│"))
    return {first.rpartition("/")[2]: rest for first, *rest in cells}


def records(text):
    return {r["file"].rpartition("/")[2]: r for r in map(json.loads, text.splitlines())}


def everything(folder):
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def test_the_table_shows_annotated_loops(loops, capsys):
    assert beats(loops) == 0
    said = capsys.readouterr()
    assert rows(said.out) == {
        "breakbeat_150.flac": ["150.0", "16", "4", "-", "1.00", "file"],
        "hiphop_90.flac": ["90.0", "8", "4", "-", "1.00", "file"],
        "house_128.flac": ["128.0", "16", "4", "-", "1.00", "file"],
        "rock_120.flac": ["120.0", "8", "4", "-", "1.00", "file"],
    }
    assert said.err.count("tracker: file (4 files)") == 1
    assert "4 of 4 files" in said.err


def test_what_was_put_right_in_an_annotation_is_told(loops, capsys):
    path = next(loops.glob("rock_120.beats"))
    path.write_text("-0.01 4\n" + path.read_text().replace("1.000000", "0.980000 3\n1.000000", 1))
    assert cli.main(["beats", str(loops / "rock_120.flac"), "--quiet"]) == 0
    told = capsys.readouterr().err
    assert f"note: {loops / 'rock_120.flac'}: line 1: dropped, 0.01 s before the start" in told
    assert "line 5: merged with the beat 0.02 s before it" in told


def test_json_holds_the_grids(loops, capsys):
    assert beats(loops, "--json", "--quiet", "--workers", 2) == 0
    said = capsys.readouterr()
    found = records(said.out)
    assert list(found) == [p.name for p in sorted(loops.rglob("*.flac"), key=lambda p: ("fast" in str(p), p.name))]
    for path in loops.rglob("*.flac"):
        record = found[path.name]
        assert record.pop("file") == str(path)
        assert record.pop("seconds") == pytest.approx(io.info(path).seconds)
        assert record.pop("bpm") == pytest.approx(int(path.stem.split("_")[1]), abs=0.01)
        assert record.pop("beats") == len(record["times"])
        assert BeatGrid.from_dict(record) == BeatGrid.read(path.with_suffix(".beats"))
    assert said.err == "tracker: file (4 files)\n"


def test_without_downbeats_the_bar_phase_is_unknown(bare, capsys):
    assert beats(bare / "house_128.flac", "--tracker", "librosa", "--quiet") == 0
    said = capsys.readouterr()
    (row,) = rows(said.out).values()
    assert float(row[0]) == pytest.approx(128, abs=1)
    assert row[2] == "bar phase unknown"
    assert 0 < float(row[4]) <= 1
    assert row[5] == "librosa"
    assert said.err == "tracker: librosa (1 file)\n"


@pytest.mark.parametrize("place", [".", "..", "absolute"])
def test_what_a_manifest_tells_stands_before_any_tracker(place, bare, monkeypatch, capsys):
    """Tempo, key and beats; the key line of an annotation; wherever the command is run."""
    for name in "abcde":
        (bare / f"{name}.flac").symlink_to(bare / "house_128.flac")
    (bare / "told.txt").write_text("0.0 1\n0.5 2\n1.0 1\n")
    (bare / "d.beats").write_text("# key: F# minor\n0.0 1\n0.5 2\n1.0 3\n1.5 1\n")
    rows_told = ["a.flac,100,,", 'b.flac,,A minor,"[0.1, 0.6, 1.1]"', "c.flac,,,told.txt", "d.flac,,,", "e.flac,90,Bb,"]
    (bare / "m.csv").write_text("\n".join(["path,bpm,key,beats", *rows_told]) + "\n")
    monkeypatch.chdir(bare.parent if place == ".." else bare)
    manifest = {".": "m.csv", "..": f"{bare.name}/m.csv", "absolute": bare / "m.csv"}[place]
    assert beats(manifest, "--quiet", "--keys" if place == "." else "--strict") == 0
    found = rows(capsys.readouterr().out)
    told = {name: (row[0], row[2], row[5]) for name, row in found.items()}
    unknown = "bar phase unknown"
    assert told == {
        "a.flac": ("100.0", unknown, "bpm"),
        "b.flac": ("120.0", unknown, "given"),
        "c.flac": ("120.0", "2", "file"),
        "d.flac": ("120.0", "3", "file"),
        "e.flac": ("90.0", unknown, "bpm"),
    }
    assert (found["b.flac"][3], found["d.flac"][3], found["e.flac"][3]) == ("A minor", "F# minor", "Bb major")


def test_downbeats_are_asked_of_a_tracker_that_finds_them(bare, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(beats_command, "_make_tracking", lambda *given: (asked.append(given), Fake())[1])
    assert beats(bare, "--quiet") == beats(bare, "--quiet", "--downbeats") == 0
    assert asked == [("auto", True, False), ("auto", True, True)]


def test_both_trackers_of_auto_are_counted(bare, monkeypatch, capsys):
    monkeypatch.setattr(trackers.get("madmom"), "missing", classmethod(lambda cls: "not here"))
    shutil.copy(LOOPS / "rock_120.beats", bare)
    assert beats(bare / "rock_120.flac", bare / "house_128.flac", "--quiet") == 0
    said = capsys.readouterr()
    assert "tracker: file (1 file), librosa (1 file)\n" in said.err
    assert "non-commercial" not in said.err


def test_madmoms_licence_is_said_once(bare, monkeypatch, capsys):
    monkeypatch.setattr(beats_command, "_make_tracking", lambda *asked: Fake())
    assert beats(bare) == 0
    said = capsys.readouterr().err
    assert "tracker: madmom (4 files)" in said
    assert said.count("non-commercial use only (CC BY-NC-SA 4.0)") == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_broken_files_are_listed_and_stop_nothing(odd, workers, tmp_path, capsys):
    words = ["--tracker", "librosa", "--workers", workers, "--save", "--click", tmp_path / "clicks"]
    assert beats(odd, *words) == 1
    said = capsys.readouterr()
    found = rows(said.out)
    assert list(found) == ["rock_120.flac", "short.wav", "silence.wav"]
    assert found["silence.wav"][:3] == ["-", "0", "-"]
    assert float(found["rock_120.flac"][0]) == pytest.approx(120, abs=1)
    assert f"not done: {odd / 'broken.flac'}: not readable as audio" in said.err
    assert f"not done: {odd / 'empty.wav'}: empty file (0 bytes)" in said.err
    assert said.err.count("not done") == 2
    assert sorted(p.stem for p in odd.glob("*.beats")) == ["rock_120", "silence"]  # too few beats are not sure
    assert sorted(p.name for p in (tmp_path / "clicks").iterdir()) == ["rock_120.flac", "short.flac", "silence.flac"]


def test_nothing_but_broken_files(odd, capsys):
    assert beats(odd / "broken.flac", odd / "empty.wav", "--tracker", "librosa", "--quiet") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("not done") == 2


def test_save_writes_beside_and_overwrites_only_when_forced(bare, capsys):
    assert beats(bare, "--tracker", "librosa", "--min-confidence", 0, "--save", "--json") == 0
    found = records(capsys.readouterr().out)
    written = sorted(bare.rglob("*.beats"))
    assert [p.with_suffix(".flac") for p in written] == sorted(bare.rglob("*.flac"))
    for path in written:
        record = {k: v for k, v in found[path.stem + ".flac"].items() if k not in ("file", "seconds", "bpm", "beats")}
        smooth = BeatGrid.from_dict(record).smooth()
        np.testing.assert_allclose(BeatGrid.read(path).array, smooth.array, atol=1e-6)
    before = everything(bare)
    assert beats(bare, "--tracker", "librosa", "--min-confidence", 0, "--save") == 2
    assert "and 3 more that exist: --force overwrites them" in capsys.readouterr().err
    assert everything(bare) == before
    written[0].write_text("9.0\n")
    assert beats(bare, "--tracker", "librosa", "--min-confidence", 0, "--save", "--force") == 0
    assert {p: data for p, (_, data) in everything(bare).items()} == {p: data for p, (_, data) in before.items()}


def test_out_keeps_subfolders_and_leaves_the_sounds_alone(loops, tmp_path):
    before = everything(loops)
    assert beats(loops, "--save", "--out", tmp_path / "texts") == 0
    assert everything(loops) == before
    for path in loops.rglob("*.beats"):
        copy = tmp_path / "texts" / path.relative_to(loops)
        assert BeatGrid.read(copy) == BeatGrid.read(path)
    assert (tmp_path / "texts" / "fast" / "breakbeat_150.beats").exists()


def test_click_writes_sounds_with_clicks_on_the_beats(tmp_path):
    write(tmp_path / "in" / "sub" / "a.wav", seconds=2.0, channels=2, peak=0.01)
    grid = BeatGrid([0.25, 0.8123, 1.4], [4, 1, 2], 4)
    grid.write(tmp_path / "in" / "sub" / "a.beats")
    assert beats(tmp_path / "in", "--click", tmp_path / "in" / "clicks", "--quiet") == 0
    heard = io.read(tmp_path / "in" / "clicks" / "sub" / "a.flac")
    loud = torch.nonzero(heard.samples[1].abs() > 0.4)[:, 0]
    starts = [int(n) for n, before in zip(loud, [-10000, *loud]) if n - before > 1000]
    assert starts == [round(t * 16000) for t in grid.times]
    assert heard.samples.shape == (2, 32000)
    # what was written is no sound of the next run
    assert beats(tmp_path / "in", "--click", tmp_path / "in" / "clicks", "--quiet", "--force") == 0
    assert [p.name for p in (tmp_path / "in" / "clicks").rglob("*.flac")] == ["a.flac"]


def test_keys_are_shown(tmp_path, capsys):
    t = np.arange(22050) / 22050
    chords = [(0, 3, 7), (5, 8, 12), (7, 11, 14), (0, 3, 7)]
    wave = np.concatenate([sum(np.sin(2 * np.pi * 220 * 2 ** (n / 12) * t) for n in chord) for chord in chords])
    soundfile.write(tmp_path / "a.flac", 0.2 * wave, 22050)
    BeatGrid([0.0, 1.0, 2.0, 3.0]).write(tmp_path / "a.beats")
    assert beats(tmp_path, "--keys", "--quiet") == 0
    assert rows(capsys.readouterr().out)["a.flac"] == ["60.0", "4", "bar phase unknown", "A minor", "1.00", "file"]


def test_the_cache_is_used_unless_refused(bare, cache, capsys):
    words = (bare / "rock_120.flac", "--tracker", "librosa", "--quiet", "--json")
    assert beats(*words, "--no-cache") == 0
    assert not cache.exists()
    assert beats(*words) == 0
    assert len(list(cache.rglob("*.json"))) == 1
    assert beats(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [lines[0]] * 3


def test_files_named_twice_count_once(loops, capsys):
    assert beats(loops / "rock_120.flac", loops, f"{loops}/fast/../rock_120.flac", "--json", "--quiet") == 0
    files = [json.loads(line)["file"] for line in capsys.readouterr().out.splitlines()]
    assert len(files) == 4
    assert files[0] == str(loops / "rock_120.flac")


def test_a_folder_that_cannot_be_written_is_listed(loops, tmp_path, monkeypatch, capsys):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "fast").write_text("a file in the way")
    assert beats(loops, "--save", "--out", tmp_path / "texts", "--quiet") == 1
    said = capsys.readouterr()
    assert len(rows(said.out)) == 3
    assert f"not done: {loops / 'fast' / 'breakbeat_150.flac'}" in said.err


@pytest.mark.parametrize("cached", [True, False])
def test_ctrl_c_is_no_traceback(loops, monkeypatch, capsys, cached):
    def stopped(*args, **options):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(beats_command, "track_files", stopped)
    assert beats(loops, *([] if cached else ["--no-cache"])) == 130
    assert ("from its cache" in capsys.readouterr().err) == cached


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "PATH must be files or folders with audio, got none"),
        (["nowhere"], "there is no such path"),
        (["LOOPS", "hollow"], "no audio files were found"),
        (["LOOPS", "--tracker", "librosaa"], "did you mean 'librosa'"),
        (["LOOPS", "--tracker", "madmom"], "cannot be used: not here"),
        (["LOOPS", "--workers", "0"], "workers must be an integer of at least 1"),
        (["LOOPS", "--workers", "two"], "two"),
        (["LOOPS", "--clicks", "x"], "Did you mean --click"),
        (["LOOPS", "--out", "x"], "out must be given together with --save"),
        (["LOOPS", "--save"], "--force overwrites them"),
        (["LOOPS", "--click", "LOOPS"], "another folder than that of the sounds"),
        (["LOOPS/rock_120.flac", "LOOPS", "twin", "--click", "x"], "both would be written to x/rock_120.flac"),
        (["twin", "LOOPS/rock_120.flac", "--save", "--out", "x"], "both would be written to x/rock_120.beats"),
        (["two", "one/one/a.flac", "--click", "one", "--force"], "no sound is overwritten"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(words, message, loops, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trackers.get("madmom"), "missing", classmethod(lambda cls: "not here"))
    (tmp_path / "hollow").mkdir()
    write(tmp_path / "twin" / "rock_120.wav")
    write(tmp_path / "two" / "one" / "a.flac")
    write(tmp_path / "one" / "one" / "a.flac")
    before = everything(tmp_path)
    assert beats(*(word.replace("LOOPS", "loops") for word in words)) == 2
    captured = capfd.readouterr()
    said = " ".join((captured.out + captured.err).replace("│", " ").split())
    assert message in said
    assert "Traceback" not in said
    assert everything(tmp_path) == before


def test_help_lists_every_option(capsys):
    assert beats("--help") == 0
    text = capsys.readouterr().out
    for option in ("tracker", "workers", "save", "out", "force", "click", "keys", "json", "no-cache", "quiet"):
        assert f"--{option} " in text
    for name in ("auto", *trackers.available()):
        assert name in text
