"""Damaged files: all samples come back, or an AudioError; never another error, never another length."""

import io as memory
import time
from collections import Counter

import numpy as np
import pytest
import soundfile

from audiomix.audio import io

# What the header takes of each file, at least: bytes behind it are sound.
FORMATS = {
    "wav": ({"format": "WAV"}, 44),
    "flac": ({"format": "FLAC"}, 130),
    "ogg": ({"format": "OGG", "subtype": "VORBIS"}, 5000),
    "opus": ({"format": "OGG", "subtype": "OPUS"}, 900),
    "mp3": ({"format": "MP3"}, 600),
}
FRAMES = 12_000


def encoded(kind):
    buffer = memory.BytesIO()
    wave = np.sin(np.arange(FRAMES) / 7) * 0.3 + 0.05 * np.random.default_rng(0).standard_normal(FRAMES)
    soundfile.write(buffer, wave, 16000, **FORMATS[kind][0])
    return buffer.getvalue()


def damaged(whole, head, kind, rng):
    """The bytes of a file after a fault of this kind."""
    data = bytearray(whole)
    if kind == "cut":
        return data[: int(rng.integers(1, len(data)))]
    first, last = (0, head) if kind == "header" else (head, len(data))
    for at in rng.integers(first, last, int(rng.choice([1, 2, 8, 64]))):
        data[at] = int(rng.integers(256)) if kind == "header" or rng.random() < 0.5 else data[at] ^ 1 << rng.integers(8)
    return data


def fuzz(folder, kind, number, seed=0):
    whole, (_, head), rng = encoded(kind), FORMATS[kind], np.random.default_rng(seed)
    found, path = Counter(), folder / f"a.{kind}"
    for i in range(number):
        fault = ("flip", "cut", "header")[i % 3]
        path.write_bytes(damaged(whole, head, fault, rng))
        started = time.monotonic()
        lengths = []
        for look in (lambda: io.read(path).samples.shape[-1], lambda: io.info(path).frames):
            try:
                lengths.append(look())
            except io.AudioError as error:
                lengths.append(None if str(path) in str(error) else str(error))
        assert time.monotonic() - started < 20, (kind, fault, i)
        if fault != "header":  # the length is known
            assert lengths[0] in (FRAMES, None), (kind, fault, i, lengths)
        if lengths[0] is not None:
            assert lengths[1] == lengths[0], (kind, fault, i, lengths)
        found[fault, "refused" if lengths[0] is None else "read"] += 1
    return found


@pytest.mark.parametrize("kind", FORMATS)
def test_a_few_damaged_files(tmp_path, kind):
    found = fuzz(tmp_path, kind, 60)
    assert found["cut", "refused"] == 20
    assert found.total() == 60


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_2000_damaged_files(tmp_path, kind, capsys):
    found = fuzz(tmp_path, kind, 2000, seed=1)
    assert found.total() == 2000
    with capsys.disabled():
        print(kind, dict(found))
