"""Crops and filterbanks: where the mouth is, when the sound is, and the same bytes again."""

import json
import subprocess
import sys

import pytest
import torch
from sounds import ROOT

from audiomix.audio import io
from recipes.lipreading import features
from recipes.lipreading.features import BOX, FLOOR, SIZE, Box, crop, filterbanks, open_features, read_boxes
from recipes.lipreading.grid import index

from .conftest import MOUTH, RATE, make_speaker, write_align, write_clip


def test_the_default_box_holds_what_moves_in_the_lower_face(grid):
    from audiomix.audio.video import read_video

    clips = [read_video(path, gray=True, sound=False).frames[:, 0].float() for path in sorted(grid.glob("video/*"))[:4]]
    motion = sum(frames.diff(dim=0).square().mean(0) for frames in clips)
    lower = motion[BOX.y :]  # below the eyes, which blink
    inside = lower[: BOX.h, BOX.x : BOX.x + BOX.w]
    outside = (lower.sum() - inside.sum()) / (lower.numel() - inside.numel())
    assert inside.mean() > 4 * outside
    # and it is not at the edge of the box: the inner half moves more than the box does
    assert inside[24:72, 28:84].mean() > 1.5 * inside.mean()


def test_a_crop_is_the_box_at_half_size():
    frames = torch.zeros(3, 1, 288, 360, dtype=torch.uint8)
    frames[1, 0, 168:170, 100:102] = 200  # its first four pixels
    frames[2, 0, 262:264, 210:212] = 100  # its last four
    made = crop(frames, BOX)
    assert made.shape == (3, *SIZE)
    assert made[1].nonzero().tolist() == [[0, 0]]
    assert int(made[1, 0, 0]) == 200
    assert made[2].nonzero().tolist() == [[SIZE[0] - 1, SIZE[1] - 1]]


def test_a_box_outside_the_picture_is_refused():
    with pytest.raises(ValueError, match="inside the 90 x 60 picture"):
        crop(torch.zeros(1, 1, 60, 90, dtype=torch.uint8), Box(80, 0, 11, 20))


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "1,2,3,4,5", "0,0,4,40", "-1,0,30,30"])
def test_a_text_that_is_no_box_is_refused(text):
    with pytest.raises(ValueError, match="box"):
        Box.of(text)


