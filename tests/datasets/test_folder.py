"""Class folders, read for mixing and for training."""

import pytest
from made import write

from audiomix import datasets
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


# What each reading makes of TOP/x/1.wav: "CLASS SPLIT" for each of the folders TOP, or the error of training. Where the
# two differ, issue 14 decides.
TOO_HIGH = "a folder with train beside test or validation, got .*too high"
READINGS = [
    ("test train", "x test, x train", "x test, x train"),
    ("train val", "x train, x val", "x train, x validation"),
    ("TEST Train", "x TEST, x Train", "x test, x train"),
    ("testing training", "x testing, x training", "testing None, training None"),
    ("eval train", "x eval, x train", "eval None, train None"),
    ("train", "x train", TOO_HIGH),
    ("test val", "x test, x val", TOO_HIGH),
    ("notes test train", "notes None, test None, train None", "x test, x train"),
    ("a unlabelled", "a None, unlabelled None", "a None, None unlabelled"),
]


@pytest.mark.parametrize(("tops", "mixing", "training"), READINGS, ids=[tops for tops, *_ in READINGS])
def test_folders_that_may_be_parts_or_classes(tmp_path, tops, mixing, training):
    tree(tmp_path, *(f"{top}/x/1.wav" for top in tops.split()))

    def read(items):
        return ", ".join(f"{item.label} {item.split}" for item in items)

    assert read(read_source(tmp_path)[0]) == mixing
    if training == TOO_HIGH:
        with pytest.raises(ValueError, match=training):
            index(tmp_path)
    else:
        assert read(index(tmp_path)[0].items) == training


def test_class_folders_that_are_links_are_read_and_links_below_them_by_mixing_alone(tmp_path):
    tree(tmp_path / "elsewhere", "9.wav")
    root = tree(tmp_path / "set", "a/1.wav", "b/1.wav")
    (root / "c").symlink_to(tmp_path / "elsewhere")
    assert (
        [i.id for i in index(root)[0].items]
        == ["a/1.wav", "b/1.wav", "c/9.wav"]
        == [i.id for i in read_source(root)[0]]
    )
    (root / "c").unlink()
    (root / "a" / "far").symlink_to(tmp_path / "elsewhere")
    assert "a/far/9.wav" in {i.id for i in read_source(root)[0]}
    assert len(index(root)[0]) == 2


def test_train_and_validation_without_test_hold_out_validation(tmp_path):
    tree(tmp_path, *(f"{f}/1.wav" for f in ("train/a", "train/b", "Valid/a", "Valid/b", "unlabelled", "notes/c")))
    data, notes = index(tmp_path)
    assert data.class_names == ("a", "b")
    assert data.folds == ("validation",)
    train, test = data.holdout("validation")
    assert [data.items[i].id for i in train] == ["train/a/1.wav", "train/b/1.wav", "unlabelled/1.wav"]
    assert [data.items[i].id for i in test] == ["Valid/a/1.wav", "Valid/b/1.wav"]
    assert notes == [f"{tmp_path}: taken apart into Valid, train; ignored: notes"]


def test_train_and_test_hold_out_test_and_validation_is_left_alone(tmp_path):
    tree(tmp_path, *(f"{f}/deeper/1.wav" for f in ("train/a", "train/b", "train/c", "test/a", "test/b", "val/a")))
    data, _ = index(tmp_path)
    assert (data.class_names, data.folds) == (("a", "b", "c"), ("test",))
    train, test = data.holdout("test")
    assert [data.items[i].id for i in train] == [f"train/{n}/deeper/1.wav" for n in "abc"]
    assert [data.labels[i] for i in test] == [0, 1]


def test_a_root_without_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is it empty"):
        index(tmp_path)
    tree(tmp_path, "loose.wav")
    with pytest.raises(ValueError, match="files lie in the top folder, without a class"):
        index(tmp_path)
    with pytest.raises(ValueError, match="1 of 1 files without a label"):
        read_source(tmp_path)
    tree(tmp_path, "unlabelled/x.wav")
    with pytest.raises(ValueError, match="at least one folder a class"):
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
    tree(tmp_path, "c/deep/1.m4a", "c/deep/2.M4A", "c/deep/3.txt")
    (tmp_path / "unlabelled").mkdir()
    with pytest.raises(ValueError, match=r"none: c \(\.m4a \.txt\), unlabelled \(empty\): .*\.wav .*are read"):
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
    (tmp_path / "test" / "a").rename(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"test must be a folder with one folder a class, got none"):
        index(tmp_path)


def test_what_is_ignored_is_noted(tmp_path):
    tree(tmp_path, "a/1.wav", "a/2.FLAC", "b/1.wav")
    assert index(tmp_path)[1] == []
    # folders of notes and results are no classes
    tree(tmp_path, "meta/esc50.csv", "runs/x/result.json", "runs/x/checkpoint.safetensors", "__MACOSX/a/._1.wav")
    tree(tmp_path, "b/deep/3.txt", "b/2.m4a", "b/.4.m4a", "stray.wav")
    data, notes = index(tmp_path)
    assert data.class_names == ("a", "b")
    assert notes == [
        f"{tmp_path}: ignored: 5 files that are not read (.csv .json .m4a .safetensors .txt), such as b/2.m4a",
        f"{tmp_path}: ignored: 1 files in no class folder, such as stray.wav; unlabelled clips belong in a folder "
        "unlabelled",
    ]
