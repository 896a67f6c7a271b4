"""Times of calls that are taken in turn, as multiples of the memory floor, and other libraries to compare with.

The floor of a batch of N bytes is 3N (read both sounds, write one), taken as 1.5 times the time of a copy of N.
"""

import random
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from peers import import_peer

FLOOR = 1.5  # copies: a copy reads N bytes and writes N
# A timing of less than this, in seconds, is repeated within a run
LEAST = 0.003


class Times(NamedTuple):
    """Of one candidate: seconds of a call, multiples of a copy in the same run (quartiles), page faults of a call."""

    seconds: float
    ratios: tuple[float, float, float]
    faults: float

    @property
    def floors(self):
        return self.ratios[1] / FLOOR


def timed(function, repeats=1):
    """Return the seconds of a call: with one thread those of the CPU, which others on the machine do not lengthen."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    for _ in range(repeats):
        function()
    return (clock() - start) / repeats


def page_faults():
    """Pages that this process had to be given without reading a file."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def compare(candidates, x, runs, *, least=LEAST):
    """Time every candidate once a run, in shuffled order, beside a copy of `x`; return `Times` by name."""
    target = torch.empty_like(x)
    functions = {**candidates, None: lambda: target.copy_(x)}
    repeats = {}
    for name, function in functions.items():
        function()
        repeats[name] = max(1, min(1000, int(least / max(timed(function), 1e-7))))
    seconds, faults = ({name: [] for name in functions} for _ in range(2))
    order, shuffle = list(functions), random.Random(0).shuffle
    for _ in range(runs):
        shuffle(order)
        for name in order:
            before = page_faults()
            seconds[name].append(timed(functions[name], repeats[name]))
            faults[name].append((page_faults() - before) / repeats[name])
    found = {}
    for name in candidates:
        ratios = [one / copy for one, copy in zip(seconds[name], seconds[None])]
        quartiles = statistics.quantiles(ratios, n=4) if runs > 1 else ratios * 3
        found[name] = Times(statistics.median(seconds[name]), tuple(quartiles), statistics.median(faults[name]))
    found[None] = Times(statistics.median(seconds[None]), (1.0, 1.0, 1.0), statistics.median(faults[None]))
    return found


def peers(x, labels, classes):
    """Calls of other libraries on the same batch: name -> function. Those that are missing are named in a line."""
    image = x if x.ndim == 4 else x[:, :, None]  # (B, C, 1, T): they expect pictures
    modules = {name: import_peer(name) for name in ("timm", "kornia", "torchvision", "torch-audiomentations")}
    for found in modules.values():
        if isinstance(found, str):
            print(f"left out: {found}")
    calls = {}
    if not isinstance(modules["timm"], str):
        from timm.data.mixup import Mixup

        for mode in ("batch", "elem"):
            mix = Mixup(mixup_alpha=0.4, mode=mode, num_classes=classes)
            written = image.clone()  # it writes into the batch it is given
            calls[f"timm {mode}"] = lambda mix=mix, written=written: mix(written, labels)
    if not isinstance(modules["kornia"], str):
        from kornia.augmentation import RandomMixUpV2

        kornia = RandomMixUpV2(p=1.0, data_keys=["input", "class"])
        calls["kornia RandomMixUpV2"] = lambda: kornia(image, labels)
    if not isinstance(modules["torchvision"], str):
        from torchvision.transforms.v2 import MixUp

        vision = MixUp(alpha=0.4, num_classes=classes)
        calls["torchvision MixUp"] = lambda: vision(image, labels)
    if not isinstance(modules["torch-audiomentations"], str) and x.ndim == 3:
        from torch_audiomentations.augmentations.mix import Mix

        mix = Mix(p=1.0, sample_rate=32000, output_type="dict")
        calls["torch-audiomentations Mix"] = lambda: mix(x)
    return calls