def test_boxes_of_a_file(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text("id,x,y,w,h\na,1,2,30,40\n")
    assert read_boxes(path) == {"a": Box(1, 2, 30, 40)}
    path.write_text("id,x,y,w,h\na,1,2,30,40\na,1,2,30,40\n")
    with pytest.raises(ValueError, match=":3: a is named twice"):
        read_boxes(path)
    path.write_text("id,x,y,w,h\na,1,2,30\n")
    with pytest.raises(ValueError, match=":2: box"):
        read_boxes(path)
    path.write_text("name,x,y,w,h\n")
    with pytest.raises(ValueError, match="no column id"):
        read_boxes(path)


def test_filterbanks_show_a_tone_in_its_band_and_silence_outside_the_sound():
    time = torch.arange(RATE) / RATE
    heard = filterbanks(torch.sin(2 * torch.pi * 3000 * time), torch.tensor([-20000, 3200, 40000]))
    assert heard.shape == (3, 104)
    silence = torch.full((104,), FLOOR).log()
    assert torch.equal(heard[0], silence)
    assert torch.equal(heard[2], silence)
    bands = heard[1].view(4, 26).argmax(1)
    # HTK mel: 3 kHz is at 1876 of 2840 mel, and there are 27 steps between the 26 centres and the two ends
    assert set(bands.tolist()) <= {16, 17}


def test_the_four_windows_of_a_picture_are_ten_milliseconds_apart():
    samples = torch.zeros(RATE)
    samples[3200 + 480 + 300 : 3200 + 480 + 310] = 1.0  # in the fourth window only, whose first sample is 3680
    heard = filterbanks(samples, torch.tensor([3200])).view(4, 26).mean(1)
    assert int(heard.argmax()) == 3
    assert bool((heard[:2] == heard[0]).all())


@pytest.mark.parametrize("late", [0.0, 0.2])
def test_a_flash_and_its_click_are_in_the_same_picture(tmp_path, late):
    (tmp_path / "video").mkdir()
    (tmp_path / "align").mkdir()
    frames = torch.full((50, 3, 80, 96), 60, dtype=torch.uint8)
    frames[30] = 250
    samples = torch.zeros(2 * RATE)
    at = round((30 / 25 + 0.02 - late) * RATE)  # in the middle of the flash
    samples[at : at + 80] = 0.9 * torch.tensor([1.0, -1.0]).repeat(40)
    write_clip(tmp_path / "video" / "a.mpg", frames, samples, sound_start=late)
    write_align(tmp_path / "align" / "a.align", ["bin", "blue", "at", "f", "two", "now"], [5 + 6 * s for s in range(6)])
    store = open_features(index(tmp_path)[0], tmp_path / "stores", MOUTH, quiet=True)
    assert int(store.crops.float().mean((1, 2)).argmax()) == 30
    assert int(store.sounds.mean(1).argmax()) == 30


@pytest.mark.slow
def test_built_twice_and_by_processes_the_bytes_are_the_same(made, tmp_path):
    utterances, _ = index(made)
    paths = [
        open_features(utterances, tmp_path / name, MOUTH, workers=workers, quiet=True).path
        for name, workers in (("one", 1), ("two", 2))
    ]
    assert paths[0].name == paths[1].name
    names = {p.name for p in paths[0].iterdir()}
    assert names == {"crops.u8", "sounds.f32", "index.json"}
    assert all((paths[0] / n).read_bytes() == (paths[1] / n).read_bytes() for n in names)
    assert [p.name for p in (tmp_path / "one").iterdir()] == [paths[0].name]


def test_a_build_that_was_stopped_goes_on(made, tmp_path, monkeypatch):
    utterances, _ = index(made)
    whole = open_features(utterances, tmp_path / "whole", MOUTH, quiet=True)
    real, calls = features._features, []

    def stopping(source, box):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(source.stem)
        return real(source, box)

    monkeypatch.setattr(features, "_features", stopping)
    with pytest.raises(KeyboardInterrupt):
        open_features(utterances, tmp_path / "part", MOUTH, quiet=True)
    assert not list((tmp_path / "part").glob("av-*"))
    (torn,) = (tmp_path / "part").glob(".parts-*/clip01.safetensors")
    torn.write_bytes(torn.read_bytes()[:100])  # a machine that stopped
    again = []
    monkeypatch.setattr(features, "_features", lambda source, box: again.append(source.stem) or real(source, box))
    store = open_features(utterances, tmp_path / "part", MOUTH, quiet=True)
    assert again == ["clip01", "clip03", "clip04", "clip05"]
    assert store.digest == whole.digest
    again.clear()
    assert open_features(utterances, tmp_path / "part", MOUTH, quiet=True).digest == whole.digest
    assert not again


@pytest.mark.parametrize("name", ["crops.u8", "sounds.f32", "index.json"])
def test_a_damaged_store_is_named(made, tmp_path, name):
    utterances, _ = index(made)
    path = open_features(utterances, tmp_path, MOUTH, quiet=True).path
    (path / name).write_bytes((path / name).read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"{name} must be .*it is damaged.*remove the folder .*: it is built again"):
        open_features(utterances, tmp_path, MOUTH, quiet=True)


def test_another_box_is_another_store(made, tmp_path):
    utterances, _ = index(made)
    one = open_features(utterances, tmp_path, MOUTH, quiet=True)
    two = open_features(utterances, tmp_path, Box(0, 0, 56, 48), quiet=True)
    assert one.path != two.path
    assert not torch.equal(one.crops, two.crops)


def test_bad_videos_are_listed_and_the_rest_is_used(tmp_path):
    root = make_speaker(tmp_path / "speaker", 4)
    (root / "video" / "clip00.mpg").write_bytes(b"no video")
    frames = torch.zeros(50, 3, 80, 96, dtype=torch.uint8)
    write_clip(root / "video" / "clip01.mpg", frames, None)
    utterances, _ = index(root)
    store = open_features(
        utterances, tmp_path / "stores", {"clip00": MOUTH, "clip01": MOUTH, "clip02": MOUTH}, quiet=True
    )
    assert store.ids == ["clip02"]
    assert "clip00.mpg" in store.errors["clip00"]
    assert "no sound" in store.errors["clip01"]
    assert "names no box" in store.errors["clip03"]
    assert json.loads((store.path / "index.json").read_text())["errors"] == store.errors
    alone = open_features([u for u in utterances if u.id == "clip02"], tmp_path / "alone", MOUTH, quiet=True)
    assert torch.equal(store.crops, alone.crops)


def test_a_box_outside_every_picture_stops_with_the_first_reason(made, tmp_path):
    utterances, _ = index(made)
    with pytest.raises(io.AudioError, match="none of 6 clips.*inside the 96 x 80 picture"):
        open_features(utterances, tmp_path, BOX, quiet=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_help_does_not_import_the_recipe():
    code = (
        "import sys; from recipes import cli; assert 'recipes.lipreading.train' not in sys.modules; "
        "cli.main(['av', '--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--condition" in done.stdout
