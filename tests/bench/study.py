"""What whole runs of a preset would take: ``PYTHONPATH=. python tests/bench/study.py runs/study-50``.

Reads the table that a short ``bench`` wrote into a folder, such as ``bench esc10 ROOT --preset study --steps 50
--fold 1 --out runs/study-50 --methods ...``, and multiplies the CPU time of its runs, evaluation included, by the
steps that the preset would take. CPU hours are of one core; with two cores a run takes half as long at best.
"""

import argparse
import csv
import json
from pathlib import Path

from recipes import algorithms
from recipes.semi_supervised.run_spec import configure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="OUT of bench")
    parser.add_argument("--preset", default="study")
    parser.add_argument("--runs", type=int, default=15, help="runs of a whole table: folds x seeds")
    given = parser.parse_args()
    with open(given.folder / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    print(f"| method | steps | CPU s | steps at {given.preset} | CPU hours a run | CPU hours for {given.runs} runs |")
    print("|---|---:|---:|---:|---:|---:|")
    for row in rows:
        config, _ = configure(given.preset, algorithms.get(row["method"]), {})
        run = next(given.folder.glob(f"*/{row['method']}/*/config.json"))
        took = json.loads(run.read_text())["settings"]["config"]["steps"]
        split = json.loads((run.parent / "split.json").read_text())
        steps = config.count_steps(len(split["labelled"]), len(split["unlabelled"]))
        cpu = float(row["cpu_seconds"])
        hours = cpu * steps / took / 3600
        cells = [row["row"], took, f"{cpu:.0f}", steps, f"{hours:.1f}", f"{hours * given.runs:.0f}"]
        print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
