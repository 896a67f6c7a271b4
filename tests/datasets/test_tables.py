"""What is wrong in a manifest is said with the file and the line; labels are what they say they are."""

import csv
import gzip
import io
import json
import os
import sys

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


ROWS = [("x.wav", "caf\u00e9", "one"), ("d/y.wav", "dog", 'a "b", c;\nd|e')]


def text_of(separator, end="\n"):
    """Return the rows as a CSV file has them."""
    file = io.StringIO()
    csv.writer(file, delimiter=separator, lineterminator=end).writerows([("path", "label", "caption"), *ROWS])
    return file.getvalue()


def read_bytes(path, data):
    """Write a table and return its rows, and what is noted."""
    path.write_bytes(data)
    notes = []
    items = read_source(path, notes=notes)[0]
    return [(item.id, item.label, item.caption) for item in items], [n for n in notes if "is there" not in n]


def test_one_table_in_every_form_is_one_table(tmp_path):
    objects = [dict(zip(("path", "label", "caption"), row)) for row in ROWS]
    lines_of_json = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in objects)
    forms = {
        "a.csv": text_of(","),
        "a.CSV": text_of(",", "\r\n"),
        "a.tsv": text_of("\t").replace(";\nd", "; d"),
        "excel.csv": "sep=;\n" + text_of(";"),
        "a.jsonl": lines_of_json.replace("}\n", "}\n\n"),
        "nemo.json": lines_of_json,
        "list.json": json.dumps(objects, indent=1),
        "ast.json": json.dumps({"data": objects}),
        "blank.csv": text_of(",").replace("one\n", "one\n\n,,\n"),
        "wide.csv": text_of(",").replace("one\n", "one,,\n"),
        "spaced.csv": text_of(",").replace("path,label", " Path ,LABEL"),
        "index.csv": text_of(",").replace("path,", ",path,").replace("x.wav", "0,x.wav").replace("d/y", "1,d/y"),
    }
    wanted = [(path, label, " ".join(text.split())) for path, label, text in ROWS]
    for name, text in forms.items():
        for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
            for packed in (False, True):
                data = text.encode(encoding)
                path = tmp_path / (name + ".gz" * packed)
                found, notes = read_bytes(path, gzip.compress(data) if packed else data)
                assert [(p, c, " ".join(text.split())) for p, c, text in found] == wanted, (name, encoding)
                assert notes == (["excel.csv" + ".gz" * packed + ": semicolons separate its cells"] * ("exc" in name))
    for separator, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        found, notes = read_bytes(tmp_path / "b.csv", text_of(separator).replace(";\nd", "; d").encode())
        assert (len(found), notes) == (2, [f"b.csv: {word} separate its cells"])
    assert read_bytes(tmp_path / "b.tsv", text_of(",").encode())[1] == ["b.tsv: commas separate its cells"]
    assert read_bytes(tmp_path / "l.jsonl", json.dumps(objects).encode())[1] == [
        "l.jsonl: one JSON list of 2 entries, not one object a line"
    ]


def test_quotes_between_tabs_are_meant_as_they_stand_unless_they_enclose_a_cell(tmp_path):
    cells = ['"Hello', 'say "hi', '"Yes," he said', '"whole"', '"a ""b"""', '"two\nlines"', '"', "it's"]
    text = "path\tlabel\tsentence\n" + "".join(f"{i}.wav\ta\t{cell}\n" for i, cell in enumerate(cells))
    (tmp_path / "l.tsv").write_text(text)
    items = read_source(tmp_path / "l.tsv", {"caption": "sentence"})[0]
    assert [(i.id, i.caption) for i in items] == [
        (f"{i}.wav", text)
        for i, text in enumerate(['"Hello', 'say "hi', '"Yes," he said', "whole", 'a "b"', "two\nlines", '"', "it's"])
    ]
    assert [item.line for item in items] == [2, 3, 4, 5, 6, 7, 9, 10]


