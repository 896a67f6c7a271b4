"""Class folders, read for mixing and for training."""

import re
import sys
import unicodedata

import pytest
from made import write

from audiomix import datasets
from audiomix.audio import video
from audiomix.datasets.item import SPLITS
from audiomix.datasets.source import read_source


def tree(root, *names):
    """Write sounds, and other files with a byte in them."""
    for i, name in enumerate(names):
        if name.lower().endswith((".wav", ".flac", ".ogg")):
            write(root / name, seed=i, seconds=0.1, subtype=None)
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"x")
    return root


def index(root):
    notes = []
    return datasets.get("folder")(root, notes), notes


def facts(items):
    return [(item.id, item.label, item.split) for item in items]


def test_class_folders_are_read_alike_for_mixing_and_for_training(tmp_path):
    tree(tmp_path, *(f"{c}/{i}.wav" for c in "abc" for i in range(3)), "a/deep/er/9.FLAC", "b/.h.wav", ".git/1.wav")
    items, names = read_source(tmp_path)
    data, notes = index(tmp_path)
    assert names == ["a", "b", "c"]
    assert (data.class_names, data.folds, data.official, notes) == (("a", "b", "c"), (), False, [])
    assert (data.rate, round(data.seconds, 3)) == (16000, 0.1)
    assert facts(data.items) == sorted(facts(items))
    assert data.items[0].path == str(tmp_path / "a" / "0.wav")


# What both readings make of the sounds: "CLASS SPLIT FOLD" for each, where training calls parts by their usual names;
# or the readings that are offered where there are two.
READINGS = [
    ("train/x test/x", "x test -, x train -"),
    ("TEST/x Train/x", "x test -, x train -"),
    ("testing/x training/x", "x test -, x train -"),
    ("eval/x train/x Dev/x", "x validation -, x test -, x train -"),
    ("train/x valid/x", "x train -, x validation -"),
    ("train/x", "x train -"),
    ("fold1/x fold2/x", "x - fold1, x - fold2"),
    ("Fold_01/x Fold_10/y", "x - Fold_01, y - Fold_10"),
    ("train/fold1/x train/fold2/x test/fold1/x", "x test fold1, x train fold1, x train fold2"),
    ("x/train x/test y/train", "x test -, x train -, y train -"),
    ("x/fold1 x/fold2", "x - fold1, x - fold2"),
    ("genres_original/x genres_original/y", "x - -, y - -"),
    ("data/train/x data/test/x", "x test -, x train -"),
    ("anything/train/x anything/test/x", "x test -, x train -"),
    ("a/deep/er b", "a - -, b - -"),
    ("bus tram train", "bus - -, train - -, tram - -"),
    ("1 2 10", "1 - -, 10 - -, 2 - -"),
    ("yes _background_noise_ no", "no - -, yes - -"),
    ("train test", "split or class"),
    ("fold1 fold2", "fold or class"),
    ("notes/x test/x train/x", "split/class or class"),
    ("fold1/x fold2/x extra/x", "fold/class or class"),
    ("fold1/x test/x train/x", "split/class or class"),
    ("train-clean-100/19 dev-clean/84", "split/class or class"),
    ("LibriSpeech/train-clean-100/19 LibriSpeech/dev-clean/84", "_/split/class or _/class"),
    ("set.audio_train set.audio_test", "split or class"),
    ("part1/x part2/x", "fold/class or class"),
    ("session_a session_b", "fold or class"),
    ("tr/x cv/x tt/x", "split/class or class"),
    ("thing/x thing/y", "_/class or class"),
    ("x/train x/test x/y", "class/split or class"),
    ("audio/train audio/test", "_/split or _/class"),
    ("2019/x 2019/y 2020/x 2020/y", "_/class or class"),
    ("s1/yes s1/no s2/yes s2/no s3/no", "_/class or class"),
    ("development/x evaluation/x", "split/class or class"),
    ("train/x unseen/x", "split/class or class"),
    ("fold1/x more/x", "fold/class or class"),
    ("audio/x audio/y noise", "_/class or class"),
    ("en/clips/x en/clips/y", "x - -, y - -"),
    ("one/two/x one/two/y", "_/_/class or _/class"),
    ("one/two/x", "one - -"),
    ("a/wav b/wav", "a - -, b - -"),
    ("train/a/s1 train/a/s2 train/b/s1 test/a/s1", "a test -, a train -, a train -, b train -"),
]  # fmt: skip


