"""Each form of an output is read back by the library it is for, and by `augment` again."""

import io as bytes_io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from made import mix, rows_of, write
from rhythm import bursts, steady

from audiomix import BeatGrid, BeatMix, CaptionMix, CutMix, MixUp
from audiomix.audio import io
from audiomix.audio.io import Clip
from audiomix.cli import main
from audiomix.datasets.source import read_source
from audiomix.offline.exports.export import FORMS, export_output

# What `augment` reads of each form.
READ = {"lhotse": "cuts.jsonl", "nemo": "manifest.json"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIOMIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Eight mixes in two splits, with captions, a licence and stems."""
    root = tmp_path_factory.mktemp("set")
    rows = []
    for number in range(8):
        path = write(root / "in" / f"{number}.wav", number, seconds=0.4 + 0.1 * (number % 3), rate=8000)
        rows.append({"file_name": path.name, "label": f"class{number % 2}", "split": ("train", "test")[number // 6],
                     "caption": f"Noise {number}.", "licence": "CC0", "group": f"g{number // 2}"})  # fmt: skip
    (root / "in" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return mix(root / "in", root / "out", MixUp(2.0), stems=True, seed=4).path


def exported(out, form, to, **options):
    return export_output(out, form, to, **options).path


def rows_by_name(out):
    """Rows by the name of their file relative to the set."""
    return {row["path"].relative_to(out).as_posix(): row for row in rows_of(out)}


def shares_of(label):
    found = json.loads(label) if isinstance(label, str) else label
    return {name: share for name, share in (found or {}).items() if share}


def test_hf_is_read_by_datasets(out, tmp_path):
    from datasets import Audio, List, load_dataset

    to = exported(out, "hf", tmp_path / "hub")
    found = load_dataset(str(to))
    assert set(found) == {"train", "test"}
    rows = rows_by_name(out)
    assert sum(map(len, found.values())) == len(rows) == 8
    assert isinstance(found["train"].features["audio"], Audio)
    (classes,) = re.findall(r"^classes: (.*)$", (to / "README.md").read_text(), re.MULTILINE)
    classes = json.loads(classes)
    for split, part in found.items():
        part = part.cast_column("audio", Audio(decode=False)).cast_column("stems", List(Audio(decode=False)))
        for one in part:
            row = rows[one["audio"]["path"]]
            assert one["audio"]["bytes"] == row["path"].read_bytes()
            assert soundfile.info(bytes_io.BytesIO(one["audio"]["bytes"])).frames == round(8000 * row["seconds"])
            assert shares_of(one["label"]) == pytest.approx(shares_of(row["label"]))
            assert dict(zip(classes, one["label_vector"]))["class0"] == pytest.approx(row["label"].get("class0", 0))
            assert (one["caption"], one["split"], one["plan"]) == (row["caption"], split, row["plan"])
            assert [stem["bytes"] for stem in one["stems"]] == [(row["root"] / n).read_bytes() for n in row["stems"]]


def test_webdataset_reads_the_shards(out, tmp_path):
    import webdataset

    to = exported(out, "webdataset", tmp_path / "shards", shard_bytes=40_000)
    shards = sorted(map(str, to.glob("*.tar")))
    assert len(shards) > 2  # several for the training split
    rows = rows_by_name(out)
    samples = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert len(samples) == 8
    for sample in samples:
        row = json.loads(sample["json"])
        kept = rows[row["file_name"]]
        assert sample["flac"] == kept["path"].read_bytes()
        assert sample["stem0.flac"] == (kept["root"] / kept["stems"][0]).read_bytes()
        assert sample["txt"].decode() == kept["caption"]
        assert row["label"] == shares_of(kept["label"])
        assert sample["__key__"] == row["file_name"].removesuffix(".flac")
    # equal sets are equal shards: no times, no owners
    again = exported(out, "webdataset", tmp_path / "again", shard_bytes=40_000)
    assert [Path(one).read_bytes() for one in shards] == [one.read_bytes() for one in sorted(again.glob("*.tar"))]


@pytest.mark.parametrize(
    "mixer",
    [MixUp(2.0, gain_law="unit_power"), CutMix(alpha=2.0), CutMix(alpha=2.0, offset="free")],
    ids=["mixup", "cutmix", "free"],
)
def test_lhotse_mixes_the_same_sounds(mixer, tmp_path):
    from lhotse import CutSet, RecordingSet, SupervisionSet, validate

    for number in range(5):
        write(tmp_path / "in" / f"class{number % 2}" / f"{number}.wav", number, seconds=0.4 + 0.1 * number, peak=0.99)
    out = mix(tmp_path / "in", tmp_path / "out", mixer, copies=2, length=0.55).path
    to = exported(out, "lhotse", tmp_path / "cuts")
    rows = rows_of(out)
    assert any(row["limiter_gain_db"] < 0 for row in rows) or isinstance(mixer, CutMix)
    cuts, mixed = (list(CutSet.from_file(to / f"{name}.jsonl")) for name in ("cuts", "mixed_cuts"))
    recordings = list(RecordingSet.from_file(to / "recordings.jsonl"))
    supervisions = list(SupervisionSet.from_file(to / "supervisions.jsonl"))
    assert len(cuts) == len(mixed) == len(recordings) == len(supervisions) == len(rows) == 10
    for row, cut, sum_of, recording in zip(rows, cuts, mixed, recordings):
        validate(cut), validate(sum_of), validate(recording)
        sound = soundfile.read(row["path"], always_2d=True)[0].T
        assert np.array_equal(cut.load_audio(), sound)
        assert type(sum_of).__name__ == "MixedCut"
        assert np.abs(sum_of.load_audio() - sound).max() <= 0.51 / 32768  # of rounding to 16 bits
        assert json.loads(cut.custom["label"]) == shares_of(row["label"])
        assert {Path(t.cut.recording.sources[0].source).name for t in sum_of.tracks if hasattr(t.cut, "recording")} == {
            source["file"] for source in row["sources"]
        }


def test_lhotse_has_the_file_where_tracks_cannot_follow(tmp_path, capsys):
    from lhotse import CutSet

    for number in range(3):
        write(tmp_path / "in" / f"class{number % 2}" / f"{number}.wav", number, rate=(8000, 16000, 8000)[number])
    out = mix(tmp_path / "in", tmp_path / "out", CutMix(fade=0.01, rate=16000)).path
    assert main(["export", str(out), "--to", "lhotse", "-o", str(tmp_path / "cuts")]) == 0
    assert "3 of 3 mixed cuts are recordings of the output, as tracks cannot" in capsys.readouterr().err
    for cut, row in zip(CutSet.from_file(tmp_path / "cuts" / "mixed_cuts.jsonl"), rows_of(out)):
        assert type(cut).__name__ == "MonoCut"
        assert "fade" in cut.custom["mixed_of"] or "resampled" in cut.custom["mixed_of"]
        assert np.array_equal(cut.load_audio()[0], soundfile.read(row["path"])[0])


def test_jams_has_events_of_scenes_and_the_tags(tmp_path):
    import jams

    rows = []
    for number, text in enumerate(["A dog barks.", "Rain falls on a roof.", "A child laughs.", "Birds sing."]):
        write(tmp_path / "in" / f"{number}.wav", number, seconds=1.0 + 0.4 * number, peak=0.2)
        rows.append(json.dumps({"file_name": f"{number}.wav", "caption": text, "label": f"class{number % 2}"}))
    (tmp_path / "in" / "metadata.jsonl").write_text("\n".join(rows))
    out = mix(tmp_path / "in", tmp_path / "out", CaptionMix((0, 0), rate=16000, min_share=0.0)).path
    to = exported(out, "jams", tmp_path / "jams")
    seen = 0
    for row in rows_of(out):
        found = jams.load(str(to / Path(row["file_name"]).with_suffix(".jams")), validate=True, strict=True)
        assert found.file_metadata.duration == row["seconds"]
        (tags,) = found.search(namespace="tag_open")
        assert {one.value: one.confidence for one in tags.data} == pytest.approx(shares_of(row["label"]))
        (events,) = found.search(namespace="segment_open")
        wanted = sorted(row["events"], key=lambda event: event["onset"])
        assert [(one.time, one.value) for one in events.data] == [(e["onset"], e["caption"]) for e in wanted]
        for one, event in zip(events.data, wanted):
            assert one.time + one.duration == pytest.approx(event["offset"], abs=1e-5)
        assert found.sandbox["plan"] == row["plan"]
        seen += len(events.data)
    assert seen > 4


def test_jams_has_beats(tmp_path):
    import jams

    (tmp_path / "in").mkdir()
    for name, bpm, hz in (("a", 120, 1000), ("b", 124, 3000), ("c", 117, 2000)):
        times = steady(bpm, 6.0, start=0.1)
        io.write(tmp_path / "in" / f"{name}.flac", Clip(bursts(times, 6.0, 16000, hz)[None], 16000))
        BeatGrid(times, [i % 4 + 1 for i in range(len(times))]).write(tmp_path / "in" / f"{name}.beats")
    out = mix(tmp_path / "in", tmp_path / "out", BeatMix(rate=16000, tracker="file", min_bars=1), no_labels=True).path
    to = exported(out, "jams", tmp_path / "jams")
    for row in rows_of(out):
        found = jams.load(str(to / Path(row["file_name"]).with_suffix(".jams")), validate=True, strict=True)
        (beats,) = found.search(namespace="beat")
        assert [one.time for one in beats.data] == row["beats"]
        assert [one.value for one in beats.data] == row["positions"]
        assert len(row["beats"]) > 8
        assert found.search(namespace="tempo")[0].data[0].value == row["bpm"]
    items, _ = read_source(to, need_labels=False)
    assert [json.loads(item.beats) for item in items] == [row["beats"] for row in rows_of(out)]


def test_parquet_is_read_by_pandas_and_datasets(out, tmp_path):
    import pandas
    from datasets import load_dataset

    to = exported(out, "parquet", tmp_path / "table")
    table = pandas.read_parquet(to / "metadata.parquet")
    rows = rows_by_name(out)
    assert sorted(table["file_name"]) == sorted(rows)
    for _, one in table.iterrows():
        row = rows[one["file_name"]]
        assert (to / one["file_name"]).read_bytes() == row["path"].read_bytes()
        assert (one["rms_db"], one["caption"], one["plan"]) == (row["rms_db"], row["caption"], row["plan"])
        assert shares_of(one["label"]) == shares_of(row["label"])
    found = load_dataset("parquet", data_files=str(to / "metadata.parquet"), split="train")
    assert found["captions"] == [rows[name]["captions"] for name in found["file_name"]]


def test_nemo_says_what_is_lost(out, tmp_path, capsys):
    """NeMo itself is not installed: the manifest is held against its documentation."""
    words = ["export", str(out), "--to", "nemo", "-o", str(tmp_path / "nemo")]
    assert main(words) == 2
    text = " ".join(capsys.readouterr().err.split())
    assert "to must be a form that holds the shares of the labels of" in text
    assert not (tmp_path / "nemo").exists()
    assert main([*words, "--lossy"]) == 0
    rows = rows_by_name(out)
    lines = [json.loads(line) for line in (tmp_path / "nemo" / "manifest.json").read_text().splitlines()]
    assert len(lines) == 8
    for line in lines:
        row = rows[line["audio_filepath"]]
        assert soundfile.info(tmp_path / "nemo" / line["audio_filepath"]).duration == pytest.approx(line["duration"])
        assert line["text"] == row["caption"]
        assert line["label"] == max(row["label"], key=row["label"].get)
        assert shares_of(line["label_shares"]) == shares_of(row["label"])


@pytest.mark.parametrize("form", FORMS)
def test_augment_reads_what_was_exported(form, out, tmp_path):
    to = exported(out, form, tmp_path / "to", lossy=form == "nemo")
    source = to / READ.get(form, "")
    notes = []
    items, classes = read_source(source, notes=notes)
    rows = rows_by_name(out)
    assert classes == ["class0", "class1"]
    assert len(items) == len(rows) == 8
    for item in items:
        row = next(row for name, row in rows.items() if item.id.endswith(name))
        assert Path(item.path).read_bytes() == row["path"].read_bytes()
        assert (item.caption, item.split, item.licence) == (row["caption"], row["split"], row["licence"])
        if form != "nemo":
            assert shares_of(item.label) == pytest.approx(shares_of(row["label"]))
    report = mix(source, tmp_path / "again", CutMix())
    assert (report.files, report.exit_code) == (8, 0)


def test_forms_that_cannot_be_written_are_refused_before_work(out, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    for words, said in (
        ([str(out), "--to", "hff"], "to must be one of hf, webdataset"),
        ([str(tmp_path), "--to", "hf"], "a folder that audiomix augment wrote"),
        ([str(out), "--to", "hf", "-o", str(tmp_path / "full")], "a new or empty folder"),
        ([str(out), "--to", "hf", "-o", str(out / "hf")], "it would be part of the set"),
    ):
        assert main(["export", *words]) == 2
        assert said in " ".join(capsys.readouterr().err.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]


def test_a_broken_run_leaves_nothing_under_the_final_name(out, tmp_path, monkeypatch):
    from audiomix.offline.exports import webdataset

    def fail(job):
        (job.folder / "half").write_text("")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(webdataset, "write", fail)
    with pytest.raises(OSError, match="No space"):
        export_output(out, "webdataset", tmp_path / "shards")
    assert list(tmp_path.iterdir()) == []
