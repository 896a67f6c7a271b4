"""Rows of manifests that are read by the block are those that are read one by one, and so is what is refused."""

import json
import os
import random
from pathlib import Path

import pytest

from audiomix.datasets import block_reader, blocks, item_table, json_lines, source, stores, tables
from audiomix.datasets.blocks import TableBlock, code_cells, group_rows, read_numbers
from audiomix.datasets.columns import read_rows
from audiomix.datasets.item_columns import items_of
from audiomix.datasets.item_table import ItemTable, digest_contents, list_contents, order_by_id
from audiomix.identity import digest

LABELS = ["dog", "Bär", "cat ", 3, 3.0, 2.5, "a: b", '"quoted": x', {"dog": 0.5, "cat": 1}, ["dog", "cat"], "", None]
CELLS = {
    "label": LABELS,
    "offset": [0, 1.5, 2, None, -0.0, "1.0", "3", "nan", ""],
    "duration": [1, 0.25, None, "2"],
    "split": ["train", "test", None, "", "None", 1.0, True],
    "fold": [1, "1", 2.0, None],
    "caption": ["A dog.", None, ["A", "B"], '["C", "D"]', "[Music]", ""],
    "caption_1": ["one", None, "two"],
    "tags": ["a;b", ["x", "y"], None, "a, b"],
    "cluster": [-1, 3, "7", None],
    "attributes": [["m", "n"], "m", None, []],
    "bpm": [120, "90.0", None, True],
    "beats": [[0.5, 1.0], "0.5 1 1.5", None, "x.beats", []],
}
ODD = {
    "label": [True, {"dog": 7}, float("inf"), "None", "two\nlines", {"dog": None, "cat": "x"}],
    "offset": [-1, "soon", float("inf"), True, "-nan"],
    "duration": [0, -2, "x", 10**400],
    "split": [{"a": 1}, "\ud800"],
    "caption": [True, {"x": 1}, "['a']", ["a", ["b"]]],
    "tags": [{"x": 1}],
    "path": [None, 5, " ", "a\0b", "\ud800.wav", {"bytes": "x"}, {"bytes": None, "path": "0.wav"}],
    "bpm": [[1]],
}


def one_by_one(table, **options):
    notes, skipped = [], []
    try:
        rows = tables.rows(table, notes=notes)
        return [*read_rows(rows, table, table.parent, notes=notes, skipped=skipped, **options)], notes, skipped
    except (TypeError, ValueError) as error:
        return type(error), str(error)


def at_once(table, **options):
    notes, skipped = [], []
    try:
        read = tables.blocks(table, notes=notes)
        found = [*block_reader.read_blocks(read, table, table.parent, notes=notes, skipped=skipped, **options)]
    except (TypeError, ValueError) as error:
        return type(error), str(error)
    items = [item for block in found for item in items_of(block)]
    held = ItemTable()
    for block in found:
        held.extend(block)
    assert [*held] == items
    assert [item.line for item in held] == [item.line for item in items]
    assert [*held.ids()] == [item.id for item in items]
    return items, notes, skipped


