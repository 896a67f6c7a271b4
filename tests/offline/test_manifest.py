"""The output is what other tools read: every split of every layout with its columns, in datasets, lhotse and pandas."""

import json
import sys
from types import SimpleNamespace

import datasets
import lhotse
import numpy as np
import pandas
import pytest
import soundfile
from made import mix, rows_of, write

from audiomix.datasets.source import read_source

LAYOUTS = {
    "no split": [None],
    "one": ["train"],
    "usual": ["train", "validation", "test"],
    "Clotho": ["development", "evaluation"],
    "LibriSpeech": ["dev-clean", "dev_clean", "train-clean-100"],
    "folds": [f"fold{i}" for i in range(1, 6)],
    "eval": ["train", "eval"],
    "odd": ["all", "a/b", "[x]*", "ü é", "data", "2"],
    "some": ["train", None],
}


@pytest.fixture(autouse=True)
def _torchcodec(monkeypatch):
    """What `datasets` imports, though it only keeps the names of files here: it needs ffmpeg's libraries."""
    monkeypatch.setitem(sys.modules, "torchcodec", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torchcodec.encoders", SimpleNamespace(AudioEncoder=None))


def made(folder, splits, names=("train", "dev"), **more):
    """A manifest with six clips a split; of two classes, named like splits, and one of its own in each split."""
    with open(write(folder / "x.wav").with_name("list.jsonl"), "w") as table:
        for i, split in enumerate(splits):
            for k in range(6):
                path = f"{i}/{names[k % 2]}/{k}.wav"
                write(folder / path, seed=10 * i + k, seconds=0.1)
                row = {"path": path, "label": [[*names, f"own {i}"][k % 3]], "split": split}
                table.write(json.dumps(row | {name: values[i] for name, values in more.items()}) + "\n")
    return folder / "list.jsonl"


def loaded(out, tmp_path):
    found = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    return {name: part.cast_column("audio", datasets.Audio(decode=False)) for name, part in found.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_datasets_reads_every_split_with_its_columns(tmp_path, layout):
    splits = LAYOUTS[layout]
    # in one split only there are groups, attributions and captions
    some = ["somebody" if i == len(splits) - 1 else None for i in range(len(splits))]
    source = made(tmp_path / "in", splits, group=some, attribution=some, caption=some, tags=some)
    out = mix(source, tmp_path / "out", copies=2, stems=layout == "usual").path
    found = loaded(out, tmp_path)
    assert len(found) == len(splits)
    rows = {row["path"]: row for row in rows_of(out)}
    classes = json.loads((out / "README.md").read_text("utf-8").split("classes: ")[1].splitlines()[0])
    assert classes == sorted({"train", "dev", *(f"own {i}" for i in range(len(splits)))})
    for part in found.values():
        assert len(part) == 12
        assert len({split or None for split in part["split"]}) == 1
        for row in part:
            told = rows.pop(type(out)(row["audio"]["path"]))
            assert soundfile.info(row["audio"]["path"]).frames == 1600
            assert dict(zip(classes, row["label_vector"])) == {c: told["label"].get(c, 0.0) for c in classes}
            assert {k: v for k, v in row["label"].items() if v} == {k: v for k, v in told["label"].items() if v}
            assert sum(row["label_vector"]) == pytest.approx(1)
            assert row["plan"] == told["plan"]
            assert [s["id"] for s in row["sources"]] == [s["id"] for s in told["sources"]]
    assert not rows
    if layout != "some":
        items, again = read_source(out)  # and audiomix itself
        assert (again, {item.split for item in items}) == (classes, set(splits))
        assert {item.captions for item in items} <= {(), ("somebody",)}


def test_where_a_split_name_is_known_the_plain_audiofolder_reads_it_too(tmp_path):
    source = made(tmp_path / "in", ["train", "test"], ["dog", "cat"])
    out = mix(source, tmp_path / "out").path
    found = datasets.load_dataset("audiofolder", data_dir=str(out), cache_dir=str(tmp_path / "cache"))
    assert {name: len(part) for name, part in found.items()} == {"train": 6, "test": 6}


def test_classes_seen_late_in_a_long_table_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("audiomix.offline.manifest._EARLY", 1)
    out = mix(made(tmp_path / "in", [None]), tmp_path / "out").path
    assert set(rows_of(out)[0]["label"]) == {"train", "dev", "own 0"}
    assert [len(row["label"]) <= 2 for row in rows_of(out)[1:]] == [True] * 5


def test_pandas_and_lhotse_read_it(folds, tmp_path):
    out = mix(folds, tmp_path / "out").path
    for split in ("train", "test"):
        table = pandas.read_json(out / split / "metadata.jsonl", lines=True)
        assert len(table) == 24
        dense = np.array(table["label_vector"].tolist())
        assert dense.shape == (24, 4)
        assert dense.sum(1) == pytest.approx(np.ones(24))
        found = lhotse.RecordingSet.from_dir(
            out / split, "*.flac", recording_id=lambda path: str(path.relative_to(tmp_path / "out"))
        )
        seconds = {f"{split}/{row.file_name}": row.seconds for row in table.itertuples()}
        assert {one.id: one.duration for one in found} == pytest.approx(seconds)
        for one in found:
            assert one.load_audio().shape == (1, 3200)


def test_without_labels_there_is_no_vector_and_a_card_of_ones_own_stays(classes, tmp_path):
    out = mix(classes, tmp_path / "out", no_labels=True).path
    assert all("label_vector" not in row for row in rows_of(out))
    assert len(loaded(out, tmp_path)["train"]) == 18
    (out / "README.md").write_text("# My mixes")
    report = mix(classes, out, no_labels=True)
    assert "README.md is left as it is" in " ".join(report.notes)
    assert (out / "README.md").read_text() == "# My mixes"
