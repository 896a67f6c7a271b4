"""Memory and time of planning against rows: ``python tests/bench/planning.py [--rows 1000 10000 ...] [--svg PATH]``.

For each number of rows a manifest is generated, and ``audiomix augment --dry-run`` reads it in a process of its own.
Rows are pieces of files, each with its own place in its file, one of a hundred classes and one of two splits. Seconds
are those of the CPU, which others on the machine lengthen less than those of the clock; memory is the largest resident
size. ``--kind parquet`` writes Parquet. ``--draws`` prints the seconds of partner draws by pairing instead.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def make(folder, rows, kind):
    """Write a manifest of so many rows, and the files that it names: silence does for a plan."""
    import numpy as np
    import soundfile

    sounds = Path(folder) / "sounds"
    sounds.mkdir()
    sound = np.random.default_rng(0).normal(0, 0.1, 16000).astype("float32")
    files = [f"sounds/recording-{i:04d}.wav" for i in range(max(1, rows // 10_000))]
    soundfile.write(Path(folder) / files[0], sound, 16000)
    for name in files[1:]:
        os.link(Path(folder) / files[0], Path(folder) / name)
    table = Path(folder) / f"pieces.{kind}"
    draw = np.random.default_rng(0)

    def batches():
        for first in range(0, rows, 100_000):
            at = np.arange(first, min(rows, first + 100_000))
            yield [
                {"path": files[i % len(files)], "offset": (i // len(files)) / 20_000, "duration": 0.25,
                 "label": f"class {kind_of}", "split": "test" if i % 10 == 0 else "train"}
                for i, kind_of in zip(at.tolist(), draw.integers(0, 100, len(at)).tolist())
            ]  # fmt: skip

    if kind == "parquet":
        import pyarrow
        from pyarrow import parquet

        writer = None
        for batch in batches():
            part = pyarrow.Table.from_pylist(batch)
            writer = writer or parquet.ParquetWriter(table, part.schema)
            writer.write_table(part)
        writer.close()
    else:
        with open(table, "w") as file:
            for batch in batches():
                file.writelines(json.dumps(row) + "\n" for row in batch)
    return table


def measure(rows, kind):
    """Return CPU seconds and largest resident MB of a dry run."""
    with tempfile.TemporaryDirectory() as folder:
        table = make(folder, rows, kind)
        command = [sys.executable, "-m", "audiomix", "augment", table, f"{folder}/out", "--dry-run", "--quiet"]
        started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        text = started.stdout.read()
        _, status, used = os.wait4(started.pid, 0)
        assert status == 0, text
        assert text.startswith(f"{rows} mixes of {rows} files"), text
        return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def draws(rows):
    """Print microseconds of the CPU for the partners of a row, by pairing, at once and one by one."""
    from audiomix.datasets.item import Item
    from audiomix.offline.partners.index import PartnerIndex

    items = [
        Item("", f"{i:07d}.wav", f"class {i * 7919 % 100}", split="test" if i % 10 == 0 else "train",
             cluster=str(i * 31 % 50), attributes=(f"room {i % 7}",))
        for i in range(rows)
    ]  # fmt: skip
    print("| pairing | one by one, us | at once, us |\n|---|--:|--:|")
    for kind in ("any", "different_class", "same_class", "same_cluster", "same_attribute"):
        index = PartnerIndex(items, kind)
        some = range(0, rows, max(1, rows // 2000))
        start = time.process_time()
        single = [index.partners(i, copy=0, seed=0) for i in some]
        middle = time.process_time()
        found = [*index.draw_partners(((i, 0) for i in range(rows)), seed=0)]
        end = time.process_time()
        assert [found[i] for i in some] == single
        print(f"| {kind} | {(middle - start) / len(some) * 1e6:.1f} | {(end - middle) / rows * 1e6:.1f} |")


def plot(found, path):
    """Draw seconds and memory against rows."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    for axis, place, name in zip(axes, (0, 1), ("CPU seconds", "largest resident size, MB")):
        axis.loglog([*found], [one[place] for one in found.values()], "o-")
        axis.set(xlabel="rows", ylabel=name)
        axis.grid(alpha=0.3)
        axis.minorticks_off()
    mpl.rcParams |= {"svg.hashsalt": "audiomix", "svg.fonttype": "none"}
    figure.savefig(path, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--kind", choices=["jsonl", "parquet"], default="jsonl")
    parser.add_argument("--draws", type=int, help="rows of which partners are drawn")
    parser.add_argument("--svg", type=Path, help="where to draw both against rows")
    arguments = parser.parse_args()
    if arguments.draws:
        draws(arguments.draws)
        return
    found = {}
    print("| rows | CPU seconds | us a row beyond the first | largest resident MB |\n|--:|--:|--:|--:|", flush=True)
    for rows in arguments.rows:
        found[rows] = seconds, memory = measure(rows, arguments.kind)
        least, base = arguments.rows[0], found[arguments.rows[0]][0]
        more = f"{(seconds - base) / (rows - least) * 1e6:.0f}" if rows > least else ""
        print(f"| {rows} | {seconds:.1f} | {more} | {memory:.0f} |", flush=True)
    if arguments.svg:
        plot(found, arguments.svg)


if __name__ == "__main__":
    main()
