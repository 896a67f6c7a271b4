"""Speed of ``audiomix augment`` against a bare soundfile loop with the same reads and writes.

``python tests/bench/offline.py [--limit N] [--runs R]``. The loop reads two files, adds them, and writes one, with
neither manifest, plan, journal nor temporary names; with two workers it runs in as many processes. Runs alternate, so
that what else the machine does hits both; medians are shown. Imports of the spawned processes count on both sides.
"""

import argparse
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


def timed(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=int, help="clips of each fold; all by default")
    parser.add_argument("--copies", type=int, default=2)
    parser.add_argument("--links", type=int, default=4, help="times each clip stands in the larger set")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = DATA / "esc10"
        source = limited(source, arguments.limit, folder) if arguments.limit else source
        # partners from a fold of 80 clips, most of which the cache of decoded sources keeps; and from a set so large,
        # each file used once as an original, that it keeps next to nothing
        large = linked(source, arguments.links, Path(folder) / "large")
        for name, place, copies in (("cached", source, arguments.copies), ("not cached", large, 1)):
            for workers in arguments.workers:
                measure(name, place, Path(folder) / "out", copies, workers, arguments.runs)


def measure(name, source, out, copies, workers, runs):
    """Print the rates of both, run in turn."""
    from audiomix import MixUp
    from audiomix.offline.run import augment

    pairs = pairs_of(source, copies)
    options = {"copies": copies, "workers": workers, "progress": False}
    calls = {
        "bare": lambda: bare_in(workers, pairs, out),
        "augment": lambda: augment(source, out, MixUp(), **options),
    }
    seconds: dict[str, list[float]] = {kind: [] for kind in calls}
    for _ in range(runs):
        for kind, call in calls.items():
            out.mkdir()
            seconds[kind].append(timed(call))
            shutil.rmtree(out)
    rates = {kind: len(pairs) / statistics.median(times) for kind, times in seconds.items()}
    print(
        f"{name}, {workers} worker(s), {len(pairs)} mixes: bare loop {rates['bare']:.1f} files/s, augment "
        f"{rates['augment']:.1f} files/s, ratio {rates['augment'] / rates['bare']:.2f} (at least 0.85 wanted)"
    )


if __name__ == "__main__":
    main()
