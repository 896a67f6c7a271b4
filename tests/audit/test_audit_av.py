"""The audit of what the audio-visual mixer makes of sounds alone: nothing right is called wrong, what is wrong is."""

import pytest
import torch
from made import audited, coloured, mix, rows_of, write

from audiomix import AVMix
from audiomix.audio import io

MIXERS = {
    "linear": AVMix(1.0),
    "linear, sqrt": AVMix(1.0, gains="sqrt"),
    "time": AVMix(1.0, mode="time"),
    "box": AVMix(1.0, mode="box"),
    "swap": AVMix(mode="swap"),
    "swap, sound kept": AVMix(mode="swap", sound="keep"),
}


def wrong(report):
    return [(item.file, *failure) for item in report.items for failure in item.failures]


@pytest.mark.parametrize("name", MIXERS)
def test_what_augment_made_is_right(name, tmp_path):
    for i in range(9):
        write(tmp_path / "source" / "abc"[i % 3] / f"{i}.wav", seed=i, seconds=0.3 + 0.1 * i)
    mix(tmp_path / "source", tmp_path / "out", MIXERS[name])
    report = audited(tmp_path / "out", tmp_path / "source")
    assert wrong(report) == []
    assert len(report.numbers("residual")) == 9
    assert max(report.numbers("residual")) <= -60
    assert len(report.numbers("gain")) >= 8
    assert max(report.numbers("gain")) < 0.01


def test_a_sound_that_was_cut_out_is_not_looked_for(tmp_path):
    """A bark and then silence: where the partner stands over the bark, nothing of the original is left to be found."""
    for i in range(6):
        bark = torch.zeros(1, 16000)
        bark[:, 6000 : 6000 + 800] = coloured(i, 0.05)
        path = tmp_path / "source" / "ab"[i % 2] / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        io.write(path, io.Clip(bark if i % 2 else coloured(i, 1.0), 16000))
    mix(tmp_path / "source", tmp_path / "out", AVMix(1.0, mode="time"), copies=3)
    gone = 0
    for row in rows_of(tmp_path / "out"):
        heard, original = io.read(row["path"]).samples, io.read(tmp_path / "source" / row["sources"][0]["id"]).samples
        gone += bool((heard[original != 0] != original[original != 0]).all())
    assert gone > 0, "the case did not come up"
    assert wrong(audited(tmp_path / "out", tmp_path / "source")) == []


def test_a_cut_elsewhere_than_the_plan_says_is_found(tmp_path):
    for i in range(4):
        write(tmp_path / "source" / "ab"[i % 2] / f"{i}.wav", seed=i, seconds=1.0)
    mix(tmp_path / "source", tmp_path / "out", AVMix(mode="time"))
    rows = rows_of(tmp_path / "out")
    path = rows[0]["path"]
    original = io.read(tmp_path / "source" / rows[0]["sources"][0]["id"])
    io.write(path, original)
    assert path.name in str(wrong(audited(tmp_path / "out", tmp_path / "source")))
