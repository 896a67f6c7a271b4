"""How exactly, and how fast, `audiomix audit` recovers mixes of ESC-10: ``python tests/bench/audit.py [--every 5]``.

Every n-th clip is mixed by `audiomix augment` with each mixer; the audit gets mixes and sources. Printed are, of
all sources: the largest and the 95 % error of gain (dB), SNR (dB) and offset (samples), the sources that were not found
or only where the manifest says, the mixes that are called wrong (none is), and mixes a second in one process.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from audiomix import CutMix, MixUp, SNRMix
from audiomix.audit.report import quantile
from audiomix.audit.run import audit
from audiomix.offline.run import augment

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("AUDIOMIX_DATA", ROOT.parent / "shared" / "data")) / "esc10"
MIXERS = {"mixup": MixUp(0.4), "snr_mix": SNRMix((-5, 15), level="active"), "cutmix": CutMix("time")}


def line(report, name):
    """Return largest and 95 % error of a check."""
    numbers = report.numbers(name)
    return f"{name} {max(numbers):.2g} (95 %: {quantile(numbers, 0.95):.2g})" if numbers else ""


def measured(name, table, out, workers):
    """Mix, audit, print."""
    augment(table, out, MIXERS[name], no_labels=True, progress=False)
    begun = time.perf_counter()
    report = audit(out, workers=workers, progress=False)
    seconds = time.perf_counter() - begun
    notes = [note for item in report.items for note in item.notes]
    only = sum("found only by looking" in note for note in notes)
    soft = sum("softer than can be found" in note for note in notes)
    parts = [line(report, check) for check in ("gain", "snr", "offset")]
    print(
        f"{name}: {len(report.items)} mixes, {len(report.items) / seconds:.2f} a second;",
        "; ".join(filter(None, parts)),
    )
    print(
        f"  {len(report.wrong)} called wrong; {only} sources found by the manifest's place, {soft} too soft to be found"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=5, help="take every n-th clip of the 400")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    files = sorted((DATA / "audio").iterdir())[:: arguments.every]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "clips.csv"
        table.write_text("path\n" + "\n".join(map(str, files)))
        for name in MIXERS:
            measured(name, table, Path(folder) / name, arguments.workers)


if __name__ == "__main__":
    main()
