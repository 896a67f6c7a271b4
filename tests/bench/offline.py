"""Speed of ``audiomix augment`` against a bare soundfile loop with the same reads and writes.

``python tests/bench/offline.py [--limit N] [--runs R] [--flac N]``. The loop reads two files, adds them, and writes
one, with neither manifest, plan, journal nor temporary names; with two workers it runs in as many processes. Lhotse and
audiomentations do the same with one worker, where they are installed. Runs alternate, so that what else the machine
does hits all; medians are shown. Imports of the spawned processes count on both sides.

A table has, by set and workers, the seconds of each, by the clock and of the CPU in all processes, and both over those
of the bare loop. On a machine with other work those of the CPU are the ones to compare.
"""

import argparse
import functools
import importlib.util
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

DATA = Path(os.environ.get("AUDIOMIX_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def bare(pairs, out):
    """Two reads and one write a mix: the floor."""
    import soundfile

    for number, (first, second) in pairs:
        x, rate = soundfile.read(first, dtype="float32")
        y, _ = soundfile.read(second, dtype="float32")
        size = min(len(x), len(y))
        x[:size] = 0.6 * x[:size] + 0.4 * y[:size]
        soundfile.write(f"{out}/{number}.flac", x, rate, subtype="PCM_16")


def lhotse_loop(pairs, out):
    """The same with lhotse: cuts are mixed at a ratio of 0 dB, and written."""
    import soundfile
    from lhotse import Recording

    for number, (first, second) in pairs:
        one, two = (Recording.from_file(path).to_cut() for path in (first, second))
        mixed = one.mix(two.truncate(duration=min(one.duration, two.duration)), snr=0)
        soundfile.write(f"{out}/{number}.flac", mixed.load_audio()[0], one.sampling_rate, subtype="PCM_16")


def audiomentations_loop(pairs, out):
    """The same with audiomentations: a background is mixed at a ratio of 0 dB, and written."""
    import soundfile
    from audiomentations import AddBackgroundNoise

    for number, (first, second) in pairs:
        x, rate = soundfile.read(first, dtype="float32")
        mix = AddBackgroundNoise(sounds_path=second, min_snr_db=0, max_snr_db=0, p=1)
        soundfile.write(f"{out}/{number}.flac", mix(x, rate), rate, subtype="PCM_16")


def bare_in(workers, pairs, out):
    if workers == 1:
        bare(pairs, out)
        return
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=bare, args=(pairs[i::workers], out)) for i in range(workers)]
    for process in running:
        process.start()
    for process in running:
        process.join()


def pairs_of(source, copies):
    """The pairs that augment mixes, in the order it mixes them."""
    from audiomix import MixUp
    from audiomix.datasets.source import read_source
    from audiomix.offline.partners.index import PartnerIndex

    items, _ = read_source(source)
    index = PartnerIndex(items, MixUp().pairing)
    tasks = [(i, copy) for i in range(len(items)) for copy in range(copies)]
    chosen = [(items[i].path, items[index.partners(i, copy=c, seed=0)[0]].path) for i, c in tasks]
    return list(enumerate(chosen))


def limited(source, limit, folder):
    """A copy of the first `limit` clips of each fold, as a manifest."""
    import csv

    with open(source / "meta" / "esc50.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [r for fold in "12345" for r in [row for row in rows if row["fold"] == fold][:limit]]
    table = Path(folder) / "limited.csv"
    with open(table, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["path", "label", "fold"])
        out.writerows([source / "audio" / r["filename"], r["category"], r["fold"]] for r in kept)
    return table


def linked(source, times, folder):
    """Class folders in which every clip stands `times` times under other names: a larger set without larger files."""
    from audiomix.datasets.source import read_source

    for item in read_source(source)[0]:
        (folder / item.label).mkdir(parents=True, exist_ok=True)
        for i in range(times):
            (folder / item.label / f"{i}-{Path(item.path).name}").symlink_to(Path(item.path).resolve())
    return folder


def coded(count, folder):
    """Class folders of FLAC clips of 10 s."""
    import numpy as np
    import soundfile

    for i in range(count):
        path = folder / f"class {i % 10}" / f"{i:05d}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        sound = np.random.default_rng(i).normal(0, 0.1, 160_000)
        sound = np.convolve(sound, np.ones(8) / 8, "same")  # noise is what a codec is slowest at
        soundfile.write(path, sound.astype("float32"), 16_000)
    return folder


def timed(function):
    """Return the seconds of a call: by the clock, and of the CPU in all processes that ended by then."""
    start, before = time.perf_counter(), os.times()
    function()
    after = os.times()
    return time.perf_counter() - start, sum(after[:4]) - sum(before[:4])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=int, help="clips of each fold; all by default")
    parser.add_argument("--copies", type=int, default=2)
    parser.add_argument("--links", type=int, default=4, help="times each clip stands in the larger set")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--flac", type=int, default=400, help="FLAC clips of 10 s that are made; 0 leaves them out")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    arguments = parser.parse_args()
    print("| set | mixes | workers | who | seconds | over bare | CPU seconds | over bare |")
    print("|---|--:|--:|---|--:|--:|--:|--:|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        sets = []
        if (source := DATA / "esc10").exists():
            source = limited(source, arguments.limit, folder) if arguments.limit else source
            # partners from a fold of 80 clips, most of which the cache of decoded sources keeps; and from a set so
            # large, each file used once as an original, that it keeps next to nothing
            large = linked(source, arguments.links, Path(folder) / "large")
            sets = [("ogg, cached", source, arguments.copies), ("ogg, not cached", large, 1)]
        if arguments.flac:
            sets.append(("FLAC, not cached", coded(arguments.flac, Path(folder) / "flac"), 1))
        for name, place, copies in sets:
            for workers in arguments.workers:
                measure(name, place, Path(folder) / "out", copies, workers, arguments.runs)


def measure(name, source, out, copies, workers, runs):
    """Print the seconds of all, run in turn."""
    from audiomix import MixUp
    from audiomix.offline.run import augment

    pairs = pairs_of(source, copies)
    options = {"copies": copies, "workers": workers, "progress": False}
    calls = {
        "bare loop": lambda: bare_in(workers, pairs, out),
        "augment": lambda: augment(source, out, MixUp(), **options),
    }
    for peer, loop in (("lhotse", lhotse_loop), ("audiomentations", audiomentations_loop)):
        if workers == 1 and importlib.util.find_spec(peer):
            calls[peer] = functools.partial(loop, pairs, out)
    seconds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in calls}
    for _ in range(runs):
        for kind, call in calls.items():
            out.mkdir()
            seconds[kind].append(timed(call))
            shutil.rmtree(out)
    found = {kind: [statistics.median(one) for one in zip(*times)] for kind, times in seconds.items()}
    for kind, (wall, cpu) in found.items():
        over = [one / base for one, base in zip((wall, cpu), found["bare loop"])]
        print(
            f"| {name} | {len(pairs)} | {workers} | {kind} | {wall:.2f} | {over[0]:.2f} | {cpu:.2f} | {over[1]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
