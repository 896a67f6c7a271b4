import csv
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from archives import TEN, speech_commands

from audiomix.audio import io
from audiomix.datasets.dataset import Dataset
from audiomix.datasets.item import Item
from recipes.cli import main
from recipes.data import store as audio_store
from recipes.data.protocol import read_dataset
from recipes.data.store import open_store


def build(root, folder, **options):
    return open_store(read_dataset("folder", root), folder, **{"rate": 8000, "seconds": 0.5, "quiet": True} | options)


@pytest.mark.slow
def test_building_twice_gives_the_same_bytes_with_any_number_of_workers(tone_folder, tmp_path):
    one = build(tone_folder, tmp_path / "one")
    two = build(tone_folder, tmp_path / "two", workers=2)
    for name in ("samples.npy", "index.json"):
        assert (one.path / name).read_bytes() == (two.path / name).read_bytes()
    assert one.path.name == two.path.name


def test_a_clip_comes_back_as_the_file_has_it(tone_folder, tmp_path):
    store = build(tone_folder, tmp_path)
    for i in (0, 59):
        samples, _ = soundfile.read(store.dataset.items[i].path, dtype="int16")
        assert np.array_equal(store.read(torch.tensor([i]))[0].numpy(), samples)


def test_an_existing_store_is_opened_not_built(tone_folder, tmp_path, monkeypatch):
    build(tone_folder, tmp_path)
    monkeypatch.setattr(io, "read", lambda *a, **k: pytest.fail("decoded again"))
    assert len(build(tone_folder, tmp_path).dataset) == 60


def test_a_changed_file_or_another_rate_makes_another_store(tmp_path, write_wav):
    path = write_wav(tmp_path / "data" / "a" / "1.wav")
    names = {build(tmp_path / "data", tmp_path / "stores", rate=rate).path.name for rate in (8000, 4000)}
    write_wav(path, frequency=880, seconds=0.6)
    names.add(build(tmp_path / "data", tmp_path / "stores").path.name)
    assert len(names) == 3


def test_a_broken_file_is_listed_and_the_others_are_kept(tmp_path, write_wav):
    for name in "ac":
        write_wav(tmp_path / "data" / name / "1.wav", frequency=440 + ord(name))
    (tmp_path / "data" / "a" / "2.wav").write_bytes(b"not audio")
    (tmp_path / "data" / "b").mkdir()
    (tmp_path / "data" / "b" / "1.wav").write_bytes(b"")
    store = build(tmp_path / "data", tmp_path / "stores")
    assert set(store.errors) == {"a/2.wav", "b/1.wav"}
    assert "empty file" in store.errors["b/1.wav"]
    assert [item.id for item in store.dataset.items] == ["a/1.wav", "c/1.wav"]
    samples, _ = soundfile.read(tmp_path / "data" / "c" / "1.wav", dtype="int16")
    assert np.array_equal(store.read(torch.tensor([1]))[0].numpy(), samples)


def test_a_store_reads_as_mixes_do_and_says_what_was_odd(tmp_path, capsys):
    """Channels that cancel are no silence; whole numbers stored as floats are refused; headers are compared."""
    (tmp_path / "data" / "a").mkdir(parents=True)
    wave = 0.3 * np.sin(np.arange(8000) / 3)
    for name, samples, subtype in (
        ("cancel", np.stack([0.95 * wave, -wave], 1), "PCM_16"), ("plain", wave, "PCM_16"), ("zero", wave, "PCM_16"),
        ("whole", 32768 * wave, "FLOAT"),
    ):  # fmt: skip
        soundfile.write(tmp_path / "data" / "a" / f"{name}.wav", samples, 16000, subtype=subtype)
    path = tmp_path / "data" / "a" / "zero.wav"
    path.write_bytes(path.read_bytes()[:40] + bytes(4) + path.read_bytes()[44:])  # a recorder that was cut off
    store = build(tmp_path / "data", tmp_path / "stores", quiet=False)
    assert "times full scale" in store.errors["a/whole.wav"]
    names = [item.id for item in store.dataset.items]
    assert store.lengths.tolist() == [4000] * 3
    assert torch.equal(store.samples[names.index("a/zero.wav")], store.samples[names.index("a/plain.wav")])
    assert (store.samples[names.index("a/cancel.wav")] + store.samples[names.index("a/plain.wav")]).abs().max() <= 1
    notes = json.loads((store.path / "index.json").read_text())["notes"]
    assert set(notes) == {"a/cancel.wav", "a/zero.wav"}
    said = " ".join(capsys.readouterr().err.split())
    assert "its channels cancel (1)" in said
    assert "a wrong length in its header (1)" in said


def test_a_data_set_of_broken_files_is_an_error_and_leaves_nothing(tone_folder, tmp_path, monkeypatch):
    dataset = read_dataset("folder", tone_folder)
    monkeypatch.setattr(io, "read", lambda path, **k: (_ for _ in ()).throw(io.AudioError(f"{path}: broken")))
    with pytest.raises(io.AudioError, match=r"none of 60 files could be read, the first: .*broken"):
        open_store(dataset, tmp_path / "stores", rate=8000, seconds=0.5, quiet=True)
    assert list((tmp_path / "stores").iterdir()) == []