@pytest.mark.parametrize(("folders", "meaning"), READINGS, ids=[folders for folders, _ in READINGS])
def test_both_readings_of_a_tree_are_one(tmp_path, folders, meaning):
    tree(tmp_path, *(f"{folder}/1.wav" for folder in folders.split()))
    if " or " in meaning:
        one, other = meaning.split(" or ")
        options = rf"--layout {one} with audiomix .*, folder:layout={one} with"
        message = rf"got {one} \(.*\) or {other} \(.*{options}"
        for read in (read_source, index):
            with pytest.raises(ValueError, match=message):
                read(tmp_path)
        chosen = datasets.get(f"folder:layout={other}")(tmp_path)
        assert facts(read_source(tmp_path, layout=other)[0]) == facts(chosen.items)
        return
    items, data = read_source(tmp_path)[0], index(tmp_path)[0]

    def told(items, split):
        return ", ".join(f"{i.label} {split(i.split) or '-'} {i.fold or '-'}" for i in items)

    assert told(data.items, lambda name: name) == meaning
    assert told(sorted(items, key=lambda i: i.id), lambda name: SPLITS[name.lower()] if name else None) == meaning


def test_where_labels_are_not_needed_less_is_asked(tmp_path):
    tree(tmp_path / "flat", "train/1.wav", "test/2.wav")
    tree(tmp_path / "deep", "part1/x/1.wav", "part2/y/2.wav")
    for options in ({"no_labels": True}, {"need_labels": False}):
        assert {(i.label, i.split) for i in read_source(tmp_path / "flat", **options)[0]} == {
            (None, "train"),
            (None, "test"),
        }
    assert [i.fold for i in read_source(tmp_path / "deep", no_labels=True)[0]] == ["part1", "part2"]
    with pytest.raises(ValueError, match="fold/class"):
        read_source(tmp_path / "deep", need_labels=False)


def test_layouts_that_are_named(tmp_path):
    tree(tmp_path, "s1/dog/a/1.wav", "s2/cat/b/2.wav", "x.wav")
    for layout, wanted in (
        ("class", [("s1", None), ("s2", None)]),
        ("group/class", [("dog", "s1"), ("cat", "s2")]),
        ("_/class/group", [("dog", "a"), ("cat", "b")]),
    ):
        items, data = read_source(tmp_path, layout=layout)[0], datasets.get(f"folder:layout={layout}")(tmp_path)
        assert [(i.label, i.group) for i in items] == [(i.label, i.group) for i in data.items] == wanted
    for layout, message in (("clas", "did you mean 'class'"), ("class/class", "class twice"), ("class//_", "one of")):
        with pytest.raises(ValueError, match=message):
            read_source(tmp_path, layout=layout)


def test_how_a_tree_is_read_is_noted_unless_it_is_plain(tmp_path):
    for i, (folders, note) in enumerate((
        ("a b", []),
        ("train/a test/a", ["the folders are read as split/class: test, train are splits"]),
        ("a/train b/test", ["the folders are read as class/split: test, train are splits of each class"]),
        ("one", ["the folders are read as class: one is the only class"]),
        ("bus train", ["the folders are read as class: train is a class like bus"]),
        ("Actor_01 Actor_02",
         ["the folders are read as class: Actor_01, Actor_02 are taken for classes; "
          "where they are speakers: layout group"]),
        ("Dog dog", ["'Dog' and 'dog' are two classes"]),
        ("a b _background_noise_", ["1 files below _background_noise_ are noise of no class, and left out"]),
    )):  # fmt: skip
        root = tree(tmp_path / str(i), *(f"{folder}/1.wav" for folder in folders.split()))
        notes = []
        read_source(root, notes=notes)
        assert notes == note


