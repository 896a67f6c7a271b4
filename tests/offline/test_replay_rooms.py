"""Mixes in rooms are made again: the same bits from the responses, wherever they are; others are named."""

import hashlib
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from made import errors_of, mix, rows_of, tree, write

from audiomix import MixUp, OneOf, Room, SNRMix, SpeakerMix
from audiomix.cli import main
from audiomix.offline.replay.compare import replay_mix
from audiomix.offline.replay.plan_file import read_plans
from audiomix.offline.replay.publish import write_plans
from audiomix.offline.replay.render_plans import render_plans

RATE = 8000


@pytest.fixture
def sets(tmp_path):
    """Voices of two speakers, noises, and three responses: of two rates, one of two channels."""
    rows = ""
    for i in range(4):
        write(tmp_path / "speech" / f"{i}.wav", i, seconds=0.5, rate=RATE)
        write(tmp_path / "noise" / f"{i}.wav", 10 + i, seconds=0.7, rate=RATE)
        rows += f"speech/{i}.wav,{'ab'[i // 2]}\n"
    (tmp_path / "speech.csv").write_text("path,group\n" + rows)
    (tmp_path / "rooms" / "far").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for i, (name, rate, *shape) in enumerate([("a", RATE, 300, 1), ("far/b", 16000, 900, 1), ("c", RATE, 500, 2)]):
        decay = 0.2 * draw.standard_normal(shape) * np.exp(-np.arange(shape[0]) / 80)[:, None]
        decay[40 * i] = 1
        soundfile.write(tmp_path / "rooms" / f"{name}.wav", decay, rate, subtype="FLOAT")
    return tmp_path


RUNS = {
    "noise": (SNRMix((0, 10), label="keep"), {"partners": "noise"}, "speech"),
    "both": (SNRMix((0, 10)), {"room_partners": True, "stems": True}, "speech.csv"),
    "some": (MixUp(), {"room_share": 0.5, "room_partners": True}, "speech"),
    "choice": (OneOf([MixUp(), SNRMix()]), {}, "speech"),
    "conversations": (SpeakerMix(2, rate=RATE), {}, "speech.csv"),
}


def run(sets, name, **more):
    mixer, options, source = RUNS[name]
    options = {key: sets / value if key == "partners" else value for key, value in options.items()}
    given = {"room": sets / "rooms", "room_channel": 0, "no_labels": True, "copies": 2, **options, **more}
    return mix(sets / source, sets / "out", mixer, **given).path


def moved(sets):
    """Put the sources and the responses elsewhere, and take away where they were."""
    for name in ("speech", "noise", "rooms"):
        shutil.move(sets / name, sets / "elsewhere" / name)
    return sets / "elsewhere"


@pytest.mark.parametrize("name", RUNS)
def test_runs_in_rooms_come_out_of_their_plans_elsewhere(name, sets):
    out = run(sets, name)
    rows = rows_of(out)
    used = {source.get("room") for row in rows for source in row["sources"]}
    assert name == "conversations" or len(used - {None}) > 1
    assert not replay_mix(out, rows[0]["file_name"], room=sets / "rooms").different
    done = write_plans(out, sets / "p.parquet", room=sets / "rooms", progress=False)
    assert (done.files, done.errors) == (len(rows), ())
    there = moved(sets)
    given = {"room": there / "rooms", "progress": False}
    made = render_plans(sets / "p.parquet", sets / "again", [there, there / "speech"], **given)
    assert (made.files, made.errors) == (len(rows), ())
    before, after = tree(out), tree(sets / "again")
    sounds = [path for path in before if str(path).endswith(".flac")]
    assert len(sounds) >= 8
    assert all(after[path] == before[path] for path in sounds)
    assert replay_mix(sets / "again", rows[1]["file_name"], room=there / "rooms").equal


