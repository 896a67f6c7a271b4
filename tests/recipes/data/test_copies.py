"""Extra unlabelled clips, and copies by which a held-out clip would be trained on."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from archives import clips, urban
from made import write

from audiomix.datasets.dataset import UNKNOWN, Dataset
from audiomix.datasets.item import Item
from recipes.data import copies
from recipes.data.copies import add_unlabelled, check_copies
from recipes.data.protocol import read_dataset


@pytest.fixture
def data(tmp_path):
    return read_dataset("urbansound8k", urban(tmp_path / "urban"))


def test_more_unlabelled_clips_train_and_are_never_tested_on(data, tmp_path):
    extra = tmp_path / "extra"
    for i, name in enumerate(("x.wav", "deep/er/y.wav", ".hidden.wav")):
        write(extra / name, seed=100 + i)
    (extra / "notes.txt").write_text("no sound")
    more = add_unlabelled(data, extra)
    assert len(more) == 42
    paths = {item.id: item.path for item in more.items}
    assert paths["unlabelled/deep/er/y.wav"] == str(extra / "deep" / "er" / "y.wav")
    for fold in more.folds:
        train, test = more.holdout(fold)
        assert {"unlabelled/deep/er/y.wav", "unlabelled/x.wav"} <= {more.items[i].id for i in train}
        assert all(more.labels[i] != UNKNOWN for i in test)


def test_clips_of_the_data_set_itself_are_no_unlabelled_clips(data, tmp_path):
    with pytest.raises(ValueError, match="got 4 clips of the data set itself, e.g."):
        add_unlabelled(data, tmp_path / "urban" / "audio" / "fold1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="is it empty"):
        add_unlabelled(data, tmp_path / "empty")
    with pytest.raises(ValueError, match="unlabelled must be the folder of unlabelled audio, got .*there is no such"):
        add_unlabelled(data, tmp_path / "nowhere")


def test_copies_of_the_data_sets_clips_are_left_out_and_named(data, tmp_path, capsys):
    extra = tmp_path / "extra"
    held = [Path(data.items[i].path) for i in data.holdout("3")[1]]
    (extra / "deep").mkdir(parents=True)
    for i, path in enumerate(held):
        shutil.copy(path, extra / "deep" / f"renamed {i}.wav")
    with pytest.raises(ValueError, match=r"other clips than those .*, got 4 files are copies .* of fold3/"):
        add_unlabelled(data, extra)
    write(extra / "other.wav", seed=999, rate=8000)  # as large as the others
    assert (extra / "other.wav").stat().st_size == held[0].stat().st_size
    write(extra / "short.wav", seconds=0.25)
    (extra / "cut.wav").write_bytes(held[0].read_bytes()[:-2])
    (extra / "gone.wav").symlink_to(tmp_path / "nowhere.wav")  # decoding lists it
    more = add_unlabelled(data, extra)
    new = {item.id for item in more.items} - {item.id for item in data.items}
    assert new == {f"unlabelled/{name}.wav" for name in ("other", "short", "cut", "gone")}
    printed = " ".join(capsys.readouterr().err.split())
    assert f"left out: 4 files are copies of clips of the data set, e.g. {extra}/deep/renamed 0.wav of fold" in printed
    assert "held-out clips would be trained on" in printed


def test_files_of_another_size_are_not_read(data, tmp_path, monkeypatch):
    write(tmp_path / "extra" / "x.wav", seconds=0.75)
    monkeypatch.setattr(copies, "_digest", lambda path: pytest.fail("read"))
    assert len(add_unlabelled(data, tmp_path / "extra")) == 41


def check(homes, hashes, *, official=False, quiet=False):
    """Check clips with these folds and parts, two classes, by the hashes of their files."""
    check_copies(Dataset("own", clips(homes), ("a", "b"), 8000, 1.0, official=official), list(hashes), quiet=quiet)


@pytest.mark.parametrize(
    ("homes", "named"),
    [
        ([("1", None), ("2", None)], r"1 files with the bytes of another, e.g. clip0 \(fold 1\) and clip1 \(fold 2\)"),
        ([("1", None), ("2", None), (None, "train"), ("1", None)], r"1 files .* clip0 \(fold 1\) and clip1 \(fold 2\)"),
        ([("1", None), ("2", None), (None, "train"), ("2", None)], r"2 files .* clip0 \(fold 1\) and clip1 \(fold 2\)"),
        ([("1", None), (None, "train"), ("2", None)], r"clip0 \(fold 1\) and clip1 \(train\)"),
        ([("1", None), (None, "unlabelled"), ("2", None)], r"clip0 \(fold 1\) and clip1 \(unlabelled\)"),
        ([(None, "train"), (None, "test")], r"clip0 \(train\) and clip1 \(test\)"),
        ([(None, None), (None, "test")], r"clip0 \(no fold\) and clip1 \(test\)"),
        ([("1", "test"), ("1", "train")], r"clip0 \(fold 1 test\) and clip1 \(fold 1 train\)"),
        ([("1", "validation"), ("1", None), ("2", None)], r"clip0 \(fold 1 validation\) and clip1 \(fold 1\)"),
        ([(None, "train"), (None, "validation")], r"clip0 \(train\) and clip1 \(validation\)"),
    ],
)
def test_copies_across_what_is_held_out_are_refused(homes, named):
    with pytest.raises(ValueError, match=rf"the folds must be apart: .* got .*{named}.*: copies: remove one"):
        check(homes, "aaba"[: len(homes)])


@pytest.mark.parametrize(
    "homes",
    [
        [("1", None), ("1", None), ("2", None)],
        [(None, "train"), (None, "unlabelled"), (None, "test")],
        [(None, "train"), (None, None), ("1", None)],
        [("1", "train"), ("2", "train"), (None, "test")],  # the folds are not used where a part is held out
        [("1", "train"), ("2", None), (None, "validation"), (None, "test")],
    ],
)
def test_copies_on_one_side_are_no_harm(homes):
    check(homes, "aabc"[: len(homes)])


def test_pieces_of_one_file_are_no_copies():
    items = tuple(Item("", str(i), "ab"[i], fold=f"{i}", start=float(i), seconds=1.0) for i in (0, 1))
    data = Dataset("own", items, ("a", "b"), 8000, 1.0, official=False)
    check_copies(data, ["h", "h"])
    again = replace(data, items=(items[0], replace(items[1], start=0.0)))
    with pytest.raises(ValueError, match="1 files with the bytes of another"):
        check_copies(again, ["h", "h"])


def test_copies_in_official_folds_are_kept_and_named_once(capsys):
    homes = [("1", None), ("2", None)]
    check(homes, "aa", official=True)
    printed = capsys.readouterr().err
    assert "own: its folds share clips: 1 files with the bytes of another, e.g. clip0 (fold 1) and clip1" in printed
    check(homes, "aa", official=True, quiet=True)
    check(homes, "ab", official=True)
    assert capsys.readouterr().err == ""
