"""`verify` finds each kind of fault that is planted in an output, and nothing in one that is whole."""

import json

import pytest
import soundfile
from made import mix, rows_of, write

from audiomix import SNRMix
from audiomix.cli import main
from audiomix.offline.replay.verify import verify_output


@pytest.fixture
def out(tmp_path):
    for number in range(4):
        write(tmp_path / "in" / f"class{number % 2}" / f"{number}.wav", number, seconds=0.3 + 0.1 * number)
    return mix(tmp_path / "in", tmp_path / "out", stems=True, seed=2).path


def rewrite(out, number, **changes):
    lines = (out / "metadata.jsonl").read_text().splitlines()
    row = json.loads(lines[number])
    row |= {name: change(row[name]) for name, change in changes.items()}
    lines[number] = json.dumps(row)
    (out / "metadata.jsonl").write_text("\n".join(lines) + "\n")


def faults(out):
    found = {}
    for fault in verify_output(out, progress=False).faults:
        found[fault.file, fault.what] = found.get((fault.file, fault.what), "") + fault.reason + "; "
    return found


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_an_output_is_all_right(out, workers, capsys):
    assert main(["verify", str(out), "--workers", workers]) == 0
    assert "4 mixes, 0.00 h of sound: all right" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["wav", "ogg"])
def test_other_formats_and_mixers_are_all_right(tmp_path, kind):
    for number in range(3):
        write(tmp_path / "in" / f"{number}.wav", number, channels=2)
    options = {"format": kind, "no_labels": True, "rate": 22050, "stems": kind == "wav"}
    mix(tmp_path / "in", tmp_path / "out", SNRMix((-30, 60)), **options)
    assert faults(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("changes", "what", "said"),
    [
        ({"rms_db": lambda value: value + 0.02}, "level", "rms_db is"),
        ({"peak_db": lambda value: None}, "level", "peak_db is"),
        ({"seconds": lambda value: value + 1 / 16000}, "duration", "samples, and"),
        ({"rate": lambda value: 8000}, "duration", "its rate is 16000 Hz, and 8000"),
        ({"channels": lambda value: 2}, "duration", "it has 1 channels, and 2"),
        ({"label": lambda value: {**value, "class0": value["class0"] + 1e-5}}, "label", "by its plan"),
        ({"label": lambda value: {"class0": 1.2, "class1": -0.2}}, "label", "outside of [0, 1]"),
        ({"label": lambda value: {**value, "class7": 0.1}}, "label", "'class7' is in none of its sources"),
        ({"stems": lambda value: value[::-1][:1]}, "stems", "sum to something else"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_row_that_is_not_true(out, changes, what, said):
    number, row = next((i, r) for i, r in enumerate(rows_of(out)) if len(r["sources"]) == 2 and len(r["label"]) == 2)
    rewrite(out, number, **changes)
    found = faults(out)
    assert said in found[row["file_name"], what]
    assert {file for file, _ in found if file.endswith(row["path"].name)} == {row["file_name"]}


def test_a_changed_sample_a_lost_file_and_a_strange_one(out, capsys):
    rows = rows_of(out)
    data, rate = soundfile.read(rows[0]["path"], dtype="int16")
    data[10] += 1
    soundfile.write(rows[0]["path"], data, rate)
    stem = out / rows[1]["stems"][0]
    silent = soundfile.read(stem, dtype="int16")[0] * 0
    soundfile.write(stem, silent, rate)
    rows[2]["path"].unlink()
    write(out / "class0" / "strange.wav", 9)
    assert main(["verify", str(out), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    found = {(one["file"], one["what"]) for one in told["faults"]}
    assert found == {
        (rows[0]["file_name"], "checksum"), (rows[0]["file_name"], "stems"),
        (rows[1]["file_name"], "checksum"), (rows[1]["file_name"], "stems"),
        (rows[2]["file_name"], "checksum"), (rows[2]["file_name"], "file"), ("class0/strange.wav", "table"),
    }  # fmt: skip
    assert told["wrong"] == 4


def test_a_change_that_keeps_size_and_time_is_found(out):
    """Of a wav file a sample is changed in place: its size is the same, and its time is set back."""
    import os

    path = out / "class0" / "0-0.flac"
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ("class0/0-0.flac", "checksum") in faults(out)


def test_what_is_no_output_is_refused(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 2
    assert "a folder that audiomix augment wrote" in capsys.readouterr().err
