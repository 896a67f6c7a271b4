"""The archive of ESC-50, read for mixing and as the tasks ESC-10 and ESC-50."""

from collections import Counter

import pytest
from archives import ESC_COLUMNS, esc, write_table
from made import write

from audiomix import datasets
from audiomix.datasets.source import read_source

ESC10 = ("dog", "rooster", "rain", "sea_waves", "crackling_fire", "crying_baby", "sneezing", "clock_tick", "helicopter",
         "chainsaw")  # fmt: skip


@pytest.mark.parametrize("suffix", [".wav", ".ogg", ".flac"])
def test_both_readings_say_the_same_whatever_the_suffix_on_disk(tmp_path, suffix):
    items, names = read_source(esc(tmp_path, suffix))
    data = datasets.get("esc50")(tmp_path)
    assert data.class_names == ("dog", "cow", "chainsaw")  # in the order of their targets
    assert names == ["chainsaw", "cow", "dog"]
    assert all(item.path.endswith(suffix) for item in items)
    assert facts(items) == facts(data.items)
    assert {item.id for item in items} == {f"audio/{item.id}{suffix}" for item in data.items}


def facts(items):
    return {(item.path, item.label, item.fold, item.group) for item in items}


def test_esc10_takes_the_flagged_rows(tmp_path):
    data = datasets.get("esc10")(esc(tmp_path))
    assert data.class_names == ("dog", "chainsaw")
    assert sorted(data.labels) == [0, 0, 1, 1]
    assert data.folds == ("1", "2")
    assert set(data.groups) == {"1000", "1041", "2000", "2041"}
    assert (data.rate, data.seconds, data.official) == (44100, 5.0, True)


def test_the_file_of_the_tables_own_name_comes_first(tmp_path):
    write(esc(tmp_path) / "audio" / "1-1000-A-0.flac")
    write(tmp_path / "audio" / "2-1000-A-0.xyz.wav")
    assert all(item.path.endswith("-0.wav") for item in datasets.get("esc10")(tmp_path).items if item.label == "dog")
    table = tmp_path / "meta" / "esc50.csv"
    table.write_text(table.read_text().replace("1-1000-A-0.wav", "1-1000-A-0.flac"))
    assert "audio/1-1000-A-0.flac" in {item.id for item in read_source(tmp_path)[0]}


def test_a_table_without_targets_can_be_mixed(tmp_path):
    write(tmp_path / "audio" / "1-7-A-0.ogg", subtype="VORBIS")
    write_table(tmp_path / "meta" / "esc50.csv", ["filename", "fold", "category"], [["1-7-A-0.wav", 1, "dog"]])
    items, _ = read_source(tmp_path)
    assert [(i.id, i.fold, i.group) for i in items] == [("audio/1-7-A-0.ogg", "1", None)]
    write_table(tmp_path / "meta" / "esc50.csv", ["filename", "category"], [["1-7-A-0.wav", "dog"]])
    with pytest.raises(ValueError, match=r"a table with filename, fold and category, got no \['fold'\]"):
        read_source(tmp_path)


def test_the_real_esc10(esc10):
    items, names = read_source(esc10)
    assert (len(items), len(names)) == (400, 10)
    assert {i.fold for i in items} == set("12345")
    first = next(i for i in items if i.id == "audio/1-100032-A-0.ogg")
    assert (first.label, first.group, first.licence) == ("dog", "100032", "CC0")
    assert "nfrae" in first.attribution
    data = datasets.get("esc10")(esc10)
    assert data.class_names == ESC10
    assert facts(items) == facts(data.items)
    for fold in data.folds:
        train, test = data.holdout(fold)
        assert set(Counter(data.labels[i] for i in test).values()) == {8}
        assert not {data.groups[i] for i in train} & {data.groups[i] for i in test}
    assert len(data.folds) == 5


def test_what_is_wrong_with_a_root_is_named(tmp_path):
    index = datasets.get("esc10")
    with pytest.raises(ValueError, match="root must be the folder of ESC-50"):
        index(None)
    with pytest.raises(ValueError, match="there is no such folder"):
        index(tmp_path / "absent")
    with pytest.raises(ValueError, match="one folder too high or too low"):
        index(tmp_path)
    (tmp_path / "audio").mkdir()
    write_table(tmp_path / "meta" / "esc50.csv", ["filename", "fold"], [["a.wav", 1]])
    with pytest.raises(ValueError, match="one without target, category, esc10, src_file"):
        index(tmp_path)


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        (
            "esc50",
            [["x.wav", 1, 0, "dog", "True", 1, "A"]],
            "a table of all classes, got rows of ESC-10 alone: the data",
        ),
        ("esc10", [["x.wav", 1, 0, "dog", "False", 1, "A"]], "a table with rows flagged esc10, got none"),
        (
            "esc10",
            [["x.wav", 1, "zero", "dog", "True", 1, "A"]],
            "the column target of .* must be whole numbers, got 'zero'",
        ),
        (
            "esc10",
            [["x.wav", 1, 0, "dog", "True", 1, "A"], ["y.wav", 1, 2, "dog", "True", 2, "A"]],
            "the column category of .*esc50.csv must be one name for each number, got dog for several",
        ),
        ("esc10", [["x.wav", 1, 0, "dog"]], r"esc50.csv, line 2 must be 7 cells, as the header has, got 4"),
    ],
)
def test_what_is_wrong_with_the_table_is_named(tmp_path, name, rows, message):
    (tmp_path / "audio").mkdir()
    write_table(tmp_path / "meta" / "esc50.csv", ESC_COLUMNS, rows)
    with pytest.raises(ValueError, match=message):
        datasets.get(name)(tmp_path)
