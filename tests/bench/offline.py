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
    from audiomix.dataset.manifest import read_source
    from audiomix.dataset.pairing import PartnerIndex

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


def timed(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=int, help="clips of each fold; all by default")
    parser.add_argument("--copies", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    arguments = parser.parse_args()
    from audiomix import MixUp
    from audiomix.dataset.augment import augment

    with tempfile.TemporaryDirectory() as folder:
        source = DATA / "esc10"
        source = limited(source, arguments.limit, folder) if arguments.limit else source
        pairs = pairs_of(source, arguments.copies)
        for workers in arguments.workers:
            seconds: dict[str, list[float]] = {"bare": [], "augment": []}
            for _ in range(arguments.runs):
                for name in seconds:
                    out = Path(folder) / "out"
                    out.mkdir()
                    if name == "bare":
                        seconds[name].append(timed(bare_in, workers, pairs, out))
                    else:
                        options = {"copies": arguments.copies, "workers": workers, "progress": False}
                        seconds[name].append(timed(lambda: augment(source, out, MixUp(), **options)))  # noqa: B023
                    shutil.rmtree(out)
            rates = {name: len(pairs) / statistics.median(times) for name, times in seconds.items()}
            ratio = rates["augment"] / rates["bare"]
            print(
                f"{workers} worker(s), {len(pairs)} mixes: bare loop {rates['bare']:.1f} files/s, "
                f"augment {rates['augment']:.1f} files/s, ratio {ratio:.2f} (at least 0.85 wanted)"
            )


if __name__ == "__main__":
    main()