def test_one_class_in_two_spellings_of_unicode_is_one(tmp_path):
    for form in ("NFC", "NFD"):
        tree(tmp_path, f"{unicodedata.normalize(form, 'Vögel')}/{form}.wav")
    tree(tmp_path, "rain/1.wav")
    assert read_source(tmp_path)[1] == list(index(tmp_path)[0].class_names) == ["V\u00f6gel", "rain"]


def test_linked_folders_are_read(tmp_path):
    tree(tmp_path / "elsewhere", "9.wav")
    root = tree(tmp_path / "set", "a/1.wav", "b/1.wav")
    for link in ("c", "a/far"):
        (root / link).symlink_to(tmp_path / "elsewhere")
        ids = ["a/1.wav", "b/1.wav", f"{link}/9.wav"]
        assert [i.id for i in index(root)[0].items] == sorted(ids) == sorted(i.id for i in read_source(root)[0])
        (root / link).unlink()


def test_sounds_outside_the_class_folders_are_left_out_with_a_word(tmp_path):
    tree(tmp_path, "a/1.wav", "b/1.wav", "stray.wav", "unlabelled/2.wav")
    notes = []
    assert [i.id for i in read_source(tmp_path, notes=notes)[0]] == ["a/1.wav", "b/1.wav"]
    assert notes == ["2 files in no class folder are left out, e.g. 'stray.wav'; --no-labels takes all"]
    assert len(read_source(tmp_path, no_labels=True)[0]) == 4
    data, notes = index(tmp_path)
    assert facts(data.items)[2:] == [("unlabelled/2.wav", None, "unlabelled")]
    assert notes == [f"{tmp_path}: ignored: 1 files in no class folder, such as stray.wav; unlabelled clips belong in "
                     "a folder unlabelled"]  # fmt: skip


def test_train_and_validation_without_test_hold_out_validation(tmp_path):
    tree(tmp_path, *(f"{f}/1.wav" for f in ("train/a", "train/b", "Valid/a", "Valid/b", "unlabelled")))
    data, notes = index(tmp_path)
    assert data.class_names == ("a", "b")
    assert data.folds == ("validation",)
    train, test = data.holdout("validation")
    assert [data.items[i].id for i in train] == ["train/a/1.wav", "train/b/1.wav", "unlabelled/1.wav"]
    assert [data.items[i].id for i in test] == ["Valid/a/1.wav", "Valid/b/1.wav"]
    assert notes == ["the folders are read as split/class: Valid, train are splits"]


def test_train_and_test_hold_out_test_and_validation_is_left_alone(tmp_path):
    tree(tmp_path, *(f"{f}/deeper/1.wav" for f in ("train/a", "train/b", "train/c", "test/a", "test/b", "val/a")))
    data, _ = index(tmp_path)
    assert (data.class_names, data.folds) == (("a", "b", "c"), ("test",))
    train, test = data.holdout("test")
    assert [data.items[i].id for i in train] == [f"train/{n}/deeper/1.wav" for n in "abc"]
    assert [data.labels[i] for i in test] == [0, 1]


def test_a_root_without_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no audio files were found"):
        index(tmp_path)
    tree(tmp_path, "loose.wav")
    with pytest.raises(ValueError, match="files lie in the top folder, without a class"):
        index(tmp_path)
    with pytest.raises(ValueError, match="1 of 1 files without a label"):
        read_source(tmp_path)
    tree(tmp_path, "unlabelled/x.wav")
    with pytest.raises(ValueError, match="one with clips of known class"):
        index(tmp_path)


