"""A made speaker: a bright mouth whose height says the word, and a tone that says it too."""

import math
import os

import pytest
import torch
from sounds import DATA

from audiomix.audio import io
from recipes.lipreading.features import Box
from recipes.lipreading.grid import SLOTS

RATE, PICTURES, WIDTH, HEIGHT = 16_000, 50, 96, 80
MOUTH = Box(16, 16, 56, 48)


@pytest.fixture
def grid():
    pytest.importorskip("av", reason="PyAV reads GRID's files")
    if not (DATA / "grid").exists():
        pytest.skip(f"no GRID clips at {DATA} (set AUDIOMIX_DATA)")
    return DATA / "grid"


def write_align(path, words, starts, length=6):
    """Write an alignment, in pictures: 1000 units each."""
    rows = [f"0 {starts[0] * 1000} sil"]
    rows += [f"{s * 1000} {(s + length) * 1000} {w}" for s, w in zip(starts, words)]
    rows.append(f"{(starts[-1] + length) * 1000} {PICTURES * 1000} sil")
    path.write_text("\n".join(rows) + "\n")


def write_clip(path, frames, samples, sound_start=0.0):
    """Write pictures at 25 a second and a mono sound; the contents decide how a file is read, not its suffix."""
    pytest.importorskip("av", reason="PyAV writes the made clips")
    from audiomix.audio.video import Video, write_video

    times = torch.arange(len(frames), dtype=torch.float64) / 25
    sound = None if samples is None else io.Clip(samples[None], RATE)
    made = write_video(path.with_suffix(".mp4"), Video(frames, times, 25.0, sound, sound_start))
    os.replace(made, path)


def speak(places):
    """Return the pictures and the sound of six words."""
    frames = torch.full((PICTURES, 3, HEIGHT, WIDTH), 90, dtype=torch.uint8)
    time = torch.arange(PICTURES * RATE // 25) / RATE
    wave = torch.zeros_like(time)
    for slot, (place, known) in enumerate(zip(places, SLOTS.values())):
        start = 5 + 6 * slot
        open_to = 4 + round(30 * place / (len(known) - 1))
        frames[start : start + 6, :, 40 - open_to // 2 : 40 + open_to // 2, 30:58] = 220
        inside = (time >= start / 25) & (time < (start + 6) / 25)
        wave += inside * 0.3 * torch.sin(2 * math.pi * (300 + 250 * place) * time)
    return frames, wave


def make_speaker(root, count):
    """Write `count` clips in GRID's layout; return the root."""
    (root / "video").mkdir(parents=True)
    (root / "align").mkdir()
    generator = torch.Generator().manual_seed(0)
    for i in range(count):
        places = [int(torch.randint(len(known), (), generator=generator)) for known in SLOTS.values()]
        frames, wave = speak(places)
        write_clip(root / "video" / f"clip{i:02d}.mpg", frames, wave)
        words = [known[p] for p, known in zip(places, SLOTS.values())]
        write_align(root / "align" / f"clip{i:02d}.align", words, [5 + 6 * s for s in range(6)])
    return root


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return make_speaker(tmp_path_factory.mktemp("made") / "speaker", 6)
