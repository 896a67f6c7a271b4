"""Small files made on the spot: noises that differ from file to file, so that each can be found in a mix."""

import json

import numpy as np
import soundfile

from audiomix import MixUp
from audiomix.dataset.augment import augment


def sound(seed, seconds=0.5, rate=16000, channels=1, peak=0.4):
    noise = np.random.default_rng(seed).uniform(-peak, peak, (round(seconds * rate), channels))
    return noise.astype(np.float32)


def write(path, seed=0, rate=16000, subtype="PCM_16", **shape):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound(seed, rate=rate, **shape), rate, subtype=subtype)
    return path


def mix(source, out, mixer=None, **options):
    return augment(source, out, mixer or MixUp(1.0), **{"progress": False, **options})


def rows_of(out):
    tables = sorted(out.rglob("metadata.jsonl"))
    assert tables, f"no metadata.jsonl in {out}"
    found = [(table.parent, json.loads(line)) for table in tables for line in table.read_text("utf-8").splitlines()]
    return [row | {"root": folder, "path": folder / row["file_name"]} for folder, row in found]


def errors_of(out):
    return [json.loads(line) for line in (out / "errors.jsonl").read_text("utf-8").splitlines()]


def tree(out):
    """All that a person sees of a run: names and bytes."""
    found = sorted(p for p in out.rglob("*") if p.is_file() and ".audiomix" not in p.parts)
    return {str(p.relative_to(out)): p.read_bytes() for p in found}
