"""``audiomix audit`` from its command line: what it prints and writes, and its exit codes."""

import json

import pytest
import soundfile
from made import mix, sound, write

from audiomix import MixUp, cli


@pytest.fixture
def run(tmp_path):
    """Six mixes of six noises."""
    for i in range(6):
        write(tmp_path / "source" / "ab"[i % 2] / f"{i}.wav", seed=i)
    mix(tmp_path / "source", tmp_path / "out", MixUp(1.0))
    return tmp_path


def command(run, *words):
    return cli.main(["audit", str(run / "out"), "--sources", str(run / "source"), "--quiet", *words])


def spoilt(run):
    """Put another sound into one mix."""
    soundfile.write(run / "out" / "a" / "0-0.flac", sound(77)[:, 0], 16000)


def test_a_right_set_is_0_and_a_wrong_one_1_and_the_worst_is_named(run, capsys):
    assert command(run) == 0
    text = capsys.readouterr().out
    assert "gain" in text
    assert "6 mixes: 0 wrong, 0 of them unreadable" in text
    spoilt(run)
    assert command(run) == 1
    text = capsys.readouterr().out
    assert "6 mixes: 1 wrong" in text
    assert "a/0-0.flac" in text
    assert "in none of its sources" in text
    assert command(run, "--worst", "0") == 1
    assert "a/0-0.flac" not in capsys.readouterr().out


def test_json_goes_to_stdout_and_to_a_file(run, capsys):
    spoilt(run)
    assert command(run, "--json", "--out", str(run / "audit.jsonl")) == 1
    printed = capsys.readouterr().out
    assert (run / "audit.jsonl").read_text() == printed
    rows = [json.loads(line) for line in printed.splitlines()]
    assert len(rows) == 6
    assert [row["file"] for row in rows if row["failures"]] == ["a/0-0.flac"]
    one = next(row for row in rows if not row["failures"])
    assert {source["file"] for source in one["recovered"]["sources"]} <= {f"{'ab'[i % 2]}/{i}.wav" for i in range(6)}


def test_a_picture_is_drawn(run):
    assert command(run, "--picture", str(run / "errors.png")) == 0
    assert (run / "errors.png").read_bytes()[:4] == b"\x89PNG"


def test_thresholds_decide(run):
    table = run / "out" / "metadata.jsonl"
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    for row in rows:
        row["limiter_gain_db"] -= 0.5
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert command(run) == 1
    assert command(run, "--level-db", "0.6") == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["audit", "nowhere"], 2, "no such path"),
        (["audit", "OUT"], 0, "6 mixes: 0 wrong"),
        (["audit", "OUT", "--mixer", "mixupp"], 2, "did you mean 'mixup'"),
        (["audit", "OUT", "--mixer", "mine.py:Mix"], 2, "there is no file mine.py"),
        (["audit", "OUT", "--sources", "nowhere"], 2, "no such path"),
        (["audit", "OUT", "--level-db", "-1"], 2, "level_db must be"),
        (["audit", "OUT", "--picture", "x.jpg"], 2, "pictures are .png files"),
        (["audit", "OUT", "--out", "no/folder/x.jsonl"], 2, "no such folder"),
        (["audit", "OUT", "--leveldb", "1"], 2, "--level-db"),
    ],
)
def test_wrong_words_get_a_sentence(words, code, message, run, capfd, monkeypatch):
    monkeypatch.chdir(run)
    assert cli.main([str(run / "out") if w == "OUT" else w for w in words]) == code
    captured = capfd.readouterr()
    said = " ".join((captured.out + captured.err).replace("│", " ").split())
    assert message in said
    assert "Traceback" not in said
