"""Sounds inside of larger files that others wrote, and JAMS beside sounds."""

import io
import json
import tarfile

import pytest
from made import write

from audiomix.datasets.source import read_source, recognise


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIOMIX_CACHE", str(tmp_path / "cache"))


def tar(path, parts):
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, data in parts.items():
            head = tarfile.TarInfo(name)
            head.size = len(data)
            file.addfile(head, io.BytesIO(data))
    return path


def wav(tmp_path, seed=0):
    return write(tmp_path / "made" / f"{seed}.wav", seed).read_bytes()


def test_samples_of_webdataset_are_files_with_one_key(tmp_path):
    sounds = [wav(tmp_path, seed) for seed in range(3)]
    tar(tmp_path / "in" / "train-000000.tar", {
        "a/x.wav": sounds[0], "a/x.cls": b"dog", "a/x.txt": b"A dog.", "b/x.wav": sounds[1],
        "b/x.json": b'{"label": "cat"}',
    })  # fmt: skip
    tar(tmp_path / "in" / "valid-000000.tar", {"x.json": b'{"label": {"dog": 0.5, "cat": 0.5}}', "x.wav": sounds[2]})
    notes = []
    items, classes = read_source(tmp_path / "in", notes=notes)
    assert classes == ["cat", "dog"]
    assert [(i.id, i.label, i.caption, i.split) for i in items] == [
        ("a/x.wav", "dog", "A dog.", "train"), ("b/x.wav", "cat", None, "train"),
        ("x.wav", {"dog": 0.5, "cat": 0.5}, None, "valid"),
    ]  # fmt: skip
    assert [open(item.path, "rb").read() for item in items] == sounds  # noqa: SIM115
    assert "are unpacked in" in notes[0]
    before = read_source(tmp_path / "in")[0][0].path
    tar(tmp_path / "in" / "train-000000.tar", {"z.wav": sounds[0], "z.cls": b"dog"})
    items, _ = read_source(tmp_path / "in")
    assert [item.id for item in items] == ["z.wav", "x.wav"]
    assert items[0].path != before


def test_parquet_of_the_hub_with_class_labels(tmp_path):
    import pyarrow
    from pyarrow import parquet

    data = [{"audio": {"bytes": wav(tmp_path, n), "path": None}, "label": n % 2} for n in range(3)]
    features = {"audio": {"_type": "Audio"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    table = pyarrow.Table.from_pylist(data)
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    (tmp_path / "in" / "data").mkdir(parents=True)
    parquet.write_table(table, tmp_path / "in" / "data" / "test-00000-of-00001.parquet")
    items, _ = read_source(tmp_path / "in")
    assert [(item.label, item.split) for item in items] == [("cat", "test"), ("dog", "test"), ("cat", "test")]


def test_an_archive_beside_class_folders_is_no_shard(tmp_path):
    write(tmp_path / "in" / "dog" / "1.wav")
    tar(tmp_path / "in" / "all.tar", {"dog/1.wav": wav(tmp_path)})
    assert recognise(tmp_path / "in").name == "classes"


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"../x.wav": b"x", "../x.cls": b"dog"}, "a path within a folder"),
        ({"x.json": b"{}"}, "with a sound, got only json"),
        ({"x.wav": b"x", "x.json": b"{"}, "with a JSON object"),
    ],
)
def test_shards_that_cannot_be_read(tmp_path, parts, said):
    tar(tmp_path / "in" / "a.tar", parts)
    with pytest.raises(ValueError, match=said):
        read_source(tmp_path / "in")
    assert not list((tmp_path / "cache").rglob("*.wav"))


def test_a_tar_that_is_cut_off(tmp_path):
    path = tar(tmp_path / "in" / "a.tar", {"x.wav": wav(tmp_path), "x.cls": b"dog"})
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(ValueError, match="a tar file that can be read"):
        read_source(tmp_path / "in")


def test_jams_of_others(tmp_path):
    import jams

    for name in ("a", "b"):
        write(tmp_path / "in" / "train" / f"{name}.wav")
        made = jams.JAMS()
        made.file_metadata.duration = 0.5
        tags = jams.Annotation(namespace="tag_open")
        tags.append(time=0, duration=0.5, value="dog", confidence=None if name == "a" else 0.25)
        if name == "b":
            tags.append(time=0, duration=0.5, value="cat", confidence=0.75)
        beats = jams.Annotation(namespace="beat")
        for time in (0.1, 0.2, 0.3):
            beats.append(time=time, duration=0, value=None)
        made.annotations.append(tags), made.annotations.append(beats)
        made.save(str(tmp_path / "in" / "train" / f"{name}.jams"))
    items, classes = read_source(tmp_path / "in")
    assert classes == ["cat", "dog"]
    assert [item.label for item in items] == ["dog", {"dog": 0.25, "cat": 0.75}]
    assert json.loads(items[0].beats) == [0.1, 0.2, 0.3]
    (tmp_path / "in" / "train" / "a.wav").unlink()
    with pytest.raises(ValueError, match="beside its sound"):
        read_source(tmp_path / "in")
    (tmp_path / "in" / "train" / "b.jams").write_text("[]")
    with pytest.raises(ValueError, match="a JAMS file|beside its sound"):
        read_source(tmp_path / "in")