def test_a_build_that_is_interrupted_leaves_nothing(tone_folder, tmp_path, monkeypatch):
    read = io.read

    def stop(path, **options):
        if Path(path).name == "5.wav":
            raise KeyboardInterrupt
        return read(path, **options)

    monkeypatch.setattr(io, "read", stop)
    with pytest.raises(KeyboardInterrupt):
        build(tone_folder, tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert len(build(tone_folder, tmp_path).dataset) == 60


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_is_an_error_and_leaves_nothing(tone_folder, tmp_path, monkeypatch):
    """Written through a sparse mapping, the process died of SIGBUS."""
    monkeypatch.setattr(audio_store, "open", lambda _, mode: open("/dev/full", mode), raising=False)  # noqa: SIM115
    with pytest.raises(io.AudioError, match=r"cannot be written: No space left on device; it takes 0 MB: .*--store"):
        build(tone_folder, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_no_more(tone_folder, tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here = socket.gethostname()
    left = [tmp_path / f".tmp-folder-8000-0a1b-{host}-{pid}-0123abcd"
            for host, pid in ((here, gone.pid), (here, os.getpid()), (f"not-{here}-really", gone.pid))]  # fmt: skip
    for folder in left:
        folder.mkdir()
        (folder / "samples.npy").write_bytes(b"half")
    build(tone_folder, tmp_path)
    assert [folder.exists() for folder in left] == [False, True, True]


def test_the_digest_follows_the_bytes_of_the_files_not_their_place(tone_folder, tmp_path, write_wav):
    shutil.copytree(tone_folder, tmp_path / "copy")
    one, two = build(tone_folder, tmp_path / "stores"), build(tmp_path / "copy", tmp_path / "stores")
    assert one.path != two.path
    assert one.digest == two.digest
    assert one.hashes == two.hashes
    write_wav(tmp_path / "copy" / "low" / "7.wav", frequency=301)  # as long as before
    assert build(tmp_path / "copy", tmp_path / "stores").digest != one.digest


def test_the_hash_of_a_file_is_that_of_its_clip_where_others_cannot_be_read(tmp_path, write_wav):
    for i in range(4):
        write_wav(tmp_path / "data" / "a" / f"{i}.wav", frequency=440 + i)
    (tmp_path / "data" / "a" / "0broken.wav").write_bytes(b"RIFF")
    store = build(tmp_path / "data", tmp_path / "stores")
    wanted = [hashlib.blake2b(Path(item.path).read_bytes(), digest_size=16).hexdigest() for item in store.dataset.items]
    assert len(wanted) == 4
    assert list(store.hashes) == wanted


ODD = [
    {"rate": 8000}, {"rate": 22050}, {"rate": 48000, "subtype": "PCM_24"}, {"rate": 192000, "seconds": 0.7},
    {"rate": 11025, "channels": 2}, {"subtype": "PCM_U8"}, {"subtype": "FLOAT"}, {"subtype": "IMA_ADPCM"},
    {"subtype": "MS_ADPCM"}, {"seconds": 0.05},
]  # fmt: skip


@pytest.mark.parametrize("form", ODD, ids=str)
def test_odd_files_load_with_their_tone_and_their_true_length(tmp_path, write_wav, form):
    write_wav(tmp_path / "x.wav", **{"rate": 44100, **form})
    data = Dataset("x", (Item(str(tmp_path), "x.wav", "k"),), ("k",), 44100, 0.5)
    store = open_store(data, tmp_path / "stores", rate=16000, seconds=0.5, quiet=True)
    size, wave = int(store.lengths[0]), store.read(torch.tensor([0]))[0]
    assert (wave.dtype, wave.shape) == (torch.int16, (8000,))
    assert abs(size - 16000 * min(0.5, form.get("seconds", 0.5))) <= 1
    spectrum = torch.fft.rfft(wave[:size].float() * torch.hann_window(size)).abs()
    assert abs(int(spectrum.argmax()) * 16000 / size - 440) <= 16000 / size
    assert not wave[size:].any()


def test_no_part_of_speech_commands_has_the_silence_of_another(tmp_path):
    data = read_dataset("speech_commands_12", speech_commands(tmp_path, [*TEN, "tree", "bird", "cat"], noise=100.0))
    store = open_store(data, tmp_path / "stores", rate=16000, seconds=1.0, quiet=True)
    level = store.samples.float().mean(1) / 32768 / 0.9  # the time within the recording, as a share
    for part, (low, high) in {"train": (0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1)}.items():
        rows = [i for i, item in enumerate(data.items) if item.split == part and item.start is not None]
        assert len(rows) > 1
        assert ((level[rows] > low) & (level[rows] < high)).all()
    assert level[rows].unique().numel() == len(rows)  # each cut is another


@pytest.fixture
def copied(tmp_path, write_wav):
    """Return a manifest whose fold 2 is fold 1 under other names."""
    rows = []
    for fold in (1, 2):
        for i in range(6):
            write_wav(tmp_path / "sounds" / f"{fold}" / f"{i}.wav", frequency=300 + 100 * i)
            rows.append([f"sounds/{fold}/{i}.wav", "xy"[i % 2], fold])
    with open(tmp_path / "m.csv", "w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "fold"], *rows])
    return tmp_path / "m.csv"


@pytest.mark.parametrize("command", [["run", "supervised", "manifest"], ["bench", "manifest"]])
@pytest.mark.slow
def test_a_manifest_whose_folds_are_copies_is_refused_before_training(copied, tmp_path, capsys, command):
    line = [*command, str(copied), "--rate", "8000", "--steps", "1", "--labelled", "1", "--out", str(tmp_path / "x")]
    assert main([*line, "--methods", "supervised"] if command[0] == "bench" else line) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "got 6 files with the bytes of another, e.g. sounds/1/0.wav (fold 1) and sounds/2/0.wav (fold 2)" in said
    assert not list(tmp_path.glob("x/**/metrics.csv"))
