"""`Collate` against torch's default collate followed by the same mixer; and batches of noise from a folder.

    python tests/bench/loader.py

Medians of the processor's time of alternated runs in one process, as ratios: page faults count, other programs do not.
"""

import random
import statistics
import tempfile
import time
from pathlib import Path

import soundfile
import torch
from torch.utils.data import default_collate

from audiomix import Collate, Indexed, Mixed, MixUp, NoiseFolder

RATE = 16000


def medians(runs, repeats=41):
    """Median seconds of the processor for each run, in shuffled order."""
    times = {name: [] for name in runs}
    for _ in range(repeats):
        for name in random.sample(list(runs), len(runs)):
            start = time.process_time()
            runs[name]()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def collate(seconds, size=64, spread=0.0):
    """Print what a batch of clips of these lengths costs."""
    sizes = [round(RATE * seconds * (1 - spread * i / size)) for i in range(size)]
    clips = [(torch.randn(1, n), i % 10) for i, n in enumerate(sizes)]
    indexed = [Indexed(clips)[i] for i in range(size)]
    rows = [{"id": i, "input_values": wave[0], "labels": label} for i, (wave, label) in enumerate(clips)]
    mixer, mix = MixUp(0.4, num_classes=10), Collate(MixUp(0.4, num_classes=10))

    def default() -> Mixed:
        """Torch's collate, for which clips of different lengths are padded first."""
        longest = max(sizes)
        padded = clips if not spread else [(torch.nn.functional.pad(w, (0, longest - w.shape[1])), y) for w, y in clips]
        x, label = default_collate(padded)
        return mixer(x, label, lengths=torch.tensor(sizes) if spread else None)

    found = medians({"default": default, "collate": lambda: mix(indexed), "rows": lambda: mix(rows)})
    ragged = f" to {(1 - spread) * seconds:g}" if spread else ""
    ratios = ", ".join(f"{name} {found[name] / found['default']:.2f}" for name in ("collate", "rows"))
    print(f"{size} x {seconds:g}{ragged} s: default collate and mixer {1e3 * found['default']:.2f} ms; {ratios}")


def noise(seconds, files, size=64):
    """Print what `size` pieces of noise cost, from a full cache and read from files."""
    with tempfile.TemporaryDirectory() as folder:
        for i in range(20):
            soundfile.write(Path(folder) / f"{i}.flac", torch.randn(RATE * files).numpy() * 0.1, RATE)
        made = {cache: NoiseFolder(folder, seconds=seconds, rate=RATE, cache=cache) for cache in (0, 256)}
        for one in made.values():
            one.sample(200)
        found = medians({cache: lambda one=one: one.sample(size) for cache, one in made.items()}, 9)
    text = f"{1e3 * found[256]:.1f} ms with a cache, {1e3 * found[0]:.1f} without"
    print(f"{size} pieces of {seconds:g} s from FLAC files of {files} s: {text}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for seconds in (1, 5):
        collate(seconds)
        collate(seconds, spread=0.5)
    noise(1, 5)
    noise(1, 120)
