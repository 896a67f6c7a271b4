"""What is wrong in a manifest is said with the file and the line; labels are what they say they are."""

import json

import pytest

import recipes.cli
from audiomix import cli
from audiomix.datasets.source import read_source


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("label", "error", "message"),
    [
        ({"a": 30, "b": 70}, ValueError, r"a share in .*list\.jsonl, line 2 must be .*got 30: percent\? divide by 100"),
        ({"a": -0.5}, ValueError, r"line 2 must be a number in \[0, 1\], got -0\.5$"),
        ({"a": float("nan")}, ValueError, "line 2 must be"),
        ({"a": True}, TypeError, "line 2 must be"),
        ({"a": False, "b": 1}, TypeError, "line 2 must be"),
        (True, TypeError, "a label in .*line 2 must be the name or number of a class, got true"),
        ([True], TypeError, "a label in .*line 2"),
        ([{"a": 1}], TypeError, "a label in .*line 2"),
        (float("nan"), ValueError, "a label in .*line 2"),
    ],
)
def test_labels_that_are_none_are_refused(tmp_path, label, error, message):
    table = lines(tmp_path / "list.jsonl", [{"path": "x.wav", "label": "a"}, {"path": "y.wav", "label": label}])
    with pytest.raises(error, match=message):
        read_source(table)


def test_numbers_are_classes_however_they_are_written(tmp_path):
    labels = [1, 1.0, "1", [1.0], {"1": 0.5, "2": None}, [2, "3"]]
    rows = [{"path": f"{i}.wav", "label": label, "fold": 2.0} for i, label in enumerate(labels)]
    items, names = read_source(lines(tmp_path / "list.jsonl", rows))
    assert names == ["1", "2", "3"]
    assert [item.label for item in items] == ["1", "1", "1", {"1": 1.0}, {"1": 0.5}, {"2": 1.0, "3": 1.0}]
    assert {item.fold for item in items} == {"2"}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
@pytest.mark.parametrize("name", ["list.csv", "list.jsonl"])
def test_other_encodings_are_named(tmp_path, encoding, name):
    text = "path,label\nx.wav,café\n" if name == "list.csv" else '{"path": "x.wav", "label": "café"}\n'
    (tmp_path / name).write_bytes(text.encode(encoding))
    with pytest.raises(ValueError, match=rf"{name} must be text in UTF-8, got byte 0x.*: save it as UTF-8"):
        read_source(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.csv", "path;label\nx.wav;a\n", "separated by commas, got 'path;label': separated by semicolons"),
        ("list.csv", "path\tlabel\nx.wav\ta\n", "separated by tabs.*or as .tsv"),
        ("list.tsv", "path,label\nx.wav,a\n", "separated by tabs, got 'path,label': separated by commas"),
        ("list.csv", "path,label\nx.wav,a\ny.wav,b,c\n", "line 3 must be 2 cells, .* got 3: quote"),
        ("list.csv", "path,label\nx.wav,a\n\ny.wav\n", "line 4 must be 2 cells, .* got 1: cells are missing"),
        ("list.csv", "sound,label\nx.wav,a\n", r"line 2 must be in a column path \|.*one of these names$"),
    ],
)
def test_tables_that_are_none_are_named_with_the_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=rf"{name}, line \d.*{message}|{name}, {message}"):
        read_source(tmp_path / name)


def test_an_option_is_hinted_at_only_where_there_is_one(tmp_path, capsys):
    (tmp_path / "list.csv").write_text("sound,label\nx.wav,a\ny.wav,b\n")
    assert cli.main(["augment", str(tmp_path / "list.csv"), str(tmp_path / "out")]) == 2
    assert "--path-column wav" in capsys.readouterr().err
    with pytest.raises(ValueError, match="--path-column wav, or columns="):
        read_source(tmp_path / "list.csv", {})
    assert recipes.cli.main(["run", "supervised", "manifest", str(tmp_path / "list.csv")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "line 2 must be in a column path | file_name" in said
    assert "column with the files one of these names" in said
    assert "--" not in said
    assert "columns=" not in said


def test_a_missing_column_is_named_as_on_the_command_line(tmp_path, classes):
    (tmp_path / "list.csv").write_text("path,label\nx.wav,a\n")
    with pytest.raises(
        ValueError, match=r"columns\['group'\] \(--group-column\) must be one of the columns path, label"
    ):
        read_source(tmp_path / "list.csv", {"group": "speaker"})
    with pytest.raises(ValueError, match=r"columns \(--label-column\) must be left out"):
        read_source(classes, {"label": "x"})
    with pytest.raises(ValueError, match=r"label_separator \(--label-separator\) must be left out"):
        read_source(classes, label_separator=",")


def test_spaces_around_names_and_labels_do_not_count(tmp_path):
    (tmp_path / "list.csv").write_text("path , label, fold\nx.wav, a,1\ny.wav,a , 1\n")
    items, names = read_source(tmp_path / "list.csv")
    assert names == ["a"]
    assert [(item.id, item.fold) for item in items] == [("x.wav", "1"), ("y.wav", "1")]
