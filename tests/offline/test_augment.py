"""A run as a whole: borders, workers, bad files, wrong arguments, other runs in the folder, dry runs."""

import errno
import json
import os
import re
import signal
import time

import numpy as np
import pytest
import soundfile
from made import audited, errors_of, mix, rows_of, sound, stems_and_mix, tree, write

from audiomix import CutMix, MixUp, OneOf, Plan, SNRMix
from audiomix.audio import io
from audiomix.offline.journal import Journal, RunStopped


def test_partners_never_cross_a_split_or_fold(folds, tmp_path):
    mix(folds, tmp_path / "out", copies=3)
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 144
    home = {json.loads(line)["path"]: json.loads(line) for line in folds.read_text().splitlines()}
    for row in rows:
        places = {(home[source["id"]]["split"], home[source["id"]]["fold"]) for source in row["sources"]}
        assert places == {(row["split"], int(row["fold"]))}
    crossed = mix(folds, tmp_path / "crossed", across=["fold"])
    places = [{home[source["id"]]["fold"] for source in row["sources"]} for row in rows_of(crossed.path)]
    assert any(len(place) == 2 for place in places)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flac", "wav"])
def test_bytes_are_the_same_for_one_and_two_workers(folds, tmp_path, kind):
    options = {"format": kind, "copies": 2, "stems": kind == "wav"}
    one = mix(folds, tmp_path / "one", workers=1, **options)
    two = mix(folds, tmp_path / "two", workers=2, **options)
    assert (one.files, one.seconds) == (96, pytest.approx(two.seconds))
    assert len(tree(one.path)) == 96 * (3 if kind == "wav" else 1) + 3
    assert tree(one.path) == tree(two.path)


def test_one_of_several_mixers_for_each_file(classes, tmp_path):
    mixer = OneOf([MixUp(), CutMix(alpha=5.0), SNRMix()], per="clip")  # no slivers, which an audit cannot find
    out = mix(classes, tmp_path / "out", mixer, copies=2, stems=True).path
    kinds = set()
    for row in rows_of(out):
        stems, whole = stems_and_mix(row)
        assert sum(stems).tolist() == whole.tolist()
        assert all(part.any() for part in stems)
        assert len(row["sources"]) == 2
        name = type(Plan.from_json(row["plan"]).plan_of(0)).__name__
        kinds.add(name)
        assert ("snr_db" in row) == (name == "SNRPlan")
    assert kinds == {"GainPlan", "SpanPlan", "SNRPlan"}
    report = audited(out, classes)
    assert not report.wrong
    assert len(report.numbers("label")) > 10


def test_several_sources_stand_in_the_row_and_sum_to_the_mix(classes, tmp_path):
    mixer = MixUp(sources=(2, 4), concentration=5.0, gain_law="unit_power")
    out = mix(classes, tmp_path / "out", mixer, stems=True).path
    rows = rows_of(out)
    assert {len(row["sources"]) for row in rows} == {2, 3, 4}
    for row in rows:
        stems, whole = stems_and_mix(row)
        assert sum(stems).tolist() == whole.tolist()
        assert len({source["id"] for source in row["sources"]}) == len(row["sources"]) == len(stems)
        expected, (_, shares) = {}, Plan.from_json(row["plan"]).label_shares()
        for source, share in zip(row["sources"], [float(share) for share in shares[0] if share > 0]):
            expected[source["label"]] = expected.get(source["label"], 0) + share
        assert row["label"] == pytest.approx(expected, abs=1e-6)
    assert not audited(out, classes).wrong


def test_members_of_a_choice_have_their_pairing(classes, tmp_path):
    for pairing, same in (("same_class", True), ("different_class", False)):
        mixer = OneOf([MixUp(pairing=pairing), OneOf([CutMix(pairing=pairing)]), None])
        rows = rows_of(mix(classes, tmp_path / pairing, mixer, copies=2).path)
        pairs = [{source["label"] for source in row["sources"]} for row in rows if len(row["sources"]) == 2]
        assert pairs
        assert all((len(pair) == 1) == same for pair in pairs)


def test_ogg_holds_the_same_samples(classes, tmp_path):
    for name in ("one", "two"):
        mix(classes, tmp_path / name, format="ogg")
    for a, b in zip(rows_of(tmp_path / "one"), rows_of(tmp_path / "two")):
        assert (soundfile.read(a["path"])[0] == soundfile.read(b["path"])[0]).all()


def test_another_seed_is_another_mix(classes, tmp_path):
    a, b = (mix(classes, tmp_path / str(seed), seed=seed).path for seed in (0, 1))
    assert tree(a).keys() == tree(b).keys()
    assert [name for name in tree(a) if tree(a)[name] == tree(b)[name]] == ["README.md"]


