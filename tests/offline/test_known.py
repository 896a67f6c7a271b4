"""Beats, tempo and key that a manifest tells are not looked for in the sound."""

import json

import pytest
from made import errors_of, mix, rows_of, write

from audiomix import BeatMix
from audiomix.beats import trackers
from audiomix.cli import main

TIMES = [0.25 + 0.5 * i for i in range(8)]


@pytest.fixture
def music(tmp_path, monkeypatch):
    """Noises of 4 s, in which no tracker may look, and a table that tells their beats in every way."""
    for name in trackers.available():
        if name != "file":
            monkeypatch.setattr(trackers.get(name), "track", lambda *_: pytest.fail("it was tracked"))
    for i in range(5):
        write(tmp_path / "in" / f"{i}.wav", seed=i, seconds=4)
    (tmp_path / "in" / "four.beats").write_text("".join(f"{t}\t{1 + i % 4}\n" for i, t in enumerate(TIMES)))
    rows = [
        {"path": "0.wav", "label": "a", "bpm": 120, "key": "Am"},
        {"path": "1.wav", "label": "b", "bpm": "120.0", "key": "8A", "beats": 8},
        {"path": "2.wav", "label": "c", "beats": TIMES, "key": "A minor"},
        {"path": "3.wav", "label": "d", "beats": "; ".join(map(str, TIMES)), "bpm": 99, "key": "A:min"},
        {"path": "4.wav", "label": "e", "beats": "four.beats", "key": "Am"},
    ]
    table = tmp_path / "in" / "list.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return table


WANTED = {"0.wav": [0.5 * i for i in range(8)], "2.wav": TIMES, "3.wav": TIMES, "4.wav": TIMES}


def test_augment_mixes_by_what_is_told(music, tmp_path):
    report = mix(music, tmp_path / "out", BeatMix(rate=16000, min_bars=0.5, keys="compatible"))
    rows = rows_of(report.path)
    assert report.files == 5
    for row in rows:
        assert row["aligned"], row["why"]
        assert row["bpm"] == pytest.approx(120)
        assert row["key"] == "A minor"
        name = row["sources"][0]["id"]
        assert row["beats"] == pytest.approx(WANTED.get(name, WANTED["0.wav"]))
        assert row["metre"] == (4 if name == "4.wav" else None)
    assert {tracker for row in rows for tracker in row["trackers"]} == {"bpm", "given", "file"}
    assert report.notes[0] == "beats by bpm, file, given"
    again = mix(tmp_path / "out", tmp_path / "again", BeatMix(rate=16000, min_bars=0.5))  # its own output tells too
    assert all(row["bpm"] == pytest.approx(120) for row in rows_of(again.path))


def test_an_annotation_beside_the_sound_tells_more_than_its_tempo(music, tmp_path):
    (music.parent / "0.beats").write_text("".join(f"{t}\t{1 + i % 3}\n" for i, t in enumerate(TIMES)))
    (row,) = (
        r for r in rows_of(mix(music, tmp_path / "out", BeatMix(rate=16000)).path) if r["sources"][0]["id"][0] == "0"
    )
    assert (row["beats"], row["metre"], row["key"], row["trackers"][0]) == (TIMES, 3, "A minor", "file")


def test_beats_and_mix_know_it_too(music, tmp_path, capsys):
    assert main(["beats", str(music), "--json", "--quiet", "--save", "--out", str(tmp_path / "texts")]) == 0
    found = {row["file"].rpartition("/")[2]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert {name: row["times"] for name, row in found.items()} == {"1.wav": WANTED["0.wav"], **WANTED}
    assert {row["key"] for row in found.values()} == {"A minor"}
    assert len(list((tmp_path / "texts").glob("*.beats"))) == 5
    files = [str(music.parent / name) for name in ("4.wav", "0.wav")]
    given = ["mix", *files, "-o", str(tmp_path / "mix.flac"), "--mixer", "beat", "--min-bars", "0.5"]
    assert main([*given, "--manifest", str(music)]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["aligned"], row["beats"], row["trackers"]) == (True, TIMES, ["file", "bpm"])
    other = write(tmp_path / "other.wav", seconds=1)
    assert main(["mix", files[0], str(other), *given[3:], "--manifest", str(music)]) == 2
    assert "manifest must be a table that lists" in capsys.readouterr().err


WRONG = [
    ({"bpm": "fast"}, "its bpm must be a number of beats a minute, got 'fast'"),
    ({"bpm": 2}, "its bpm must be a number in [10, 600], got 2"),
    ({"beats": [0.5, 0.4]}, "ascending"),
    ({"beats": [0.5, 7.0]}, "within the 4.00 s of the sound, got 7"),
    ({"beats": ["x"]}, "could not convert"),
    ({"beats": "none.beats"}, "no such file"),
    ({"bpm": 120, "key": "H major"}, "key must be"),
]


def test_what_makes_no_sense_costs_its_own_file_alone(music, tmp_path):
    rows = [json.loads(line) for line in music.read_text().splitlines()]
    for i, (wrong, _) in enumerate(WRONG):
        write(music.parent / f"wrong{i}.wav", seed=20 + i, seconds=4)
        rows.append({"path": f"wrong{i}.wav", "label": "a", **wrong})
    music.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = mix(music, tmp_path / "out", BeatMix(rate=16000, min_bars=0.5))
    assert (report.exit_code, report.files) == (1, len(rows))
    told = {error["file"]: error["reason"] for error in errors_of(report.path)}
    assert told.keys() == {f"wrong{i}.wav" for i in range(len(WRONG))}
    for i, (_, message) in enumerate(WRONG):
        assert message in told[f"wrong{i}.wav"]
    assert sum(row["aligned"] for row in rows_of(report.path)) == 5
    assert mix(music, tmp_path / "plain").exit_code == 0  # another mixer does not ask


def test_pieces_of_one_file_have_beats_of_their_own(music, tmp_path):
    write(music.parent / "long.wav", seed=9, seconds=12)
    table, given = music.parent / "pieces.jsonl", [3.1 + 0.5 * i for i in range(6)]
    pieces = [
        {"offset": 0.0, "duration": 3.0, "bpm": 120}, {"offset": 3.0, "duration": 3.0, "beats": given, "key": "Am"},
        {"offset": 6.3, "duration": 3.0, "bpm": 100},
        {"offset": 9.0, "duration": 2.0, "beats": [0.5, 1.0]},  # counted from the wrong place
    ]  # fmt: skip
    rows = [{"path": "long.wav", "label": "ab"[i % 2], **piece} for i, piece in enumerate(pieces)]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = mix(table, tmp_path / "out", BeatMix(rate=16000, min_bars=0.5))
    found = {row["sources"][0]["id"]: row for row in rows_of(report.path)}
    for name, bpm, first in (("long@0-3.wav", 120, 0.0), ("long@3-6.wav", 120, 0.1), ("long@6.3-9.3.wav", 100, 0.0)):
        assert found[name]["bpm"] == pytest.approx(bpm)
        assert found[name]["beats"][0] == pytest.approx(first)
        assert len(found[name]["beats"]) == (6 if bpm == 120 else 5)
    assert found["long@3-6.wav"]["key"] == "A minor"
    (error,) = report.errors
    assert error["file"] == "long@9-11.wav"
    assert "seconds from the start of the file" in error["reason"]
