"""Two processes on a CPU against one: with a network without batch norm, gradients and logs are the same."""

import copy
import csv
import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from runs import rows
from torch import nn

from audiomix.draw import generator_for
from recipes import algorithms
from recipes.data.loader import Batches, make_split
from recipes.semi_supervised import train as semi_supervised
from recipes.semi_supervised.run_spec import RunSpec
from recipes.semi_supervised.train import train
from recipes.training import checkpoint, distributed as processes
from recipes.training.distributed import fabric_for, threads
from recipes.training.engine import CHECKPOINT

# What mixes by its nature draws partners within a process's own slice: other plans, so other numbers. Deep co-training
# gives each network one half of the labelled clips: the halves of two slices are not the slices of two halves. VAT
# draws its first change for a slice, and CoMatch compares the clips of a slice.
OTHERWISE = [n for n in algorithms.available() if algorithms.mixer_for(None, algorithms.get(n))]
OTHERWISE += ["deep_co_training", "vat", "comatch"]
PLAIN = [name for name in algorithms.available() if name not in OTHERWISE]

# With a mixer, and methods that draw for their slices: a step of two processes is that of two slices side by side.
DRAWING = {
    "supervised": {},
    "fixmatch": {},
    "mixmatch": {},
    "remixmatch": {"alignment": "average", "memory": 0.5, "networks": 2},
    "deep_co_training": {"mix_labelled": True},
    "vat": {"weight_entropy": 1.0},
    "comatch": {"threshold": 0.0},
}
MIXER = {method: "mixup" if algorithms.get(method).uses_mixer else None for method in DRAWING}

OPTIONS = {"fixmatch": {"relative_threshold": True, "distribution_alignment": True}}

NETWORK = '''
import torch
from torch import nn


class Plain(nn.Module):
    def __init__(self, num_classes, *, width=4):
        super().__init__()
        self.convolution = nn.Conv2d(1, width, 3, 2)
        self.head = nn.Linear(width, num_classes)

    def features(self, spec):
        return torch.tanh(self.convolution(spec)).mean((2, 3))

    def forward(self, spec):
        return self.head(self.features(spec))


class Normed(Plain):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.norm = nn.BatchNorm2d(1)

    def features(self, spec):
        return super().features(self.norm(spec))


class Broken(Plain):
    """A number that is none, in the second process alone."""

    def forward(self, spec):
        import os

        second = os.environ.get("LOCAL_RANK") == "1" and self.training
        return super().forward(spec) * (float("nan") if second else 1.0)
'''


@pytest.fixture(scope="module")
def made(toy_config, toy_data, tmp_path_factory):
    """Train all methods in one process, then in two: started once, which takes seconds."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "network.py").write_text(NETWORK)
    config = dataclasses.replace(toy_config, model=f"{folder}/network.py:Plain", steps=2, every=1, warmup=0.0)
    jobs, split = [], make_split(config, toy_data.dataset, "1", 0)
    for method in PLAIN:
        train(config, toy_data, method, out=folder / method / "1", options=OPTIONS.get(method), quiet=True)
        jobs.append((dataclasses.replace(config, devices=2), method, OPTIONS.get(method, {}), folder / method / "2"))
    for method, options in DRAWING.items():
        one_step = dataclasses.replace(config, devices=2, steps=1)
        jobs.append((one_step, method, options, folder / f"{method}-mixup"))
    for network in ("Normed", "Broken"):  # the last one stops both processes
        special = dataclasses.replace(config, devices=2, model=f"{folder}/network.py:{network}")
        jobs.append((special, "supervised", {}, folder / network))
    jobs = [
        RunSpec(c, method, options, MIXER[method] if out.name.endswith("mixup") else None, "1", 0, out, True, False, 3)
        for c, method, options, out in jobs
    ]
    with pytest.raises(FloatingPointError) as raised:
        processes.launch(fabric_for(jobs[0].config), in_turn, jobs, toy_data.source, toy_data.stores, split)
    return folder, str(raised.value)


def in_turn(fabric, jobs, source, stores, split):
    for job in jobs:
        job.out.mkdir(parents=True, exist_ok=True)
        semi_supervised._train_in_process(fabric, job, source, stores, split, None)


def numbers(folder):
    return [{k: float(v or "nan") for k, v in row.items()} for row in rows(folder)]


def gradients(folder):
    """Return Adam's first moments: 0.1 times the gradient after one step, a sum of gradients after more."""
    tensors, _ = checkpoint.load(folder / CHECKPOINT)
    return {k: v for k, v in tensors.items() if k.endswith("exp_avg")}


@pytest.mark.parametrize("part", [(0, 2), (1, 2), (2, 4)])
def test_a_process_gets_its_slice_of_the_views_of_one_process(toy_config, toy_data, part):
    split = make_split(toy_config, toy_data.dataset, "1", 0)
    toy_data.views.fit(toy_data.kept, split.labelled)
    whole = Batches(toy_config, toy_data, split, 0, views=(2, 1))
    own = Batches(toy_config, toy_data, split, 0, views=(2, 1), part=part)
    for step in (0, 3):
        one, two = (b(step, torch.Generator().manual_seed(step)) for b in (whole, own))
        rank, world = part
        for a, b in zip(([*one[0], *one[1].weaks, *one[1].strongs, *one[1][2:]]),
                        ([*two[0], *two[1].weaks, *two[1].strongs, *two[1][2:]])):  # fmt: skip
            assert torch.equal(a.chunk(world)[rank], b)