def test_neither_order_nor_files_beyond_a_border_change_a_mix(tmp_path):
    for i in range(40):
        write(tmp_path / f"{i:02d}.wav", seed=i, seconds=0.05)
    lines = [f"{i:02d}.wav,a,1\n" for i in range(20)]
    more = [f"{i:02d}.wav,b,2\n" for i in range(20, 40)]
    (tmp_path / "some.csv").write_text("path,label,fold\n" + "".join(lines))
    (tmp_path / "all.csv").write_text("path,label,fold\n" + "".join(reversed(lines + more)))
    some = tree(mix(tmp_path / "some.csv", tmp_path / "some", copies=2).path)
    everything = tree(mix(tmp_path / "all.csv", tmp_path / "all", copies=2).path)
    del some["metadata.jsonl"], some["README.md"]
    assert len(some) == 40
    assert all(everything[name] == data for name, data in some.items())


@pytest.fixture
def broken(classes):
    """The class folders with seven files that cannot be read."""
    folder = classes / "a"
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("this is not a sound, it only says that it is one")
    (folder / "folder.wav").mkdir()
    whole = (folder / "00.wav").read_bytes()
    flac = write(folder / "cut.flac").read_bytes()
    (folder / "cut.flac").write_bytes(flac[:-4000])
    (folder / "header.wav").write_bytes(whole[:44])
    nan = sound(1)
    nan[100] = np.nan
    soundfile.write(folder / "nan.wav", nan, 16000, subtype="FLOAT")
    (folder / "rate0.wav").write_bytes(whole[:24] + bytes(4) + whole[28:])
    return {
        "a/empty.wav": "0 bytes",
        "a/text.wav": "not readable as audio",
        "a/folder.wav": "is a folder",
        "a/cut.flac": "(truncated|not readable)",
        "a/header.wav": "(truncated|no samples)",
        "a/nan.wav": "NaN",
        "a/rate0.wav": "(rate|not readable)",
    }


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_broken_files_are_listed_and_the_run_goes_on(classes, broken, tmp_path, workers):
    report = mix(classes, tmp_path / "out", copies=2, workers=workers)
    assert report.exit_code == 1
    errors = errors_of(tmp_path / "out")
    assert {error["file"] for error in errors} == set(broken)
    for error in errors:
        assert error["copies"] == [0, 1]
        assert str(tmp_path) not in error["reason"]
        assert re.search(broken[error["file"]], error["reason"]), error
    rows = rows_of(tmp_path / "out")
    assert len(rows) == report.files == 36  # all that can be read are mixed: a broken partner is replaced
    assert not {source["id"] for row in rows for source in row["sources"]} & set(broken)


def test_a_truncated_wav_is_listed(classes, tmp_path):
    whole = write(classes / "a" / "cut.wav").read_bytes()
    (classes / "a" / "cut.wav").write_bytes(whole[:-4000])
    report = mix(classes, tmp_path / "out")
    assert [error["file"] for error in report.errors] == ["a/cut.wav"]


def test_mended_files_are_made_by_the_same_command(classes, broken, tmp_path):
    mix(classes, tmp_path / "out")
    for name in broken:
        path = classes / name
        path.rmdir() if path.is_dir() else path.unlink()
        write(path, seed=5)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.flac")}
    report = mix(classes, tmp_path / "out")
    assert (report.files, report.exit_code) == (25, 0)
    assert not (tmp_path / "out" / "errors.jsonl").exists()
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())


def test_a_file_without_a_partner_is_listed(tmp_path):
    for i in range(3):
        write(tmp_path / f"{i}.wav", seed=i)
    (tmp_path / "list.csv").write_text("path,label,fold\n0.wav,a,1\n1.wav,b,1\n2.wav,a,2\n")
    report = mix(tmp_path / "list.csv", tmp_path / "out")
    assert (report.files, report.exit_code) == (2, 1)
    assert errors_of(tmp_path / "out")[0]["file"] == "2.wav"
    assert "no partner" in errors_of(tmp_path / "out")[0]["reason"]


def test_names_with_spaces_accents_and_the_same_stem(tmp_path):
    names = ["a/x.wav", "b/x.wav", "b/x.flac", "b/X.wav", "c d/ü 鳥.wav", "c d/" + "long" * 40 + ".wav", "c d/x.y.wav"]
    for i, name in enumerate(names):
        write(tmp_path / "in" / name, seed=i)
    report = mix(tmp_path / "in", tmp_path / "out", copies=2)
    assert (report.files, report.exit_code) == (14, 0)
    rows = rows_of(tmp_path / "out")
    assert len({row["file_name"].lower() for row in rows}) == 14
    assert {row["sources"][0]["id"] for row in rows} == set(names)
    assert (tmp_path / "out" / "c d" / "ü 鳥-1.flac").exists()


