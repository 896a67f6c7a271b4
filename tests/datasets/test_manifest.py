"""Manifests as data sets to train on: one class a clip, parts, folds and recordings as the rows have them."""

import pytest
from archives import write_table
from made import write

from audiomix import datasets


@pytest.fixture
def manifest(tmp_path):
    """Return a function that reads a manifest of columns after the path, and writes its sounds."""

    def read(header, rows):
        for i in range(len(rows)):
            write(tmp_path / f"{i:02}.wav", seconds=0.05)
        table = write_table(tmp_path / "m.csv", ["path", *header], [[f"{i:02}.wav", *r] for i, r in enumerate(rows)])
        return datasets.get("manifest")(table)

    return read


def test_parts_hold_out_the_test_rows_by_whatever_name(manifest):
    data = manifest(["label", "split"], [["ab"[i % 2], ["training", "dev", "Eval"][i // 3]] for i in range(8)])
    assert data.folds == ("test",)
    assert [item.split for item in data.items[::3]] == ["train", "validation", "test"]
    assert [data.items[i].id for i in data.holdout("test")[1]] == ["06.wav", "07.wav"]
    with pytest.raises(
        ValueError, match=r"the split of 00.wav \(line 2 of the manifest\) must be one of .*'tset': did you mean 'test'"
    ):
        manifest(["label", "split"], [["a", "tset"]])


def test_its_folds_are_never_reshuffled(manifest):
    given = ["A", "B", "C"] * 4
    data = manifest(["label", "fold"], [["xy"[i // 6], fold] for i, fold in enumerate(given)])
    assert (data.folds, data.official) == (("A", "B", "C"), False)
    assert [item.fold for item in data.items] == given
    assert [data.items[i].id for i in data.holdout("B")[1]] == ["01.wav", "04.wav", "07.wav", "10.wav"]


def test_rows_without_a_fold_among_others_train_only_where_they_say_so(manifest):
    rows = [["xy"[i % 2], i % 3, "train"] for i in range(12)]
    data = manifest(["label", "fold", "split"], [*rows, ["x", "", "train"], ["", "", ""]])
    assert all({12, 13} <= set(data.holdout(fold)[0]) for fold in data.folds)
    with pytest.raises(
        ValueError, match=r"the fold of 12.wav \(line 14 .* must be given, as other rows' are, got none: split train"
    ):
        manifest(["label", "fold", "split"], [*rows, ["x", "", ""]])


def test_rows_marked_unlabelled_keep_no_label_and_no_fold(manifest):
    rows = [["xy"[i % 2], "train", 1] for i in range(10)] + [["y", "unlabelled", 1], ["z", "unlabeled", 2]]
    data = manifest(["label", "split", "fold"], rows)
    assert data.class_names == ("x", "y")
    assert [(i.label, i.split, i.fold) for i in data.items[10:]] == [(None, "unlabelled", None)] * 2


def test_a_clip_of_several_classes_is_refused(tmp_path):
    write(tmp_path / "x.wav")
    (tmp_path / "m.jsonl").write_text('{"path": "x.wav", "label": ["a", "b"]}\n')
    with pytest.raises(ValueError, match=r"the label of x.wav \(line 1 .* must be one class, got a, b: recipes"):
        datasets.get("manifest")(tmp_path / "m.jsonl")
    (tmp_path / "m.jsonl").write_text('{"path": "x.wav", "label": {"a": 0.5}}\n')
    assert datasets.get("manifest")(tmp_path / "m.jsonl").items[0].label == "a"


def test_a_manifest_of_absent_files_names_itself_and_the_first(tmp_path):
    table = tmp_path / "m.csv"
    with pytest.raises(ValueError, match=r"a manifest \(.csv, .tsv, .jsonl\) .*: there is no such file"):
        datasets.get("manifest")(table)
    for count, tried in ((12, ""), (1000, r" \(200 were tried\)")):
        table.write_text("path,label,fold\n" + "".join(f"{i}.wav,{'xy'[i % 2]},{i % 2}\n" for i in range(count)))
        start = rf"^{table} must be of audio files .*, got {count} files of which none can be read{tried}, the first: "
        with pytest.raises(ValueError, match=start + r".*/0\.wav: no such file: paths are relative to the manifest"):
            datasets.get("manifest")(table)