def test_a_plan_has_the_name_and_the_hash_of_each_response_and_no_folder(sets):
    write_plans(run(sets, "both"), sets / "p.parquet", room=sets / "rooms", progress=False)
    found = read_plans(sets / "p.parquet")
    expected = {}
    for name in ("a.wav", "c.wav", "far/b.wav"):
        x, rate = soundfile.read(sets / "rooms" / name, dtype="float32", always_2d=True)
        content = f"{x.T.shape} {rate};".encode() + np.ascontiguousarray(x.T).tobytes()
        expected[name] = hashlib.blake2b(content, digest_size=16).hexdigest()
    assert dict(found.responses) == expected
    assert {source["room"] for row in found.rows() for source in row.row["sources"]} <= set(expected)
    text = json.dumps(pq.read_table(sets / "p.parquet").to_pylist(), default=str)
    assert str(sets) not in text + str(found.settings)
    assert (found.settings["room"]["normalise"], found.settings["room"]["channel"]) == ("power", 0)


def test_rooms_are_those_of_the_rows_and_not_drawn_again(sets):
    """Sounds of one group share a room; what replays them does not know of groups."""
    out = run(sets, "both")
    assert any(len({source["room"] for source in row["sources"]}) > 1 for row in rows_of(out))
    again = Room(sets / "rooms", rate=RATE, channel=0, weights=[0, 0, 1], p=0.1)
    assert all(replay_mix(out, row["file_name"], room=again).equal for row in rows_of(out))


@pytest.mark.parametrize("how", ["missing", "altered"])
def test_mixes_in_a_response_that_is_another_one_are_named_and_the_rest_is_made(sets, how):
    out = run(sets, "noise")
    write_plans(out, sets / "p.parquet", room=sets / "rooms", progress=False)
    path = sets / "rooms" / "far" / "b.wav"
    if how == "missing":
        path.unlink()
    else:
        x, rate = soundfile.read(path)
        x[-1] += 2**-10
        soundfile.write(path, x, rate, subtype="FLOAT")
    wrong = {row["file_name"] for row in rows_of(out) if row["sources"][0]["room"] == "far/b.wav"}
    given = {"room": sets / "rooms", "progress": False}
    made = render_plans(sets / "p.parquet", sets / "again", [sets / "speech", sets / "noise"], **given)
    assert {error["file"] for error in made.errors} == wrong != set()
    assert made.files == len(rows_of(out)) - len(wrong) > 0
    assert {error["reason"][:28] for error in errors_of(sets / "again")} == {f"{how} impulse response: far"[:28]}
    before, after = tree(out), tree(sets / "again")
    assert all(after[file] == before[file] for file in after if str(file).endswith(".flac"))
    with pytest.raises(ValueError, match="room must be the impulse responses of the run"):
        replay_mix(out, "0-0", room=sets / "rooms")


def test_conversations_need_all_responses_and_the_one_that_is_another_is_named(sets, capsys):
    out = run(sets, "conversations")
    write_plans(out, sets / "p.parquet", room=sets / "rooms", progress=False)
    (sets / "rooms" / "c.wav").unlink()
    words = ["render", sets / "p.parquet", "--sources", sets, "--room", sets / "rooms", "-o", sets / "again"]
    assert main([str(word) for word in words]) == 2
    assert "missing impulse response: c.wav" in " ".join(capsys.readouterr().err.split())
    assert not (sets / "again").exists()


def test_the_commands_take_a_single_response(sets, capsys):
    """Its name is that of the file: not the folder in which the publisher has it."""
    only = str(sets / "rooms" / "a.wav")
    out = str(run(sets, "noise", room=only, room_channel=None))
    assert main(["replay", out, "0-0", "--room", only]) == 0
    assert main(["plans", out, "-o", str(sets / "p.parquet"), "--room", only, "--quiet"]) == 0
    assert dict(read_plans(sets / "p.parquet").responses).keys() == {"a.wav"}
    words = ["render", sets / "p.parquet", "--sources", sets / "speech", "--sources", sets / "noise", "--room", only]
    assert main([*map(str, words), "-o", str(sets / "again"), "--quiet"]) == 0
    capsys.readouterr()
    alone = run(sets, "conversations", room=only, room_channel=None) if shutil.rmtree(out) is None else None
    assert main(["plans", str(alone), "-o", str(sets / "q.parquet"), "--room", only]) == 2
    assert "room must be impulse responses with relative names" in " ".join(capsys.readouterr().err.split())
