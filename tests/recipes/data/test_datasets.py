import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from recipes import datasets
from recipes.data.loader import check_folds
from recipes.datasets import UNKNOWN, Dataset, Item

SHARED = Path(os.environ.get("AUDIOMIX_DATA", Path(__file__).parents[4] / "shared" / "data"))
ESC10 = ("dog", "rooster", "rain", "sea_waves", "crackling_fire", "crying_baby", "sneezing", "clock_tick", "helicopter",
         "chainsaw")  # fmt: skip


@pytest.fixture
def archive(tmp_path, write_wav):
    """Return a function that writes an ESC-50 archive with 2 of the 10 classes and one of the other 40."""

    def write(suffix=".wav"):
        rows = []
        for fold in (1, 2):
            for target, name, flag in ((0, "dog", "True"), (41, "chainsaw", "True"), (3, "cow", "False")):
                stem = f"{fold}-{1000 + target}-A-{target}"
                write_wav((tmp_path / "audio" / stem).with_suffix(suffix))
                rows.append([f"{stem}.wav", fold, target, name, flag, 1000 * fold + target, "A"])
        (tmp_path / "meta").mkdir()
        with open(tmp_path / "meta" / "esc50.csv", "w", newline="") as file:
            header = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
            csv.writer(file).writerows([header, *rows])
        return tmp_path

    return write


def test_items_are_sorted_so_that_the_order_of_a_listing_does_not_matter():
    items = [Item(Path(n), 0, n) for n in "cab"]
    names = [Dataset("x", tuple(some), ("k",), 8000, 1.0).items for some in (items, items[::-1])]
    assert names[0] == names[1]
    assert [item.id for item in names[0]] == ["a", "b", "c"]


def test_a_data_set_without_labels_is_refused():
    with pytest.raises(ValueError, match="one with labelled clips, got 1 clips, none with a class"):
        Dataset("x", (Item(Path("a"), UNKNOWN, "a"),), ("k",), 8000, 1.0)


def test_validation_clips_are_neither_trained_nor_tested_on():
    items = [Item(Path(s), 0, s, split=s) for s in ("train", "validation", "test")]
    data = Dataset("x", tuple(items), ("k",), 8000, 1.0)
    train, test = data.holdout("test")
    assert [data.items[i].id for i in train] == ["train"]
    assert [data.items[i].id for i in test] == ["test"]


def test_fold_10_comes_after_fold_9():
    items = [Item(Path(str(f)), 0, str(f), fold=str(f)) for f in range(1, 11)]
    assert Dataset("x", tuple(items), ("k",), 8000, 1.0).folds[-2:] == ("9", "10")


@pytest.mark.parametrize("suffix", [".wav", ".ogg"])
def test_esc10_takes_the_flagged_rows_whatever_the_suffix_on_disk(archive, suffix, monkeypatch):
    if suffix == ".ogg":  # the reader looks for files, it does not decode them
        root = archive()
        for path in (root / "audio").iterdir():
            path.rename(path.with_suffix(".ogg"))
    else:
        root = archive()
    data = datasets.get("esc10")(root)
    assert len(data) == 4
    assert data.class_names == ("dog", "chainsaw")
    assert sorted(data.labels) == [0, 0, 1, 1]
    assert all(item.path.is_file() and item.path.suffix == suffix for item in data.items)
    assert data.folds == ("1", "2")
    assert set(data.groups) == {"1000", "1041", "2000", "2041"}


@pytest.mark.skipif(not (SHARED / "esc10").is_dir(), reason=f"the real ESC-10 is not at {SHARED}")
def test_the_real_esc10_has_8_clips_of_each_class_in_each_of_5_folds():
    data = datasets.get("esc10")(SHARED / "esc10")
    assert data.class_names == ESC10
    for fold in data.folds:
        train, test = data.holdout(fold)
        assert sorted(data.labels[i] for i in test) == sorted(list(range(10)) * 8)
        assert not {data.groups[i] for i in train} & {data.groups[i] for i in test}
    assert len(data.folds) == 5


def test_esc10_says_what_is_wrong_with_a_root(tmp_path):
    index = datasets.get("esc10")
    with pytest.raises(ValueError, match="root must be the folder of ESC-50"):
        index(None)
    with pytest.raises(ValueError, match="there is no such folder"):
        index(tmp_path / "absent")
    with pytest.raises(ValueError, match="one folder too high or too low"):
        index(tmp_path)
    (tmp_path / "audio").mkdir()
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text("filename,fold\na.wav,1\n")
    with pytest.raises(ValueError, match="one without target, category, esc10, src_file"):
        index(tmp_path)


def test_a_folder_gets_five_stratified_folds(tone_folder):
    data = datasets.get("folder")(tone_folder)
    assert data.class_names == ("high", "low", "middle")
    assert (data.rate, data.seconds) == (8000, 0.5)
    for fold in data.folds:
        _, test = data.holdout(fold)
        assert sorted(data.labels[i] for i in test) == [0] * 4 + [1] * 4 + [2] * 4
    assert len(data.folds) == 5