def test_a_class_that_is_only_tested_on_is_refused(tmp_path):
    tree(tmp_path, "train/a/1.wav", "test/b/1.wav")
    with pytest.raises(ValueError, match="root/test must be .* the classes of root/train, got also b"):
        index(tmp_path)
    tree(tmp_path, "val/b/1.wav")
    with pytest.raises(ValueError, match="the classes of root/train, got also b"):
        index(tmp_path)


def test_a_class_folder_without_a_readable_clip_is_refused(tmp_path):
    tree(tmp_path, "a/1.wav", "b/1.wav")
    (tmp_path / "c" / "deep").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    message = r"root must be a folder with clips in each class folder, got .* that have none: c \(empty\): a class with"
    with pytest.raises(ValueError, match=message):
        index(tmp_path)
    tree(tmp_path, "c/deep/1.pcm", "c/deep/2.PCM", "c/deep/3.txt")
    (tmp_path / "unlabelled").mkdir()
    with pytest.raises(ValueError, match=r"none: c \(\.pcm \.txt\), unlabelled \(empty\): .*\.wav .*are read"):
        index(tmp_path)
    tree(tmp_path, "c/1.wav", "unlabelled/1.wav")
    assert index(tmp_path)[0].class_names == ("a", "b", "c")


def test_a_class_folder_of_a_part_and_a_part_without_any_are_refused(tmp_path):
    tree(tmp_path, "train/a/1.wav", "train/b/1.wav", "test/a/1.wav")
    (tmp_path / "test" / "b").mkdir()
    (tmp_path / "test" / ".cache").mkdir()
    with pytest.raises(ValueError, match=r"that have none: test/b \(empty\)"):
        index(tmp_path)
    (tmp_path / "test" / "b").rmdir()
    assert index(tmp_path)[0].folds == ("test",)
    (tmp_path / "test" / "a").rename(tmp_path.parent / "gone")
    with pytest.raises(ValueError, match=r"that have none: test \(empty\)"):
        index(tmp_path)


def test_what_is_ignored_is_noted(tmp_path):
    tree(tmp_path, "a/1.wav", "a/2.FLAC", "b/1.wav")
    assert index(tmp_path)[1] == []
    # folders of notes and results are no classes
    tree(tmp_path, "meta/esc50.csv", "runs/x/result.json", "runs/x/checkpoint.safetensors", "__MACOSX/a/._1.wav")
    tree(tmp_path, "b/deep/3.txt", "b/2.pcm", "b/.4.pcm", "stray.wav")
    data, notes = index(tmp_path)
    assert data.class_names == ("a", "b")
    assert notes == [
        f"{tmp_path}: ignored: 5 files that are not read (.csv .json .pcm .safetensors .txt), such as b/2.pcm",
        f"{tmp_path}: ignored: 1 files in no class folder, such as stray.wav; unlabelled clips belong in a folder "
        "unlabelled",
    ]


def test_what_pyav_alone_reads_is_read_where_it_is_installed(tmp_path, monkeypatch):
    names = ("a/1.m4a", "b/1.AAC", "b/2.wma", "c/1.mp4", "d/1.opus")
    tree(tmp_path, "a/1.wav", "d/1.wav", *names, "d/code.ts")
    if video.available():
        assert [i.id for i in read_source(tmp_path)[0] if not i.id.endswith(".wav")] == list(names)
    monkeypatch.setitem(sys.modules, "av", None)
    notes = []
    assert [i.id for i in read_source(tmp_path, notes=notes)[0]] == ["a/1.wav", "d/1.opus", "d/1.wav"]
    told = r"PyAV reads \.aac \.m4a \.mp4 \.wma: pip install 'audiomix\[video\]'"
    assert re.search(told, notes[0])
    with pytest.raises(ValueError, match="none: b .*PyAV reads"):
        index(tmp_path)
    for name in ("a/1.wav", "d/1.wav", "d/1.opus"):
        (tmp_path / name).unlink()
    for read in (read_source, index):
        with pytest.raises(ValueError, match=told):
            read(tmp_path)
