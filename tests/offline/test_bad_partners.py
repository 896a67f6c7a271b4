"""A bad partner never costs its original; a file with a wrong header is like any other."""

import numpy as np
import pytest
import soundfile
from made import audited, errors_of, mix, rows_of, tree, write


@pytest.fixture
def mostly_bad(tmp_path):
    """Three files that are sounds, among thirty that are none."""
    for i in range(3):
        write(tmp_path / "in" / "a" / f"good{i}.wav", seed=i, seconds=0.05)
    whole = write(tmp_path / "a.wav", seconds=0.05).read_bytes()
    for i in range(30):
        path = tmp_path / "in" / "a" / f"bad{i:02d}.wav"
        path.write_bytes([whole[: len(whole) // 2], b"not a sound", b"", b"RIFF" + bytes(90)][i % 4])
    return tmp_path / "in"


def test_another_partner_is_drawn(mostly_bad, tmp_path):
    report = mix(mostly_bad, tmp_path / "out", copies=2)
    rows, errors = rows_of(tmp_path / "out"), errors_of(tmp_path / "out")
    assert report.files == len(rows) == 6
    assert {row["sources"][1]["id"] for row in rows} <= {f"a/good{i}.wav" for i in range(3)}
    assert sorted(error["file"] for error in errors) == [f"a/bad{i:02d}.wav" for i in range(30)]  # each once


@pytest.mark.slow
def test_another_partner_is_the_same_whatever_the_workers_and_after_a_resume(mostly_bad, tmp_path):
    mix(mostly_bad, tmp_path / "one", copies=2)
    mix(mostly_bad, tmp_path / "two", copies=2, workers=2)
    assert tree(tmp_path / "two") == tree(tmp_path / "one")
    (tmp_path / "one" / "a" / "good1-0.flac").unlink()
    mix(mostly_bad, tmp_path / "one", copies=2)
    assert tree(tmp_path / "two") == tree(tmp_path / "one")


def test_where_no_partner_can_be_read_the_original_says_so(tmp_path):
    write(tmp_path / "in" / "a" / "good.wav", seconds=0.05)
    for i in range(9):
        (tmp_path / "in" / "a" / f"{i}.wav").write_bytes(b"no")
    assert mix(tmp_path / "in", tmp_path / "out").files == 0
    reason = {error["file"]: error["reason"] for error in errors_of(tmp_path / "out")}["a/good.wav"]
    assert reason.startswith("none of its partners can be read: a/")
    assert reason.endswith("and 6 more")


def put(folder, name, samples, **options):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / name, samples, 16000, **options)


def noise(seed, *shape):
    return 0.3 * np.random.default_rng(seed).uniform(-1, 1, shape)


def test_what_is_odd_about_sounds_is_noted(tmp_path):
    """Channels that cancel, an offset, silence, a limiter beyond 12 dB: in the manifest, and counted in the report."""
    for i in range(2):
        wave = noise(i, 800)
        put(tmp_path, f"in/a/cancel{i}.wav", np.stack([wave, -0.97 * wave], 1))
    put(tmp_path, "in/a/offset.wav", 0.1 + 0.1 * noise(2, 800))
    put(tmp_path, "in/a/loud.wav", 60 * noise(3, 800), subtype="FLOAT")
    put(tmp_path, "in/a/silent.wav", np.zeros(800))
    put(tmp_path, "in/a/whole.wav", 32768 * noise(4, 800), subtype="FLOAT")
    report = mix(tmp_path / "in", tmp_path / "out", channels=1, copies=4)
    assert [error["file"] for error in report.errors] == ["a/whole.wav"]
    assert "whole numbers stored as floats" in report.errors[0]["reason"]
    expected = {
        "cancel": "its channels cancel: channel 1 was taken", "offset": "a constant offset: 0.", "silent": "silent",
        "loud": "above full scale by more than 12 dB: its peak is 25.",
    }  # fmt: skip
    rows = rows_of(tmp_path / "out")
    for row in rows:
        for source in row["sources"]:
            kind = source["file"].rstrip("01.wav")
            found = [note for note in row["notes"] if note.endswith(f"({source['id']})")]
            assert len(found) == (kind in expected), row
            assert not found or found[0].startswith(expected[kind])
        turned = [note for note in row["notes"] if note.startswith("turned down by more than 12 dB")]
        assert bool(turned) == (row["limiter_gain_db"] < -12)
        assert row["rms_db"] > -60 or all("silent" in source["id"] for source in row["sources"])
    assert any(row["limiter_gain_db"] < -12 for row in rows)
    assert "its channels cancel" in report.notes[-1]
    assert "turned down" in report.notes[-1]


def test_a_piece_that_is_silent_is_drawn_again(tmp_path):
    """A long partner whose sound is a tenth of it; of a class of silence nothing else can be drawn."""
    put(tmp_path, "in/a/long.wav", np.concatenate([np.zeros(36_000), noise(0, 4000)]))
    put(tmp_path, "in/b/short.wav", noise(1, 4000))
    rows = mix(tmp_path / "in", tmp_path / "out", copies=20) and rows_of(tmp_path / "out")
    offsets = [row["sources"][1]["offset_s"] for row in rows if row["sources"][0]["file"] == "short.wav"]
    assert len(set(offsets)) > 10
    assert min(offsets) > 32_000 / 16_000 - 0.01


def test_floats_at_integer_scale_are_rescaled_where_that_is_asked_for(tmp_path):
    """Also a piece of a file that is quiet there; one at the usual scale is left alone."""
    loud = np.concatenate([noise(3, 8000) * 1e-3, noise(4, 40_000)])
    for name, scale in (("whole", 1), ("scaled", 32768)):
        for i in range(2):
            put(tmp_path, f"{name}/a/{i}.wav", np.float32(loud[i:] * scale), subtype="FLOAT")
        put(tmp_path, f"{name}/a/usual.wav", noise(5, 4000), subtype="FLOAT")
        table = "path,label,offset,duration\n" + "".join(f"a/{i}.wav,x,0,0.2\n" for i in range(2))
        (tmp_path / name / "pieces.csv").write_text(table)
    with pytest.raises(ValueError, match="float_scale must be a number"):
        mix(tmp_path / "scaled", tmp_path / "out", float_scale=0)
    for source in ("", "pieces.csv"):
        mixes = [mix(tmp_path / name / source, tmp_path / f"{name}-{source}", float_scale=32768)
                 for name in ("whole", "scaled")]  # fmt: skip
        assert [report.errors for report in mixes] == [(), ()]
        assert any("divided by 32768" in note for note in mixes[1].notes)
        wanted, found = (rows_of(report.path) for report in mixes)
        for one, other in zip(wanted, found):
            assert soundfile.read(one["path"])[0].tolist() == soundfile.read(other["path"])[0].tolist()
        assert not audited(mixes[1].path).wrong