def check_same(table, **options):
    expected, found = one_by_one(table, **options), at_once(table, **options)
    assert found == expected
    if isinstance(expected[0], list):
        assert [item.line for item in found[0]] == [item.line for item in expected[0]]
        assert list(map(repr, found[0])) == list(map(repr, expected[0]))  # 1 and 1.0 differ there, and so do 0 and -0
    return found


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of five rows."""
    monkeypatch.setattr(tables, "ROWS", 5)
    monkeypatch.setattr(blocks.group_rows, "__defaults__", ("", 5))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("0.wav", "1.wav", "sub/2.wav", "é.wav"):
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe.wav")
    return tmp_path


def random_rows(chance, names, *, ragged):
    paths = ["0.wav", "1.wav", "sub/2.wav", "./0.wav", "sub/../1.wav"]
    paths += [" 0.wav", "e\u0301.wav", "gone.wav", "sub\\2.wav"]
    rows = []
    for _ in range(23):
        row = {"path": chance.choice(paths)} | {name: chance.choice(CELLS[name]) for name in names}
        rows.append({k: v for k, v in row.items() if k == "path" or not ragged or chance.random() < 0.8})
    return rows


@pytest.mark.parametrize("seed", range(40))
def test_json_lines_are_read_the_same(folder, small_blocks, seed):
    chance = random.Random(seed)
    names = chance.sample([*CELLS], chance.randrange(1, 8))
    rows = random_rows(chance, names, ragged=seed % 2 == 1)
    table = folder / "list.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    check_same(table, separator=None)
    name = chance.choice([name for name in (*names, "path") if name in ODD])
    rows[chance.randrange(23)][name] = chance.choice(ODD[name])
    rows[chance.randrange(23)]["path"] = chance.choice(["0.wav", "pipe.wav"])
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    check_same(table)


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_other_tables_are_read_the_same(folder, small_blocks, kind):
    chance = random.Random(5)
    for number in range(8):
        rows = [
            {
                "path": chance.choice(["0.wav", "1.wav", "gone.wav", "pipe.wav" if number == 3 else "0.wav"]),
                "label": chance.choice(["dog", "cat", "None" if number == 4 else "a,b"]),
                "offset": chance.choice([0.0, 1.5, -1.0 if number == 5 else 2.0]),
                "duration": chance.choice([1.0, 2.0]),
                "fold": chance.choice([1, 2]),
                "subset": chance.choice(["train", "test"]),
                "caption_1": "x",
                "caption_2": chance.choice(["y", "z"]),
            }
            for _ in range(17)
        ]
        table = folder / f"list.{kind}"
        if kind == "parquet":
            pyarrow = pytest.importorskip("pyarrow")
            from pyarrow import parquet

            if number % 2:
                rows[3] = dict.fromkeys(rows[3])  # left out
                rows[4] |= dict.fromkeys(("label", "offset", "fold"))
            made = pyarrow.Table.from_pylist(rows)
            if number == 6:
                made = made.set_column(2, "offset", made["offset"].cast("float32"))
                made = made.set_column(1, "label", made["label"].dictionary_encode())
            if number == 7:
                made = made.append_column("__index_level_0__", pyarrow.array(range(17)))
            parquet.write_table(made, table)
        else:
            sign = "," if kind == "csv" else "\t"
            cells = [[*rows[0]], *([str(cell).replace(",", ";") for cell in row.values()] for row in rows)]
            table.write_text("".join(sign.join(line) + "\n" for line in cells))
        found = check_same(table, columns={"label": "label"}, separator=None if number == 4 else ";")
        if number in (4, 5):
            assert found[0] is ValueError
            assert f"{table}, " in found[1]
        elif number == 3:
            assert found[2]
            assert {name for name, _ in found[2]} == {"pipe.wav"}


def test_pieces_that_end_somewhere_and_a_separator(folder, small_blocks):
    table = folder / "list.csv"
    rows = (f"0.wav,{i / 7},{i + 0.5},a|b\n" for i in range(9))
    table.write_text("filename,onset,offset,event_label\n" + "".join(rows))
    found = check_same(table, columns={"label": "event_label"}, separator="|")
    assert found[0][1].seconds == round(1.5 - 1 / 7, 9)
    assert found[0][0].label == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize(
    "line",
    [
        '{"path": "1.wav", "path": "0.wav"}',
        '{"path" : "1.wav", "label": {"a": 1, "a": 0.5}}',
        '{"path": "1.wav", "label": "x:y", "label": "z"}',
        '{"path": "1.wav"} {}',
        '{"path": "1.wav"',
        "[1]",
        '"path"',
        '{"label": "dog"}',
        '{"path": "1.wav", "offset": NaN}',
        ' {"path": "1.wav", " ": 3, "text": "a \\": b"}  ',
        '{"id": "x", "recording": {"sources": []}}',
        '{"path": "1.wav", "offset": ' + "1" * 5000 + "}",
    ],
)
def test_odd_lines_are_told_the_same(folder, small_blocks, line):
    table = folder / "list.jsonl"
    for number in (0, 7):
        lines = [json.dumps({"path": "0.wav", "label": "a"})] * 9
        lines[number] = line
        table.write_text("\n".join(lines))
        check_same(table)
        table.write_text("\n".join([lines[0], '{"path": 3}', *lines[1:]]))  # the first of two errors
        assert check_same(table)[0] in (TypeError, ValueError)


@pytest.mark.parametrize(
    ("line", "twice"),
    [
        ('{"path": "1.wav", "path": "0.wav"}', "path"),
        ('{"path" : "1.wav", "label"\t: {"a": 1, "a": 0.5}}', "a"),
        ('{"path": "1.wav", "label": "x:y", "label": "z"}', "label"),
        ('{"path": "1.wav", "tags": ["\\":", {"b": 1, "b": 2}]}', "b"),
    ],
)
def test_a_name_that_comes_twice_is_refused(folder, line, twice):
    (folder / "list.jsonl").write_text(json.dumps({"path": "0.wav", "caption": "one: \"two\": three"}) + "\n" + line)
    kind, text = at_once(folder / "list.jsonl")
    assert kind is ValueError
    assert f"line 2 must be one JSON object a line, got {line[:60]!r}: {twice!r} twice" in text


def test_a_row_before_tells_whether_a_set_is_a_split(folder, small_blocks):
    table = folder / "list.jsonl"
    for sets in (["train", "spring"], ["spring", "train"]):
        rows = [{"path": f"{i % 2}.wav", "set": sets[i % 2], **({"label": "x"} if i % 3 else {})} for i in range(12)]
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
        check_same(table)


def test_parquet_without_a_column_that_has_a_name_is_refused(tmp_path):
    """As a data frame is whose index alone was saved: its rows must not be lost without a word."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = tmp_path / "list.parquet"
    parquet.write_table(pyarrow.table({"__index_level_0__": [5, 6, 7]}), table)
    assert [where for where, _ in tables.rows(table)] == [f"{table}, row {number}" for number in (1, 2, 3)]
    with pytest.raises(ValueError, match=r"the path in .*list.parquet, row 1 must be in a column path"):
        source.read_source(table, no_labels=True)