def test_lists_and_shares_in_a_cell_are_what_they_say(tmp_path):
    cells = ['["dog", "rain"]', '{"dog": 0.25, "rain": 1}', "[]", "[noise]", "{x}"]
    with open(tmp_path / "l.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *((f"{i}.wav", cell) for i, cell in enumerate(cells))])
    found = [item.label for item in read_source(tmp_path / "l.csv", need_labels=False)[0]]
    assert found == [{"dog": 1.0, "rain": 1.0}, {"dog": 0.25, "rain": 1.0}, None, "[noise]", "{x}"]


def test_parquet(tmp_path, monkeypatch):
    pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    frame = pandas.DataFrame([*ROWS, ("z.wav", None, None)], columns=["path", "label", "caption"], index=[7, 8, 9])
    frame.to_parquet(tmp_path / "a.parquet")
    items = read_source(tmp_path / "a.parquet", need_labels=False)[0]
    assert [(i.id, i.label, i.caption) for i in items] == [*ROWS, ("z.wav", None, None)]
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"cut\.parquet must be a table in Parquet"):
        read_source(tmp_path / "cut.parquet")
    pandas.DataFrame({"audio": [{"bytes": b"RIFF", "path": "x.wav"}]}).to_parquet(tmp_path / "hf.parquet")
    with pytest.raises(ValueError, match="row 1 must be the path of a file, got the sound itself"):
        read_source(tmp_path / "hf.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"pyarrow is not installed: pip install 'audiomix\[parquet\]'"):
        read_source(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.csv", "path,label\nx.wav,caf\xe9\n", r"line 2 must be text in UTF-8, got byte 0xe9 in .*: Latin-1\?"),
        ("list.jsonl", '{"path": "x.wav",\n "caf\xe9": 1}\n', "line 2 must be text in UTF-8"),
        ("list.csv", "path,label\nx.wav,a\ny.wav,b,c\n", "line 3 must be 2 cells, .* got 3: quote"),
        ("list.csv", "path,label\nx.wav,a\n\ny.wav\n", "line 4 must be 2 cells, .* got 1: cells are missing"),
        ("list.csv", "path,label\nx.wav,\"a\ny.wav,b\n", "line 1 or the next must be a row of a table, got unexp"),
        ("list.csv", 'path,label\nx.wav,"a\ny.wav,"b"\n', "line 1 or the next must be a row of a table"),
        ("list.tsv", 'path\tlabel\nx.wav\t"a\nb\n', "line 1 or the next must be .*a quote that is never closed"),
        ("list.csv", 'path,label\nx.wav,"a\ny.wav,b"\n', "a label in .*line 2 must be a name in one line"),
        ("list.csv", "path,label,label\nx.wav,a,b\n", "line 1 must be .* names each column once, got 'label' twice"),
        ("list.jsonl", '{"path": "x.wav", "label": "a", "label": "b"}\n', "line 1 must be .*'label' twice"),
        ("list.csv", "sound,label\nx.wav,a\n", r"line 2 must be in a column path \|.*one of these names$"),
        ("list.csv", "x.wav,a\ny.wav,b\n", "line 2 must be in a column path .*the first line must name the columns"),
        ("list.csv", "path,label\nx.wav,a\n ,b\n", "the path in .*line 3"),
        ("list.csv", "path,label\nx.wav,None\n", "a label in .*line 2 must be the name of a class, or empty"),
        ("list.csv", "path,label\nx.wav,nan\ny.wav,a\n", r"1 of 2 files without a label.*first 'x.wav' \(line 2"),
        ("list.csv", "path,label\nx\0.wav,a\n", "the path in .*line 2 must be the path of a file"),
        ("list.jsonl", '{"path": "\\ud800.wav"}\n', "the path in .*line 1 must be text"),
        ("list.jsonl", '{"path": "a.wav", "label": "\\ud800"}\n', "a label in .*line 1 must be text"),
        ("list.jsonl", '{"path": "a.wav", "caption": "\\ud800"}\n', "a caption or tag in .*line 1 must be text"),
        ("list.csv", "path,label\nx.wav,\"['a', 'b']\"\n", "a list in .*line 2 must be written as JSON"),
        ("list.jsonl", '{"path": "a.wav", "split": {"a": 1}}\n', "a cell in .*line 1 must be text or a number"),
        ("list.jsonl", '{"path": 1}\n', "the path in .*line 1"),
        ("list.jsonl", "[" * 100000 + "\n", "nested too deep"),
        ("list.jsonl", '{"path": ' + "9" * 5000 + "}\n", "line 1 must be one JSON object a line"),
        ("list.json", '{"a": {"path": "x.wav"}}\n', "line 1 must be in a column path"),
        ("list.json", '{"a":\n 1}', "one JSON object a line, or a list of them"),
        ("list.jsonl", '[{"path": "x.wav"}, 2]', "entry 2 must be a JSON object"),
        ("list.csv.gz", "path,label\n", "list.csv.gz must be compressed by gzip"),
        ("list.csv", "path,offset\nx.wav,-1\n", "the offset in .*line 2 must be a number .* at least 0"),
        ("list.csv", "path,offset,duration\nx.wav,1,0\n", "the duration in .*line 2 must be more than 0 s"),
    ],
)  # fmt: skip
def test_tables_that_are_none_are_named_with_the_line(tmp_path, name, text, message):
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises((ValueError, TypeError), match=message):
        read_source(tmp_path / name)


def test_a_table_that_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ValueError, match="source must be .*got a named pipe"):
        read_source(tmp_path / "pipe.csv")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    with pytest.raises(ValueError, match="it is a link to nothing"):
        read_source(tmp_path / "loop.csv")


def test_cells_without_a_value_are_empty_and_numbers_are_alike(tmp_path):
    text = (
        "path,label,split,fold,group\na.wav,1.0,nan,1.0,None\nb.wav,1,NaN,1,NULL\nc.wav,01,,01,<NA>\nd.wav,none,,2,\n"
    )
    (tmp_path / "l.csv").write_text(text)
    items, names = read_source(tmp_path / "l.csv")
    assert names == ["01", "1", "none"]
    assert [(i.label, i.split, i.fold, i.group) for i in items] == [
        ("1", None, "1", None), ("1", None, "1", None), ("01", None, "01", None), ("none", None, "2", None)
    ]  # fmt: skip


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
