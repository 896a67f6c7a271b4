"""One mix of an output is found without reading the others."""

import json

import pytest

from audiomix.offline.journal import Journal
from audiomix.offline.manifest import write_manifest
from audiomix.offline.replay import search
from audiomix.offline.replay.output import read_output

SPLITS = ["train", "test"]
TOTAL = 300


def row_of(number):
    split = SPLITS[number % 2]
    name = f'{split}/é"{number:03d}-0.flac'
    return {
        "file_name": name, "label": {"a": 1.0}, "sources": [{"id": f"é{number:03d}.wav"}],
        "plan": "p" * (number % 50), "options": "{}", "copy": 0, "rate": 8000, "channels": 1, "seconds": 1.0,
        "versions": {}, "split": split, "stems": [], "captions": [],
    }  # fmt: skip


@pytest.fixture
def out(tmp_path):
    with Journal(tmp_path / "out", {"mixer": {}}, TOTAL) as journal:
        for number in (*reversed(range(TOTAL)), 7):  # one is made twice
            row = row_of(number)
            state = {"files": {row["file_name"]: [1, number, "x"]}, "sources": {f"{number}.wav": [2, len(journal)]}}
            journal.add(number, state, json.dumps(row))
        for split in SPLITS:
            (journal.out / split).mkdir()
        write_manifest(journal.out, journal.rows(), [], ["a"])
    return tmp_path / "out"


def test_a_row_and_its_state_are_those_of_all(out, monkeypatch):
    monkeypatch.setattr(search, "_BLOCK", 1000)
    whole = read_output(out)
    rows, states = {row["file_name"]: row for row in whole.rows()}, whole.states
    assert len(rows) == len(states) == TOTAL
    parsed, loads = [], json.loads
    monkeypatch.setattr(json, "loads", lambda text, **options: parsed.append(text) or loads(text, **options))
    for name in [row_of(number)["file_name"] for number in (0, 7, 150, 151, 299)]:
        output = read_output(out)
        for short in (name, name.removesuffix(".flac")):
            parsed.clear()
            assert output.find(short) == rows[name]
            assert len(parsed) <= 4
        parsed.clear()
        assert output.state(name) == states[name]
        assert len(parsed) <= 3 + (name == row_of(7)["file_name"])
        assert output.state(name.removesuffix(".flac")) == {} or name in states
    with pytest.raises(ValueError, match="the file_name of one of 300 mixes, got 'train/x'. did you mean train/"):
        output.find("train/x")


@pytest.mark.parametrize("fate", ["none", "cut", "short", "beyond"])
def test_an_index_that_does_not_fit_is_not_believed(out, monkeypatch, fate):
    index, name = out / ".audiomix" / "index.jsonl", row_of(7)["file_name"]
    lines = index.read_bytes().splitlines(keepends=True)
    if fate == "none":
        index.unlink()
    elif fate == "cut":
        index.write_bytes(b"".join(lines)[:-9])
    elif fate == "short":  # the last line of the journal is not in it, which counts
        index.write_bytes(b"".join(lines[:-1]))
    else:
        other = [line.replace(b"[1, 7, ", b"[3, 9, ") for line in lines]  # of another journal, which was longer
        index.write_bytes(b"".join([*other, other[-1].replace(b'"length": ', b'"length": 9')]))
    output = read_output(out)
    assert output.find(name)["plan"] == "p" * 7
    assert output.state(name) == {"files": {name: [1, 7, "x"]}, "sources": {"7.wav": [2, TOTAL]}}
    assert output.state("nobody") == {}


def test_a_table_edited_by_hand_is_read_whole(out):
    table = out / "train" / "metadata.jsonl"
    lines = table.read_text().splitlines()
    lines[50] = json.dumps(json.loads(lines[50]), ensure_ascii=True)
    name = json.loads(lines[50])["file_name"]
    lines[60] = json.dumps({k: v for k, v in json.loads(lines[60]).items() if k != "rate"}, ensure_ascii=False)
    table.write_text("\n".join(lines))
    assert read_output(out).find(f"train/{name}")["file_name"] == f"train/{name}"
    with pytest.raises(ValueError, match=r"train/metadata.jsonl, line 61 must be .* got one without rate"):
        read_output(out).find(f"train/{json.loads(lines[60])['file_name']}")


def test_lines_are_found_outwards(monkeypatch):
    monkeypatch.setattr(search, "_BLOCK", 7)
    lines = b"".join(b'{"a": "x%d"}\n' % number for number in range(30))
    found = [row["a"] for _, row in search.lines_with(lines, b'"x', 0.5)]
    assert sorted(found, key=lambda one: int(one[1:])) == [f"x{number}" for number in range(30)]
    assert found[0] in ("x14", "x15", "x16")
    assert [place for place, _ in search.lines_with(lines, b"x29")] == [lines.rindex(b"{")]
    assert [*search.lines_with(b"", b"x")] == []
    assert search.count_lines(lines, len(lines)) == 30
    assert search.count_lines(lines, 20) == 1
