import errno
import os
import signal
import threading

import numpy as np
import pytest
import soundfile
import torch
from sounds import noise

from audiomix.audio import io


def write(path, rate=16000, shape=(1, 1600), subtype=None):
    soundfile.write(path, (0.3 * noise(*shape)).T.numpy(), rate, subtype=subtype)
    return path


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 96000, 192000])
@pytest.mark.parametrize("channels", [1, 2])
def test_odd_files_are_read_at_the_rate_asked_for(tmp_path, rate, channels):
    clip = io.read(write(tmp_path / "a.wav", rate, (channels, rate // 10), "PCM_24"), rate=16000, channels=1)
    assert clip.samples.shape == (1, round(rate // 10 * 16000 / rate))
    assert clip.samples.dtype == torch.float32


def test_a_piece_is_read(tmp_path):
    path = write(tmp_path / "a.wav", 16000, (1, 16000))
    piece = io.read(path, start=0.25, seconds=0.5)
    assert torch.equal(piece.samples, io.read(path).samples[:, 4000:12000])
    with pytest.raises(io.AudioError, match="beyond its end"):
        io.read(path, start=3)


def test_resampling_keeps_the_sound():
    t = torch.arange(44100) / 44100
    clip = io.resample(io.Clip(torch.sin(2 * torch.pi * 1000 * t)[None], 44100), 16000)
    expected = torch.sin(2 * torch.pi * 1000 * torch.arange(16000) / 16000)
    assert (clip.samples[0, 500:-500] - expected[500:-500]).abs().max() < 1e-3


@pytest.mark.parametrize("suffix", ["flac", "wav"])
def test_equal_bytes_every_time(tmp_path, suffix):
    clip = io.Clip(0.5 * noise(2, 5000), 44100)
    first = io.write(tmp_path / f"a.{suffix}", clip).read_bytes()
    assert first == io.write(tmp_path / f"b.{suffix}", clip).read_bytes()


@pytest.mark.parametrize("suffix", ["flac", "wav"])
@pytest.mark.parametrize(("bits", "subtype"), [(16, "PCM_16"), (24, "PCM_24")])
def test_whole_numbers_come_back_as_they_went(tmp_path, suffix, bits, subtype):
    numbers = io.quantise(0.9 * noise(1, 4000).clamp(-1, 1), bits)
    path = io.write(tmp_path / f"a.{suffix}", io.Clip(numbers, 16000), subtype=subtype)
    back = soundfile.read(path, dtype="int32")[0] >> (32 - bits)
    assert np.array_equal(back, numbers[0].numpy())


def test_quantise_rounds_and_clips():
    x = torch.tensor([[0.0, 1.0, -1.0, 2.0, 1.4 / 32768, 1.6 / 32768]])
    assert io.quantise(x).tolist() == [[0, 32767, -32768, 32767, 1, 2]]


@pytest.mark.parametrize("bits", [16, 24])
def test_quantise_is_the_same_in_every_precision(bits):
    x = torch.cat([2 * noise(1, 50_000), torch.tensor([[0.5, 1.5, 2.5, -0.5, 1e9]]) / 2 ** (bits - 1)], -1)
    assert torch.equal(io.quantise(x, bits), io.quantise(x.double(), bits))
    half = torch.tensor([[1.0, -1.0, 0.25]])
    for dtype in (torch.float16, torch.bfloat16):
        assert torch.equal(io.quantise(half.to(dtype), bits), io.quantise(half, bits))


def test_long_ogg_does_not_overflow(tmp_path):
    path = io.write(tmp_path / "a.ogg", io.Clip(0.1 * noise(1, 3_000_000), 44100))
    assert io.info(path).frames == 3_000_000


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("empty.wav", b"", r"empty file \(0 bytes\)"),
        ("text.wav", b"not audio at all, really not", "not readable as audio"),
        ("cut.flac", None, "cut.flac"),
    ],
)
def test_broken_files_say_what_is_wrong(tmp_path, name, data, message):
    path = tmp_path / name
    if data is None:
        whole = io.write(path, io.Clip(0.1 * noise(1, 50_000), 16000)).read_bytes()
        data = whole[: len(whole) // 2]
    path.write_bytes(data)
    with pytest.raises(io.AudioError, match=message):
        io.read(path)


@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "w64", "rf64", "ogg", "opus"])
def test_a_truncated_file_is_not_taken_for_a_short_one(tmp_path, suffix):
    """libsndfile mends the header of these and reads on."""
    path, kind = tmp_path / f"a.{suffix}", {"opus": "OGG"}.get(suffix, suffix.upper())
    soundfile.write(
        path, (0.3 * noise(48000)).numpy(), 48000, format=kind, subtype="OPUS" if suffix == "opus" else None
    )
    assert io.read(path).samples.shape == (1, 48000)
    whole = path.read_bytes()
    for left in (0.95, 0.6):
        path.write_bytes(whole[: int(len(whole) * left)])
        with pytest.raises(io.AudioError, match="truncated: "):
            io.read(path)


def test_every_real_ogg_is_whole(esc10):
    for file in sorted((esc10 / "audio").glob("*.ogg"))[::10]:
        io.read(file)


@pytest.fixture
def ctrl_c():
    """The usual handler: a job in the background is started with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_while_encoding_waits_and_damages_nothing(tmp_path, ctrl_c):
    """In a callback from C it would be swallowed, and a damaged file would get its final name."""
    clip = io.Clip(0.3 * noise(2, 200_000), 44100)
    reference = io.write(tmp_path / "reference.flac", clip).read_bytes()
    stopped = 0
    for i in range(30):
        path = tmp_path / f"{i}.flac"
        timer = threading.Timer(0.0005 * i, signal.raise_signal, [signal.SIGINT])
        try:
            timer.start()
            io.write(path, clip)
            timer.join()
        except KeyboardInterrupt:
            stopped += 1
        assert not path.exists() or path.read_bytes() == reference
    assert stopped


def test_an_error_in_memory_is_not_swallowed(tmp_path, monkeypatch):
    real = io._Buffer.write

    def failing(self, data):
        self.error = MemoryError("no more")
        return real(self, data)

    monkeypatch.setattr(io._Buffer, "write", failing)
    with pytest.raises(MemoryError, match="no more"):
        io.write(tmp_path / "x.flac", io.Clip(torch.zeros(1, 400), 16000))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_rate_and_what_a_format_cannot_hold(tmp_path):
    path = write(tmp_path / "a.wav", 16000, (1, 100))
    data = bytearray(path.read_bytes())
    data[24:28] = (1).to_bytes(4, "little")
    path.write_bytes(data)
    for look in (io.read, io.info):
        with pytest.raises(io.AudioError, match="a sampling rate of 1 Hz: is the header damaged"):
            look(path)
    with pytest.raises(io.AudioError, match="cannot be written so .*more channels"):
        io.write(tmp_path / "x.flac", io.Clip(torch.zeros(9, 400), 16000))


def test_sound_from_a_pipe_has_no_size_and_is_read(tmp_path):
    path = write(tmp_path / "a.wav", 16000, (1, 1000))
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    for size in (b"\xff\xff\xff\xff", b"\x00\xf0\xff\x7f"):  # ffmpeg, SoX
        data[at : at + 4] = data[4:8] = size
        path.write_bytes(data)
        assert io.read(path).samples.shape == (1, 1000)


def test_missing_folder_nan_and_no_samples(tmp_path):
    with pytest.raises(io.AudioError, match="no such file"):
        io.read(tmp_path / "nope.wav")
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(io.AudioError, match="is a folder"):
        io.read(tmp_path / "folder.wav")
    soundfile.write(tmp_path / "none.wav", np.zeros((0, 1)), 16000)
    with pytest.raises(io.AudioError, match="no samples"):
        io.read(tmp_path / "none.wav")
    soundfile.write(tmp_path / "nan.wav", np.array([0, np.nan, 1.0]), 16000, subtype="FLOAT")
    with pytest.raises(io.AudioError, match="1 samples are NaN or infinite"):
        io.read(tmp_path / "nan.wav")
    with pytest.raises(io.AudioError, match="NaN or infinite"):
        io.write(tmp_path / "x.flac", io.Clip(torch.full((1, 4), torch.nan), 16000))
    with pytest.raises(io.AudioError, match="no such folder"):
        io.write(tmp_path / "no" / "x.flac", io.Clip(torch.zeros(1, 4), 16000))
    with pytest.raises(io.AudioError, match=r"use \.flac"):
        io.write(tmp_path / "x.mp4", io.Clip(torch.zeros(1, 4), 16000))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.wav", "nan.wav", "none.wav"]


def test_a_full_disk_leaves_nothing_under_the_final_name(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(io.AudioError, match="no space left on device"):
            io.write(tmp_path / "x.flac", io.Clip(torch.zeros(1, 400), 16000))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("suffix", ["flac", "wav", "ogg"])
def test_a_disk_that_fills_up_while_writing(tmp_path, monkeypatch, suffix):
    real = open
    monkeypatch.setattr(
        "builtins.open", lambda name, *a, **k: real("/dev/full" if ".tmp-" in str(name) else name, *a, **k)
    )
    with pytest.raises(io.AudioError, match="no space left on device"):
        io.write(tmp_path / f"x.{suffix}", io.Clip(torch.zeros(1, 400), 16000))
    assert not (tmp_path / f"x.{suffix}").exists()


def test_a_reader_never_sees_half_a_file(tmp_path):
    path, seen = tmp_path / "x.wav", []
    clip = io.Clip(torch.zeros(1, 2_000_000), 16000)
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            if path.exists():
                seen.append(path.stat().st_size)

    thread = threading.Thread(target=watch)
    thread.start()
    for _ in range(3):
        io.write(path, clip)
    stop.set()
    thread.join()
    assert set(seen) <= {path.stat().st_size}


def test_channels_are_fitted_or_refused():
    assert torch.equal(io.fit_channels(torch.tensor([[1.0], [3.0]]), 1), torch.tensor([[2.0]]))
    assert io.fit_channels(torch.ones(1, 4), 2).shape == (2, 4)
    with pytest.raises(ValueError, match="mix down to mono first"):
        io.fit_channels(torch.ones(6, 4), 2)
