"""The bundled sounds, judged from what is in the files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from assets import gallery
from PIL import Image
from readme import load_asset_script

from audiomix import mixers

ASSETS = Path(__file__).parents[1] / "assets"
KINDS = ("words", "sounds", "loops")
FIELDS = {"file_name": str, "label": str, "caption": str, "split": str, "fold": int, "group": str}
WORDS = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"}
HOP_S = 0.001


def rows(kind):
    text = (ASSETS / kind / "metadata.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def load(kind, row):
    audio, rate = soundfile.read(ASSETS / kind / row["file_name"], dtype="float64")
    return audio, rate


def onsets(audio, rate):
    """Return the times at which the energy of a loop, which runs on into its beginning, rises by more than 4 dB."""
    # the drums begin with a broad click, while what rings on is low: the difference of samples hears the former
    sharp = np.diff(audio, prepend=audio[-1])
    hop = round(HOP_S * rate)
    energy = np.square(sharp[: len(sharp) // hop * hop]).reshape(-1, hop).sum(1)
    before = np.max([np.roll(energy, lag) for lag in range(1, 11)], axis=0)
    floor = 1e-4 * energy.max()
    rise = 10 * np.log10((energy + floor) / (before + floor))
    peak = np.max([np.roll(rise, lag) for lag in range(-20, 21)], axis=0)
    return np.flatnonzero((rise == peak) & (rise > 4)) * hop / rate


def read_beats(row):
    path = (ASSETS / "loops" / row["file_name"]).with_suffix(".beats")
    table = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return np.array([float(time) for time, _ in table]), [int(position) for _, position in table]


@pytest.mark.parametrize("kind", KINDS)
def test_every_line_of_metadata_has_a_file_and_every_file_a_line(kind):
    listed = [row["file_name"] for row in rows(kind)]
    there = {path.relative_to(ASSETS / kind).as_posix() for path in (ASSETS / kind).rglob("*.flac")}
    assert len(listed) == len(set(listed))
    assert set(listed) == there


@pytest.mark.parametrize("kind", KINDS)
def test_every_line_says_what_is_heard_where_it_belongs_and_whose_it_is(kind):
    for row in rows(kind):
        for field, of_type in FIELDS.items():
            assert isinstance(row[field], of_type), field
        assert len(row["caption"].split()) >= 4
        assert row["split"] == ("test" if row["fold"] == 4 else "train")
        assert row["licence"] == "MIT"
        assert "audiomix" in row["attribution"]


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def test_the_assets_stay_within_eight_mebibytes_and_each_published_network_within_two_megabytes():
    networks = [path for path in (ASSETS / "checkpoints").iterdir() if path.is_dir()]
    assert networks
    assert all(size_of(path) <= 2_000_000 for path in networks)
    apart = size_of(ASSETS / "checkpoints") + size_of(ASSETS / "pictures" / "mixers")
    apart += size_of(ASSETS / "docs") + size_of(ASSETS / "results")
    assert size_of(ASSETS) - apart <= 8 * 1024 * 1024
    assert size_of(ASSETS / "docs") <= 512 * 1024
    assert size_of(ASSETS / "results") <= 1536 * 1024  # tables with the predictions that they are made of


def test_the_gallery_has_a_small_picture_of_each_mixer_and_the_guide_shows_them():
    folder, page = ASSETS / "pictures" / "mixers", (ASSETS / "docs" / "mixers.md").read_text(encoding="utf-8")
    assert sorted(path.stem for path in folder.iterdir()) == mixers.available()
    for path in folder.iterdir():
        assert path.stat().st_size <= 30_000, path
        assert f"![{mixers.get(path.stem).__name__}](../pictures/mixers/{path.name})" in page
        with Image.open(path) as picture:
            assert picture.mode == "P"  # few colours
            colours = picture.convert("RGB").getcolors(256)
        assert len(colours) > 8, path  # not empty
        assert max(count for count, _ in colours) < 0.9 * picture.width * picture.height
    assert size_of(folder) <= 800_000


@pytest.mark.parametrize("name", mixers.available())
def test_the_gallery_shows_sound_and_spectrogram_of_each_mixer_that_takes_both(name):
    kind, drawn = mixers.get(name), gallery.modes_of(name)
    takes = mixers.domains(kind)
    assert set(drawn) <= takes
    assert takes & {"wave", "spectrogram"} <= set(drawn)  # a wave is drawn with its spectrogram
    assert drawn


def test_the_gallery_writes_the_sound_of_a_mix(tmp_path):
    picture, sound = gallery.draw("mixup", tmp_path, sounds=True)
    assert picture.name == "mixup.png"
    assert soundfile.info(sound).duration == pytest.approx(gallery.SECONDS, abs=0.01)
    assert 0.01 < np.abs(soundfile.read(sound)[0]).max() < 1
    assert [path.name for path in gallery.draw("spec_mix", tmp_path, sounds=True)] == ["spec_mix.png"]


def test_the_gallery_is_what_its_command_draws(tmp_path):
    """Pixels may differ from one release of matplotlib, or from one processor, to another: few of them, by little."""
    command = [sys.executable, "assets/make.py", "gallery", str(tmp_path), "--only", "spec_mix", "geodesic_mix"]
    subprocess.run(command, cwd=ASSETS.parent, check=True, stdout=subprocess.DEVNULL)
    for name in ("spec_mix", "geodesic_mix"):
        drawn, kept = (
            np.asarray(Image.open(folder / f"{name}.png").convert("RGB"), dtype=float)
            for folder in (tmp_path, ASSETS / "pictures" / "mixers")
        )
        assert drawn.shape == kept.shape
        assert (np.abs(drawn - kept).max(-1) > 60).mean() < 0.02


def test_the_pictures_of_the_readme_are_what_their_command_draws_from_the_tables(tmp_path):
    script = load_asset_script("make_pictures")
    for file in script.draw_all(tmp_path):
        drawn, kept = (
            np.asarray(Image.open(folder / file.name).convert("RGB"), dtype=float)
            for folder in (tmp_path, ASSETS / "pictures")
        )
        assert drawn.shape == kept.shape
        assert (np.abs(drawn - kept).max(-1) > 60).mean() < 0.02, file.name
    page = (ASSETS / "docs" / "results.md").read_text(encoding="utf-8")
    errors = script.read_errors("esc10-three-labels", script.THREE_LABELS)
    errors |= script.read_errors("esc10-birdnet", script.BIRDNET, "raw_error")
    for name, error in errors.items():
        assert re.search(rf"\| \**{error:.1f}\** \|", page), f"{name}: {error:.1f}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_sound_is_mono_and_neither_clipped_nor_silent(kind):
    for row in rows(kind):
        audio, _ = load(kind, row)
        assert audio.ndim == 1, row
        assert np.abs(audio).max() < 0.99, row
        # as heard, that is without a constant offset
        assert np.std(audio) > 10 ** (-60 / 20), row


def test_words_last_one_second_at_16_khz():
    for row in rows("words"):
        info = soundfile.info(ASSETS / "words" / row["file_name"])
        assert (info.samplerate, info.frames, info.channels, info.subtype) == (16_000, 16_000, 1, "PCM_16"), row


def test_words_are_ten_and_equally_frequent_in_each_split():
    listed = rows("words")
    assert {row["label"] for row in listed} == WORDS
    assert 300 <= len(listed) <= 600
    for split in ("train", "test"):
        counts = [sum(row["label"] == word and row["split"] == split for row in listed) for word in WORDS]
        assert min(counts) == max(counts) > 0
    assert all(row["file_name"].split("/")[0] == row["label"] and row["label"] in row["caption"] for row in listed)


def test_speakers_and_their_timbres_never_cross_folds():
    listed = rows("words")
    for field in ("group", "variant"):
        for name in {row[field] for row in listed}:
            assert len({row["fold"] for row in listed if row[field] == name}) == 1, name


def test_no_two_words_sound_the_same():
    seen = {load("words", row)[0].tobytes() for row in rows("words")}
    assert len(seen) == len(rows("words"))


def test_each_word_stands_out_of_its_noise():
    for row in rows("words"):
        audio, _ = load("words", row)
        energy = np.square(audio[: len(audio) // 400 * 400]).reshape(-1, 400).mean(1)
        loud, quiet = np.quantile(energy, 0.9), np.quantile(energy, 0.1)
        assert 10 * np.log10(loud / quiet) > 6, row


def test_sounds_differ_in_level_and_some_begin_or_end_in_silence():
    level, leading, trailing = [], 0.0, 0.0
    for row in rows("sounds"):
        audio, rate = load("sounds", row)
        assert 2 <= len(audio) / rate <= 5, row
        heard = np.flatnonzero(np.abs(audio) > 1e-4)
        leading = max(leading, heard[0] / rate)
        trailing = max(trailing, (len(audio) - 1 - heard[-1]) / rate)
        level.append(10 * np.log10(np.mean(audio**2)))
    assert len(level) >= 6
    assert max(level) - min(level) > 10
    assert leading > 0.4
    assert trailing > 0.4


@pytest.mark.parametrize("row", rows("loops"), ids=lambda row: row["group"])
def test_a_loop_lasts_its_beats_exactly(row):
    audio, rate = load("loops", row)
    times, positions = read_beats(row)
    assert len(audio) * row["bpm"] == row["beats"] * 60 * rate
    assert len(times) == row["beats"]
    assert row["beats"] % 4 == 0
    assert times == pytest.approx(np.arange(row["beats"]) * 60 / row["bpm"], abs=1e-6)
    assert positions == [1 + index % 4 for index in range(row["beats"])]


@pytest.mark.parametrize("row", rows("loops"), ids=lambda row: row["group"])
def test_every_beat_is_heard_within_5_ms_and_every_onset_is_on_the_grid(row):
    audio, rate = load("loops", row)
    heard = onsets(audio, rate)
    length = len(audio) / rate
    for time in read_beats(row)[0]:
        distance = np.abs(heard - time)
        assert np.minimum(distance, length - distance).min() <= 0.005, time
    sixteenth = 15 / row["bpm"]
    assert np.abs(heard / sixteenth - np.round(heard / sixteenth)).max() * sixteenth <= 0.005
    # a detector that hears onsets everywhere would pass the first check
    assert len(heard) <= 4 * row["beats"]


@pytest.mark.parametrize("row", rows("loops"), ids=lambda row: row["group"])
def test_the_bass_drum_opens_each_bar(row):
    audio, rate = load("loops", row)
    for time, position in zip(*read_beats(row)):
        if position == 1:
            start = round(time * rate)
            power = np.square(np.abs(np.fft.rfft(audio[start : start + rate // 10])))
            # ten hertz a bin
            assert power[3:20].sum() > 0.5 * power.sum(), time
