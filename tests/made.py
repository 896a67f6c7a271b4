"""Small files made on the spot: noises that differ from file to file, so that each can be found in a mix."""

import json

import numpy as np
import soundfile
import torch
from sounds import noise

from audiomix import MixUp
from audiomix.audio import io
from audiomix.audit.run import audit
from audiomix.offline.run import augment


def sound(seed, seconds=0.5, rate=16000, channels=1, peak=0.4):
    noise = np.random.default_rng(seed).uniform(-peak, peak, (round(seconds * rate), channels))
    return noise.astype(np.float32)


def write(path, seed=0, rate=16000, subtype="PCM_16", **shape):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound(seed, rate=rate, **shape), rate, subtype=subtype)
    return path


def mix(source, out, mixer=None, **options):
    few = {"oversubscribe": True} if options.get("workers", 1) > 1 else {}  # else a few mixes are made by one worker
    return augment(source, out, mixer or MixUp(1.0), **{"progress": False, **few, **options})


def rows_of(out):
    tables = sorted(out.rglob("metadata.jsonl"))
    assert tables, f"no metadata.jsonl in {out}"
    found = [(table.parent, json.loads(line)) for table in tables for line in table.read_text("utf-8").splitlines()]
    return [row | {"root": folder, "path": folder / row["file_name"]} for folder, row in found]


def stems_and_mix(row):
    """The stems of a row and its mix, as whole numbers."""
    paths = [*(row["root"] / name for name in row["stems"]), row["path"]]
    read = [soundfile.read(path, dtype="int16")[0].astype(int) for path in paths]
    return read[:-1], read[-1]


def errors_of(out):
    return [json.loads(line) for line in (out / "errors.jsonl").read_text("utf-8").splitlines()]


def tree(out):
    """All that a person sees of a run: names and bytes."""
    found = sorted(p for p in out.rglob("*") if p.is_file() and ".audiomix" not in p.parts)
    return {str(p.relative_to(out)): p.read_bytes() for p in found}


def audited(out, sources=None, **options):
    return audit(out, sources, progress=False, **options)


class Foreign:
    """A table of mixes made here, and their sources."""

    def __init__(self, root, rate=16000):
        self.root, self.rate, self.rows = root, rate, []

    def source(self, name, samples):
        io.write(self.root / f"{name}.wav", io.Clip(samples, self.rate))
        return io.read(self.root / f"{name}.wav").samples

    def add(self, name, samples, sources, **more):
        io.write(self.root / f"{name}.wav", io.Clip(samples, self.rate))
        self.rows.append({"mix": f"{name}.wav", "sources": [f"{s}.wav" for s in sources], **more})

    def audit(self, **options):
        table = self.root / "mixes.jsonl"
        table.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        return audited(table, **options)


def coloured(seed, seconds=2.0, low=0.0, high=8000.0, rate=16000, rms=0.1, channels=1):
    """Noise between two frequencies in Hz, its first and last fifth silent but for a trace."""
    spectrum = torch.fft.rfft(noise(channels, round(seconds * rate), seed=seed))
    frequency = torch.linspace(0, rate / 2, spectrum.shape[-1])
    spectrum[:, (frequency < low) | (frequency > high)] = 0
    wave = torch.fft.irfft(spectrum, n=round(seconds * rate))
    return rms * wave / wave.square().mean().sqrt()


def hard(folder, rate=16000):
    """Write sounds that are hard to find in a mix or to tell apart: tones, equal clips, clicks, near silence."""
    time_s, draw = np.arange(2 * rate) / rate, np.random.default_rng(0)
    noise = draw.uniform(-0.3, 0.3, 2 * rate)
    click, late = np.zeros(2 * rate), noise * (time_s > 1.9)
    click[[4000, 20000]] = 0.9
    low = np.cumsum(draw.standard_normal(2 * rate))
    sounds = {
        "tone/440": 0.3 * np.sin(2763 * time_s), "tone/441": 0.3 * np.sin(2770 * time_s),
        "tone/50": np.sin(314 * time_s), "tone/square": 0.2 * np.sign(np.sin(628 * time_s)),
        "tone/chord": 0.2 * np.sin(2763 * time_s) + 0.2 * np.sin(4145 * time_s),
        "same/a": noise, "same/b": noise, "same/c": 0.5 * noise, "same/d": -noise, "odd/click": click, "odd/late": late,
        "odd/soft": 0.0005 * noise, "odd/fade": noise * np.linspace(0, 1, 2 * rate) ** 3, "odd/short": noise[:160],
        "odd/constant": np.full(rate, 0.2), "odd/low": 0.5 * low / abs(low).max(), "odd/silent": np.zeros(rate),
        "odd/loud": np.clip(8 * noise, -1, 0.999),
        "odd/pulses": 0.5 * (np.arange(2 * rate) % 4000 < 200) * np.sin(3000 * time_s),
    }  # fmt: skip
    for name, sound in sounds.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{name}.wav", sound, rate)
    return folder
