"""Annotations as they are published: what is read, what is put right and told, and which line is named."""

import json

import pytest

from audiomix.beats import BeatGrid
from audiomix.beats.annotation import read_annotation, usual_bar


def written(tmp_path, text, name="a.beats"):
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def test_one_beat_written_twice_is_one_and_is_told(tmp_path):
    path = written(tmp_path, "0.50\t3\n1.00\t4\n1.03\t1\n1.50\t2\n2.00\t3\n2.00\t3\n2.50\t4\n")
    grid = BeatGrid.read(path)
    assert grid.times == (0.5, 1.03, 1.5, 2.0, 2.5)  # of two the downbeat stays
    assert grid.positions == (3, 1, 2, 3, 4)
    assert grid.notes == (
        "line 3: merged with the beat 0.03 s before it",
        "line 6: merged with the beat 0 s before it",
    )


def test_onsets_are_no_beats_however_many_there_are(tmp_path):
    text = "".join(f"{0.05 * i:.2f}\n" for i in range(100))
    with pytest.raises(ValueError, match=r"a\.beats: times must be at least 0.1 s apart.*beats, not onsets"):
        BeatGrid.read(written(tmp_path, text))


def test_beats_just_before_the_start_are_dropped_and_told(tmp_path):
    grid = BeatGrid.read(written(tmp_path, "-0.02 1\n0.48 2\n0.98 1\n"))
    assert (grid.times, grid.positions) == ((0.48, 0.98), (2, 1))
    assert grid.notes == ("line 1: dropped, 0.02 s before the start",)
    with pytest.raises(ValueError, match="times must be 0 or later"):
        BeatGrid.read(written(tmp_path, "-3.0 1\n0.48 2\n0.98 1\n"))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("0.5 1\n1.0 2\n1.5 4\n2.0 1\n", "line 3"),
        ("# x\n\n0.5 1\n1.0 1\n1.5 3\n", "line 5"),
        ("0.5 1.1\n1.0 1.2\n1.5 1.4\n2.0 2.1\n", "line 3"),
        ("0.5 1.1\n1.0 1.2\n1.5 3.1\n", "line 3"),
        ("0.5 0\n1.0 1\n", "line 1"),
        ("0.5\t0.5\t1\r\n1.0\t1.0\t3\r\n", "line 2"),
        ("0.5 1\nnan 2\n", "line 2"),
        ("1.0 1\n0.5 2\n", "line 2"),
    ],
)
def test_positions_step_by_one_and_wrap_or_the_line_is_named(text, place, tmp_path):
    with pytest.raises(ValueError, match=rf"a\.beats, {place} must be"):
        BeatGrid.read(written(tmp_path, text))


def test_the_usual_bar_decides_the_metre_and_longer_bars_count_on():
    positions = [1, 2, 3, 4] * 3 + [1, 2, 3, 4, 5, 6] + [1, 2, 3, 4]
    grid = BeatGrid([0.5 * i for i in range(len(positions))], positions)
    assert grid.metre == usual_bar(positions) == 4
    assert BeatGrid.from_dict(json.loads(json.dumps(grid.to_dict()))) == grid
    assert grid.between(5.9, 8.6).metre == 4  # the long bar alone
    assert grid.between(7.9, 10.0).positions[:2] == (5, 6)  # from its midst on
    assert usual_bar([2, 3, 1, 2, 3, 1]) == 3
    assert usual_bar([1, 2, 1, 2, 3]) == 2
    assert usual_bar([2, 3]) == 3
    seven = [i % 7 + 1 for i in range(30)]
    assert BeatGrid([0.4 * i for i in range(30)], seven).metre == 7


def test_a_key_line_is_read_and_written(tmp_path):
    path = BeatGrid([0.5, 1.0], [1, 2], key="A minor").write(tmp_path / "k.beats")
    assert path.read_text().splitlines()[0] == "# key: A minor"
    assert BeatGrid.read(path).key == "A minor"
    assert BeatGrid.read(written(tmp_path, "#Key = F#m\n0.5\n1.0\n")).key == "F# minor"
    with pytest.raises(ValueError, match=r"a\.beats: .*key"):
        BeatGrid.read(written(tmp_path, "# key: H major\n0.5\n1.0\n"))


