"""A data set as training takes it: its folds, what is held out, and what is refused."""

from dataclasses import replace

import pytest
from archives import clips, esc, urban, write_table

from audiomix.datasets.dataset import UNKNOWN, Dataset
from audiomix.datasets.item import Item
from recipes.data.loader import check_folds
from recipes.data.protocol import available, check_parts, read_dataset, with_folds


def test_data_sets_without_classes_are_not_offered(tmp_path):
    assert not {"clotho", "audiocaps"} & set(available())
    with pytest.raises(ValueError, match=r"dataset must be one of demo, esc10, .*, urbansound8k, got 'clotho'"):
        read_dataset("clotho", tmp_path)


def test_a_folder_gets_five_stratified_folds(tone_folder):
    data = read_dataset("folder", tone_folder)
    assert data.class_names == ("high", "low", "middle")
    assert (data.rate, data.seconds) == (8000, 0.5)
    for fold in data.folds:
        _, test = data.holdout(fold)
        assert sorted(data.labels[i] for i in test) == [0] * 4 + [1] * 4 + [2] * 4
    assert len(data.folds) == 5


def test_unlabelled_clips_train_and_are_never_tested_on(tmp_path, write_wav):
    for i in range(5):
        write_wav(tmp_path / "a" / f"{i}.wav")
    write_wav(tmp_path / "unlabelled" / "x.wav")
    data = read_dataset("folder", tmp_path)
    assert data.class_names == ("a",)
    assert len(data.folds) == 5
    for fold in data.folds:
        train, test = data.holdout(fold)
        assert UNKNOWN in [data.labels[i] for i in train]
        assert [data.labels[i] for i in test] == [0]


def test_recordings_are_kept_together(tmp_path, write_wav):
    rows = [[f"{i}.wav", "ab"[i % 2], f"speaker{i % 12 // 2 * 2 + i % 2}"] for i in range(30)] + [["0b.wav", "", ""]]
    for name, *_ in rows:
        write_wav(tmp_path / name)
    data = read_dataset("manifest", write_table(tmp_path / "m.csv", ["path", "label", "group"], rows))
    assert len(data.folds) == 5
    for fold in data.folds:
        train, test = data.holdout(fold)
        assert not {data.groups[i] for i in train} & {data.groups[i] for i in test}
        assert {data.labels[i] for i in test} <= {0, 1}
        assert any(data.labels[i] == UNKNOWN for i in train)


def test_folds_and_parts_that_there_are_stay_as_they_are(tmp_path):
    data = read_dataset("esc10", esc(tmp_path))
    assert with_folds(data) is data
    for homes in [("1", None), ("2", None)], [(None, "train"), (None, "test")], [(None, None), (None, "validation")]:
        data = Dataset("own", clips(homes), ("a", "b"), 8000, 1.0, official=False)
        assert with_folds(data) is data


def test_notes_are_printed_before_the_data_set_is_refused(tmp_path, write_wav, capsys):
    write_wav(tmp_path / "a" / "1.wav")
    (tmp_path / "a" / "notes.txt").write_text("x")
    write_wav(tmp_path / "stray.wav")
    assert len(read_dataset("folder", tmp_path)) == 1
    printed = " ".join(capsys.readouterr().err.split())
    assert "ignored: 1 files that are not read (.txt), such as a/notes.txt" in printed
    assert "ignored: 1 files in no class folder, such as stray.wav" in printed
    for name in ("train/a", "test/b"):
        write_wav(tmp_path / "parts" / name / "1.wav")
    with pytest.raises(ValueError, match="got also b"):
        read_dataset("folder", tmp_path / "parts")
    assert "the folders are read as split/class: test, train are splits" in capsys.readouterr().err


def test_a_data_set_without_labels_is_refused():
    with pytest.raises(ValueError, match="one with labelled clips, got 1 clips, none with a class"):
        check_parts(Dataset("x", (Item("", "a"),), ("k",), 8000, 1.0))


def test_a_clip_named_twice_is_refused():
    with pytest.raises(ValueError, match="names each clip once, got a twice"):
        check_parts(Dataset("x", (Item("", "a", "k"), Item("", "a", "k", file="b")), ("k",), 8000, 1.0))


@pytest.mark.parametrize(("fold", "slip"), [("test", "a part stands in the column split"), ("a/b", ""), ("", "")])
def test_a_fold_needs_a_name_that_a_folder_may_have(fold, slip):
    items = clips([("1", None), ("1", None), (fold, None), (fold, None)])
    with pytest.raises(ValueError, match=f"the name of a fold must be a word, or a number, got '{fold}'.*{slip}"):
        check_parts(Dataset("toy", items, ("a", "b"), 8000, 1.0))


def test_folds_that_share_a_recording_are_refused(tmp_path, write_wav):
    table = urban(tmp_path / "urban") / "metadata" / "UrbanSound8K.csv"
    lines = table.read_text().splitlines()
    cells = lines[1].split(",")
    lines[1] = ",".join([*cells[:5], "2", *cells[6:]])  # one slice of a recording whose other slice stays in fold 1
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"each recording or speaker in one, got 101 in fold 1 and fold 2: its clips"):
        read_dataset("urbansound8k", tmp_path / "urban")
    rows = [[f"{i}.wav", "xy"[i % 2], i % 3, "tape" if i in (0, 4) else i] for i in range(12)]
    for name, *_ in rows:
        write_wav(tmp_path / name)
    table = write_table(tmp_path / "m.csv", ["path", "label", "fold", "group"], rows)
    with pytest.raises(ValueError, match="each recording or speaker in one, got tape in fold 0 and fold 1"):
        read_dataset("manifest", table)
    table = write_table(tmp_path / "m.csv", ["path", "label", "group"], [["0.wav", "x", "g"], ["1.wav", "", "g"]])
    with pytest.raises(ValueError, match=r"got g in fold \d and no fold"):
        read_dataset("manifest", table)


def words(*items):
    known = sorted({name for name, _ in items})
    made = [Item("", f"{i}", name, fold=fold) for i, (name, fold) in enumerate(items)]
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