def test_another_run_in_the_folder_is_refused(classes, tmp_path):
    mix(classes, tmp_path / "out")
    before = tree(tmp_path / "out")
    with pytest.raises(ValueError, match=r"another run \(seed 1 instead of 0\)"):
        mix(classes, tmp_path / "out", seed=1)
    with pytest.raises(ValueError, match=r"another run \(mixer\.options\.alpha 0\.2 instead of 1\.0\)"):
        mix(classes, tmp_path / "out", MixUp(0.2))
    write(classes / "a" / "more.wav")
    with pytest.raises(ValueError, match=r"source '19 files.*instead of '18 files"):
        mix(classes, tmp_path / "out")
    assert tree(tmp_path / "out") == before


def test_a_folder_with_other_things_is_refused(classes, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("all of it")
    with pytest.raises(ValueError, match=r"new or empty folder.*thesis\.txt"):
        mix(classes, tmp_path / "out")
    with pytest.raises(ValueError, match="outside of source"):
        mix(classes, classes / "out")
    with pytest.raises(ValueError, match="there is a file of that name"):
        mix(classes, tmp_path / "out" / "thesis.txt")
    assert os.listdir(tmp_path / "out") == ["thesis.txt"]


def test_a_run_that_is_under_way_is_left_alone(classes, tmp_path):
    mix(classes, tmp_path / "out")
    header = json.loads((tmp_path / "out" / ".audiomix" / "journal.jsonl").read_text().splitlines()[0])
    with Journal(tmp_path / "out", header["settings"], 18), pytest.raises(RunStopped, match="another process"):
        mix(classes, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"copies": 0}, "copies must be an integer of at least 1, got 0"),
        ({"workers": 0}, "workers must be"),
        ({"format": "mp3"}, "format must be one of flac, wav, ogg, got 'mp3'"),
        ({"rate": 16}, "rate must be .* got 16: did you mean 16000"),
        ({"rate": 0}, "rate must be"),
        ({"channels": "stereo"}, "channels must be an integer.*or 'original'"),
        ({"length": "longst"}, "did you mean 'longest'"),
        ({"length": 0.0}, "length must be .*86400 seconds"),
        ({"length": float("nan")}, "length must be"),
        ({"crop": "middle"}, "crop must be one of random, start"),
        ({"across": ["folds"]}, "did you mean 'fold'"),
        ({"stems": True, "format": "ogg"}, "flac or wav with stems"),
        ({"seed": 0.5}, "seed must be an integer"),
        ({"mixer": MixUp(num_classes=7)}, "num_classes must be 3"),
        ({"mixer": MixUp().eval()}, "in eval mode, which mixes nothing"),
        ({"mixer": "mixup"}, "mixer must be a Mixer"),
        ({"mixer": MixUp("linear:0.1:1")}, r"alpha \(--alpha\) must be constant, got 'linear:0.1:1:1': .* a training"),
        ({"mixer": OneOf([SNRMix(p="stop_after:0.5")])}, r"p \(--p\) must be constant, got 'stop_after:0.5:1'"),
        (
            {"mixer": OneOf([MixUp(), CutMix(pairing="same_class")])},
            "mixers of one pairing, got 'any' and 'same_class'",
        ),
    ],
)
def test_wrong_arguments_are_named_before_any_work(classes, tmp_path, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        mix(classes, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_writes_nothing_and_says_how_large_it_gets(folds, tmp_path, capsys):
    report = mix(folds, tmp_path / "out", copies=2, dry_run=True)
    assert not (tmp_path / "out").exists()
    said = capsys.readouterr().out.strip()
    assert said == report.text
    assert "96 mixes of 48 files (4 classes)" in said
    done = mix(folds, tmp_path / "out", copies=2)
    size = sum(len(data) for name, data in tree(done.path).items() if name.endswith(".flac"))
    guess, unit = said.split(" hours of audio, ")[1].split()[:2]
    assert float(guess) * {"kB": 1e3, "MB": 1e6}[unit] == pytest.approx(size, rel=0.05)


def limited_disk(monkeypatch, files):
    """Let the disk be full after so many files; an error of the system, as a full disk gives."""
    replace, left = os.replace, [files]

    def full(source, target):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)


@pytest.mark.parametrize("files", [0, 1, 7, 18, 19])  # the journal, files, metadata
def test_a_full_disk_stops_the_run_which_then_goes_on(classes, tmp_path, monkeypatch, files):
    with monkeypatch.context() as patch:
        limited_disk(patch, files)
        with pytest.raises(
            RunStopped, match="no space left.*" + ("the same command goes on" if files else "Nothing was done")
        ):
            mix(classes, tmp_path / "out")
    assert not list((tmp_path / "out").rglob(".tmp-*"))
    assert not list((tmp_path / "out").rglob("metadata.jsonl"))
    mix(classes, tmp_path / "out")
    mix(classes, tmp_path / "whole")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


@pytest.mark.parametrize("kind", ["flac", "wav"])
def test_a_really_full_disk(tmp_path, kind):
    """On a file system of 300 kB, where one can be made."""
    small = tmp_path / "small"
    small.mkdir()
    if os.geteuid() or os.system(f"mount -t tmpfs -o size=300k tmpfs '{small}' 2>/dev/null"):
        pytest.skip("cannot mount a small file system")
    try:
        for i in range(8):
            write(tmp_path / "in" / "a" / f"{i}.wav", seed=i, seconds=2)
        with pytest.raises(RunStopped, match="no space left"):
            mix(tmp_path / "in", small / "out", format=kind)
        made = list((small / "out").rglob(f"*.{kind}"))
        assert 0 < len(made) < 8
        assert all(soundfile.info(path).frames == 32000 for path in made)
        assert not list((small / "out").rglob(".tmp-*"))
        assert os.system(f"mount -o remount,size=3m '{small}'") == 0
        assert mix(tmp_path / "in", small / "out", format=kind).files == 8
        mix(tmp_path / "in", tmp_path / "whole", format=kind)
        assert tree(small / "out") == tree(tmp_path / "whole")
    finally:
        os.system(f"umount '{small}'")


class Deadly(MixUp):
    """Kills its process in the fourth mix, once."""

    trap, count = None, 0

    def forward(self, *arguments, **more):
        self.count += 1
        if self.count == 4 and self.trap is not None and self.trap.exists():
            self.trap.unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(*arguments, **more)


@pytest.mark.slow
def test_a_killed_worker_stops_the_run_which_then_goes_on(classes, tmp_path):
    mixer = Deadly(1.0)
    mixer.trap = tmp_path / "trap"
    mixer.trap.touch()
    message = r"a worker ended unexpectedly at .*\.wav \(signal SIGKILL: too little memory\?\)\. What is done is kept"
    with pytest.raises(RunStopped, match=message):
        mix(classes, tmp_path / "out", mixer, workers=2, oversubscribe=True, copies=2)
    assert len((tmp_path / "out" / ".audiomix" / "journal.jsonl").read_text().splitlines()) > 3
    assert not (tmp_path / "out" / "metadata.jsonl").exists()
    mix(classes, tmp_path / "out", mixer, copies=2)
    mix(classes, tmp_path / "whole", mixer, copies=2)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


class Noting(MixUp):
    """Notes which process works."""

    def forward(self, *arguments, **more):
        time.sleep(0.3)
        (self.folder / str(os.getpid())).touch()
        return super().forward(*arguments, **more)


@pytest.mark.slow
def test_few_files_are_shared_by_all_workers(tmp_path):
    for i in range(8):
        write(tmp_path / "in" / "ab"[i % 2] / f"{i}.wav", seed=i)
    mixer = Noting()
    mixer.folder = tmp_path / "pids"
    mixer.folder.mkdir()
    report = mix(tmp_path / "in", tmp_path / "out", mixer, workers=3, oversubscribe=True)
    assert report.files == 8
    assert len(list(mixer.folder.iterdir())) == 3


def test_a_mixer_that_does_not_pickle_is_refused_before_any_work(classes, tmp_path):
    class Local(MixUp):
        pass

    with pytest.raises(ValueError, match=r"mixer must be one that pickles, for several workers, got Local"):
        mix(classes, tmp_path / "out", Local(), workers=2)
    assert not (tmp_path / "out").exists()


def test_what_is_done_is_not_done_again(classes, tmp_path, monkeypatch):
    mix(classes, tmp_path / "out")
    gone = sorted((tmp_path / "out").rglob("*.flac"))
    whole = tree(tmp_path / "out")
    gone[3].unlink()
    gone[5].write_bytes(b"cut")
    written = []
    write_file = io.write
    monkeypatch.setattr(io, "write", lambda path, clip: written.append(path) or write_file(path, clip))
    mix(classes, tmp_path / "out")
    assert sorted(written) == [gone[3], gone[5]]
    assert tree(tmp_path / "out") == whole


def test_no_temporary_names_and_no_global_seeding(classes, tmp_path):
    import torch

    torch.manual_seed(3)
    state = torch.get_rng_state()
    mix(classes, tmp_path / "out")
    assert (torch.get_rng_state() == state).all()
    assert not list((tmp_path / "out").rglob(".tmp-*"))


def test_progress_shows_files_and_hours(classes, tmp_path, capsys):
    mix(classes, tmp_path / "out", progress=True)
    said = capsys.readouterr().err
    assert said == "mixing: 18 of 18 files, 0.00 h of audio\n"