def test_jams_comes_back_and_old_and_new_ones_are_read(tmp_path):
    grid = BeatGrid([0.5, 1.0, 1.5], [3, 4, 1])
    path = grid.write(tmp_path / "a.jams", seconds=2.0)
    again = BeatGrid.read(path)
    assert (again.times, again.positions) == (grid.times, grid.positions)
    content = json.loads(path.read_text())
    assert content["file_metadata"]["duration"] == content["annotations"][0]["duration"] == 2.0
    rows = content["annotations"][0]["data"]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    key = {"namespace": "key_mode", "data": [{"time": 0.0, "duration": 2.0, "value": "G:minor", "confidence": 1}]}
    content["annotations"] = [{"namespace": "chord", "data": []}, key, {"namespace": "beat", "data": columns}]
    found = BeatGrid.read(written(tmp_path, json.dumps(content), "old.jams"))
    assert (found.times, found.positions, found.key) == (grid.times, grid.positions, "G minor")
    told = [row | {"value": {"position": row["value"], "measure": 1}} for row in rows]
    content["annotations"] = [{"namespace": "beat_position", "data": told}]
    assert BeatGrid.read(written(tmp_path, json.dumps(content), "p.jams")).positions == (3, 4, 1)
    without = BeatGrid([0.5, 1.0]).write(tmp_path / "w.jams")
    assert BeatGrid.read(without).positions is None


@pytest.mark.parametrize("text", ["{", "[]", '{"annotations": [{"namespace": "chord", "data": []}]}', '{"a": 1}',
                                  '{"annotations": [{"namespace": "beat", "data": [{"value": 1}]}]}'])  # fmt: skip
def test_what_is_no_jams_of_beats_is_named(text, tmp_path):
    with pytest.raises(ValueError, match=r"a\.jams must be a JAMS file with an annotation of the namespace beat"):
        BeatGrid.read(written(tmp_path, text, "a.jams"))


def test_comments_stand_anywhere_and_cost_no_position(tmp_path):
    path = written(tmp_path, "; by ear\r\n% x\r\n// y\r\n  # z\r\n0.5 1 # here\r\n1.0 2\r\n1.5 1\r\n")
    assert BeatGrid.read(path).positions == (1, 2, 1)
    assert BeatGrid.read(written(tmp_path, "0.5,1 # here\n1.0,2\n1.5,1\n")).positions == (1, 2, 1)


def test_positions_that_some_beats_lack_are_told(tmp_path):
    grid = BeatGrid.read(written(tmp_path, "0.5 1\n1.0\n1.5 3\n"))
    assert not grid.phase_known
    assert grid.notes == ("line 2: no position, as others have: the bar phase is left open",)


@pytest.mark.parametrize("bars", [5, 7, 12])
def test_bars_of_any_length_are_read_as_they_are(bars, tmp_path):
    for line in ("{t:.2f} {p}\n", "{t:.2f}\t{b}.{p}\n", "{t:.2f},{t:.2f},{b}.{p}\n"):
        text = "".join(line.format(t=0.3 * i, b=i // bars + 1, p=i % bars + 1) for i in range(3 * bars))
        assert BeatGrid.read(written(tmp_path, text)).metre == bars
    downbeats = "".join(f"{0.3 * i:.2f}\t{0.3 * i:.2f}\t{'b' if i % bars else 'db'}\n" for i in range(3 * bars))
    assert BeatGrid.read(written(tmp_path, downbeats)).metre == bars
    one = "".join(f"{0.3 * i:.2f}\t{0.3 * i:.2f}\t{'b' if i else 'db'}\n" for i in range(bars))
    assert not BeatGrid.read(written(tmp_path, one)).phase_known  # one downbeat tells no metre


def test_notes_are_empty_where_nothing_was_put_right(tmp_path):
    assert read_annotation(written(tmp_path, "0.5 1\n1.0 2\n")).notes == ()