def test_parquet_with_cells_that_cannot_be_read_is_refused(folder):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = folder / "list.parquet"
    nowhere = pyarrow.array([1, 2], pyarrow.timestamp("us", "Nowhere/Here"))
    ends = pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0")
    latin = pyarrow.StringArray.from_buffers(2, ends, pyarrow.py_buffer(b"a\xff"))
    for cells, reason in ((nowhere, "cut off"), (latin, "text that is not UTF-8")):
        parquet.write_table(pyarrow.table({"path": ["0.wav", "1.wav"], "label": cells}), table)
        with pytest.raises(ValueError, match=f"list.parquet must be a table in Parquet, got .*{reason}"):
            source.read_source(table)


def test_rows_of_long_lines_are_held_a_few_at_a_time(folder, monkeypatch):
    table = folder / "list.jsonl"
    lines = [json.dumps({"path": f"{number % 2}.wav", "words": ["x"] * (40 * (number > 5))}) for number in range(12)]
    table.write_text("".join(f"{line}\n" for line in lines))
    monkeypatch.setattr(json_lines, "_PORTION", 300)
    assert [len(block) for block in tables.blocks(table)] == [7, 2, 2, 1]
    assert [item.line for item in check_same(table)[0]] == [*range(1, 13)]
    lines[8] = lines[8].replace("0.wav", "") + ","
    table.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(ValueError, match="list.jsonl, line 9 must be one JSON object a line"):
        source.read_source(table, no_labels=True)


