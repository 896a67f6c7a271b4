"""Two processes: each mixes its own clips, with its own numbers, the same in every run."""

import re
import subprocess
import sys

import pytest
import torch
from frameworks import example
from torch.utils.data import DataLoader, DistributedSampler

from audiomix import Collate, Indexed, MixUp, Plan

LINE = re.compile(r"rank (\d) epoch (\d) batch (\d) (\{.*\})")


def plans_of_one_process(rank, epoch, first=0):
    """The plans that a rank draws, drawn here, without any other process; from a batch on."""
    clips = [(torch.full((1, 400), float(i)), i % 3) for i in range(16)]
    collate = Collate(MixUp(0.4, num_classes=3), seed=0)
    sampler = DistributedSampler(range(16), num_replicas=2, rank=rank, seed=0)
    sampler.set_epoch(epoch)
    collate.set_epoch(epoch)
    order = list(sampler)
    loader = DataLoader(Indexed(clips), batch_size=4, sampler=order[4 * first :], collate_fn=collate)
    return [mixed.plans[0].to_json() for mixed in loader]


def test_ranks_draw_different_numbers_and_a_resumed_run_the_same():
    drawn = {(rank, epoch): plans_of_one_process(rank, epoch) for rank in (0, 1) for epoch in (0, 1)}
    weights = torch.cat([Plan.from_json(text).weight for texts in drawn.values() for text in texts])
    assert len(weights.unique()) == len(weights) == 32
    for (rank, epoch), texts in drawn.items():
        assert plans_of_one_process(rank, epoch, first=1) == texts[1:]  # begun again at its second batch


@pytest.mark.slow
def test_the_example_of_the_page(tmp_path):
    (tmp_path / "train.py").write_text(example("Several processes"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = {}
    for rank, epoch, number, text in LINE.findall(done.stdout):
        found[int(rank), int(epoch), int(number)] = text
    assert len(found) == 8
    for (rank, epoch, number), text in found.items():
        assert text == plans_of_one_process(rank, epoch)[number]
