"""Captions in the cells of manifests: lists, numbered columns, patterns, one row for each."""

import json
import os

import pytest
from made import write

from audiomix.datasets.source import read_source


def read(source, columns=None):
    notes = []
    items, _ = read_source(source, columns, no_labels=True, notes=notes)
    return items, notes


def test_a_list_of_captions_in_jsonl_and_as_json_in_a_cell(tmp_path):
    rows = [
        {"file_name": "a.wav", "captions": [" A. ", "B", "", None, "A."]},
        {"file_name": "b.wav", "caption": ["C", "D"]},
        {"file_name": "c.wav", "caption": "[Music] plays", "tags": ["x", "y"]},
        {"file_name": "d.wav", "caption": "mixed", "captions": ["of one", "of two"]},  # as this package writes them
        {"file_name": "e.wav", "caption": None, "captions": ["E"]},
        {"file_name": "f.wav"},
    ]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    wanted = [("A.", "B"), ("C", "D"), ("[Music] plays",), ("mixed",), ("E",), ()]
    items, _ = read(tmp_path)
    assert [item.captions for item in items] == wanted
    assert [item.caption for item in items] == [w[0] if w else None for w in wanted]
    assert items[2].tags == ("x", "y")
    cells = [json.dumps(["One, two", "3"]).replace('"', '""'), "[Music]", "  ", '[""""]', "[ ]"]
    (tmp_path / "list.csv").write_text("path,captions\n" + "".join(f'{i}.wav,"{c}"\n' for i, c in enumerate(cells)))
    items, _ = read(tmp_path / "list.csv")
    assert [item.captions for item in items] == [("One, two", "3"), ("[Music]",), (), (), ()]


def test_captions_that_are_none_are_named_with_the_line(tmp_path):
    (tmp_path / "l.csv").write_text("path,captions\nx.wav,\"['a', 'b']\"\n")
    with pytest.raises(ValueError, match=r"a list in .*l\.csv, line 2 must be written as JSON, got .*json\.dumps"):
        read(tmp_path / "l.csv")
    for value in ({"raw": "a"}, True, ["a", ["b"]]):
        (tmp_path / "l.jsonl").write_text(json.dumps({"path": "x.wav", "caption": value}) + "\n")
        with pytest.raises(TypeError, match=r"a caption or tag in .*line 1 must be text"):
            read(tmp_path / "l.jsonl")


def test_columns_of_captions_can_be_a_pattern(tmp_path):
    (tmp_path / "l.csv").write_text("path,text_1,text_2,text\nx.wav,a,,c\ny.wav,,,\n")
    assert [i.captions for i in read(tmp_path / "l.csv", {"caption": "text_*"})[0]] == [("a",), ()]
    assert [i.captions for i in read(tmp_path / "l.csv", {"caption": "text"})[0]] == [("c",), ()]
    with pytest.raises(
        ValueError, match=r"columns\['caption'\] \(--caption-column\) must be one of the columns path, text_1"
    ):
        read(tmp_path / "l.csv", {"caption": "words*"})
    (tmp_path / "l.jsonl").write_text('{"path": "x.wav", "t": "a"}\n{"path": "y.wav"}\n')
    assert [i.captions for i in read(tmp_path / "l.jsonl", {"caption": "t"})[0]] == [("a",), ()]
    with pytest.raises(ValueError, match=r"\(--caption-column\) must be a column with captions in it, got 'u'"):
        read(tmp_path / "l.jsonl", {"caption": "u"})


def test_captions_of_ten_thousand_words_are_kept(tmp_path):
    long = ["wonderfully resounding " * 5000 + str(i) for i in range(5)]
    cell = json.dumps(long).replace('"', '""')
    (tmp_path / "l.csv").write_text(f'path,captions\nx.wav,"{cell}"\n')
    assert read(tmp_path / "l.csv")[0][0].captions == tuple(long)


def test_one_row_a_caption_is_merged_and_other_rows_of_one_file_are_refused(tmp_path):
    table = tmp_path / "l.csv"
    table.write_text("path,caption,fold\nx.wav,one,1\ny.wav,two,1\n./x.wav,,1\nx.wav,three,1\nx.wav,one,1\n")
    items, notes = read(table)
    assert [(i.id, i.captions) for i in items] == [("x.wav", ("one", "three")), ("y.wav", ("two",))]
    assert notes[1:] == ["1 files are listed more than once and have their captions merged, e.g. 'x.wav': 4 rows"]
    table.write_text("path,caption,fold\nx.wav,one,1\nx.wav,two,2\n")
    with pytest.raises(ValueError, match=r"'x\.wav' twice"):
        read(table)
    table.write_text("path,fold\nx.wav,1\nx.wav,1\n")
    with pytest.raises(ValueError, match=r"'x\.wav' twice"):
        read(table)


def test_columns_of_other_meaning_are_read_or_told_of(tmp_path):
    """What is read of the first row: label, split, where it begins and how long it is; and the note."""
    for name in "ab":
        write(tmp_path / f"{name}.wav", seed=1)
    for number, (header, rows, wanted, note) in enumerate((
        ("path,label,set", "a.wav,x,Train b.wav,x,test", ("x", "Train", None, None), "set is read as split"),
        ("path,label,subset", "a.wav,x,small b.wav,x,large", ("x", None, None, None), ""),
        ("path,label,set,split", "a.wav,x,test,train", ("x", "train", None, None), ""),
        ("fname,label", "a.wav,x", ("x", None, None, None), ""),
        ("path,onset,offset,label", "a.wav,0.1,0.3,x a.wav,0.3,0.4,y", ("x", None, 0.1, 0.2), "onset and offset are"),
        ("path,offset,duration,label", "a.wav,0.1,0.3,x", ("x", None, 0.1, 0.3), ""),
        ("path,start,end,label", "a.wav,0.1,0.3,x", ("x", None, None, None), "start and end are not read"),
        ("path,label", "a.wav,x;y b.wav,y", ("x;y", None, None, None), "for several of them --label-separator ';'"),
        ("path,label", "a.wav,x;z b.wav,y", ("x;z", None, None, None), ""),
        ("path,label", f"file://{tmp_path}/a.wav,x", ("x", None, None, None), "are addresses, file://"),
    )):  # fmt: skip
        table = tmp_path / f"{number}.csv"
        table.write_text("\n".join([header, *rows.split()]) + "\n")
        notes = []
        item = read_source(table, notes=notes)[0][0]
        assert (item.label, item.split, item.start, item.seconds) == wanted, header
        assert os.path.samefile(item.path, tmp_path / "a.wav")
        assert (note in " ".join(notes)) if note else not notes, (header, notes)
