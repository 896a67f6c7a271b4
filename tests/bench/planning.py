"""Memory and time of planning against rows: ``python tests/bench/planning.py [--rows 1000 10000 ...] [--svg PATH]``.

For each number of rows a manifest is generated, and ``audiomix augment --dry-run`` reads it in a process of its own.
Rows are pieces of files, each with its own place in its file, one of a hundred classes and one of two splits. Seconds
are those of the CPU, which others on the machine lengthen less than those of the clock; memory is the largest resident
size. ``--kind parquet`` writes Parquet. ``--against FOLDER`` measures another checkout beside it, by turns. ``--draws``
prints the seconds of partner draws by pairing instead.
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


def measure(rows, kind, code):
    """Return CPU seconds and largest resident MB of a dry run by the code in each folder, and what it prints."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        table = make(folder, rows, kind)
        command = [sys.executable, "-m", "audiomix", "augment", table, f"{folder}/out", "--dry-run", "--quiet"]
        for root in code:
            env = {**os.environ, "PYTHONPATH": str(root)}
            started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, cwd=folder)
            text = started.stdout.read()
            _, status, used = os.wait4(started.pid, 0)
            assert status == 0, text
            assert text.startswith(f"{rows} mixes of {rows} files"), text
            text = [line for line in text.splitlines() if "are free there" not in line]
            found.append((used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, text))
    return found


def indexes(rows):
    """Yield names of pairings, and what draws partners by them."""
    from audiomix.datasets.item import Item
    from audiomix.offline.partners.groups import GroupPartners
    from audiomix.offline.partners.index import PartnerIndex
    from audiomix.offline.partners.similarity import SimilarityLimits
    from audiomix.offline.partners.weighted import WeightedPartners
    from audiomix.offline.providers.beats import TempoPartners

    items = [
        Item("", f"{i:07d}.wav", f"class {i * 7919 % 100}", split="test" if i % 10 == 0 else "train",
             cluster=str(i * 31 % 50), attributes=(f"room {i % 7}",), bpm=str(60 + i * 104729 % 1200 / 10),
             captions=(f"Caption {i}.",))
        for i in range(rows)
    ]  # fmt: skip
    for kind in ("any", "different_class", "same_class", "same_cluster", "same_attribute"):
        yield kind, PartnerIndex(items, kind)
    yield "weights", WeightedPartners(items, "different_class", weights=[1 + i % 9 for i in range(rows)])
    yield "same_tempo", TempoPartners(items, "same_tempo", ())
    made = {"copies": 1, "seed": 0, "limits": SimilarityLimits(), "captions": True}
    for most in (2, 4):
        yield f"captions, 2 to {most} sounds", GroupPartners(items, "any", (), sources=(2, most), **made)


def draws(rows):
    """Print microseconds of the CPU for the partners of a row, by pairing, at once and one by one."""
    print("| pairing | one by one, us | at once, us |\n|---|--:|--:|")
    for kind, index in indexes(rows):
        some = range(0, rows, max(1, rows // 2000))
        start = time.process_time()
        single = [index.partners(i, copy=0, seed=0) for i in some]
        middle = time.process_time()
        found = [*index.draw_partners(((i, 0) for i in range(rows)), seed=0)]
        end = time.process_time()
        assert [found[i] for i in some] == single
        print(f"| {kind} | {(middle - start) / len(some) * 1e6:.1f} | {(end - middle) / rows * 1e6:.1f} |")


def print_table(arguments):
    """Print a row for each number of rows; return what was measured of this code."""
    code = [Path(__file__).resolve().parents[2], *([arguments.against] if arguments.against else [])]
    titles = ["rows", "CPU seconds", "us a row beyond the first", "largest resident MB", "bytes a row beyond the first"]
    titles += ["us a row of the other", "its MB", "ratio"] if arguments.against else []
    print(f"| {' | '.join(titles)} |\n|{'--:|' * len(titles)}", flush=True)
    least, found = arguments.rows[0], {}
    for rows in arguments.rows:
        found[rows] = both = measure(rows, arguments.kind, code)
        assert all(one[2] == both[0][2] for one in both), [one[2] for one in both]  # the same plans
        cells = [rows, f"{both[0][0]:.1f}", "", f"{both[0][1]:.0f}", ""]
        if rows > least:
            us, size = (
                [(one[k] - base[k]) / (rows - least) for one, base in zip(both, found[least])] for k in (0, 1)
            )
            cells[2], cells[4] = f"{us[0] * 1e6:.1f}", f"{size[0] * 2**20:.0f}"
            cells += [f"{us[1] * 1e6:.1f}", f"{both[1][1]:.0f}", f"{us[1] / us[0]:.1f}"] if arguments.against else []
        cells += [""] * (len(titles) - len(cells))
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
    return {rows: both[0] for rows, both in found.items()}


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
    parser.add_argument("--against", type=Path, help="another checkout, which is measured in the same run")
    parser.add_argument("--svg", type=Path, help="where to draw both against rows")
    arguments = parser.parse_args()
    if arguments.draws:
        draws(arguments.draws)
        return
    found = print_table(arguments)
    if arguments.svg:
        plot(found, arguments.svg)


if __name__ == "__main__":
    main()