def test_a_folder_with_train_and_test_holds_out_test(tmp_path, write_wav):
    for split, names in {"train": "abc", "test": "ab"}.items():
        for name in names:
            write_wav(tmp_path / split / name / "deeper" / "1.wav")
    data = datasets.get("folder")(tmp_path)
    assert data.class_names == ("a", "b", "c")
    assert data.folds == ("test",)
    train, test = data.holdout("test")
    assert [data.items[i].id for i in train] == [f"train/{n}/deeper/1.wav" for n in "abc"]
    assert [data.labels[i] for i in test] == [0, 1]


def test_unlabelled_clips_train_and_are_never_tested_on(tmp_path, write_wav):
    for i in range(5):
        write_wav(tmp_path / "a" / f"{i}.wav")
    write_wav(tmp_path / "unlabelled" / "x.wav")
    data = datasets.get("folder")(tmp_path)
    assert data.class_names == ("a",)
    for fold in data.folds:
        train, test = data.holdout(fold)
        assert UNKNOWN in [data.labels[i] for i in train]
        assert [data.labels[i] for i in test] == [0]


def test_folder_says_what_is_wrong_with_a_root(tmp_path, write_wav):
    index = datasets.get("folder")
    with pytest.raises(ValueError, match="is it empty"):
        index(tmp_path)
    write_wav(tmp_path / "loose.wav")
    with pytest.raises(ValueError, match="files lie in the top folder, without a class"):
        index(tmp_path)
    write_wav(tmp_path / "unlabelled" / "x.wav")
    with pytest.raises(ValueError, match="at least one folder a class"):
        index(tmp_path)


def test_files_without_a_class_are_told(tmp_path, write_wav, capsys):
    for name in ("a/1.wav", "b/1.wav", "stray.wav"):
        write_wav(tmp_path / name)
    assert len(datasets.get("folder")(tmp_path)) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "ignored: 1 files in no class folder, such as stray.wav" in said


def test_a_class_that_is_only_tested_on_is_refused(tmp_path, write_wav):
    write_wav(tmp_path / "train" / "a" / "1.wav")
    write_wav(tmp_path / "test" / "b" / "1.wav")
    with pytest.raises(ValueError, match="root/test must be .* the classes of root/train, got also b"):
        datasets.get("folder")(tmp_path)
    write_wav(tmp_path / "val" / "b" / "1.wav")
    with pytest.raises(ValueError, match="the classes of root/train, got also b"):
        datasets.get("folder")(tmp_path)


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_train_and_validation_without_test_are_parts_not_classes(tmp_path, write_wav, name, capsys):
    for folder in ("train/a", "train/b", f"{name}/a", f"{name}/b", "unlabelled", "notes/c"):
        write_wav(tmp_path / folder / "1.wav")
    data = datasets.get("folder")(tmp_path)
    assert data.class_names == ("a", "b")
    assert data.folds == ("validation",)
    train, test = data.holdout("validation")
    assert [data.items[i].id for i in train] == ["train/a/1.wav", "train/b/1.wav", "unlabelled/1.wav"]
    assert [data.items[i].id for i in test] == [f"{name}/a/1.wav", f"{name}/b/1.wav"]
    assert f"taken apart into {', '.join(sorted([name, 'train']))}; ignored: notes" in capsys.readouterr().err


@pytest.mark.parametrize("names", [["train"], ["test", "val"]])
def test_parts_that_do_not_make_a_data_set_are_not_taken_as_classes(tmp_path, write_wav, names):
    for name in names:
        write_wav(tmp_path / name / "a" / "1.wav")
    with pytest.raises(ValueError, match="root must be a folder with train beside test or validation, got .*too high"):
        datasets.get("folder")(tmp_path)


def test_demo_reads_a_table_of_hugging_faces_form(tmp_path):
    rows = [
        {"file_name": "no/x.flac", "label": "no", "fold": 2, "group": "ann", "split": "test"},
        {"file_name": "go/x.flac", "label": "go", "fold": 1, "group": "bob", "split": "train"},
    ]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = datasets.get("demo")(tmp_path)
    assert data.class_names == ("go", "no")
    assert [(item.id, item.label, item.fold, item.group) for item in data.items] == [
        ("go/x.flac", 0, "1", "bob"),
        ("no/x.flac", 1, "2", "ann"),
    ]
    assert data.holdout("test") == ([0], [1])
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "x.flac"}\n')
    with pytest.raises(ValueError, match=r"line 1 must be a row with file_name and label, got one without label"):
        datasets.get("demo")(tmp_path)


GOOD = '{"file_name": "x.flac", "label": "x", "fold": 1}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'{GOOD}\n\n{{"file_name": "y\n', r"metadata.jsonl, line 3 must be a row .* got no JSON"),
        (f"{GOOD}\n7\n", r"line 2 must be a row with file_name and label, got a int"),
        (
            '{"file_name": "x.flac", "label": 7}',
            r"line 1 must be a row whose file_name and label are text, got label 7",
        ),
        ('{"file_name": "x.flac", "label": "x"}', r"metadata.jsonl must be rows with a fold, .* got neither"),
    ],
)
def test_a_broken_table_is_refused_with_file_and_line(tmp_path, text, message):
    (tmp_path / "metadata.jsonl").write_text(text)
    with pytest.raises(ValueError, match=message):
        datasets.get("demo")(tmp_path)


