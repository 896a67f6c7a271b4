"""In-memory mixing against memory traffic and against other libraries: ``python tests/bench/blend.py``.

The floor of a batch of N bytes is 3N (read both, write one), taken as 1.5 times the time of a copy of N. All are timed
in turn within one process, and medians of the ratios are printed: machines are shared and noisy. Other libraries are
timed where they are installed (``pip install timm kornia torchvision torch-audiomentations``).
"""

import argparse
import statistics
import time

import torch

from audiomix import Clips, CutMix, MixUp, SNRMix
from audiomix.audio.blend import blend

OURS = "MixUp(out=), drawing and labels too"


def timed(function, repeats=1):
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - start) / repeats


def ratios(candidates, reference, runs):
    """Median over runs of each candidate's time as a multiple of the reference's, taken in turn."""
    for function in [reference, *candidates.values()]:
        function()
    once = timed(reference)
    repeats = max(1, int(0.02 / max(once, 1e-6)))
    found = {name: [] for name in candidates}
    for _ in range(runs):
        base = timed(reference, repeats)
        for name, function in candidates.items():
            found[name].append(timed(function, max(1, repeats // 4)) / base)
    return {name: statistics.median(values) for name, values in found.items()}


def peers(x, labels, classes):
    """Calls of other libraries on the same batch: (name, function)."""
    image = x[:, :, None]  # (B, C, 1, T): they expect pictures
    found = {}
    # The wheels of torchvision and torchaudio on PyPI are built for CUDA: beside a CPU-only torch their operators are
    # missing, though mixing needs none of them.
    import audiomix.torchaudio  # noqa: F401

    real, torch.library.register_fake = torch.library.register_fake, lambda *_, **__: lambda function: function
    try:
        from timm.data.mixup import Mixup

        for mode in ("batch", "elem"):
            timm = Mixup(mixup_alpha=0.4, mode=mode, num_classes=classes)
            found[f"timm {mode}"] = lambda timm=timm: timm(image, labels)
    except (ImportError, OSError, RuntimeError) as error:
        print(f"timm: {error}")
    try:
        from kornia.augmentation import RandomMixUpV2

        kornia = RandomMixUpV2(p=1.0, data_keys=["input", "class"])
        found["kornia RandomMixUpV2"] = lambda: kornia(image, labels)
    except (ImportError, OSError, RuntimeError) as error:
        print(f"kornia: {error}")
    try:
        from torchvision.transforms.v2 import MixUp as VisionMixUp

        vision = VisionMixUp(alpha=0.4, num_classes=classes)
        found["torchvision MixUp"] = lambda: vision(image, labels)
    except (ImportError, RuntimeError) as error:
        print(f"torchvision: {error}")
    try:
        from torch_audiomentations.augmentations.mix import Mix

        mix = Mix(p=1.0, sample_rate=32000, output_type="dict")
        found["torch-audiomentations Mix"] = lambda: mix(x)
    except (ImportError, OSError, RuntimeError) as error:
        print(f"torch-audiomentations: {error}")
    torch.library.register_fake = real
    return found


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
    out, copy = torch.empty_like(x), torch.empty_like(x)
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
    found = ratios(candidates, lambda: copy.copy_(x), runs)
    print(f"\n{megabytes:g} MB: {batch} clips of {samples / rate:.1f} s at 32 kHz; times as multiples of the floor")
    for name, value in found.items():
        print(f"  {name:40s} {value / 1.5:8.2f}   ({value / found[OURS]:.1f} x MixUp(out=))")


if __name__ == "__main__":
    main()