def test_a_name_that_comes_twice_is_found_at_any_depth():
    row: dict = {"a": 1}
    for _ in range(5000):
        row = {"a": row}
    assert json_lines._may_repeat(row, '"a": ' * 5000)
    assert not json_lines._may_repeat(row, '"a": ' * 5001)


def test_rows_before_an_error_come_first():
    def rows():
        yield from ((i, {"path": str(i)}) for i in range(7))
        raise OSError("gone")

    found = group_rows(rows(), "list, line", 5)
    assert [place for place, _ in next(found).rows()] == [f"list, line {i}" for i in range(5)]
    assert len(next(found)) == 2
    with pytest.raises(OSError, match="gone"):
        next(found)
    assert TableBlock("", ["list, line 30"], [{}]).numbers.tolist() == [30]


def test_columns_of_cells():
    looked = []
    found = code_cells(["a", None, "b", "a"], lambda cell: looked.append(cell) or cell * 2)
    assert looked == ["a", "b"]
    assert found.spread("-") == ["aa", "-", "bb", "aa"]
    assert code_cells([1, True, 1.0], repr).spread() == ["1", "True", "1.0"]
    assert repr(read_numbers([-0.0, 2, None], float).tolist()) == "[0.0, 2.0, nan]"
    for cells in ([1, -1], ["inf"], [float("inf")]):
        with pytest.raises(ValueError, match="below 0"):
            read_numbers(cells, float)


@pytest.mark.parametrize("distinct", [1 << 16, 2])  # from which on texts are kept one after the other
def test_ids_and_contents_of_a_table_are_those_of_a_list(tmp_path, monkeypatch, small_blocks, distinct):
    monkeypatch.setattr(stores, "_DISTINCT", distinct)
    monkeypatch.setattr(stores, "_BLOCK", 4)
    chance = random.Random(1)
    rows = []
    for i in range(300):
        row = {"path": f"{chance.choice('ab')}/{i % 9}.{chance.choice(['wav', 'flac'])}", "offset": i * 0.0625}
        row |= {name: chance.choice(CELLS[name]) for name in CELLS if name not in ("offset", "label", "duration")}
        rows.append(row | {"duration": chance.choice([1, None]), "label": f"ü{i % 3}"})
    table = tmp_path / "list.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    listed, _ = source.read_source(table)
    monkeypatch.setattr(source, "_LISTED", 10)
    for name, value in (("_LARGE", 50), ("_PART", 20), ("_SAMPLED", 4), ("_ROWS", 7)):
        monkeypatch.setattr(item_table, name, value)
    held, _ = source.read_compact(table)
    assert isinstance(held, ItemTable)
    assert [*held] == listed
    assert digest_contents(held) == digest(list_contents(listed)) == digest_contents(listed)
    expected = sorted(range(300), key=lambda i: listed[i].id)
    assert order_by_id(held).tolist() == expected != [*range(300)]
    assert [*held.ids()] == [item.id for item in listed]
    assert held.ids_of([7, 3, 250]) == [listed[i].id for i in (7, 3, 250)]


def test_pieces_of_one_name_are_found(tmp_path):
    """Names have six digits: 1234.567 s and 1234.5674 s are called alike."""
    places = [(f"{i % 3}.wav", i / 8) for i in range(60)]
    for twice, also in ((1234.567, 1234.5674), (0.0000011, 0.0000013)):
        rows = [*places, ("1.wav", twice), ("0.wav", also), ("1.wav", also)]
        items = [
            item
            for block in block_reader.read_blocks(
                group_rows((i, {"path": path, "offset": at, "duration": 0.5}) for i, (path, at) in enumerate(rows)),
                tmp_path / "t.csv",
                Path(tmp_path),
            )
            for item in items_of(block)
        ]
        table = ItemTable(items)
        table.name_pieces()
        assert table.repeated().tolist() == [60, 62]