def words(*items):
    known = sorted({name for name, _ in items})
    made = [Item(Path("x"), known.index(name), f"{i}", fold=fold) for i, (name, fold) in enumerate(items)]
    return Dataset("x", tuple(made), tuple(known), 8000, 1.0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (words(("a", "1"), ("a", "2")), "at least two classes, got one of 1: a"),
        (
            words(("a", "1"), ("b", "1"), ("a", "2")),
            "training clips of fold 1 must be some of every class, got none of b",
        ),
        (words(("a", None), ("b", None)), "one with folds or with clips marked test, got neither"),
        (replace(words(("a", "1"), ("b", "2")), class_names=("a", "b", "c")), "got none of a, c"),
    ],
)
def test_folds_that_cannot_be_trained_or_tested_on_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        check_folds(data)


def test_folds_are_counted_once():
    data = words(("a", "1"), ("b", "1"), ("a", "2"), ("b", "2"))
    assert check_folds(data) == ["1", "2"]
    assert check_folds(data, ["2", "2"]) == ["2"]


def test_a_manifest_of_absent_files_names_itself_and_the_first(tmp_path):
    table = tmp_path / "m.csv"
    for count, told in ((12, ""), (1000, r" \(200 were tried\)")):
        table.write_text("path,label,fold\n" + "".join(f"{i}.wav,{'xy'[i % 2]},{i % 2}\n" for i in range(count)))
        told = rf"^{table} must be of audio files .*, got {count} files of which none can be read{told}, the first: "
        with pytest.raises(ValueError, match=told + r".*/0\.wav: no such file: paths are relative to the manifest"):
            datasets.get("manifest")(table)


def test_a_class_folder_without_a_readable_clip_is_refused(tmp_path, write_wav):
    for name in ("a", "b"):
        write_wav(tmp_path / name / "1.wav")
    (tmp_path / "c" / "deep").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    message = r"root must be a folder with clips in each class folder, got .* that have none: c \(empty\): a class with"
    with pytest.raises(ValueError, match=message):
        datasets.get("folder")(tmp_path)
    for name in ("1.m4a", "2.M4A", "3.txt"):
        (tmp_path / "c" / "deep" / name).write_bytes(b"x")
    (tmp_path / "unlabelled").mkdir()
    with pytest.raises(ValueError, match=r"none: c \(\.m4a \.txt\), unlabelled \(empty\): .*\.wav .*are read"):
        datasets.get("folder")(tmp_path)
    write_wav(tmp_path / "c" / "1.wav")
    write_wav(tmp_path / "unlabelled" / "1.wav")
    assert datasets.get("folder")(tmp_path).class_names == ("a", "b", "c")


def test_folders_of_notes_and_results_are_no_classes(tmp_path, write_wav, capsys):
    for name in "ab":
        write_wav(tmp_path / name / "1.wav")
    for path in ("meta/esc50.csv", "runs/x/result.json", "runs/x/checkpoint.safetensors", "__MACOSX/a/._1.wav"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    assert datasets.get("folder")(tmp_path).class_names == ("a", "b")
    assert "ignored: 3 files that are not read (.csv .json .safetensors)" in " ".join(capsys.readouterr().err.split())


def test_a_class_folder_of_a_part_and_a_part_without_any_are_refused(tmp_path, write_wav):
    for name in ("train/a", "train/b", "test/a"):
        write_wav(tmp_path / name / "1.wav")
    (tmp_path / "test" / "b").mkdir()
    (tmp_path / "test" / ".cache").mkdir()
    with pytest.raises(ValueError, match=r"that have none: test/b \(empty\)"):
        datasets.get("folder")(tmp_path)
    (tmp_path / "test" / "b").rmdir()
    assert datasets.get("folder")(tmp_path).folds == ("test",)
    (tmp_path / "test" / "a").rename(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"test must be a folder with one folder a class, got none"):
        datasets.get("folder")(tmp_path)


def test_files_beside_clips_that_are_not_read_are_told(tmp_path, write_wav, capsys):
    for name in ("a/1.wav", "a/2.FLAC", "b/1.wav"):
        write_wav(tmp_path / name) if name.endswith("wav") else (tmp_path / name).write_bytes(b"x")
    datasets.get("folder")(tmp_path)
    assert capsys.readouterr().err == ""
    for name in ("b/2.m4a", "b/deep/3.txt", "b/.4.m4a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    datasets.get("folder")(tmp_path)
    assert "ignored: 2 files that are not read (.m4a .txt), such as b/2.m4a" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_near_miss_is_named():
    with pytest.raises(ValueError, match="did you mean 'esc10'"):
        datasets.get("esc1")
