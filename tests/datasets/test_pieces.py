"""Rows that name a piece of a file: NeMo's and Lhotse's manifests, Audacity's and NIST's labels."""

import gzip
import json

import numpy as np
import pytest
import soundfile
from made import audited, mix, rows_of, write

from audiomix import datasets
from audiomix.audio import io
from audiomix.datasets.source import read_source

RATE = 8000


def recording(path, seconds=6):
    """Write a sound whose level tells the second: 0.1 in the first, 0.2 in the next."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.repeat(0.1 * np.arange(1, seconds + 1), RATE), RATE)
    return path


def pieces(table, **options):
    items = read_source(table, need_labels=False, **options)[0]
    return [(item.id, item.file, item.start, item.seconds) for item in items], items


def lines(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_nemo(tmp_path):
    recording(tmp_path / "a.wav")
    rows = [
        {"audio_filepath": "a.wav", "offset": 1, "duration": 2.5, "text": "one", "label": "x"},
        {"audio_filepath": "a.wav", "offset": 0.0, "duration": 2, "text": "two", "label": "y"},
        {"audio_filepath": "b.wav", "offset": 0, "duration": 3, "text": "three", "label": "x"},
        {"audio_filepath": "c.wav", "duration": 3, "text": "four", "label": "x"},
    ]
    found, items = pieces(lines(tmp_path / "manifest.json", rows))
    assert found == [
        ("a@1-3.5.wav", "a.wav", 1.0, 2.5),
        ("a@0-2.wav", "a.wav", 0.0, 2.0),
        ("b.wav", None, 0.0, 3.0),  # alone, it keeps its name
        ("c.wav", None, None, None),  # a duration tells of the file
    ]
    assert [(item.caption, item.label) for item in items] == [("one", "x"), ("two", "y"), ("three", "x"), ("four", "x")]


def test_lhotse(tmp_path):
    recording(tmp_path / "a.wav")
    source = {"type": "file", "channels": [0], "source": "a.wav"}
    whole = {"id": "a", "sources": [source], "sampling_rate": RATE, "num_samples": 6 * RATE, "duration": 6.0}
    spoken = {"id": "s", "recording_id": "a", "start": 0, "duration": 2, "text": "hello", "speaker": "ann",
              "custom": {"label": "x", "fold": 2}}  # fmt: skip
    cut = {
        "id": "c",
        "start": 1.5,
        "duration": 2.0,
        "channel": 0,
        "supervisions": [spoken],
        "recording": whole,
        "type": "MonoCut",
    }
    found, (item,) = pieces(lines(tmp_path / "cuts.jsonl.gz", [cut]))
    assert found == [("a@1.5-3.5.wav", "a.wav", 1.5, 2.0)]
    assert (item.caption, item.group, item.label, item.fold) == ("hello", "ann", "x", "2")
    assert pieces(lines(tmp_path / "recordings.jsonl", [whole]))[0] == [("a.wav", None, None, None)]
    for row, message in (
        (spoken, "got a supervision: give the cuts"),
        ({"id": "m", "type": "MixedCut", "tracks": []}, "names one file, got MixedCut"),
        (cut | {"recording": whole | {"sources": [source, source]}}, "sources of type file, file"),
        (cut | {"recording": whole | {"sources": [source | {"type": "url"}]}}, "sources of type url"),
        (cut | {"recording": whole | {"transforms": [{"name": "Speed"}]}}, "without transforms, got 1 of them"),
    ):
        with pytest.raises(ValueError, match=f"l.jsonl, line 2 must be .*{message}"):
            read_source(lines(tmp_path / "l.jsonl", [cut, row]), need_labels=False)


def test_what_lhotse_writes_is_read(tmp_path):
    lhotse = pytest.importorskip("lhotse")
    recorded = lhotse.Recording.from_file(recording(tmp_path / "a.wav"))
    spoken = lhotse.SupervisionSegment("s", "a", 2.0, 1.5, text="hi", speaker="ann", custom={"label": "x"})
    cuts = lhotse.CutSet.from_manifests(
        lhotse.RecordingSet.from_recordings([recorded]), lhotse.SupervisionSet.from_segments([spoken])
    )
    cuts.trim_to_supervisions().to_file(tmp_path / "cuts.jsonl.gz")
    found, (item,) = pieces(tmp_path / "cuts.jsonl.gz")
    assert found[0][2:] == (2.0, 1.5)
    assert (item.path, item.label, item.caption, item.group) == (str(tmp_path / "a.wav"), "x", "hi", "ann")


LABELS = {
    "a.txt": "0.5\t1.5\tdog\n\\\t100.0\t2000.0\n2.000000\t4.000000\tcat and mouse\n3\t3\tclick\n",
    "a.lab": "5000000 15000000 dog\n2.0 4.0 cat and mouse\n",
    "r.rttm": ";; x\nSPEAKER a 1 0.5 1.0 <NA> <NA> dog <NA> <NA>\nSPEAKER a 1 2 2 <NA> <NA> cat <NA> <NA>\n",
    "r.ctm": "a 1 0.5 1.0 dog\na 1 2.0 2.0 cat 0.9\n",
    "r.stm": ";; x\na 1 ann 0.5 1.5 <o,f0,unknown> a dog\na 1 bob 2 4 a cat\n",
}


@pytest.mark.parametrize("name", LABELS)
def test_label_files(tmp_path, name):
    recording(tmp_path / "a.wav")
    (tmp_path / name).write_text(LABELS[name])
    notes = []
    found, items = pieces(tmp_path / name, notes=notes)
    assert found == [("a@0.5-1.5.wav", "a.wav", 0.5, 1.0), ("a@2-4.wav", "a.wav", 2.0, 2.0)]
    second = "cat and mouse" if name.startswith("a.") else "cat"
    said = [(i.label, i.caption, i.group) for i in items]
    if name.endswith("stm"):
        assert said == [(None, "a dog", "ann"), (None, "a cat", "bob")]
    else:
        group = "a" if name.endswith("rttm") else None
        assert said == [("dog", None, group), (second, None, group)]
    assert notes == (
        ["a.txt: 1 labels mark a moment and no piece of the sound, and are left out"] if name == "a.txt" else []
    )


def test_label_files_beside_all_sounds_of_a_folder_are_read(tmp_path):
    for name in "ab":
        recording(tmp_path / f"{name}.wav")
    (tmp_path / "a.txt").write_text("0\t1\tdog\n1\t2\tcat\n")
    (tmp_path / "notes.txt").write_text("0\t1\tnot of a sound\n")
    with pytest.raises(ValueError, match="2 of 2 files without a label"):
        read_source(tmp_path)
    (tmp_path / "b.lab").write_text("2 3.5 dog\n")
    notes = []
    items = read_source(tmp_path, notes=notes)[0]
    assert [(i.id, i.label) for i in items] == [("a@0-1.wav", "dog"), ("a@1-2.wav", "cat"), ("b@2-3.5.wav", "dog")]
    assert notes == ["2 label files beside the sounds say which pieces are read, e.g. a.txt"]
    assert {i.id for i in datasets.get("folder")(tmp_path).items} == {i.id for i in items}
    assert [i.id for i in read_source(tmp_path, no_labels=True)[0]] == ["a.wav", "b.wav"]
    (tmp_path / "b.lab").write_text("what is said\n")
    with pytest.raises(ValueError, match="2 of 2 files without a label"):
        read_source(tmp_path)


def test_label_files_that_are_none_are_refused_with_the_line(tmp_path):
    recording(tmp_path / "a.wav")
    for name, text, message in (
        ("a.txt", "0\t1\tx\nhello world\n", "line 2 must be start, end and label with tabs"),
        ("a.txt", "2\t1\tx\n", "line 1 must be a start, and an end that is not before it"),
        ("a.txt", "nan\t1\tx\n", "line 1 must be a start"),
        ("b.txt", "0\t1\tx\n", r"line 1 must be about a sound b\.\*"),
        ("r.stm", "a 1 ann 0.5\n", "line 1 must be file channel speaker"),
        ("r.rttm", "SPEAKER other 1 0 1 x x dog\n", r"a sound other\.\*"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=message):
            read_source(tmp_path / name)


def test_pieces_are_mixed_trained_on_and_audited(tmp_path):
    """Each mix with itself left alone is the piece that its row names."""
    for i in range(6):
        write(tmp_path / "in" / f"{i}.wav", seed=i, rate=RATE, seconds=4)
    rows = [
        {"audio_filepath": f"{i}.wav", "offset": start, "duration": 1.0 + 0.5 * (i % 2), "label": "ab"[i % 2]}
        for i in range(6)
        for start in (0, 1.5)
    ]
    table = lines(tmp_path / "in" / "m.jsonl", rows)
    report = mix(table, tmp_path / "out", stems=True)
    assert (report.files, report.errors) == (12, ())
    for row in rows_of(tmp_path / "out"):
        source = row["sources"][0]
        item = next(i for i in read_source(table)[0] if i.id == source["id"])
        assert (source["path"], source["start_s"], source["offset_s"]) == (item.file, item.start, 0.0)
        assert row["seconds"] == item.seconds
        own = io.read(item.path, start=item.start, seconds=item.seconds).samples
        stem = io.read(row["root"] / row["stems"][0]).samples
        gain = float((own * stem).sum() / (own * own).sum())
        assert float((stem - gain * own).abs().max()) < 1e-4
        other = row["sources"][1]
        assert 0 <= other["offset_s"] < other["seconds"]
    assert audited(tmp_path / "out", tmp_path / "in").exit_code == 0
    data = datasets.get("manifest")(table)
    assert {(item.id, item.start, item.seconds) for item in data.items} == {
        (item.id, item.start, item.seconds) for item in read_source(table)[0]
    }


def test_a_piece_behind_the_end_is_listed_with_its_row(tmp_path):
    for name in "abc":
        recording(tmp_path / f"{name}.wav", 2)
    rows = [
        {"path": f"{name}.wav", "offset": start, "duration": 1, "label": name} for name, start in zip("abc", (0, 1, 9))
    ]
    report = mix(lines(tmp_path / "m.jsonl", rows), tmp_path / "out")
    assert report.files == 2
    (error,) = report.errors
    assert error["file"] == "c@9-10.wav"
    assert error["reason"] == "start 9 s lies beyond its end (2 s) (line 3 of the manifest)"
