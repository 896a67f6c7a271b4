"""Speech Commands, read for mixing, and as tasks of all words, of some, and of 12 classes."""

import shutil
from collections import Counter

import pytest
from archives import TEN, speech_commands
from made import write

from audiomix import datasets
from audiomix.datasets.source import read_source


def test_both_readings_follow_the_official_lists(tmp_path):
    root = speech_commands(tmp_path, ["up", "down", "tree"], noise=2.0)
    data = datasets.get("speech_commands")(root)
    assert data.class_names == ("down", "tree", "up")
    train, test = data.holdout("test")
    assert {data.items[i].group for i in test} == {"00000008", "00000009"}
    assert {data.items[i].group for i in train} == {f"{i:08x}" for i in range(6)}
    assert (len(train), len(test)) == (18, 6)  # validation clips are in neither
    items, names = read_source(root)
    assert names == ["down", "tree", "up"]
    assert tuple(items) == data.items


def test_mixing_takes_sounds_that_the_task_leaves_out(tmp_path):
    root = speech_commands(tmp_path, ["up", "down"])
    for name in ("up/deep/x_nohash_1.wav", "up/y_nohash_1.flac", "_more/z.wav", "up/._00000001_nohash_0.wav"):
        write(root / name)
    official = {item.id for item in datasets.get("speech_commands")(root).items}
    assert len(official) == 20
    items, _ = read_source(root)
    left = {item.id: (item.label, item.split, item.group) for item in items if item.id not in official}
    assert left == {
        "up/deep/x_nohash_1.wav": ("up", "train", "x"),
        "up/y_nohash_1.flac": ("up", "train", "y"),
        "_more/z.wav": ("_more", "train", "z.wav"),
    }


def test_the_real_words_keep_their_official_split(speech):
    items, names = read_source(speech)
    counts = {split: sum(i.split == split for i in items) for split in ("train", "validation", "test")}
    assert counts == {"train": 2489, "validation": 300, "test": 1989}
    assert names == ["down", "go", "left", "right", "up"]
    assert next(i for i in items if i.id == "down/022cd682_nohash_0.wav").group == "022cd682"
    words = datasets.get("speech_commands:words=down+go+left+right+up")(speech)
    assert words.items == tuple(sorted(items, key=lambda item: item.id))


def test_a_subset_of_the_words_is_its_own_task(tmp_path):
    root = speech_commands(tmp_path, ["up", "down", "tree"])
    data = datasets.get("speech_commands:words=up+tree")(root)
    assert data.class_names == ("tree", "up")
    assert len(data) == 20
    with pytest.raises(ValueError, match="words must be one of down, tree, up, got 'dwn': did you mean 'down'"):
        datasets.get("speech_commands:words=dwn")(root)


def test_a_list_that_names_absent_clips_is_refused(tmp_path):
    root = speech_commands(tmp_path, ["up", "down"])
    (root / "up" / "00000009_nohash_0.wav").unlink()
    with pytest.raises(ValueError, match=r"1 that are not there, e.g. up/00000009_nohash_0.wav: was it unpacked"):
        datasets.get("speech_commands")(root)
    assert len(read_source(root)[0]) == 19
    (root / "testing_list.txt").unlink()
    with pytest.raises(ValueError, match=r"got no testing_list.txt: one folder too high"):
        datasets.get("speech_commands")(root)


def test_a_word_that_lists_name_and_no_folder_has_is_named(tmp_path):
    root = speech_commands(tmp_path, ["up", "down"])
    with open(root / "validation_list.txt", "a") as file:
        file.write("tree/00000006_nohash_0.wav\n")
    with pytest.raises(ValueError, match="got none of tree: was it unpacked to its end.*words=up"):
        datasets.get("speech_commands")(root)
    assert datasets.get("speech_commands:words=up+down")(root).class_names == ("down", "up")


def test_the_task_of_12_classes_has_silence_and_unknown_words_in_every_part(tmp_path):
    root = speech_commands(tmp_path, [*TEN, "tree", "bird", "cat"], noise=100.0)
    data = datasets.get("speech_commands_12")(root)
    assert len(data.class_names) == 12
    counts = Counter((item.split, item.label) for item in data.items)
    for part, each in (("train", 6), ("validation", 2), ("test", 2)):
        assert [counts[part, name] for name in data.class_names] == [each] * 12
    unknown = [item for item in data.items if item.label == "_unknown_"]
    assert {item.id.split("/")[0] for item in unknown} <= {"tree", "bird", "cat"}
    assert data.items == datasets.get("speech_commands_12")(root).items
    # overlapping cuts are never told apart as if they were different recordings
    assert {item.group for item in data.items if item.start is not None} == {
        f"ramp@{p}" for p in ("train", "validation", "test")
    }


def test_the_task_of_12_classes_says_what_it_lacks(tmp_path):
    index, root = datasets.get("speech_commands_12"), speech_commands(tmp_path, [*TEN, "tree"], noise=5.0)
    with pytest.raises(ValueError, match=r"at least 10 s long, for cuts of the validation part, got 5 s"):
        index(root)
    for folder, message in (
        ("_background_noise_", "they are the silence"),
        ("tree", "for the class of unknown words, got none"),
        ("go", "got no go"),
    ):
        shutil.rmtree(root / folder)
        with pytest.raises(ValueError, match=message):
            index(root)


def test_some_official_parts_are_a_data_set_of_their_own(tmp_path):
    root = speech_commands(tmp_path, ["up", "down", "tree"])
    whole = datasets.get("speech_commands")(root)
    data = datasets.get("speech_commands:parts=validation+test")(root)
    assert [item.id for item in data.items] == [i.id for i in whole.items if i.split in ("validation", "test")]
    assert {item.split for item in data.items} == {None}
    assert [item.group for item in data.items] == [i.group for i in whole.items if i.split in ("validation", "test")]
    assert not data.official
    assert data.name != whole.name
    with pytest.raises(ValueError, match="parts must be one of train, validation, test, got 'dev'"):
        datasets.get("speech_commands:parts=test+dev")(root)


def test_the_other_speakers_of_the_real_words_are_folds_by_speaker(speech):
    from recipes.data.protocol import read_dataset

    data = read_dataset("speech_commands:parts=validation+test", speech)
    assert len(data) == 300 + 1989
    assert len(data.folds) == 5
    for fold in data.folds:
        train, test = data.holdout(fold)
        assert not {data.groups[i] for i in train} & {data.groups[i] for i in test}
        assert len(train) + len(test) == len(data)
