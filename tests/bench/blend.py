"""The kernel of linear mixers against memory traffic: ``python tests/bench/blend.py``.

Times are multiples of the floor (`measure.py`) for batches of several sizes. ``--peers`` times other libraries on the
largest one, where they are installed (``pip install '.[peers]'``). All modes of all mixers: ``mixers.py``.
"""

import argparse

import torch
from measure import compare, peers

from audiomix import Clips, CutMix, MixUp, SNRMix
from audiomix.audio.blend import blend

OURS = "MixUp(out=), drawing and labels too"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, nargs="+", default=[2, 10, 40, 164])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--peers", action="store_true", help="also time other libraries, on the largest batch")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for size in arguments.megabytes:
        measure(size, arguments.runs, with_peers=arguments.peers and size == max(arguments.megabytes))


def measure(megabytes, runs, *, with_peers):
    """Print all ratios for a batch of this size."""
    rate, classes = 32000, 10
    batch = max(4, min(128, 2 * round(megabytes * 1e6 / (640000 * 4))))  # even: timm needs it
    samples = round(megabytes * 1e6 / 4 / batch)
    x = torch.randn(batch, 1, samples, generator=torch.Generator().manual_seed(0))
    out = torch.empty_like(x)
    labels = torch.arange(batch) % classes
    plan = MixUp().draw(Clips(x), Clips(x))
    a, b = plan.gains()
    w = a.float()[:, None, None]
    mixup, cutmix, snr = (kind(num_classes=classes) for kind in (MixUp, CutMix, SNRMix))
    candidates = {
        "blend(out=)": lambda: blend(x, plan.partner, a, b, out=out),
        "blend": lambda: blend(x, plan.partner, a, b),
        "torch.lerp(x[partner], x, w)": lambda: torch.lerp(x[plan.partner], x, w),
        "w * x + (1 - w) * x[partner]": lambda: w * x + (1 - w) * x[plan.partner],
        OURS: lambda: mixup(x, labels, out=out),
        "MixUp": lambda: mixup(x, labels),
        "CutMix": lambda: cutmix(x, labels),
        "SNRMix": lambda: snr(x, labels),
    }
    if with_peers:
        candidates |= peers(x, labels, classes)
    found = compare(candidates, x, runs)
    print(f"\n{megabytes:g} MB: {batch} clips of {samples / rate:.1f} s at 32 kHz; times as multiples of the floor")
    for name in candidates:
        times = found[name].floors
        print(f"  {name:40s} {times:8.2f}   ({times / found[OURS].floors:.1f} x MixUp(out=))")


if __name__ == "__main__":
    main()