@pytest.mark.slow
@pytest.mark.parametrize("method", PLAIN)
def test_two_processes_are_one(made, method):
    one, two = (made[0] / method / name for name in "12")
    for a, b in zip(numbers(one), numbers(two), strict=True):
        assert a.keys() == b.keys()
        assert a == pytest.approx(b, rel=1e-4, abs=1e-6, nan_ok=True)
    ours, theirs = gradients(one), gradients(two)
    assert ours.keys() == theirs.keys()
    assert any(g.any() for g in ours.values())
    for name in ours:
        torch.testing.assert_close(theirs[name], ours[name], rtol=1e-3, atol=1e-6)
    with open(one / "predictions.csv") as a, open(two / "predictions.csv") as b:
        assert [row["raw"] for row in csv.DictReader(a)] == [row["raw"] for row in csv.DictReader(b)]


class Meeting:
    """Joins what two threads give it, as `gathered` joins that of two processes."""

    def __init__(self):
        self.barrier, self.given = threading.Barrier(2, timeout=60), [None, None]

    def gather(self, rank, x):
        self.given[rank] = x.detach()
        self.barrier.wait()
        joined = torch.cat(self.given)
        self.barrier.wait()
        return joined


@pytest.mark.slow
@pytest.mark.parametrize("method", DRAWING)
def test_what_two_processes_draw_and_mix_is_that_of_two_slices_side_by_side(made, method, toy_config, toy_data):
    out = made[0] / f"{method}-mixup"
    config = dataclasses.replace(toy_config, model=f"{made[0]}/network.py:Plain", steps=1, warmup=0.0)
    split = make_split(config, toy_data.dataset, "1", 0)
    toy_data.views.fit(toy_data.kept, split.train)
    spec, meeting = RunSpec(config, method, DRAWING[method], MIXER[method], "1", 0, out, True, False, 3), Meeting()
    network, algorithm, _ = spec.make(
        torch.device("cpu"), toy_data.views, len(split.unlabelled), len(split.labelled)
    )
    parts = [copy.deepcopy(nn.ModuleDict({"model": network, "algorithm": algorithm})) for _ in range(2)]

    def slice_of_a_step(rank):
        model, method = parts[rank]["model"], parts[rank]["algorithm"]
        method.gather = lambda x: meeting.gather(rank, x)
        weak, strong = (method.weak_views, method.strong_views) if method.needs_unlabelled else (0, 0)
        batches = Batches(config, toy_data, split, 0, views=(weak, strong), part=(rank, 2))
        batch = batches(0, generator_for(0, "step", 0))
        losses = method.losses(model, *batch, progress=0.0, generator=generator_for(0, "step", 0, rank, 2))
        torch.stack(list(losses.values())).sum().backward()
        return {name: term.item() for name, term in losses.items()}

    with ThreadPoolExecutor(2) as pool:
        terms = list(pool.map(slice_of_a_step, range(2)))
    (row,) = numbers(out)
    for name in terms[0]:
        assert row[f"loss_{name}"] == pytest.approx((terms[0][name] + terms[1][name]) / 2, rel=1e-5), name
    first, second = ([p.grad for p in part.parameters() if p.requires_grad] for part in parts)
    means, found = [(a + b) / 2 for a, b in zip(first, second, strict=True)], gradients(out)
    found = [found[key] for key in sorted(found, key=lambda key: int(key.split(".")[1]))]
    assert any((a - b).abs().max() > 1e-4 for a, b in zip(first, second)), "both slices are the same"
    assert len(found) == len(means)
    for ours, theirs in zip(means, found):
        torch.testing.assert_close(theirs / 0.1, ours, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_running_statistics_are_the_mean_of_the_processes_own(made, toy_config, toy_data):
    """As batch norm's momentum is 0.1, the first step leaves 0.1 times the mean of both halves' means."""
    tensors, _ = checkpoint.load(made[0] / "Normed" / CHECKPOINT)
    split = make_split(toy_config, toy_data.dataset, "1", 0)
    with threads(1):
        toy_data.views.fit(toy_data.kept, torch.cat([split.labelled, split.unlabelled]))
    running, batches = 0.0, Batches(toy_config, toy_data, split, 0, views=(0, 0))
    for step in range(2):
        x = batches(step, generator_for(0, "step", step))[0].x
        running = 0.9 * running + 0.1 * x.mean().item()
    assert tensors["model.norm.running_mean"].item() == pytest.approx(running, rel=1e-4)


@pytest.mark.slow
def test_a_loss_that_is_no_number_in_one_process_stops_both_and_the_whole_batch_is_written(made, toy_config):
    folder, message = made
    assert "loss_labelled is nan at step 1: lower lr, or look at the data, its batch is in " in message
    tensors, about = checkpoint.load(folder / "Broken" / "nan-step1.safetensors")
    assert tensors["labelled.x"].shape == (toy_config.batch_labelled, 1, 32, 41)
    assert len(about["ids"]["labelled"]) == toy_config.batch_labelled
    assert about["losses"] == {"loss_labelled": "nan"}


def test_batches_that_do_not_divide_are_refused(toy_config):
    with pytest.raises(ValueError, match=r"batch_labelled 4, got 3: --devices 2, or another --batch-labelled"):
        dataclasses.replace(toy_config, devices=3, batch_unlabelled=9)
    with pytest.raises(ValueError, match=r"devices must be a divisor of batch_unlabelled 9, got 2: --devices 1, or"):
        dataclasses.replace(toy_config, devices=2, batch_unlabelled=9)


def test_one_process_averages_nothing(toy_config):
    x = torch.tensor([1.0, 3.0])
    fabric = fabric_for(toy_config)
    processes.average(fabric, [x])
    assert x.tolist() == [1, 3]
    assert processes.gather_batch(fabric, x) is x
