"""Items held as columns are the items that were put in."""

import json
from dataclasses import fields, replace

import pytest

from audiomix.datasets import source, stores
from audiomix.datasets.columns import name_pieces
from audiomix.datasets.item import Item
from audiomix.datasets.item_table import ItemTable, classes_of, codes_of, order_by_id

ODD = [
    Item("r", "a.wav"),
    Item("r", "b@1-2.wav", file="b.wav", start=1.0, seconds=1.0),
    Item("q", "c", "x", captions=("a", "b"), tags=("t",), line=3),
    Item("q", "d", {"x": 0.5, "ü": 1.0}, "cap", line=4),
    Item("q", "\0", "\1x", "\0", line=5, attributes=()),
    Item("q", "e", caption="", line=9),
    Item("q", "id of its own", file="f.wav", split="train", fold="1", role="noise", start=0.0),
    Item("q", "g", bpm="120", key="A", beats="[1, 2]", cluster="7", attributes=("m", "n"), group="g", licence="l"),
    Item("q", "h", attribution="who", seconds=2.0),
]


def same(one, other):
    return all(getattr(one, field.name) == getattr(other, field.name) for field in fields(Item))


@pytest.mark.parametrize("distinct", [1 << 16, 2])
def test_items_come_back_as_they_were(monkeypatch, distinct):
    monkeypatch.setattr(stores, "_DISTINCT", distinct)  # from which on texts are kept one after the other
    monkeypatch.setattr(stores, "_BLOCK", 4)
    table = ItemTable(ODD)
    assert len(table) == len(ODD)
    assert all(map(same, table, ODD))
    assert all(same(table[i], ODD[i]) for i in range(-len(ODD), len(ODD)))
    assert [item.id for item in table[1:3]] == ["b@1-2.wav", "c"]
    assert [*table.ids()] == [item.id for item in ODD]
    assert all(same(table.find(item.id), item) for item in ODD)
    assert table.find("nobody") is None
    with pytest.raises(IndexError, match="item 9 of 9"):
        table[9]


@pytest.mark.parametrize("distinct", [1 << 16, 2])
def test_columns_are_those_of_a_list(monkeypatch, distinct):
    monkeypatch.setattr(stores, "_DISTINCT", distinct)
    items = [replace(ODD[i % 9], id=f"{i * 7 % 40:02d}", file=None, start=None) for i in range(40)]
    table = ItemTable(items)
    for name in ("label", "split", "role", "cluster", "attributes"):
        codes, values = codes_of(table, name)
        expected, names = codes_of(items, name)
        assert [values[c] if c >= 0 else None for c in codes] == [names[c] if c >= 0 else None for c in expected]
        assert [names[c] if c >= 0 else None for c in expected] == [getattr(i, name) or None for i in items]
    assert order_by_id(table).tolist() == sorted(range(40), key=lambda i: items[i].id)
    assert order_by_id(table[::-1]).tolist() == order_by_id(ItemTable(table[::-1])).tolist()
    assert classes_of(table) == classes_of(items) == {"x", "ü", "\1x"}
    assert table.repeated().tolist() == []
    assert ItemTable([*items, items[3]]).repeated().tolist() == [3, 40]


def test_pieces_are_named_as_in_a_list():
    rows = [Item("", "x.wav", start=float(i % 3), seconds=1.0) for i in range(3)]
    rows += [Item("", "y.wav", start=0.0), Item("", "z.wav")]
    table = ItemTable(rows)
    table.name_pieces()
    assert [*table] == name_pieces(rows)
    assert [item.id for item in table] == ["x@0-1.wav", "x@1-2.wav", "x@2-3.wav", "y.wav", "z.wav"]


def test_a_manifest_is_read_the_same_in_columns(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "_LISTED", 10)
    rows = [
        {"path": f"{i // 2}.wav", "offset": i % 2, "duration": 1, "label": "ab"[i % 2], "split": "test"}
        for i in range(40)
    ]
    table = tmp_path / "list.jsonl"
    for more in ([], [rows[3] | {"label": "c"}]):  # one piece twice is refused by both
        table.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *more]))
        if more:
            for read in (source.read_source, source.read_compact):
                with pytest.raises(ValueError, match="'1@1-2.wav' twice"):
                    read(table)
            continue
        items, classes = source.read_compact(table)
        assert isinstance(items, ItemTable)
        listed, names = source.read_source(table)
        assert all(map(same, items, listed))
        assert classes == names == ["a", "b"]
        assert [item.label for item in source.read_compact(table, no_labels=True)[0]] == [None] * 40
    captions = [{"path": f"{i // 2}.wav", "caption": f"words {i}"} for i in range(40)]
    table.write_text("".join(json.dumps(row) + "\n" for row in captions))
    items, _ = source.read_compact(table, need_labels=False)
    assert [*items] == source.read_source(table, need_labels=False)[0]
    assert items[3].captions == ("words 6", "words 7")
    with pytest.raises(ValueError, match="40 of 40 files without a label|20 of 20 files without a label"):
        source.read_compact(table)
