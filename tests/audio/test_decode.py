"""A length in a header is a claim: all samples come back, or an AudioError that names the file; `info` agrees."""

import io as memory
import os
import resource
import struct
import sys

import numpy as np
import pytest
import soundfile
import torch

from audiomix.audio import io, video

N, RATE = 20_000, 16_000
PYAV = video.available()
WAVE = np.clip(0.3 * np.sin(np.arange(N) / 6) + 0.05 * np.random.default_rng(0).standard_normal(N), -1, 1)


def encoded(kind, subtype=None, wave=WAVE, rate=RATE, **options):
    buffer = memory.BytesIO()
    soundfile.write(buffer, wave, rate, format=kind, subtype=subtype, **options)
    return buffer.getvalue()


def patched(data, at, form, *values):
    data = bytearray(data)
    struct.pack_into(form, data, at, *values)
    return bytes(data)


def length_of(path, data):
    """How many samples are read of these bytes; None where they are refused. Pieces and `info` say the same."""
    path.write_bytes(data)
    try:
        clip = io.read(path)
    except io.AudioError as error:
        return None if str(path) in str(error) else str(error)
    frames, rate = clip.samples.shape[-1], clip.rate
    assert io.info(path) == io.Info(rate, 1, frames)
    piece = io.read(path, start=0.5, seconds=0.25).samples
    assert torch.allclose(piece, clip.samples[:, rate // 2 : rate // 2 + rate // 4], atol=1e-6)
    assert io.read(path, start=0.5, seconds=1e9).samples.shape[-1] == frames - rate // 2
    with pytest.raises(io.AudioError, match="beyond its end|no sound between"):
        io.read(path, start=frames / rate)
    return frames


def flac(total, *, md5=True, data=None):
    data = bytearray(data or encoded("FLAC"))
    data[21] = data[21] & 0xF0 | total >> 32
    data[22:26] = struct.pack(">I", total & 0xFFFFFFFF)
    if not md5:
        data[26:42] = bytes(16)
    return bytes(data)


def test_flac_without_a_length_or_with_a_wrong_one(tmp_path):
    for claim in (0, 1, N - 5000, N - 1, N + 1, 60_000, 2**36 - 1):
        assert length_of(tmp_path / "a.flac", flac(claim)) == N  # the MD5 in the header proves it
        expected = N if claim <= N else None  # without it a longer claim may be right, and the file cut
        assert length_of(tmp_path / "a.flac", flac(claim, md5=False)) == expected
    assert length_of(tmp_path / "a.flac", flac(0, data=encoded("FLAC", "PCM_24"))) == N
    for data in (encoded("FLAC"), flac(0), flac(0, md5=False), flac(2**36 - 1)):
        assert length_of(tmp_path / "a.flac", data[:-9]) is None
    for junk in (b"TAG" + bytes(125), bytes(5000)):
        assert length_of(tmp_path / "a.flac", encoded("FLAC") + junk) == N
    assert length_of(tmp_path / "a.flac", b"ID3\3\0\0\0\0\0\x0a" + bytes(10) + encoded("FLAC")) == N


def test_wav_headers_that_are_wrong(tmp_path):
    wav = encoded("WAV", "PCM_16")
    size, riff = len(wav) - 44, len(wav) - 8

    def changed(data, whole=riff, behind=b""):
        return patched(patched(wav, 4, "<I", whole), 40, "<I", data) + behind

    for data in (size + 1, size + 16, size + 44, 5 * size, 0, 1, size - 16, size // 2, 0xFFFFFFFF, 0x7FFFF000, 1 << 31):
        assert length_of(tmp_path / "a.wav", changed(data)) == N, data
    for whole, data in ((0, 0), (36, 0), (0xFFFFFFFF, 0xFFFFFFFF), (riff + 44, size + 44), (riff + 8, size + 8)):
        assert length_of(tmp_path / "a.wav", changed(data, whole)) == N
    chunk = b"LIST\4\0\0\0INFO"
    for behind in (chunk, b"LIST\x44\0\0\0INFO", bytes(2000), bytes(20_000), b"TAG" + bytes(125)):
        assert length_of(tmp_path / "a.wav", changed(size, riff, behind)) == N
    for data in (wav[:-1], wav[:-2], wav[:-16], wav[: len(wav) // 2], wav[:44], wav[:30], wav[:40] + bytes(4) + chunk):
        assert length_of(tmp_path / "a.wav", data) is None


# kind, where and how the size is written, what it counts beside the sound
CHUNKS = {
    "AIFF": (42, ">I", 8), "AU": (8, ">I", 0), "CAF": (4084, ">q", 4), "W64": (96, "<q", 24), "RF64": (28, "<q", 0),
}  # fmt: skip


@pytest.mark.parametrize("kind", CHUNKS)
def test_other_headers_that_are_wrong(tmp_path, kind):
    at, form, extra = CHUNKS[kind]
    whole, path = encoded(kind, "PCM_16"), tmp_path / "a"
    assert struct.unpack_from(form, whole, at)[0] == 2 * N + extra
    unknown = -1 if kind == "CAF" else 0xFFFFFFFF if form == ">I" else extra
    for claim in (extra, unknown, N + extra):
        assert length_of(path, patched(whole, at, form, claim)) == N
    for left in (0.5, 0.9, 0.99):
        assert length_of(path, whole[: int(len(whole) * left)]) is None


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "GSM610"), ("WAV", "G721_32"), ("AU", "G723_24"), ("WAV", "NMS_ADPCM_16"), ("AIFF", "DWVW_16"),
        ("WAVEX", "PCM_16"), ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("WAV", "ULAW"), ("CAF", "ALAC_16"),
        ("NIST", "PCM_16"), ("VOC", "PCM_16"), ("OGG", "OPUS"),
    ],
)  # fmt: skip
def test_encodings_that_cannot_be_sought_in_and_others(tmp_path, kind, subtype):
    data = encoded(kind, subtype)
    with soundfile.SoundFile(memory.BytesIO(data)) as file:
        expected = file.frames
    assert length_of(tmp_path / "a", data) == expected >= N
    if kind != "VOC":  # it has no size of the whole
        assert length_of(tmp_path / "a", data[: len(data) // 2]) is None


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_streams_that_follow_each_other(tmp_path, subtype):
    one, two = encoded("OGG", subtype), encoded("OGG", subtype, WAVE[:9000])
    assert length_of(tmp_path / "a.ogg", one + two) == N + 9000
    assert length_of(tmp_path / "a.ogg", one + one + two) == 2 * N + 9000  # with one serial number
    assert io.read(tmp_path / "a.ogg").notes == ("Ogg streams that follow each other: all 3 were read",)
    assert length_of(tmp_path / "a.ogg", one + two[:-9]) is None
    if subtype == "VORBIS":
        assert length_of(tmp_path / "a.ogg", one + encoded("OGG", subtype, rate=8000)) is None


def test_sounds_that_follow_each_other_are_never_half_read(tmp_path):
    wav, two = encoded("WAV", "PCM_16"), struct.pack("<4sI", b"data", 200) + bytes(200)
    whole = patched(wav + two, 4, "<I", len(wav) + 200)
    for data in (wav + wav, wav + two, whole, encoded("FLAC") * 2, encoded("AIFF", "PCM_16") * 2):
        path = tmp_path / "a.wav"
        assert length_of(path, data) is None
        with pytest.raises(io.AudioError, match="follow each other, of which only the first would be read"):
            io.read(path)


def test_the_reason_is_never_that_there_is_no_file(tmp_path):
    for data in (b"\xff\xfb\0\0junk" + encoded("FLAC"), b"\xff\xfb\0\0junk" + encoded("OGG")):
        (tmp_path / "a").write_bytes(data)
        with pytest.raises(io.AudioError, match=r"not readable as audio \(damaged, or cut off\)"):
            io.read(tmp_path / "a")


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_page_that_is_damaged_is_not_left_out(tmp_path, subtype):
    whole = encoded("OGG", subtype, np.tile(WAVE, 4))  # several pages
    for share in (0.3, 0.5, 0.7, 0.99):
        at = int(len(whole) * share)
        damaged = whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :]
        assert length_of(tmp_path / "a.ogg", damaged) is None


def mp3(wave=WAVE, mode="VARIABLE"):
    return encoded("MP3", wave=wave, bitrate_mode=mode, compression_level=0.1)


def without_xing(data):
    return data[data.index(data[:2], 4) :]


def test_mp3_with_and_without_a_length(tmp_path):
    path = tmp_path / "a.mp3"
    for mode in ("VARIABLE", "CONSTANT"):
        data = mp3(mode=mode)
        tags = b"ID3\3\0\0\0\0\0\x0a" + bytes(10), b"TAG" + bytes(125)
        for whole in (data, tags[0] + data + tags[1]):
            assert length_of(path, whole) == N
            assert length_of(path, whole[: len(whole) // 2]) is None
    quiet = np.concatenate([0.001 * WAVE, WAVE])
    for wave in (WAVE, quiet, quiet[::-1]):  # libsndfile guesses too many, or too few
        found = length_of(path, without_xing(mp3(wave)))
        assert found is None if not PYAV and found is None else len(wave) <= found < len(wave) + 2304
    found = length_of(path, mp3() + mp3())
    assert 2 * N <= found < 2 * N + 4608 if PYAV else found is None


def test_a_huge_claim_takes_no_memory(tmp_path):
    """The process may have 4 GB, and the claims are of 256 GB."""
    (tmp_path / "a.flac").write_bytes(flac(2**36 - 1))
    (tmp_path / "b.wav").write_bytes(patched(encoded("RF64", "PCM_16"), 28, "<q", 1 << 40))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert io.read(tmp_path / "a.flac").samples.shape == io.read(tmp_path / "b.wav").samples.shape == (1, N)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


@pytest.mark.skipif(not PYAV, reason="needs PyAV")
def test_pyav_reads_what_libsndfile_does_not(tmp_path):
    import av

    for name, most in (("a.m4a", N), ("a.aac", N + 2048), ("b.flac.mka", N), ("b.tta", N)):
        path, codec = tmp_path / name, "aac" if name.startswith("a.") else name.split(".")[1]
        with av.open(str(path), "w") as out:
            stream = out.add_stream(codec, rate=RATE, layout="mono")
            frame = av.AudioFrame.from_ndarray(WAVE[None].astype(np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            fit = av.AudioResampler(stream.format.name, "mono", frame_size=stream.codec_context.frame_size)
            for part in [*fit.resample(frame), *fit.resample(None), None]:
                out.mux(stream.encode(part))
        data = path.read_bytes()
        assert N <= length_of(path, data) <= most
        if name == "a.m4a":
            assert length_of(tmp_path / "m4a.wav", data) == N
        assert any("read by PyAV" in note for note in io.read(path).notes) or name == "a.m4a"


def test_without_pyav_the_message_names_it(tmp_path, monkeypatch):
    (tmp_path / "a.mp3").write_bytes(mp3() + mp3())
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(io.AudioError, match=r"libsndfile stops after .*audiomix\[video\]"):
        io.read(tmp_path / "a.mp3")


def test_any_width_of_a_sample_is_read_right(tmp_path):
    for subtype, bits in (("PCM_U8", 7), ("PCM_24", 23), ("PCM_32", 24), ("FLOAT", 24), ("DOUBLE", 24)):
        soundfile.write(tmp_path / "a.wav", WAVE, RATE, subtype=subtype)
        assert np.abs(io.read(tmp_path / "a.wav").samples[0].numpy() - WAVE).max() <= 2.0**-bits


def test_files_that_are_none_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(io.AudioError, match="is a pipe or a device"):
        io.read(tmp_path / "pipe.wav")
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.wav")  # no UTF-8
    with open(odd, "wb") as file:
        file.write(encoded("WAV", "PCM_16"))
    assert io.read(odd).samples.shape == (1, N)
    random = np.random.default_rng(0).bytes(20_000)
    for data in (b"<html>404</html>" * 50, bytes(5000), b"\xff\xfb\x90\x64" * 999, random):
        for name in ("a.wav", "a.mp3", "a.flac"):
            assert length_of(tmp_path / name, data) is None


def test_other_scales_are_refused_and_odd_sounds_noted(tmp_path):
    def notes(wave, **options):
        soundfile.write(tmp_path / "a.wav", wave, RATE, subtype="DOUBLE")
        return io.read(tmp_path / "a.wav", **options).notes

    for factor in (128, 32768, 2.0**31, 1e30, 1e300):
        with pytest.raises(io.AudioError, match=r"a\.wav: its loudest sample is|NaN or infinite"):
            notes(3 * WAVE * factor)
    for level in (1, 1e-3):  # at any level, in any polarity
        assert notes(level * WAVE) == notes(-level * WAVE) == ()
        stereo = level * np.stack([WAVE, -WAVE], 1)
        assert notes(stereo) == ()
        for wave in (stereo, stereo * [1, 0.9], stereo * [0.9, 1], stereo + 0.01 * level):
            (note,) = notes(wave, channels=1)
            kept = int(np.abs(wave[:, 1]).max() > np.abs(wave[:, 0]).max() * 1.05)
            assert note == f"its channels cancel: channel {kept + 1} was taken in place of their mean"
            assert np.allclose(io.read(tmp_path / "a.wav", channels=1).samples[0], wave[:, kept], atol=1e-6)
        for other in (WAVE[::-1], 0 * WAVE, WAVE, -0.5 * WAVE):
            assert notes(level * np.stack([WAVE, other], 1), channels=1) == ()
        assert notes(level * (WAVE + 0.3))[0].startswith("a constant offset: ")
        assert notes(np.full(N, 0.3 * level))[0].startswith("a constant offset: ")
    assert notes(0 * WAVE) == ("silent: all samples are 0",)
    assert notes(30 * WAVE)[0].startswith("above full scale by more than 12 dB")
