"""Speed of mixes made while a network trains: `MixedDataset`, files mixed before, and lhotse's `CutMix` on the fly.

``python tests/bench/on_the_fly.py [--source S] [--clips N] [--seconds S] [--runs R] [--workers W ...]``. All read
the same clips of a folder of the data (speech_commands, esc10), cut or padded to so many seconds, in batches of 32:

- `offline`: `audiomix augment` has mixed the clips before; a loop of soundfile reads its files. What that run took is
  told too: it is paid once for each copy.
- `on the fly`: `MixedDataset` with `SNRMix` (10 dB, rms), a partner from the clips.
- `lhotse`: ``K2SpeechRecognitionDataset`` as far as it mixes and loads: lhotse's ``CutMix`` (10 dB, p = 1) over a
  CutSet, and ``collate_audio``.
- `reads`: two reads of soundfile an item, and nothing else: what any mixing on the fly pays.

Runs alternate; medians of seconds, and ratios to `on the fly` taken run by run, are shown. The order is shuffled, so
that the cache of decoded clips helps next to nothing.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import soundfile
import torch
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from peers import import_peer
from sounds import DATA

BATCH = 32


class Files(Dataset):
    """Whole files, `each` of them an item, read by soundfile; samples of the first."""

    def __init__(self, paths, size, each=1):
        self.paths, self.size, self.each = paths, size, each

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        for k in range(self.each):
            found, _ = soundfile.read(self.paths[(index + 7 * k) % len(self.paths)], dtype="float32", always_2d=True)
            x = torch.zeros(1, self.size)
            x[0, : len(found)] = torch.from_numpy(found[: self.size, 0])
        return x


class Lhotse(Dataset):
    """Batches of cuts, mixed and loaded by lhotse as its data sets for speech recognition do."""

    def __init__(self, lhotse, paths, seconds):
        from lhotse.dataset.collation import collate_audio
        from lhotse.dataset.cut_transforms import CutMix

        recordings = [
            lhotse.Recording.from_file(path, recording_id=f"{i}-{Path(path).stem}") for i, path in enumerate(paths)
        ]
        cuts = [one.to_cut().pad(duration=seconds).truncate(duration=seconds) for one in recordings]
        self.cuts, self.collate = cuts, collate_audio
        self.noise = lhotse.CutSet.from_cuts(one.to_cut() for one in recordings)
        self.make, self.lhotse = CutMix, lhotse
        self.order = list(range(len(cuts)))

    def __len__(self):
        return -(-len(self.cuts) // BATCH)

    def __getitem__(self, index):
        chosen = [self.cuts[i] for i in self.order[index * BATCH : (index + 1) * BATCH]]
        mix = self.make(self.noise, snr=10.0, p=1.0, seed=index, preserve_id=True)
        return self.collate(mix(self.lhotse.CutSet.from_cuts(chosen)))[0]


def clips_of(source, count):
    from audiomix.datasets.source import read_source

    items, _ = read_source(source)
    paths = [item.path for item in items if item.label != "_background_noise_"]
    random.Random(0).shuffle(paths)
    return paths[:count]


def drain(loader):
    start = time.perf_counter()
    count = sum(len(batch["wave"] if isinstance(batch, dict) else batch) for batch in loader)
    return time.perf_counter() - start, count


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", default="speech_commands")
    parser.add_argument("--clips", type=int, default=960)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 2])
    parser.add_argument("--format", default="flac")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    from audiomix import MixedDataset, SNRMix
    from audiomix.offline.run import augment

    paths = clips_of(DATA / arguments.source, arguments.clips)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "clips.csv"
        table.write_text("path\n" + "\n".join(paths) + "\n")
        options = {"length": arguments.seconds, "no_labels": True}
        start = time.perf_counter()
        report = augment(
            table, Path(folder) / "out", SNRMix(10.0), format=arguments.format, progress=False, **options
        )  # fmt: skip
        print(f"augment, paid once a copy: {time.perf_counter() - start:.2f} s for {report.files} files")
        files = sorted(map(str, report.path.rglob(f"*.{arguments.format}")))
        for workers in arguments.workers:
            measure(arguments, workers, MixedDataset(table, SNRMix(10.0), **options), files, paths)


def measure(arguments, workers, dataset, files, paths):
    """Print medians and ratios with so many workers of a DataLoader; the first run of each is not counted."""
    size = round(arguments.seconds * soundfile.info(paths[0]).samplerate)
    given = {"num_workers": workers, "persistent_workers": workers > 0}
    sampler = dataset.sampler(shuffle=True)
    loaders = {
        "on the fly": DataLoader(dataset, BATCH, sampler=sampler, collate_fn=dataset.collate, **given),
        "offline": DataLoader(Files(files, size), BATCH, shuffle=True, **given),
        "reads": DataLoader(Files(paths, size, each=2), BATCH, shuffle=True, **given),
    }
    lhotse = import_peer("lhotse")
    if isinstance(lhotse, str):
        print(f"left out: {lhotse}")
    else:
        loaders["lhotse"] = DataLoader(Lhotse(lhotse, paths, arguments.seconds), batch_size=None, **given)
    seconds = {name: [] for name in loaders}
    for run in range(arguments.runs + 1):
        sampler.set_epoch(run)
        names = list(loaders)
        random.Random(run).shuffle(names)
        for name in names:
            taken, count = drain(loaders[name])
            assert count == len(dataset), (name, count)
            if run:  # workers have started, files are in the system's cache
                seconds[name].append(taken)
    own = seconds["on the fly"]
    what = f"{len(dataset)} clips of {arguments.seconds:g} s ({arguments.source})"
    print(f"\n{workers} workers, {what}, {arguments.runs} runs")
    print("| | s an epoch | clips/s | time relative to on the fly |\n|---|--:|--:|--:|")
    for name, taken in seconds.items():
        ratios = [one / mine for one, mine in zip(taken, own)]
        middle = statistics.median(taken)
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {name} | {middle:.2f} | {len(dataset) / middle:.0f} | {spread} |")


if __name__ == "__main__":
    main()
