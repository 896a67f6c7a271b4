"""The published data sets in their own layouts, written small; and manifests, extra unlabelled clips, odd files."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from recipes import datasets
from recipes.data.split import grouped_folds
from recipes.data.store import open_store
from recipes.datasets import UNKNOWN, Dataset, Item

COLUMNS = ["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]
TEN = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")


def write_table(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def urban(tmp_path, write_wav):
    """Return an UrbanSound8K of 10 folds, 2 classes, 2 slices of a recording each."""
    rows = []
    for fold in range(1, 11):
        for class_id, name in ((1, "car_horn"), (7, "jackhammer")):
            for part in range(2):
                file = f"{100 * fold + class_id}-{class_id}-0-{part}.wav"
                write_wav(tmp_path / "audio" / f"fold{fold}" / file)
                rows.append([file, 100 * fold + class_id, 0.0, 0.5, 1, fold, class_id, name])
    write_table(tmp_path / "metadata" / "UrbanSound8K.csv", COLUMNS, rows)
    return tmp_path


def test_urbansound8k_keeps_its_ten_folds_and_the_slices_of_a_recording_together(urban):
    data = datasets.get("urbansound8k")(urban)
    assert data.folds == tuple(str(i) for i in range(1, 11))
    assert data.class_names == ("car_horn", "jackhammer")
    assert (len(data), data.seconds) == (40, 4.0)
    for fold in data.folds:
        train, test = data.holdout(fold)
        assert {data.items[i].path.parent.name for i in test} == {f"fold{fold}"}
        assert not {data.groups[i] for i in train} & {data.groups[i] for i in test}


def test_reshuffled_folds_are_refused(urban):
    table = urban / "metadata" / "UrbanSound8K.csv"
    rows = list(csv.reader(table.open()))
    rows[1][5] = "2"  # one slice of a recording whose other slice stays in fold 1
    write_table(table, rows[0], rows[1:])
    with pytest.raises(ValueError, match=r"each recording or speaker in one, got 101 in fold 1 and fold 2: its clips"):
        datasets.get("urbansound8k")(urban)


def test_a_class_that_is_no_number_is_told(urban):
    table = urban / "metadata" / "UrbanSound8K.csv"
    table.write_text(table.read_text().replace(",7,jack", ",seven,jack"))
    with pytest.raises(ValueError, match="the column classID of .*UrbanSound8K.csv must be whole numbers, got 'seven'"):
        datasets.get("urbansound8k")(urban)


def test_the_folder_above_or_below_is_said(urban):
    with pytest.raises(ValueError, match="one folder too high or too low"):
        datasets.get("urbansound8k")(urban / "audio")


@pytest.fixture
def commands(tmp_path, write_wav):
    """Return a function that writes Speech Commands with these words: 6 speakers train, 2 validate, 2 test."""

    def write(words, noise=0.0):
        lists = {"validation_list.txt": [], "testing_list.txt": []}
        for word in words:
            for i in range(10):
                name = f"{word}/{i:08x}_nohash_0.wav"
                write_wav(tmp_path / name, seconds=0.05)
                if i >= 6:
                    lists["validation_list.txt" if i < 8 else "testing_list.txt"].append(name)
        for name, lines in lists.items():
            (tmp_path / name).write_text("\n".join(lines) + "\n")
        if noise:
            ramp = np.linspace(0, 0.9, round(noise * 16000))  # its level tells the time
            (tmp_path / "_background_noise_").mkdir()
            soundfile.write(tmp_path / "_background_noise_" / "ramp.wav", ramp, 16000)
        return tmp_path

    return write


def test_speech_commands_follow_the_official_lists(commands):
    data = datasets.get("speech_commands")(commands(["up", "down", "tree"], noise=2.0))
    assert data.class_names == ("down", "tree", "up")
    train, test = data.holdout("test")
    assert {data.items[i].group for i in test} == {"00000008", "00000009"}
    assert {data.items[i].group for i in train} == {f"{i:08x}" for i in range(6)}
    assert (len(train), len(test)) == (18, 6)  # validation clips are in neither


def test_a_subset_of_the_words_is_its_own_task(commands):
    root = commands(["up", "down", "tree"])
    data = datasets.get("speech_commands:words=up+tree")(root)
    assert data.class_names == ("tree", "up")
    assert len(data) == 20
    with pytest.raises(ValueError, match="words must be one of down, tree, up, got 'dwn': did you mean 'down'"):
        datasets.get("speech_commands:words=dwn")(root)
    with pytest.raises(ValueError, match=r"got down: several values are joined by \+, as in .*words=up\+down"):
        datasets.get("speech_commands:words=up,down")


def test_a_list_that_names_absent_clips_is_told(commands):
    root = commands(["up", "down"])
    (root / "up" / "00000009_nohash_0.wav").unlink()
    with pytest.raises(ValueError, match=r"1 that are not there, e.g. up/00000009_nohash_0.wav: was it unpacked"):
        datasets.get("speech_commands")(root)


def test_a_word_that_lists_name_and_no_folder_has_is_told(commands):
    root = commands(["up", "down"])
    (root / "up" / "._00000001_nohash_0.wav").write_text("what a Mac leaves")
    assert len(datasets.get("speech_commands")(root)) == 20
    with open(root / "validation_list.txt", "a") as file:
        file.write("tree/00000006_nohash_0.wav\n")
    with pytest.raises(ValueError, match="got none of tree: was it unpacked to its end.*words=up"):
        datasets.get("speech_commands")(root)
    assert datasets.get("speech_commands:words=up+down")(root).class_names == ("down", "up")


def test_the_task_of_12_classes_has_silence_and_unknown_words_in_every_part(commands, tmp_path):
    root = commands([*TEN, "tree", "bird", "cat"], noise=100.0)
    data = datasets.get("speech_commands_12")(root)
    assert len(data.class_names) == 12
    counts = Counter((item.split, data.class_names[item.label]) for item in data.items)
    for part, each in (("train", 6), ("validation", 2), ("test", 2)):
        assert [counts[part, name] for name in data.class_names] == [each] * 12
    unknown = [item for item in data.items if data.class_names[item.label] == "_unknown_"]
    assert {item.path.parent.name for item in unknown} <= {"tree", "bird", "cat"}
    assert data.items == datasets.get("speech_commands_12")(root).items

    # overlapping cuts are never told apart as if they were different recordings
    assert {item.group for item in data.items if item.start is not None} == {
        f"ramp@{p}" for p in ("train", "validation", "test")
    }

    # heard: no part's silence comes from another part's stretch of the recording
    store = open_store(data, tmp_path / "stores", rate=16000, seconds=1.0, quiet=True)
    level = store.samples.float().mean(1) / 32768 / 0.9  # the time within the recording, as a share
    for part, (low, high) in {"train": (0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1)}.items():
        rows = [i for i, item in enumerate(data.items) if item.split == part and item.start is not None]
        assert len(rows) > 1
        assert ((level[rows] > low) & (level[rows] < high)).all()
    assert level[rows].unique().numel() == len(rows)  # each cut is another


def test_the_task_of_12_classes_says_what_it_lacks(commands):
    index = datasets.get("speech_commands_12")
    root = commands(TEN[:-1])
    with pytest.raises(ValueError, match="got no go"):
        index(root)
    commands(TEN)
    with pytest.raises(ValueError, match="for the class of unknown words, got none"):
        index(root)
    commands([*TEN, "tree"])
    with pytest.raises(ValueError, match="they are the silence"):
        index(root)
    commands([*TEN, "tree"], noise=5.0)
    with pytest.raises(ValueError, match=r"at least 10 s long, for cuts of the validation part, got 5 s"):
        index(root)


def test_esc50_has_all_classes_and_esc10_its_ten(tmp_path, write_wav):
    header = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    rows = []
    for fold in (1, 2):
        for target, name in ((0, "dog"), (3, "cow"), (41, "chainsaw")):
            write_wav(tmp_path / "audio" / f"{fold}-{target}.wav")
            rows.append([f"{fold}-{target}.wav", fold, target, name, str(name != "cow"), f"{fold}{target}", "A"])
    write_table(tmp_path / "meta" / "esc50.csv", header, rows)
    assert datasets.get("esc50")(tmp_path).class_names == ("dog", "cow", "chainsaw")
    assert datasets.get("esc10")(tmp_path).class_names == ("dog", "chainsaw")
    write_table(tmp_path / "meta" / "esc50.csv", header, [row for row in rows if row[3] != "cow"])
    with pytest.raises(ValueError, match="a table of all classes, got rows of ESC-10 alone: the data set esc10"):
        datasets.get("esc50")(tmp_path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_manifest_with_recordings_gets_folds_that_keep_them_together(tmp_path, write_wav, suffix):
    rows = []
    for i in range(30):
        write_wav(tmp_path / "sounds" / f"{i}.wav")
        rows.append({"path": f"sounds/{i}.wav", "label": "ab"[i % 2], "group": f"speaker{i % 12 // 2 * 2 + i % 2}"})
    rows.append({"path": "sounds/0b.wav", "label": "", "group": ""})
    write_wav(tmp_path / "sounds" / "0b.wav")
    table = tmp_path / f"clips{suffix}"
    if suffix == ".csv":
        write_table(table, ["path", "label", "group"], [list(row.values()) for row in rows])
    else:
        plain = [{k: v for k, v in row.items() if v} for row in rows]
        table.write_text("\n".join(json.dumps(row) for row in plain) + "\n")
    data = datasets.get("manifest")(table)
    assert data.class_names == ("a", "b")
    assert len(data.folds) == 5
    for fold in data.folds:
        train, test = data.holdout(fold)
        assert not {data.groups[i] for i in train} & {data.groups[i] for i in test}
        assert {data.items[i].label for i in test} <= {0, 1}
        assert any(data.items[i].label == UNKNOWN for i in train)


def test_a_manifest_with_parts_holds_out_its_test_rows(tmp_path, write_wav):
    rows = [[f"{i}.wav", "ab"[i % 2], "test" if i > 5 else "training"] for i in range(8)]
    for name, *_ in rows:
        write_wav(tmp_path / name)
    write_table(tmp_path / "m.csv", ["path", "label", "split"], rows)
    data = datasets.get("manifest")(tmp_path / "m.csv")
    assert data.folds == ("test",)
    assert [data.items[i].id for i in data.holdout("test")[1]] == ["6.wav", "7.wav"]


@pytest.fixture
def manifest(tmp_path, write_wav):
    """Return a function that writes a manifest of columns after the path, and its sounds."""

    def write(header, rows):
        for i in range(len(rows)):
            write_wav(tmp_path / f"{i:02}.wav")
        write_table(tmp_path / "m.csv", ["path", *header], [[f"{i:02}.wav", *row] for i, row in enumerate(rows)])
        return tmp_path / "m.csv"

    return write


def test_the_folds_of_a_manifest_are_never_reshuffled(manifest):
    given = ["A", "B", "C"] * 4
    data = datasets.get("manifest")(manifest(["label", "fold"], [["xy"[i // 6], fold] for i, fold in enumerate(given)]))
    assert data.folds == ("A", "B", "C")
    assert [item.fold for item in data.items] == given
    assert [data.items[i].id for i in data.holdout("B")[1]] == ["01.wav", "04.wav", "07.wav", "10.wav"]


def test_folds_of_a_manifest_that_share_a_recording_are_refused(manifest):
    rows = [["xy"[i % 2], i % 3, "tape" if i in (0, 4) else i] for i in range(12)]
    with pytest.raises(ValueError, match="each recording or speaker in one, got tape in fold 0 and fold 1"):
        datasets.get("manifest")(manifest(["label", "fold", "group"], rows))


def test_rows_without_a_fold_among_others_train_only_where_they_say_so(manifest):
    rows = [["xy"[i % 2], i % 3, "train"] for i in range(12)]
    data = datasets.get("manifest")(manifest(["label", "fold", "split"], [*rows, ["x", "", "train"], ["", "", ""]]))
    assert all({12, 13} <= set(data.holdout(fold)[0]) for fold in data.folds)
    with pytest.raises(ValueError, match="the fold of 12.wav must be given, as other rows' are, got none: split train"):
        datasets.get("manifest")(manifest(["label", "fold", "split"], [*rows, ["x", "", ""]]))


def test_rows_of_a_manifest_marked_unlabelled_keep_no_label_and_are_never_tested_on(manifest):
    rows = [["xy"[i % 2], "train"] for i in range(10)] + [["y", "unlabelled"], ["z", "unlabeled"]]
    data = datasets.get("manifest")(manifest(["label", "split"], rows))
    assert data.class_names == ("x", "y")
    assert [item.label for item in data.items[10:]] == [UNKNOWN, UNKNOWN]
    for fold in data.folds:
        assert {10, 11} <= set(data.holdout(fold)[0])


@pytest.mark.parametrize(("fold", "slip"), [("test", "a part stands in the column split"), ("a/b", ""), ("", "")])
def test_a_fold_needs_a_name_that_a_folder_may_have(fold, slip):
    items = [Item(Path(f"{i}.wav"), i % 2, str(i), ["1", fold][i // 2]) for i in range(4)]
    with pytest.raises(ValueError, match=f"the name of a fold must be a word, or a number, got '{fold}'.*{slip}"):
        Dataset("toy", tuple(items), ("a", "b"), 8000, 1.0)


def test_grouped_folds_are_balanced_where_the_groups_allow_it():
    labels = torch.arange(60) % 3
    groups = [f"{i % 3}-{i // 6}" for i in range(60)]  # ten recordings of two clips in each class
    folds = grouped_folds(labels, groups, 5, seed=1)
    for name in set(groups):
        assert len({int(folds[i]) for i, g in enumerate(groups) if g == name}) == 1
    for c in range(3):
        assert folds[labels == c].bincount(minlength=5).tolist() == [4] * 5


def test_more_unlabelled_clips_train_and_are_never_tested_on(urban, tmp_path, write_wav):
    extra = tmp_path / "extra"
    for name in ("x.wav", "deep/er/y.wav", ".hidden.wav", "notes.txt"):
        write_wav(extra / name, frequency=500) if name.endswith(".wav") else (extra / name).write_text("no sound")
    data = datasets.with_unlabelled(datasets.get("urbansound8k")(urban), extra)
    assert len(data) == 42
    for fold in data.folds:
        train, test = data.holdout(fold)
        assert {"unlabelled/deep/er/y.wav", "unlabelled/x.wav"} <= {data.items[i].id for i in train}
        assert all(data.items[i].label != UNKNOWN for i in test)


def test_clips_of_the_data_set_itself_are_no_unlabelled_clips(urban, tmp_path):
    data = datasets.get("urbansound8k")(urban)
    with pytest.raises(ValueError, match="2 clips of the data set itself|clips of the data set itself, e.g."):
        datasets.with_unlabelled(data, urban / "audio" / "fold1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="is it empty"):
        datasets.with_unlabelled(data, tmp_path / "empty")
    with pytest.raises(ValueError, match="unlabelled must be the folder of unlabelled audio, got .*there is no such"):
        datasets.with_unlabelled(data, tmp_path / "nowhere")


def test_copies_of_the_data_sets_clips_are_left_out_and_told(urban, tmp_path, write_wav, capsys):
    for i, path in enumerate(sorted((urban / "audio").rglob("*.wav"))):  # all of one size, each with its own sound
        write_wav(path, frequency=300 + 10 * i)
    data, extra = datasets.get("urbansound8k")(urban), tmp_path / "extra"
    held = [data.items[i] for i in data.holdout("3")[1]]
    for i, item in enumerate(held):
        (extra / "deep").mkdir(parents=True, exist_ok=True)
        shutil.copy(item.path, extra / "deep" / f"renamed {i}.wav")
    with pytest.raises(ValueError, match=r"other clips than those .*, got 4 files are copies .* of fold3/"):
        datasets.with_unlabelled(data, extra)
    write_wav(extra / "other.wav", frequency=299)  # as large as the others
    write_wav(extra / "short.wav", seconds=0.25)
    (extra / "cut.wav").write_bytes(held[0].path.read_bytes()[:-2])
    (extra / "gone.wav").symlink_to(tmp_path / "nowhere.wav")  # decoding lists it
    assert other_bytes(extra / "other.wav", held[0].path)
    more = datasets.with_unlabelled(data, extra)
    found = {item.id for item in more.items} - {item.id for item in data.items}
    assert found == {f"unlabelled/{name}.wav" for name in ("other", "short", "cut", "gone")}
    said = " ".join(capsys.readouterr().err.split())
    assert f"left out: 4 files are copies of clips of the data set, e.g. {extra}/deep/renamed 0.wav of fold3/" in said
    assert "held-out clips would be trained on" in said


def other_bytes(one, two):
    return one.stat().st_size == two.stat().st_size and one.read_bytes() != two.read_bytes()


def test_files_of_another_size_are_not_read(urban, tmp_path, write_wav, monkeypatch):
    write_wav(tmp_path / "extra" / "x.wav", seconds=0.75)
    monkeypatch.setattr(datasets, "_digest", lambda path: pytest.fail("read"))
    assert len(datasets.with_unlabelled(datasets.get("urbansound8k")(urban), tmp_path / "extra")) == 41


def test_a_clip_named_twice_is_refused():
    with pytest.raises(ValueError, match="names each clip once, got a twice"):
        Dataset("x", (Item(Path("a"), 0, "a"), Item(Path("b"), 0, "a")), ("k",), 8000, 1.0)


ODD = [
    {"rate": 8000}, {"rate": 192000}, {"rate": 11025, "channels": 2}, {"subtype": "PCM_24"}, {"subtype": "PCM_U8"},
    {"subtype": "FLOAT"}, {"subtype": "IMA_ADPCM"}, {"subtype": "MS_ADPCM"}, {"seconds": 0.05},
]  # fmt: skip


@pytest.mark.parametrize("form", ODD, ids=str)
def test_odd_files_of_the_wild_load_with_their_tone(tmp_path, write_wav, form):
    path = write_wav(tmp_path / "x.wav", **{"rate": 44100, **form})
    data = Dataset("x", (Item(path, 0, "x"),), ("k",), 44100, 0.5)
    store = open_store(data, tmp_path / "stores", rate=16000, seconds=0.5, quiet=True)
    size = int(store.lengths[0])
    assert abs(size - 16000 * form.get("seconds", 0.5)) <= 1
    wave = store.samples[0, :size].float()
    spectrum = torch.fft.rfft(wave * torch.hann_window(size)).abs()
    assert abs(int(spectrum.argmax()) * 16000 / size - 440) <= 16000 / size
    assert not store.samples[0, size:].any()
