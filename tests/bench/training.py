"""A FixMatch step of the engine against a plain PyTorch loop: ``PYTHONPATH=. python tests/bench/training.py``.

Both train the network of the preset ``study`` on the same made-up clips in memory, with the same optimiser, batches
(30 labelled and 30 unlabelled clips) and passes a step: forward on 30 weak views without gradient, forward and backward
on 60 labelled and strong views. The plain loop keeps no average, checks and logs nothing. It is timed twice: making the
same views in the same way (``views made``), and with all views in memory from the start (``views in memory``), where
the engine alone pays for views. All are timed in turn, and medians are printed: clips a second, and the engine's as a
share of the plain loop's. Without evaluation, which comes once a row.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from audiomix.datasets.dataset import Dataset
from audiomix.datasets.item import Item
from audiomix.draw import generator_for
from recipes import models
from recipes.data.front_end import make_views
from recipes.data.loader import Batches, Data, make_split
from recipes.semi_supervised.train import train
from recipes.training.config import preset
from recipes.training.distributed import device_name, fabric_for, threads

CLASSES, CLIPS = 10, 200


def made_up(config, rate, seconds):
    """Return clips of noise: what they hold does not matter for speed."""
    names = tuple(f"class {c}" for c in range(CLASSES))
    items = [Item("", f"{i:03}", names[i % CLASSES], fold=str(1 + i % 2 * (i < 20))) for i in range(CLIPS)]
    dataset = Dataset("noise", tuple(items), names, rate, seconds)
    generator, device = torch.Generator().manual_seed(0), fabric_for(config).device
    kept = torch.randint(-3000, 3000, (CLIPS, int(rate * seconds)), dtype=torch.int16, generator=generator).to(device)
    views = make_views(config, rate)
    views.mel = views.mel.to(device)
    labels = torch.tensor(dataset.labels, device=device)
    return Data(dataset, views, kept, labels, {}, "made up", dataset, Path())


class Plain:
    """The loop that one would write by hand."""

    def __init__(self, config, data, *, in_memory):
        self.fabric = fabric_for(config)
        self.network = models.build(config.model, CLASSES, seed=0)
        self.network = self.network.to(data.kept.device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=config.lr, fused=True)
        self.batches = Batches(config, data, make_split(config, data.dataset, "2", 0), 0, views=(1, 1))
        self.ready = [self.batch(step) for step in range(2)] if in_memory else None

    def batch(self, step):
        return self.batches(step, generator_for(0, "step", step))

    def steps(self, count):
        for step in range(count):
            labelled, unlabelled = self.ready[step % 2] if self.ready else self.batch(step)
            with self.fabric.autocast():
                with torch.no_grad():
                    confidence, pseudo = self.network(unlabelled.weak).softmax(-1).max(-1)
                both = self.network(torch.cat([labelled.x, unlabelled.strong]))
                on_labelled, on_strong = both.split([len(labelled.x), len(unlabelled.strong)])
                surprise = F.cross_entropy(on_strong, pseudo, reduction="none")
                loss = F.cross_entropy(on_labelled, labelled.target) + ((confidence >= 0.8) * surprise).mean()
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()


def plain_speed(loop, count, clips):
    """Return the clips a second of the plain loop."""
    start = time.perf_counter()
    loop.steps(count)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return count * clips / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rate", type=int, default=44100)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--precision", default="32-true")
    arguments = parser.parse_args()
    given = {"steps": arguments.steps, "every": arguments.steps, "precision": arguments.precision}
    config = preset("study", labelled="3", **given)
    data = made_up(config, arguments.rate, arguments.seconds)
    clips = config.batch_labelled + config.batch_unlabelled
    found = {"engine": [], "plain, views made": [], "plain, views in memory": []}
    with tempfile.TemporaryDirectory() as folder, threads(config.threads):
        loops = {name: Plain(config, data, in_memory="memory" in name) for name in list(found)[1:]}
        for run in range(arguments.runs + 1):
            row = train(config, data, "fixmatch", out=Path(folder) / str(run), fold="2", quiet=True).history[-1]
            speeds = {"engine": row["clips_per_second"]}
            speeds |= {name: plain_speed(loop, arguments.steps, clips) for name, loop in loops.items()}
            for name, speed in speeds.items():
                found[name] += [speed] if run else []  # the first warms up
            print(f"run {run}:", {k: round(v, 2) for k, v in speeds.items()}, f"waiting {row['waiting']}", flush=True)
    print(f"{device_name(config)}, {config.threads} threads, torch {torch.__version__}, {arguments.precision}")
    for name, speeds in found.items():
        ratios = [a / b for a, b in zip(found["engine"], speeds)]
        spread = f"engine / this: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"  {name:24s} {statistics.median(speeds):8.2f} clips/s   {spread}")


if __name__ == "__main__":
    main()
